//! A sequencer with its batcher and a verifier on an L1 that the test makes, and replaces as it likes: the test is the L1's only provisioner
//! and the peer of both nodes. Replaced blocks are of a later iteration than those that take their places, so that they are never final
//! and lose.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "each test uses its part"
)]

use super::l1_peer::{Branch, L1Peer};
use super::support::{Node, Ports, call, client, head, restarts};
use alloy_primitives::{Address, B256, U256, keccak256};
use duskevm::{
    config::Config,
    network::{NetworkFiles, local_producer},
};
use duskevm_dusk_l1::{
    keys::{AccountId, Signer},
    tx::VerifiedTx,
    wallet::{self, Terms},
};
use duskevm_genesis::LOCAL_CONTRACTS;
use duskevm_p2p::PeerId;
use duskevm_settlement::{
    args::{Arguments as _, DepositEthToWithValue},
    enough_gas,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The longest that a step may take.
pub const LONG: Duration = Duration::from_secs(90);
/// Between two looks.
pub const LOOK: Duration = Duration::from_millis(50);
/// So long ago, in seconds, the network began: so many L1 blocks can be made without waiting for their times.
pub const AGE: u64 = 60;
/// After how long the winning branch grows further if the nodes do not follow it yet: whoever asks for too few blocks to see where the
/// branches part asks again when it hears of another block.
pub const GROW: Duration = Duration::from_secs(3);
/// Lux per deposit.
pub const DEPOSIT: u64 = 1_000_000_000;
/// Settings of a node that makes no L2 blocks.
pub const FOLLOWS: [(&str, &str); 2] = [("DUSKEVM_ACTORS__SEQUENCER", "false"), ("DUSKEVM_ACTORS__BATCHER", "false")];
/// What restarts an actor.
pub const CAUSES: [&str; 4] = ["error", "panic", "hang", "stop"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Id {
    pub number: u64,
    pub hash: B256,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct L2 {
    pub number: u64,
    pub hash: B256,
    #[serde(rename = "l1origin")]
    pub origin: Id,
}

/// `optimism_syncStatus`.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Heads {
    pub head_l1: Id,
    #[serde(rename = "unsafe_l2")]
    pub latest: L2,
    #[serde(rename = "safe_l2")]
    pub safe: L2,
    #[serde(rename = "finalized_l2")]
    pub finalized: L2,
}

/// A node, and what it said was final.
pub struct Watched {
    pub node: Node,
    pub peer: PeerId,
    pub finalized: BTreeMap<u64, B256>,
}

impl Watched {
    pub async fn start(
        peer: &L1Peer,
        files: &NetworkFiles,
        known: &[PeerId],
        data: &Path,
        settings: &[(&str, &str)],
    ) -> Self {
        files.write(&data.join("network")).unwrap();
        let address = peer.address().await.to_string();
        let common = [
            ("DUSKEVM_GOSSIP__BOOT", address.as_str()),
            ("DUSKEVM_GOSSIP__ALLOW_PRIVATE", "true"),
            ("DUSKEVM_L1__FOLLOW", "tip"),
        ];
        let node = Node::start_as(data, Ports::free(), &[], &[&common, settings].concat());
        Self { node, peer: peer.next_peer(known).await, finalized: BTreeMap::new() }
    }

    /// The heads. What is finalized is never less than before, and in the chain of what is safe.
    pub async fn heads(&mut self) -> Heads {
        let begin = Instant::now();
        loop {
            // While blocks are taken back one that is asked for may be gone.
            let heads = call(&self.node.rpc(), "optimism_syncStatus", vec![]).await;
            if let Ok(heads) = heads.map(|heads| serde_json::from_value::<Heads>(heads).unwrap()) {
                let Heads { safe, finalized, .. } = heads;
                if let Some((number, hash)) = self.finalized.last_key_value() {
                    assert!(finalized.number >= *number, "finalized went back from {number} to {}", finalized.number);
                    assert!(
                        finalized.number > *number || finalized.hash == *hash,
                        "finalized block {number} was replaced"
                    );
                }
                assert!(safe.number >= finalized.number, "{heads:?}");
                self.finalized.insert(finalized.number, finalized.hash);
                return heads;
            }
            assert!(begin.elapsed() < LONG, "{}", self.node.log_tail());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the heads are as wanted.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Heads) -> bool) -> Heads {
        let begin = Instant::now();
        loop {
            let heads = self.heads().await;
            if wanted(&heads) {
                return heads;
            }
            if begin.elapsed() > LONG {
                let why = call(&self.node.admin(), "admin_why", vec![]).await;
                panic!("not in time: {what}: {heads:#?}\n{why:#?}\n{}", self.node.log_tail());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the node's L1 and its view of it end at the tip of a branch.
    pub async fn has_l1(&mut self, branch: &Branch) {
        let (height, wanted) = (branch.height(), B256::from(branch.hash()));
        let begin = Instant::now();
        loop {
            let status = call(&self.node.admin(), "admin_status", vec![]).await.unwrap();
            if status["l1"]["tip"]["hash"] == json!(wanted) {
                break;
            }
            assert!(
                begin.elapsed() < LONG,
                "no L1 block {height} {wanted}: {}\n{}",
                status["l1"],
                self.node.log_tail()
            );
            tokio::time::sleep(LOOK).await;
        }
        self.until(&format!("L1 block {height} in the view"), |heads| heads.head_l1.number == height).await;
    }

    pub async fn block(&self, number: u64) -> Option<Value> {
        let params = vec![json!(format!("{number:#x}")), json!(false)];
        call(&self.node.rpc(), "eth_getBlockByNumber", params).await.ok().filter(Value::is_object)
    }

    pub async fn hash(&self, number: u64) -> Option<B256> {
        self.block(number).await.map(|block| serde_json::from_value(block["hash"].clone()).unwrap())
    }

    /// Hashes of the blocks up to this one.
    pub async fn hashes(&self, to: u64) -> Vec<B256> {
        let mut all = Vec::new();
        for number in 0..=to {
            all.push(self.hash(number).await.unwrap_or_else(|| panic!("no block {number}")));
        }
        all
    }

    /// In which block each transaction is; each is in one at most.
    pub async fn included(&self, to: u64) -> HashMap<B256, u64> {
        let mut all = HashMap::new();
        for number in 0..=to {
            let block = self.block(number).await.unwrap();
            for hash in block["transactions"].as_array().unwrap() {
                let before = all.insert(serde_json::from_value(hash.clone()).unwrap(), number);
                assert_eq!(before, None, "{hash} is in block {number} too");
            }
        }
        all
    }

    pub async fn balance(&self, of: Address, at: &str) -> U256 {
        let balance = call(&self.node.rpc(), "eth_getBalance", vec![json!(of), json!(at)]).await.unwrap();
        balance.as_str().unwrap().parse().unwrap()
    }

    pub fn not_restarted(&self, actors: &[&str]) {
        for actor in actors {
            for cause in CAUSES {
                let count = restarts(self.node.ports, actor, cause);
                assert_eq!(count, 0.0, "{actor} was restarted by {cause}\n{}", self.node.log_tail());
            }
        }
    }
}

/// Both nodes, and the L1 that the test makes.
pub struct Circle {
    pub peer: L1Peer,
    pub files: NetworkFiles,
    pub branch: Branch,
    pub depositor: Signer,
    pub sequencer: Watched,
    pub verifier: Watched,
    /// Transactions that are left out of blocks.
    pub banned: HashSet<[u8; 32]>,
}

/// What goes into a block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// What is in the sequencer's pool.
    Pool,
    Nothing,
}

impl Circle {
    /// A network that began [`AGE`] seconds ago, with a sequencer, which has made all blocks up to now, and a verifier.
    pub async fn start(folder: &Path) -> Self {
        let mut config = Config::default();
        (config.l1.block_time, config.l2.block_time) = (1, 1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let files = NetworkFiles::local(&config, now - AGE).unwrap();
        let branch = Branch::new(&files.load().unwrap(), local_producer());
        let peer = L1Peer::start(&branch).await;
        let sequencer = Watched::start(&peer, &files, &[], &folder.join("sequencer"), &[]).await;
        let verifier = Watched::start(&peer, &files, &[sequencer.peer], &folder.join("verifier"), &FOLLOWS).await;
        Self { peer, files, branch, depositor: local_producer(), sequencer, verifier, banned: HashSet::new() }
    }

    /// Waits for the L2 blocks of the time that was over at the start, and until they are safe.
    pub async fn catch_up(&mut self) {
        self.sequencer.until("L2 blocks up to now", |heads| heads.latest.number >= AGE).await;
        let first = head(&self.sequencer.node.rpc()).await;
        self.settle(first).await;
    }
}

impl Circle {
    pub async fn block(&mut self, iteration: u8, fill: Fill, first: Option<VerifiedTx>) -> Vec<[u8; 32]> {
        self.branch.wait_for_time().await;
        let mut txs: Vec<VerifiedTx> = first.into_iter().collect();
        if fill == Fill::Pool {
            let pool = self.peer.pool(self.sequencer.peer, self.branch.height() + 1).await;
            txs.extend(pool.into_iter().filter(|tx| !self.banned.contains(tx.id())));
        }
        self.branch.block(iteration, &txs)
    }

    /// Tells both nodes of the branch and waits until they have it.
    pub async fn show(&mut self) {
        self.peer.show(&self.branch).await;
        self.sequencer.has_l1(&self.branch).await;
        self.verifier.has_l1(&self.branch).await;
    }

    /// Tells both nodes of the branch, which grows by empty blocks until they follow it.
    pub async fn win(&mut self) {
        let begin = Instant::now();
        while tokio::time::timeout(GROW, self.show()).await.is_err() {
            assert!(begin.elapsed() < LONG, "L1 does not follow\n{}", self.sequencer.node.log_tail());
            self.block(0, Fill::Nothing, None).await;
        }
    }

    /// Makes L1 blocks until a batch waits to be included in the next one.
    pub async fn batch_waits(&mut self) {
        let begin = Instant::now();
        while self.peer.pool(self.sequencer.peer, self.branch.height() + 1).await.is_empty() {
            assert!(begin.elapsed() < LONG, "the batcher posts nothing\n{}", self.sequencer.node.log_tail());
            self.block(0, Fill::Pool, None).await;
            self.show().await;
            self.built_on().await;
        }
    }

    /// Waits until the sequencer builds on the newest L1 block.
    pub async fn built_on(&mut self) -> Heads {
        let height = self.branch.height();
        self.sequencer
            .until(&format!("an L2 block on L1 block {height}"), |heads| heads.latest.origin.number >= height)
            .await
    }

    /// Makes L1 blocks of what is in the pool until all L2 blocks up to this one are safe on both nodes.
    pub async fn settle(&mut self, number: u64) {
        let begin = Instant::now();
        loop {
            let heads = self.sequencer.heads().await;
            if heads.safe.number >= number && self.verifier.heads().await.safe.number >= number {
                return;
            }
            assert!(begin.elapsed() < LONG, "no safe block {number}: {heads:#?}\n{}", self.sequencer.node.log_tail());
            self.block(0, Fill::Pool, None).await;
            self.show().await;
            self.built_on().await;
        }
    }

    pub fn deposit(&self, to: Address) -> VerifiedTx {
        let call =
            DepositEthToWithValue { to, amount_lux: DEPOSIT, min_gas_limit: 200_000, extra_data: Default::default() };
        let args = call.encode_args();
        let id: AccountId = self.depositor.id();
        let terms = Terms {
            chain_id: duskevm_genesis::NetworkSpec::LOCAL_L1_CHAIN_ID as u8,
            nonce: self.branch.account(&id).nonce + 1,
            gas_limit: enough_gas(DepositEthToWithValue::FUNCTION, &args),
            gas_price: 1,
        };
        let bridge = LOCAL_CONTRACTS.standard_bridge.0;
        let tx = wallet::call(&self.depositor, bridge, DepositEthToWithValue::FUNCTION, args, DEPOSIT, &terms).unwrap();
        tx.verify().unwrap()
    }

    /// A reorg of this depth. With `again` the deposit of the replaced blocks comes back later, otherwise never.
    pub async fn reorg(&mut self, depth: u64, again: bool) -> (Address, bool) {
        self.built_on().await;
        self.batch_waits().await;
        let fork = self.branch.clone();
        let to = Address::from_word(keccak256(format!("deposit of depth {depth}")));
        let deposit = self.deposit(to);
        let id = *deposit.id();
        let mut posted = 0;
        for number in 0..depth {
            let included = self.block(1, Fill::Pool, (number == 0).then(|| deposit.clone())).await;
            assert!(number > 0 || included.contains(&id), "the deposit is in the block");
            posted += included.len() - usize::from(number == 0);
            self.show().await;
            self.built_on().await;
        }
        let before = self.sequencer.heads().await;
        assert_eq!(self.sequencer.balance(to, "latest").await, lux(DEPOSIT), "depth {depth}: the deposit is on L2");
        let old = self.sequencer.hashes(before.latest.number).await;
        let l1 = client(self.sequencer.node.ports.l1);
        let shown = call(&l1, "eth_getTransactionReceipt", vec![json!(B256::from(id))]).await.unwrap();
        assert_eq!(shown["status"], "0x1", "depth {depth}: the L1 endpoint has the deposit by its Dusk hash");
        let replaced = shown["blockHash"].clone();
        assert!(!call(&l1, "eth_getBlockByHash", vec![replaced.clone(), json!(true)]).await.unwrap().is_null());
        // Blocks whose origins are below the fork stay.
        let mut kept = before.latest;
        while kept.origin.number > fork.height() {
            kept = self.reference(kept.number - 1).await;
        }
        let doomed = kept.number + 1;
        assert!(doomed > before.finalized.number && doomed <= before.latest.number, "{before:#?}");
        assert!(posted > 0, "depth {depth}: no batch was in the replaced blocks");
        assert!(depth < 5 || before.safe.number >= doomed, "depth {depth}: no safe block is replaced: {before:#?}");

        // The other branch: longer, of an earlier iteration, and empty at first.
        if !again {
            self.banned.insert(id);
        }
        self.branch = fork;
        for _ in 0..=depth {
            self.block(0, Fill::Nothing, None).await;
        }
        let begin = Instant::now();
        self.win().await;
        for (method, params) in [
            ("eth_getBlockByHash", vec![replaced.clone(), json!(true)]),
            ("eth_getBlockReceipts", vec![replaced]),
            ("eth_getTransactionReceipt", vec![json!(B256::from(id))]),
            ("eth_getTransactionReceipt", vec![shown["transactionHash"].clone()]),
        ] {
            let gone = call(&l1, method, params).await.unwrap();
            assert_eq!(gone, Value::Null, "depth {depth}: {method} of a replaced L1 block");
        }
        let followed = begin.elapsed();
        let begin = Instant::now();
        let after = self
            .sequencer
            .until("L2 blocks on the new branch", |heads| {
                heads.latest.number >= doomed && heads.latest.hash != before.latest.hash
            })
            .await;
        self.settle(before.latest.number + 1).await;
        let healed = begin.elapsed();
        for (number, hash) in (0..).zip(&old) {
            let now = self.sequencer.hash(number).await.unwrap();
            if number < doomed {
                assert_eq!(now, *hash, "depth {depth}: block {number} stands on L1 blocks that stayed");
            } else {
                assert_ne!(now, *hash, "depth {depth}: block {number} stands on a replaced L1 block");
            }
        }
        println!(
            "depth {depth}: L1 {} to {}, {posted} batcher transactions in replaced blocks, L2 blocks {doomed} to {} replaced, safe head before {}; \
             L1 followed in {followed:.1?}, the sequencer went on at {}, all safe again in {healed:.1?}",
            self.branch.height() - depth,
            self.branch.height(),
            before.latest.number,
            before.safe.number,
            after.latest.number
        );
        (to, again)
    }

    pub async fn reference(&self, number: u64) -> L2 {
        let output =
            call(&self.sequencer.node.rpc(), "optimism_outputAtBlock", vec![json!(format!("{number:#x}"))]).await;
        serde_json::from_value(output.unwrap()["blockRef"].clone()).unwrap()
    }
}

pub fn lux(amount: u64) -> U256 {
    U256::from(amount) * U256::from(1_000_000_000u64)
}
