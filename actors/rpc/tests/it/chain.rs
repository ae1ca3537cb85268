//! A chain in memory.

use alloy_consensus::{Header, Sealable as _, Sealed};
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use duskevm_evm::{
    Block, BlockAttributes, ChainSpec, Eip1559Constants, ExecutedBlock, ForkTimes, NoPool, RecoveredTx, StateSource,
    TrieRoots, TrieState, build_block,
};
use duskevm_genesis::{Fork, GenesisAnchor, L2Genesis, NetworkSpec};
use duskevm_rollup::{BlockId, L1Info, L1InfoFork, RollupConfig, RollupGenesis, SystemConfig};
use duskevm_rpc::{
    chain::{
        Account, AccountProof, BlockRef, ChainReader, Heads, ReadError, SafeHead, SlotProof, StateReader, TxLocation,
    },
    node::Rollup,
};
use duskevm_trie::{
    AccountDelta, AccountInfo, Changes, EMPTY_ROOT_HASH, NodeSource, StateChanges, StateLimits, StateTrie,
};
use op_alloy_consensus::OpReceiptEnvelope;
use parking_lot::{Mutex, RwLock};
use serde_json::value::RawValue;
use std::{collections::HashMap, convert::Infallible, sync::Arc};
use tokio::sync::watch;

pub(crate) const BLOCK_TIME: u64 = 2;
pub(crate) const L1_BASE_FEE: u64 = 7_000_000_000;
pub(crate) const OPERATOR_CONSTANT: u64 = 12_345;

/// All nodes, codes and headers ever made.
#[derive(Default)]
struct Everything(RwLock<HashMap<B256, Bytes>>);

impl NodeSource for Everything {
    type Error = Infallible;
    fn node(&self, hash: &B256) -> Result<Option<Bytes>, Infallible> {
        Ok(self.0.read().get(hash).cloned())
    }
}

impl StateSource for Everything {
    fn code(&self, hash: &B256) -> Result<Option<Bytes>, Infallible> {
        self.node(hash)
    }
    fn header(&self, hash: &B256) -> Result<Option<Header>, Infallible> {
        Ok(self.node(hash)?.map(|bytes| alloy_rlp::Decodable::decode(&mut bytes.as_ref()).unwrap()))
    }
}

struct Stored {
    block: Arc<Block>,
    receipts: Arc<Vec<OpReceiptEnvelope>>,
    /// What the block did to the state and to the tries.
    effects: (StateChanges, Changes),
}

#[derive(Default)]
struct Tables {
    blocks: HashMap<B256, Stored>,
    canonical: Vec<B256>,
    safe: u64,
    finalized: u64,
    /// By L1 number, ascending.
    safe_heads: Vec<SafeHead>,
    pruned: Vec<B256>,
    keep_dropped: bool,
    receipts_fail: bool,
}

/// The chain, and the means to make it grow and reorganize.
pub(crate) struct MemoryChain {
    pub(crate) spec: ChainSpec,
    pub(crate) rollup: Rollup,
    everything: Arc<Everything>,
    tables: RwLock<Tables>,
    moved: watch::Sender<u64>,
}

impl MemoryChain {
    pub(crate) fn isthmus() -> Arc<Self> {
        Self::new(ForkTimes::isthmus_at_genesis(), Fork::Isthmus)
    }

    pub(crate) fn jovian() -> Arc<Self> {
        Self::new(ForkTimes::jovian_at_genesis(), Fork::Jovian)
    }

