//! A database with a scripted chain, and the server on it.

use crate::client::Client;
use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy_signer::SignerSync as _;
use alloy_signer_local::PrivateKeySigner;
use duskevm_dusk_l1::state::StateKey;
use duskevm_fence::Fence;
use duskevm_genesis::{LOCAL_CONTRACTS, evm_address};
use duskevm_l1_view::{
    DuskBlock, DuskEvent, DuskTx, ENVELOPE_TOPIC, LOG_TOPIC, ViewBlock, ViewConfig, encode_log, project,
};
use duskevm_messages::l1::{L1BlockRef, L1Heads};
use duskevm_rpc::{CarrierPorts, L1RpcConfig, L1RpcServer, L1Wiring, Limits, Socket, l1_rpc_spec};
use duskevm_settlement::{Contracts, Genesis, Settlement, SystemConfig};
use duskevm_store::{
    Identity,
    l1::{BlockCommit, L1Store, NamedChange, ViewCommit},
};
use duskevm_supervision::{ChildSpec, Ref, Strategy, Supervisor, Tree};
use serde_json::Value;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::sync::watch;

pub(super) const CHAIN_ID: u64 = 99;
pub(super) const PORTAL: B256 = LOCAL_CONTRACTS.portal;
pub(super) const CONFIG: B256 = LOCAL_CONTRACTS.system_config;
/// First topic of the logs that the chain has, one in each block.
pub(super) const TOPIC: B256 = B256::repeat_byte(0x70);

/// Who signs the envelopes.
pub(super) fn batcher() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(7)).unwrap()
}

fn view_config() -> ViewConfig {
    ViewConfig { chain_id: CHAIN_ID, emitters: [PORTAL, CONFIG].into(), inbox: Some(LOCAL_CONTRACTS.batch_inbox) }
}

pub(super) fn system_config() -> SystemConfig {
    SystemConfig {
        owner: Address::repeat_byte(1),
        batcher: batcher().address(),
        overhead: B256::ZERO,
        scalar: SystemConfig::scalar_v1(1, 2),
        gas_limit: 60_000_000,
        eip1559_denominator: 250,
        eip1559_elasticity: 6,
        operator_fee_scalar: 0,
        operator_fee_constant: 0,
        min_base_fee: 0,
        da_footprint_gas_scalar: 0,
        unsafe_block_signer: Address::repeat_byte(2),
    }
}

fn genesis(system_config: SystemConfig) -> Genesis {
    let contracts = Contracts {
        batch_inbox: LOCAL_CONTRACTS.batch_inbox,
        portal: LOCAL_CONTRACTS.portal,
        messenger: LOCAL_CONTRACTS.messenger,
        standard_bridge: LOCAL_CONTRACTS.standard_bridge,
        erc721_bridge: LOCAL_CONTRACTS.erc721_bridge,
        system_config: LOCAL_CONTRACTS.system_config,
    };
    Genesis { l1_chain_id: CHAIN_ID, contracts, system_config }
}

/// The state records of a configuration.
fn records(system_config: SystemConfig) -> Vec<NamedChange> {
    let records = genesis(system_config).records().into_iter();
    let named =
        records.map(|record| (StateKey::ContractStorage(record.contract.0, record.key).to_bytes(), Some(record.value)));
    named.collect()
}

/// A block with a log of the portal and, above genesis, a signed envelope.
fn dusk_block(height: u64, branch: u8, parent: Option<&ViewBlock>) -> DuskBlock {
    let id = |what: u8| keccak256([&height.to_be_bytes()[..], &[branch, what]].concat());
    let log = encode_log(&[TOPIC, B256::with_last_byte(branch)], &height.to_be_bytes());
    let mut events = vec![DuskEvent { contract: PORTAL, topic: LOG_TOPIC.into(), data: log.into() }];
    if height > 0 {
        let tx = TxEip1559 {
            chain_id: CHAIN_ID,
            nonce: height - 1,
            gas_limit: 21_000,
            max_fee_per_gas: 2_000_000_000,
            max_priority_fee_per_gas: height.into(),
            to: TxKind::Call(evm_address(LOCAL_CONTRACTS.batch_inbox)),
            // Branches have envelopes of their own.
            input: Bytes::copy_from_slice(&[1, 2, branch]),
            ..Default::default()
        };
        let signature = batcher().sign_hash_sync(&tx.signature_hash()).unwrap();
        let data: Bytes = TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into();
        events.push(DuskEvent { contract: LOCAL_CONTRACTS.batch_inbox, topic: ENVELOPE_TOPIC.into(), data });
    }
    DuskBlock {
        height,
        timestamp: 1_000 + 10 * height,
        hash: id(0),
        prev_hash: parent.map(ViewBlock::dusk_hash).unwrap_or_default(),
        seed: [height as u8; 48],
        txs: vec![DuskTx { id: id(1), index: 0, events }],
    }
}

pub(super) struct Bed {
    pub(super) supervisor: Supervisor,
    pub(super) address: SocketAddr,
    pub(super) chain: Chain,
    _folder: TempDir,
}

/// The chain, as its two writers leave it.
pub(super) struct Chain {
    pub(super) store: L1Store,
    pub(super) blocks: Vec<ViewBlock>,
    heads: watch::Sender<Option<L1Heads>>,
    config: SystemConfig,
}

