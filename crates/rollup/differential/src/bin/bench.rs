//! Derivation of the node next to kona's, on the same data in one run.
//!
//! Timed is what a pipeline does, with the reading of L1 blocks, senders of batcher transactions and L2 system configs; the making of
//! L2 blocks is not. Each pipeline runs in turn; the fastest of several runs counts.

use clap::Parser;
use duskevm_rollup_differential::{
    generate::steady::{Posting, steady},
    kona::{KonaCase, published_timed},
    ours::Ours,
    record::Stop,
};
use std::time::Duration;

/// Measures derivation.
#[derive(Debug, Parser)]
struct Args {
    /// L2 blocks.
    #[arg(long, default_value_t = 3_000)]
    blocks: usize,
    /// Transactions in each.
    #[arg(long, default_value_t = 10)]
    transactions: u64,
    /// Runs of each pipeline.
    #[arg(long, default_value_t = 5)]
    runs: u32,
}

fn main() {
    let args = Args::parse();
    println!("{} transactions in each L2 block", args.transactions);
    println!(
        "{:<14} {:>8} {:>10} {:>14} {:>10} {:>14} {:>10} {:>7}",
        "channels", "blocks", "bytes", "ours blocks/s", "MB/s", "kona blocks/s", "MB/s", "ratio"
    );
    for posting in [Posting::SpanBrotli, Posting::SpanZlib, Posting::SingularZlib] {
        let (generated, bytes) = steady(args.blocks, args.transactions, posting);
        let mut kona = KonaCase::new(generated.case, generated.malformed);
        kona.keep_records = false;
        let (mut ours_best, mut kona_best) = (Duration::MAX, Duration::MAX);
        let mut blocks = 0;
        for _ in 0..args.runs.max(1) {
            let mut ours = Ours::new(&kona.case);
            ours.keep_records = false;
            assert_eq!(ours.run(&kona.case, kona.case.l1()), Stop::EndOfL1);
            ours_best = ours_best.min(ours.derivation);
            let (tip, time) = published_timed(&kona);
            kona_best = kona_best.min(time);
            assert_eq!(tip, ours.tip().hash(), "both come to the same block");
            blocks = ours.chain.len() - 1;
        }
        let rates = |time: Duration| (blocks as f64 / time.as_secs_f64(), bytes as f64 / 1e6 / time.as_secs_f64());
        let ((ours_blocks, ours_bytes), (kona_blocks, kona_bytes)) = (rates(ours_best), rates(kona_best));
        println!(
            "{:<14} {blocks:>8} {bytes:>10} {ours_blocks:>14.0} {ours_bytes:>10.2} {kona_blocks:>14.0} {kona_bytes:>10.2} {:>6.1}x",
            format!("{posting:?}"),
            ours_blocks / kona_blocks
        );
    }
}