    fn new(forks: ForkTimes, last: Fork) -> Arc<Self> {
        let mut network = NetworkSpec::local(1_700_000_000).unwrap();
        network.rollup.forks = duskevm_genesis::ForkTimes::at_genesis(last);
        let genesis = L2Genesis::build(&network).unwrap();
        let spec = ChainSpec::new(network.rollup.l2_chain_id, forks, Eip1559Constants::default()).unwrap();
        let everything = Arc::new(Everything::default());
        let diff = alloc(&genesis);
        let mut trie = StateTrie::new(EMPTY_ROOT_HASH, StateLimits::default());
        let outcome = trie.apply(&*everything, &diff.hashed()).unwrap();
        store(&everything, &outcome, &diff);
        let passer = trie.account(&*everything, &keccak256(duskevm_evm::header::MESSAGE_PASSER)).unwrap().unwrap();
        let fields = &genesis.header;
        let header = Header {
            state_root: outcome.root,
            timestamp: fields.timestamp,
            gas_limit: fields.gas_limit,
            base_fee_per_gas: Some(fields.base_fee),
            extra_data: fields.extra_data.clone(),
            beneficiary: fields.beneficiary,
            withdrawals_root: Some(passer.storage_root),
            parent_beacon_block_root: fields.parent_beacon_block_root,
            blob_gas_used: fields.blob_gas_used,
            excess_blob_gas: fields.excess_blob_gas,
            requests_hash: fields.requests_hash,
            ..Default::default()
        }
        .seal_slow();
        let l1 = BlockId { hash: B256::repeat_byte(0x11), number: 100 };
        let anchor = GenesisAnchor {
            l1: duskevm_genesis::BlockRef { hash: l1.hash, number: l1.number },
            l2: duskevm_genesis::BlockRef { hash: header.hash(), number: 0 },
        };
        let json = RawValue::from_string(network.rollup.to_rollup_json(&anchor).unwrap()).unwrap();
        let system_config = SystemConfig {
            batcher_address: network.rollup.system_config.batcher,
            overhead: B256::ZERO,
            scalar: SystemConfig::scalar_v1(1368, 810_949),
            gas_limit: fields.gas_limit,
            eip1559_params: network.rollup.system_config.eip1559_params,
            operator_fee_scalar: 0,
            operator_fee_constant: OPERATOR_CONSTANT,
            min_base_fee: 0,
            da_footprint_gas_scalar: 0,
        };
        let config = RollupConfig {
            genesis: RollupGenesis {
                l1,
                l2: BlockId { hash: header.hash(), number: 0 },
                l2_time: fields.timestamp,
                system_config,
            },
            block_time: BLOCK_TIME,
            max_sequencer_drift: 600,
            seq_window_size: 3600,
            l1_chain_id: network.rollup.l1_chain_id,
            l2_chain_id: network.rollup.l2_chain_id,
            forks,
            delta_time: Some(0),
            batch_inbox_address: Address::ZERO,
            deposit_contract_address: Address::ZERO,
            l1_system_config_address: Address::ZERO,
            eip1559: (6, 50, 250),
        };
        let this = Arc::new(Self {
            spec,
            rollup: Rollup { config, json: json.into() },
            everything,
            tables: RwLock::default(),
            moved: watch::channel(0).0,
        });
        this.insert(Block { header, transactions: Vec::new() }, Vec::new(), (diff, outcome.changes));
        this
    }

    fn insert(&self, block: Block, receipts: Vec<OpReceiptEnvelope>, effects: (StateChanges, Changes)) -> Arc<Block> {
        let block = Arc::new(block);
        self.everything.0.write().insert(block.hash(), alloy_rlp::encode(block.header.inner()).into());
        let mut tables = self.tables.write();
        // What a reorganization drops is gone, as in the database.
        let above = tables.canonical.len().min(block.number() as usize);
        let dropped = tables.canonical.split_off(above);
        if !tables.keep_dropped {
            dropped.iter().for_each(|hash| drop(tables.blocks.remove(hash)));
        }
        tables.canonical.push(block.hash());
        tables.blocks.insert(block.hash(), Stored { block: block.clone(), receipts: Arc::new(receipts), effects });
        drop(tables);
        self.moved.send_modify(|n| *n += 1);
        block
    }

    pub(crate) fn head(&self) -> Arc<Block> {
        let tables = self.tables.read();
        tables.blocks[tables.canonical.last().unwrap()].block.clone()
    }

    /// What the block did to the state and to the tries.
    pub(crate) fn effects_of(&self, hash: B256) -> (StateChanges, Changes) {
        self.tables.read().blocks[&hash].effects.clone()
    }

    pub(crate) fn receipts_of(&self, hash: B256) -> Arc<Vec<OpReceiptEnvelope>> {
        self.tables.read().blocks[&hash].receipts.clone()
    }

    /// A block on the head with these transactions after the L1-attributes deposit.
    pub(crate) fn mine(&self, transactions: Vec<Arc<RecoveredTx>>) -> Arc<Block> {
        let parent = self.head();
        self.mine_on(&parent, transactions, 0)
    }

    /// A block on any block; it becomes the head. `salt` makes it differ from others with the same transactions.
    pub(crate) fn mine_on(&self, parent: &Block, transactions: Vec<Arc<RecoveredTx>>, salt: u8) -> Arc<Block> {
        let (executed, changes) = self.execute(parent, &self.attributes(parent, transactions, salt)).unwrap();
        let receipts = executed.decoded_receipts().unwrap();
        self.insert(executed.block, receipts, (executed.changes, changes))
    }

