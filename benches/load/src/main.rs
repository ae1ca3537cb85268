//! Load generator: signs beforehand, submits over JSON-RPC, reports what was included and when.
//!
//! - `run`: a load against one node; `--rate` makes it open-loop, otherwise it goes as fast as answers come.
//! - `compare`: the same signed load against several nodes, one after the other, and the ratio of their included rates.
//! - `settle`: how long single transactions take until they are in a block, safe and final.
//! - `check`: looks up in a node everything that an earlier `run --record` was told.
//! - `table`: one Markdown table of what Criterion's benches and `compare` have measured.

mod args;
mod check;
mod compare;
mod follow;
mod http;
mod ledger;
mod load;
mod measured;
mod record;
mod report;
mod rpc;
mod run;
mod settle;
mod sign;
mod spawn;
mod submit;
#[cfg(test)]
mod tests;
mod token;
mod verify;

use clap::Parser as _;
use std::process::ExitCode;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let outcome = match args::Cli::parse().command {
        args::Command::Run(args) => run::command(args).await,
        args::Command::Compare(args) => compare::command(args).await,
        args::Command::Settle(args) => settle::command(args).await,
        args::Command::Check(args) => check::command(args).await,
        args::Command::Table(args) => measured::command(&args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
