//! `db check` and `db verify`: a data folder whose node does not run.

mod journals;
mod l1;

use super::{
    NodeError,
    folder::{DataFolder, DuskStores},
};
use crate::{cli::DbReport, config::Config, network::Network};
use anyhow::Context;
use duskevm_blobs::Sidecar;
use duskevm_evm::{ScratchChain, ScratchState};
use duskevm_rpc::{StoreReader, chain::ChainReader};
use duskevm_store::{
    blobs::{BlobStore, BlobStoreError},
    l2::L2Store,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::watch;

struct Opened {
    network: Network,
    l2: Arc<L2Store>,
    /// The L1 of each provisioner that has one.
    l1: Vec<DuskStores>,
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
    let l1 = folder.existing_l1(&network)?;
    Ok(Opened { network, l2, l1, _folder: folder })
}

fn reader(opened: &Opened) -> StoreReader {
    let (_, heads) = watch::channel(None);
    StoreReader::new(heads, opened.l2.reader())
}

pub(super) fn check(config: &Config) -> anyhow::Result<DbReport> {
    let opened = open(config)?;
    let heads = opened.l2.reader().heads()?;
    let report = opened.l2.check(|_| {}).context("checking the L2 database")?;
    let mut found = DbReport {
        facts: vec![
            ("L2 chain id".into(), opened.network.rollup.l2_chain_id.to_string()),
            ("unsafe head".into(), heads.latest.to_string()),
            ("safe head".into(), heads.safe.to_string()),
            ("finalized head".into(), heads.finalized.to_string()),
            ("oldest state".into(), heads.oldest_state.to_string()),
        ],
        problems: report.problems.iter().map(ToString::to_string).collect(),
    };
    for (number, l1) in opened.l1.iter().enumerate() {
        let of = if number == 0 { String::new() } else { format!(" of provisioner {}", number + 1) };
        let height = |height: Option<u64>| height.map_or_else(|| "none".to_owned(), |height| height.to_string());
        found.facts.push((format!("L1 tip{of}"), height(l1.chain.tip()?)));
        found.facts.push((format!("final L1 block{of}"), height(l1.chain.final_height()?)));
        l1::check(&l1.chain, &of, &mut found).with_context(|| format!("checking the L1 database{of}"))?;
        journals::check_votes(&l1.folder, &of, &mut found);
        if let Some(blobs) = &l1.blobs {
            check_blobs(blobs, &of, &mut found).with_context(|| format!("checking the blob database{of}"))?;
        }
    }
    journals::check(config.data_dir()?, &mut found);
    Ok(found)
}

/// Reads every blob that a block has: is it there, or noted as missing, and is it what its name says?
fn check_blobs(store: &BlobStore, of: &str, report: &mut DbReport) -> Result<(), BlobStoreError> {
    let missing: BTreeSet<_> = store.missing()?.into_iter().collect();
    let mut claimed = BTreeMap::new();
    for claim in store.claims()? {
        for hash in claim.blobs {
            claimed.insert(hash, claim.height);
        }
    }
    let (mut stored, mut noted) = (0u64, 0u64);
    let mut problems = Vec::new();
    for (hash, height) in &claimed {
        let name = alloy_primitives::hex::encode_prefixed(hash);
        let wrong = match store.blob(hash) {
            Ok(Some(_)) if missing.contains(hash) => "is stored and noted as missing".to_owned(),
            Ok(Some(bytes)) if Sidecar::decode(&bytes).is_ok_and(|sidecar| sidecar.hash() == *hash) => {
                stored += 1;
                continue;
            }
            Ok(Some(_)) => "is another one than its name says".to_owned(),
            Ok(None) if missing.contains(hash) => {
                noted += 1;
                continue;
            }
            Ok(None) => "is neither stored nor noted as missing".to_owned(),
            Err(error @ BlobStoreError::DamagedBlob { .. }) => error.to_string(),
            Err(error) => return Err(error),
        };
        problems.push(format!("blob {name} of L1 block {height}{of}: {wrong}"));
    }
    report.add_problems(&format!("blobs{of}"), problems);
    report.facts.push((format!("blobs{of}"), stored.to_string()));
    report.facts.push((format!("blobs to fetch from peers{of}"), noted.to_string()));
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::B256;
    use duskevm_store::{
        Identity,
        blobs::{BlobCommit, StoredClaim},
    };
    use duskevm_supervision::Fence;

    #[test]
    fn of_many_problems_of_a_kind_the_first_are_told() {
        let mut report = DbReport::default();
        report.add_problems("blobs", (0..20).map(|n| format!("blob {n} is gone")));
        assert_eq!(report.problems.len(), 20);
        report.add_problems("L1 blocks", (0..25).map(|n| format!("L1 block {n} is gone")));
        assert_eq!(report.problems.len(), 41);
        assert_eq!(report.problems.last().unwrap(), "L1 blocks: 5 more problems");
    }

    #[test]
    fn a_check_of_blobs_names_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            BlobStore::open(&folder.path().join("blobs"), &Identity { chain_id: 1, genesis: B256::ZERO }).unwrap();
        let blob = |n: u8| Sidecar::new([n; 48], [n; 48], &vec![n; duskevm_blobs::BYTES]).unwrap();
        let (good, other) = (blob(1), blob(2));
        let (noted, lost) = ([3; 32], [4; 32]);
        let commit = BlobCommit {
            blobs: vec![(good.hash(), good.encode()), (other.hash(), good.encode())],
            claims: vec![StoredClaim {
                height: 7,
                block: [9; 32],
                blobs: vec![good.hash(), other.hash(), noted, lost],
            }],
            missing: vec![noted],
            ..BlobCommit::default()
        };
        store.commit(&Fence::unfenced(), commit).unwrap();
        let mut report = DbReport::default();
        check_blobs(&store, "", &mut report).unwrap();
        let figures: Vec<&str> = report.facts.iter().map(|(_, figure)| figure.as_str()).collect();
        assert_eq!(figures, ["1", "1"]);
        let problem = |hash: &[u8]| {
            let name = alloy_primitives::hex::encode_prefixed(hash);
            report.problems.iter().find(|problem| problem.contains(&name)).unwrap()
        };
        assert_eq!(report.problems.len(), 2, "{:?}", report.problems);
        assert!(problem(&other.hash()).contains("L1 block 7: is another one"), "{:?}", report.problems);
        assert!(problem(&lost).contains("neither stored nor noted"), "{:?}", report.problems);
    }
}