    /// What a block on any block is made from: the L1-attributes deposit and these transactions.
    pub(crate) fn attributes(&self, parent: &Block, transactions: Vec<Arc<RecoveredTx>>, salt: u8) -> BlockAttributes {
        let header = &parent.header;
        let timestamp = header.timestamp + BLOCK_TIME;
        let config = &self.rollup.config;
        let info = L1Info::new(
            L1InfoFork::at(config, timestamp),
            &config.genesis.system_config,
            101,
            timestamp - 1,
            U256::from(L1_BASE_FEE),
            U256::from(3),
            B256::repeat_byte(0x22),
            header.number,
        );
        let forks = self.spec.fork_times();
        let mut forced = vec![Arc::new(RecoveredTx::deposit(info.deposit(true)))];
        forced.extend(transactions);
        BlockAttributes {
            timestamp,
            prev_randao: B256::repeat_byte(salt),
            fee_recipient: duskevm_evm::header::SEQUENCER_FEE_VAULT,
            parent_beacon_block_root: Some(B256::ZERO),
            gas_limit: header.gas_limit,
            eip1559_params: Some(config.genesis.system_config.eip1559_params),
            min_base_fee: forks.jovian.map(|_| 0),
            transactions: forced,
        }
    }

    /// Executes a block on any block and keeps its state. The chain stays as it is.
    pub(crate) fn execute(
        &self,
        parent: &Block,
        attributes: &BlockAttributes,
    ) -> Result<(ExecutedBlock, Changes), String> {
        let header = parent.header.clone();
        let mut trie = StateTrie::new(header.state_root, StateLimits::default());
        let mut roots = TrieRoots::new(&mut trie, &*self.everything);
        let state = TrieState::new(&*self.everything, header.clone());
        let executed = build_block(&self.spec, &header, attributes, &mut NoPool, state, &mut roots)
            .map_err(|error| error.to_string())?;
        let outcome = roots.into_outcome().unwrap();
        store(&self.everything, &outcome, &executed.changes);
        self.everything
            .0
            .write()
            .insert(executed.block.hash(), alloy_rlp::encode(executed.block.header.inner()).into());
        Ok((executed, outcome.changes))
    }

    pub(crate) fn set_labels(&self, safe: u64, finalized: u64) {
        let mut tables = self.tables.write();
        (tables.safe, tables.finalized) = (safe, finalized);
    }

    /// Notes what was safe at an L1 block; later than what was noted before.
    pub(crate) fn note_safe_head(&self, l1: BlockRef, l2: BlockRef) {
        self.tables.write().safe_heads.push(SafeHead { l1, l2 });
    }

    /// Blocks that a reorganization drops can still be read.
    pub(crate) fn keep_dropped(&self) {
        self.tables.write().keep_dropped = true;
    }

    /// Receipts cannot be read for now.
    pub(crate) fn fail_receipts(&self, fail: bool) {
        self.tables.write().receipts_fail = fail;
    }

    /// The state of this block is gone.
    pub(crate) fn prune(&self, block: B256) {
        self.tables.write().pruned.push(block);
    }

    /// Yields when the head may have moved.
    pub(crate) fn signal(self: &Arc<Self>) -> duskevm_rpc::HeadSignal {
        let this = self.clone();
        Arc::new(move || {
            let receiver = this.moved.subscribe();
            Box::pin(futures::stream::unfold(receiver, |mut receiver| async move {
                receiver.changed().await.ok()?;
                Some(((), receiver))
            }))
        })
    }
}

fn alloc(genesis: &L2Genesis) -> StateChanges {
    let mut changes = StateChanges::default();
    for (address, account) in &genesis.alloc {
        let code_hash = account.code.as_ref().map_or(KECCAK256_EMPTY, keccak256);
        changes.codes.extend(account.code.clone().map(|code| (code_hash, code)));
        let info = AccountInfo { nonce: account.nonce, balance: account.balance, code_hash };
        let slots = account.storage.iter().map(|(slot, value)| ((*slot).into(), (*value).into()));
        changes.accounts.push(AccountDelta::new(*address, Some(info), false, slots));
    }
    changes
}

fn store(everything: &Everything, outcome: &duskevm_trie::StateOutcome, changes: &StateChanges) {
    let mut all = everything.0.write();
    all.extend(outcome.changes.inserted.iter().map(|(hash, node)| (*hash, node.clone())));
    all.extend(changes.codes.iter().cloned());
}

