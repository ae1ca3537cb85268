//! `duskevm db`: offline checks of a data folder.

use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;

use super::args::{DbArgs, DbCommand, DbTarget};
use super::start::path;
use super::{CliError, FAILURE, Failure, OK, print};
use crate::config::{Config, Loader};
use crate::node;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct DbReport {
    /// What was looked at, name and figure, in the order to print.
    pub facts: Vec<(String, String)>,
    /// What is wrong; empty if all is well.
    pub problems: Vec<String>,
}

/// Problems of one kind that are told one by one; of the rest only the number.
const TOLD: usize = 20;

impl DbReport {
    /// Adds what is wrong with `of`: the first ones as they are, and how many more there are.
    pub fn add_problems(&mut self, of: &str, problems: impl IntoIterator<Item = String>) {
        let mut problems = problems.into_iter();
        self.problems.extend(problems.by_ref().take(TOLD));
        let rest = problems.count();
        if rest > 0 {
            self.problems.push(format!("{of}: {rest} more problems"));
        }
    }

    fn text(&self) -> String {
        let width = self.facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let mut text: String = self.facts.iter().map(|(name, figure)| format!("{name:<width$}  {figure}\n")).collect();
        if self.problems.is_empty() {
            text.push_str("all is well\n");
        }
        for problem in &self.problems {
            text.push_str(&format!("problem: {problem}\n"));
        }
        text
    }
}

pub(crate) fn run(args: DbArgs) -> Result<u8, CliError> {
    let (target, report) = match &args.command {
        DbCommand::Check(target) => (target, node::db_check(&config(target)?)),
        DbCommand::Verify(target) => {
            let show = !target.json && std::io::stderr().is_terminal();
            let progress = |done: u64, total: u64| {
                // One line that rewrites itself, so only where somebody watches.
                if show {
                    let _ = write!(std::io::stderr(), "\rblock {done} of {total}");
                    if done == total {
                        let _ = writeln!(std::io::stderr());
                    }
                }
            };
            (target, node::db_verify(&config(target)?, &progress))
        }
    };
    let report = report.map_err(CliError::Failed)?;
    if target.json {
        print(&(serde_json::to_string_pretty(&report).map_err(Failure)? + "\n"))?;
    } else {
        print(&report.text())?;
    }
    Ok(if report.problems.is_empty() { OK } else { FAILURE })
}

fn config(target: &DbTarget) -> Result<Config, CliError> {
    let mut loader = Loader::new().needs_data_dir().file(target.config.as_deref()).environment(std::env::vars_os());
    if let Some(dir) = &target.data_dir {
        // A check must not make the folder that it is asked to check.
        if !dir.is_dir() {
            return Err(CliError::Failed(anyhow::anyhow!("{} is not a folder: nothing to check", dir.display())));
        }
        loader = loader.flag("--data-dir", "data.dir", path(dir)?);
    }
    Ok(loader.load()?.config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_lists_facts_then_problems() {
        let mut report = DbReport { facts: vec![("l2 blocks".into(), "7".into())], problems: Vec::new() };
        assert_eq!(report.text(), "l2 blocks  7\nall is well\n");
        report.problems.push("block 3: wrong state root".into());
        assert_eq!(report.text(), "l2 blocks  7\nproblem: block 3: wrong state root\n");
    }
}
