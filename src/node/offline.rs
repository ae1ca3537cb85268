//! `db check` and `db verify`: a data folder whose node does not run.

use super::{NodeError, folder::DataFolder};
use crate::{cli::DbReport, config::Config, network::Network};
use anyhow::Context;
use duskevm_evm::{ScratchChain, ScratchState};
use duskevm_rpc::{StoreReader, chain::ChainReader};
use duskevm_store::l2::L2Store;
use std::sync::Arc;
use tokio::sync::watch;

struct Opened {
    network: Network,
    l2: Arc<L2Store>,
    /// Held to the end.
    _folder: DataFolder,
}

fn open(config: &Config) -> anyhow::Result<Opened> {
    let data = config.data_dir()?;
    // Nothing is made here: a folder in which something is missing is told of, not completed.
    let network = Network::kept(data)?;
    let folder = DataFolder::existing(data)?;
    let l2 = folder.existing_l2(config, &network)?;
    if l2.is_empty() {
        return Err(NodeError::NoChain(data.join("l2")).into());
    }
    Ok(Opened { network, l2, _folder: folder })
}

fn reader(opened: &Opened) -> StoreReader {
    let (_, heads) = watch::channel(None);
    StoreReader::new(heads, opened.l2.reader())
}

pub(super) fn check(config: &Config) -> anyhow::Result<DbReport> {
    let opened = open(config)?;
    let heads = opened.l2.reader().heads()?;
    let report = opened.l2.check(|_| {}).context("checking the L2 database")?;
    Ok(DbReport {
        facts: vec![
            ("L2 chain id".into(), opened.network.rollup.l2_chain_id.to_string()),
            ("unsafe head".into(), heads.latest.to_string()),
            ("safe head".into(), heads.safe.to_string()),
            ("finalized head".into(), heads.finalized.to_string()),
            ("oldest state".into(), heads.oldest_state.to_string()),
        ],
        problems: report.problems.iter().map(ToString::to_string).collect(),
    })
}

pub(super) fn verify(config: &Config, progress: &dyn Fn(u64, u64)) -> anyhow::Result<DbReport> {
    let opened = open(config)?;
    let network = &opened.network;
    let chain = reader(&opened);
    let latest = opened.l2.reader().heads()?.latest;

    let mut state = ScratchState::new();
    state.apply(&network.genesis_state);
    state.note_block(0, network.genesis_block.hash());
    // What is stored of the state is not what is computed below: it is compared with itself first.
    let stored = opened.l2.check(|_| {}).context("checking the L2 database")?;
    let mut report = DbReport::default();
    report.problems.extend(stored.problems.iter().map(ToString::to_string));
    let mut parent = network.genesis_block.header.clone();
    if state.roots().state != parent.state_root {
        report.problems.push("the genesis state does not hash to the genesis block's state root".into());
    }
    let scratch = ScratchChain::new(state);
    let (mut transactions, mut gas) = (0u64, 0u64);
    for number in 1..=latest.number {
        let missing = || format!("block {number} is missing");
        let hash = chain.canonical_hash(number)?.with_context(missing)?;
        let block = chain.block(hash)?.with_context(missing)?;
        let computed = block.header.inner().hash_slow();
        if computed != hash {
            report.problems.push(format!("block {number} is filed as {hash} but hashes to {computed}"));
            break;
        }
        // Senders are stored beside the transactions; here they are recovered from the signatures.
        let recovered =
            duskevm_evm::recover_all(&block.transactions.iter().map(|tx| tx.encoded().clone()).collect::<Vec<_>>())
                .with_context(|| format!("block {number}"))?;
        if recovered != block.transactions {
            report.problems.push(format!("block {number}: a stored sender is not the signer"));
        }
        let executed = match scratch.execute(&network.spec, &parent, &block) {
            Ok(executed) => executed,
            Err(error) => {
                report.problems.push(error.to_string());
                break;
            }
        };
        let stored = chain.receipts(hash)?.with_context(|| format!("receipts of block {number} are missing"))?;
        let receipts = executed.decoded_receipts().with_context(|| format!("receipts of block {number}"))?;
        if *stored != receipts {
            report.problems.push(format!("block {number}: the stored receipts are not those of its execution"));
        }
        for (index, tx) in block.transactions.iter().enumerate() {
            let found = chain.transaction(tx.hash())?;
            if found.is_none_or(|at| (at.block, at.index) != (hash, index)) {
                report.problems.push(format!("transaction {} of block {number} is not found by its hash", tx.hash()));
            }
        }
        transactions += block.transactions.len() as u64;
        gas += executed.gas_used;
        parent = block.header.clone();
        progress(number, latest.number);
    }
    if report.problems.is_empty() && parent.hash() != latest.hash {
        report.problems.push(format!("the head is {latest}, but execution ends at {}", parent.hash()));
    }
    report.facts = vec![
        ("blocks executed".into(), parent.number.to_string()),
        ("transactions".into(), transactions.to_string()),
        ("gas".into(), gas.to_string()),
        ("accounts".into(), scratch.accounts().to_string()),
        ("head".into(), format!("{} {}", parent.number, parent.hash())),
        ("state root".into(), parent.state_root.to_string()),
    ];
    Ok(report)
}