impl ChainReader for MemoryChain {
    fn heads(&self) -> Result<Heads, ReadError> {
        let tables = self.tables.read();
        let at = |number: u64| BlockRef { number, hash: tables.canonical[number as usize] };
        let latest = tables.canonical.len() as u64 - 1;
        Ok(Heads { latest: at(latest), safe: at(tables.safe.min(latest)), finalized: at(tables.finalized.min(latest)) })
    }

    fn canonical_hash(&self, number: u64) -> Result<Option<B256>, ReadError> {
        Ok(self.tables.read().canonical.get(number as usize).copied())
    }

    fn header(&self, hash: B256) -> Result<Option<Sealed<Header>>, ReadError> {
        Ok(self.tables.read().blocks.get(&hash).map(|stored| stored.block.header.clone()))
    }

    fn block(&self, hash: B256) -> Result<Option<Arc<Block>>, ReadError> {
        Ok(self.tables.read().blocks.get(&hash).map(|stored| stored.block.clone()))
    }

    fn receipts(&self, hash: B256) -> Result<Option<Arc<Vec<OpReceiptEnvelope>>>, ReadError> {
        let tables = self.tables.read();
        if tables.receipts_fail {
            return Err(ReadError::Backend("on purpose".to_owned()));
        }
        Ok(tables.blocks.get(&hash).map(|stored| stored.receipts.clone()))
    }

    fn transaction(&self, hash: B256) -> Result<Option<TxLocation>, ReadError> {
        let tables = self.tables.read();
        Ok(tables.canonical.iter().find_map(|block| {
            let index = tables.blocks[block].block.transactions.iter().position(|tx| tx.hash() == hash)?;
            Some(TxLocation { block: *block, index })
        }))
    }

    fn safe_head_at(&self, l1_number: u64) -> Result<Option<SafeHead>, ReadError> {
        let tables = self.tables.read();
        Ok(tables.safe_heads.iter().rfind(|noted| noted.l1.number <= l1_number).copied())
    }

    fn state(&self, block: B256) -> Result<Option<Arc<dyn StateReader>>, ReadError> {
        let tables = self.tables.read();
        if tables.pruned.contains(&block) {
            return Err(ReadError::Pruned(format!("the state of block {block}")));
        }
        let Some(stored) = tables.blocks.get(&block) else { return Ok(None) };
        let trie = StateTrie::new(stored.block.header.state_root, StateLimits::default());
        Ok(Some(Arc::new(MemoryState {
            everything: self.everything.clone(),
            header: stored.block.header.clone(),
            trie: Mutex::new(trie),
        })))
    }
}

struct MemoryState {
    everything: Arc<Everything>,
    header: Sealed<Header>,
    trie: Mutex<StateTrie>,
}

impl StateReader for MemoryState {
    fn account(&self, address: Address) -> Result<Option<Account>, ReadError> {
        let found = self.trie.lock().account(&*self.everything, &keccak256(address)).unwrap();
        Ok(found.map(|account| Account {
            nonce: account.nonce,
            balance: account.balance,
            code_hash: account.code_hash,
        }))
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, ReadError> {
        let slot = keccak256(slot.to_be_bytes::<32>());
        Ok(self.trie.lock().storage(&*self.everything, &keccak256(address), &slot).unwrap())
    }

    fn code(&self, hash: B256) -> Result<Bytes, ReadError> {
        if hash == KECCAK256_EMPTY {
            return Ok(Bytes::new());
        }
        Ok(self.everything.code(&hash).unwrap().unwrap())
    }

    fn block_hash(&self, number: u64) -> Result<B256, ReadError> {
        use revm::Database as _;
        Ok(TrieState::new(&*self.everything, self.header.clone()).block_hash(number).unwrap())
    }

    fn prove(&self, address: Address, slots: &[U256]) -> Result<AccountProof, ReadError> {
        let hashed = keccak256(address);
        let account = self.account(address)?;
        let mut trie = self.trie.lock();
        let storage_root =
            trie.account(&*self.everything, &hashed).unwrap().map_or(EMPTY_ROOT_HASH, |account| account.storage_root);
        let nodes = trie.prove_account(&*self.everything, &hashed).unwrap();
        let slots = slots
            .iter()
            .map(|slot| {
                let key = keccak256(slot.to_be_bytes::<32>());
                SlotProof {
                    slot: *slot,
                    value: trie.storage(&*self.everything, &hashed, &key).unwrap(),
                    nodes: trie.prove_storage(&*self.everything, &hashed, &key).unwrap(),
                }
            })
            .collect();
        Ok(AccountProof { account, storage_root, nodes, slots })
    }
}
