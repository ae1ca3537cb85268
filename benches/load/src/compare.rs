//! `compare`: the same signed load on several nodes, one after the other, in one run.

use crate::{
    args::CompareArgs,
    load::{Chain, Keys, Load},
    report::{self, Report},
    run::Job,
    spawn::{self, Program},
    verify::Receipts,
};
use anyhow::{Context as _, Result, ensure};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Chain id of the local network, which anvil is told to take too.
const CHAIN_ID: u64 = 31310;
/// How long a node idles before its memory is looked at.
const IDLE: Duration = Duration::from_secs(3);

enum Target {
    Url(String, String),
    Start(Program),
}

impl Target {
    fn name(&self) -> &str {
        match self {
            Self::Url(name, _) => name,
            Self::Start(program) => &program.name,
        }
    }
}

pub(crate) async fn command(args: CompareArgs) -> Result<bool> {
    let targets = targets(&args)?;
    ensure!(!targets.is_empty(), "nothing to compare: give --spawn-duskevm, --spawn-anvil or --url");
    let begin = Instant::now();
    // Fresh chains: every account starts at nonce 0, and one signing serves all.
    let keys = Keys::derive(&args.load, args.load.seed.unwrap_or_default())?;
    let chain = Chain { chain_id: CHAIN_ID, source_nonces: vec![0; keys.sources.len()] };
    let load = Arc::new(Load::sign(&keys, &args.load, args.load.transactions, &chain)?);
    let job = Job {
        load,
        load_args: &args.load,
        pace: &args.pace,
        signing: begin.elapsed(),
        verify: Some(Receipts::Sample),
        record: None,
    };
    let mut reports = Vec::new();
    for target in &targets {
        eprintln!("{} ...", target.name());
        reports.push(measure(&job, target).await.with_context(|| target.name().to_owned())?);
    }
    report::publish(&reports, ratio(&reports), args.json.as_deref())?;
    // The others are there to be compared with; what they lose is in the report and is their affair.
    Ok(reports.first().is_some_and(Report::is_clean))
}

fn targets(args: &CompareArgs) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    if let Some(binary) = &args.spawn_duskevm {
        let env = args.duskevm_env.iter().map(|pair| split(pair, "--duskevm-env")).collect::<Result<_>>()?;
        let program = spawn::duskevm(binary, args.block_time, args.gas_limit, &args.duskevm_arg, env);
        targets.push(Target::Start(program));
    }
    if let Some(binary) = &args.spawn_anvil {
        let at_once = args.anvil_at_once.then_some(None);
        for block_time in [Some(args.block_time)].into_iter().chain(at_once) {
            targets.push(Target::Start(spawn::anvil(binary, block_time, args.gas_limit, &args.anvil_arg)));
        }
    }
    for pair in &args.urls {
        let (name, url) = split(pair, "--url")?;
        targets.push(Target::Url(name, url));
    }
    Ok(targets)
}

fn split(pair: &str, option: &str) -> Result<(String, String)> {
    let (name, value) = pair.split_once('=').with_context(|| format!("{option} wants NAME=VALUE, not {pair}"))?;
    Ok((name.to_owned(), value.to_owned()))
}

async fn measure(job: &Job<'_>, target: &Target) -> Result<Report> {
    match target {
        Target::Url(name, url) => job.on(name, url, None).await,
        Target::Start(program) => {
            let node = program.start().await?;
            tokio::time::sleep(IDLE).await;
            let idle = report::resident_mib(node.pid());
            let mut report = job.on(&program.name, &node.url, Some(node.pid())).await?;
            // Idle means before the accounts were funded, too.
            report.memory_mib = idle.zip(report.memory_mib.map(|(_, after)| after));
            node.stop().await?;
            Ok(report)
        }
    }
}

/// The first target's rate over the best of the others.
fn ratio(reports: &[Report]) -> Option<(String, f64)> {
    let (first, others) = reports.split_first()?;
    let best = others.iter().max_by(|a, b| a.summary.included_per_second.total_cmp(&b.summary.included_per_second))?;
    let rate = best.summary.included_per_second;
    let text = format!("{} / {}, included tx/s", first.target, best.target);
    (rate > 0.0).then(|| (text, first.summary.included_per_second / rate))
}