impl Chain {
    /// Adds a block of a branch; its state has this configuration. Nobody is told.
    pub(super) fn add(&mut self, branch: u8, config: SystemConfig, final_height: u64) {
        let height = self.blocks.len() as u64;
        let dusk = dusk_block(height, branch, self.blocks.last());
        let view = project(&view_config(), self.blocks.last().map(|block| &block.header), &dusk).unwrap();
        let fence = Fence::unfenced();
        let lux = |amount: u64| (StateKey::ContractBalance(PORTAL.0).to_bytes(), Some(amount.to_le_bytes().to_vec()));
        let nonce = |next: u64| {
            let key = [b"nonce/".as_slice(), batcher().address().as_slice()].concat();
            let name = StateKey::ContractStorage(LOCAL_CONTRACTS.batch_inbox.0, key).to_bytes();
            (name, (next > 0).then(|| next.to_be_bytes().to_vec()))
        };
        let mut state = records(config);
        state.extend([lux(height), nonce(height)]);
        let mut undo = records(self.config);
        undo.extend([lux(height.saturating_sub(1)), nonce(height.saturating_sub(1))]);
        let commit = BlockCommit {
            height,
            hash: dusk.hash.0,
            record: vec![1],
            state,
            undo,
            finality: dusk.hash.to_vec(),
            final_height,
            ..BlockCommit::default()
        };
        self.store.commit_block(&fence, &commit).unwrap();
        self.store.commit_views(&fence, &[summary(&view)]).unwrap();
        self.blocks.push(view);
        self.config = config;
    }

    /// Tells where the chain is.
    pub(super) fn publish(&self, finalized: u64) {
        let at = |number: usize| L1BlockRef::from(&self.blocks[number]);
        let safe = at(finalized as usize);
        self.heads.send_replace(Some(L1Heads { latest: at(self.blocks.len() - 1), safe, finalized: safe }));
    }

    /// Adds blocks of a branch up to this number.
    pub(super) fn grow(&mut self, to: u64, branch: u8, finalized: u64) {
        while (self.blocks.len() as u64) <= to {
            self.add(branch, self.config, finalized);
        }
        self.publish(finalized);
    }

    /// Takes blocks back until this one is the newest. Nobody is told.
    pub(super) fn take_back(&mut self, to: u64) {
        let fence = Fence::unfenced();
        self.store.truncate_views(&fence, Some(to), |record| summary(&ViewBlock::decode(record).unwrap())).unwrap();
        while self.blocks.len() as u64 > to + 1 {
            let block = self.blocks.pop().unwrap();
            let below = self.blocks.last().unwrap().dusk_hash();
            self.store.revert_block(&fence, block.number(), &block.dusk_hash().0, below.as_slice(), None).unwrap();
        }
    }

    /// Drops the view, as its actor does before it makes it anew.
    pub(super) fn reset(&self) {
        let summary = |record: &[u8]| summary(&ViewBlock::decode(record).unwrap());
        self.store.reset_views(&Fence::unfenced(), b"anew", summary).unwrap();
    }
}

fn summary(view: &ViewBlock) -> ViewCommit {
    ViewCommit {
        height: view.number(),
        hash: view.hash().0,
        record: view.encode(),
        transactions: view.transactions.iter().map(|tx| (tx.hash().0, tx.dusk_id.0)).collect(),
    }
}

impl Bed {
    /// Blocks 0 to `tip` of branch 1, of which those up to `finalized` are final.
    pub(super) async fn start(tip: u64, finalized: u64) -> Self {
        Self::with(tip, finalized, Limits::default(), |spec| spec).await
    }

    /// The same, with something that carries transactions.
    pub(super) async fn carrying(tip: u64, finalized: u64, carrier: CarrierPorts) -> Self {
        Self::made(tip, finalized, Limits::default(), Some(carrier), |spec| spec).await
    }

    pub(super) async fn with(
        tip: u64,
        finalized: u64,
        limits: Limits,
        adjust: impl FnOnce(ChildSpec<L1RpcServer>) -> ChildSpec<L1RpcServer>,
    ) -> Self {
        Self::made(tip, finalized, limits, None, adjust).await
    }

    async fn made(
        tip: u64,
        finalized: u64,
        limits: Limits,
        carrier: Option<CarrierPorts>,
        adjust: impl FnOnce(ChildSpec<L1RpcServer>) -> ChildSpec<L1RpcServer>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity { chain_id: CHAIN_ID, genesis: B256::ZERO };
        let store = L1Store::open(&folder.path().join("l1"), &identity).unwrap();
        let (heads, feed) = watch::channel(None);
        let mut chain = Chain { store: store.clone(), blocks: Vec::new(), heads, config: system_config() };
        chain.grow(tip, 1, finalized);
        let socket = Socket::new(SocketAddr::from(([127, 0, 0, 1], 0)));
        let wiring = L1Wiring {
            carrier,
            config: L1RpcConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)), limits, ..L1RpcConfig::default() },
            socket: socket.clone(),
            store,
            heads: feed,
            chain_id: CHAIN_ID,
            settlement: Some(Arc::new(Settlement::new(&genesis(system_config())))),
        };
        let actor: Ref<L1RpcServer> = Ref::declare("l1-rpc");
        let tree = Tree::new("root", Strategy::OneForOne).allow_faults(true);
        let supervisor = tree.actor(adjust(l1_rpc_spec(&actor, wiring))).start();
        supervisor.ready().await.unwrap();
        let address = socket.local_addr().unwrap();
        Self { supervisor, address, chain, _folder: folder }
    }

    pub(super) fn client(&self) -> Client {
        Client::new(self.address)
    }

    pub(super) async fn ask(&self, method: &str, params: Value) -> Value {
        self.client().call(method, params).await
    }

    pub(super) async fn stop(self) {
        let reason = self.supervisor.shutdown(Duration::from_secs(10)).await;
        assert_eq!(reason.exit_code(), 0, "{reason}");
    }
}

/// A number as a word of call data or of an answer.
pub(super) fn word(value: u64) -> B256 {
    U256::from(value).into()
}
