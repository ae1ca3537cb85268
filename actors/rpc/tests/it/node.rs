//! A supervised server on a free port.

use crate::{
    chain::MemoryChain,
    client::Client,
    scripted::{Alone, ScriptedPool},
};
use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, Bytes, TxKind, U256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use duskevm_evm::RecoveredTx;
use duskevm_messages::executor::DaOrders;
use duskevm_rpc::{Limits, RpcConfig, RpcServer, Socket, Wiring, rpc_spec};
use duskevm_supervision::{ChildSpec, Ref, Strategy, Supervisor, Tree};
use op_alloy_consensus::OpTxEnvelope;
use std::{net::SocketAddr, sync::Arc, time::Duration};

pub(crate) struct Node {
    pub(crate) chain: Arc<MemoryChain>,
    pub(crate) pool: ScriptedPool,
    pub(crate) da_orders: DaOrders,
    pub(crate) supervisor: Supervisor,
    pub(crate) address: SocketAddr,
}

pub(crate) fn config(limits: Limits) -> RpcConfig {
    RpcConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)), limits, ..RpcConfig::default() }
}

impl Node {
    pub(crate) async fn start(chain: Arc<MemoryChain>) -> Self {
        Self::with(chain, Limits::default()).await
    }

    pub(crate) async fn with(chain: Arc<MemoryChain>, limits: Limits) -> Self {
        Self::build(chain, config(limits), |spec| spec).await
    }

    pub(crate) async fn configured(chain: Arc<MemoryChain>, config: RpcConfig) -> Self {
        Self::build(chain, config, |spec| spec).await
    }

    /// With another deadline of the watchdog.
    pub(crate) async fn watched(chain: Arc<MemoryChain>, deadline: Duration) -> Self {
        Self::build(chain, config(Limits::default()), |spec| spec.deadline(deadline)).await
    }

    async fn build(
        chain: Arc<MemoryChain>,
        config: RpcConfig,
        adjust: impl FnOnce(ChildSpec<RpcServer>) -> ChildSpec<RpcServer>,
    ) -> Self {
        let pool = ScriptedPool::new();
        let socket = Socket::new(config.listen);
        let da_orders = DaOrders::default();
        let wiring = Wiring {
            socket: socket.clone(),
            reader: chain.clone(),
            spec: chain.spec.clone(),
            heads: chain.signal(),
            pool: pool.ports(),
            node: Arc::new(Alone),
            rollup: chain.rollup.clone(),
            da_orders: da_orders.clone(),
            config,
        };
        let actor: Ref<RpcServer> = Ref::declare("rpc");
        let supervisor =
            Tree::new("root", Strategy::OneForOne).allow_faults(true).actor(adjust(rpc_spec(&actor, wiring))).start();
        supervisor.ready().await.unwrap();
        let address = socket.local_addr().unwrap();
        Self { chain, pool, da_orders, supervisor, address }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Mines what is in the pool.
    pub(crate) fn mine_pool(&self) -> Arc<duskevm_evm::Block> {
        self.chain.mine(self.pool.take())
    }

    pub(crate) async fn stop(self) {
        let reason = self.supervisor.shutdown(Duration::from_secs(10)).await;
        assert_eq!(reason.exit_code(), 0, "{reason}");
    }
}

/// One of the ten funded accounts.
pub(crate) fn user(index: usize) -> PrivateKeySigner {
    let accounts = duskevm_genesis::dev_accounts().unwrap();
    PrivateKeySigner::from_bytes(&accounts.users[index].private_key).unwrap()
}

pub(crate) fn sign<T: SignableTransaction<alloy_primitives::Signature>>(
    signer: &PrivateKeySigner,
    tx: T,
) -> Arc<RecoveredTx>
where
    OpTxEnvelope: From<alloy_consensus::Signed<T>>,
{
    let signature = signer.sign_hash_sync(&tx.signature_hash()).unwrap();
    let envelope = OpTxEnvelope::from(tx.into_signed(signature));
    Arc::new(RecoveredTx::decode(&envelope.encoded_2718().into()).unwrap())
}

pub(crate) fn dynamic(signer: &PrivateKeySigner, nonce: u64, to: TxKind, value: u64, input: Bytes) -> Arc<RecoveredTx> {
    sign(
        signer,
        TxEip1559 {
            chain_id: 31310,
            nonce,
            gas_limit: 500_000,
            max_fee_per_gas: 20_000_000_000,
            max_priority_fee_per_gas: 1_500_000_000,
            to,
            value: U256::from(value),
            access_list: Default::default(),
            input,
        },
    )
}

pub(crate) fn transfer(signer: &PrivateKeySigner, nonce: u64, to: Address, value: u64) -> Arc<RecoveredTx> {
    dynamic(signer, nonce, TxKind::Call(to), value, Bytes::new())
}

/// Init code that deploys this runtime code (at most 255 bytes).
pub(crate) fn init_code(runtime: &[u8]) -> Bytes {
    let length = runtime.len() as u8;
    let mut code = vec![0x60, length, 0x60, 0x0a, 0x5f, 0x39, 0x60, length, 0x5f, 0xf3];
    code.extend_from_slice(runtime);
    code.into()
}

/// Stores the first word of its call data in slot 0, logs it under topic 42 and returns it.
pub(crate) const STORE_AND_LOG: &[u8] =
    &[0x5f, 0x35, 0x80, 0x5f, 0x55, 0x5f, 0x52, 0x60, 0x2a, 0x60, 0x20, 0x5f, 0xa1, 0x60, 0x20, 0x5f, 0xf3];

/// Reverts with its call data.
pub(crate) const REVERT: &[u8] = &[0x36, 0x5f, 0x5f, 0x37, 0x36, 0x5f, 0xfd];

/// Never ends.
pub(crate) const LOOP: &[u8] = &[0x5b, 0x5f, 0x56];

pub(crate) fn word(value: u64) -> Bytes {
    U256::from(value).to_be_bytes::<32>().into()
}

/// Deploys with nonce 0 of user 9 and mines it.
pub(crate) fn deploy(chain: &MemoryChain, nonce: u64, runtime: &[u8]) -> Address {
    let signer = user(9);
    chain.mine(vec![dynamic(&signer, nonce, TxKind::Create, 0, init_code(runtime))]);
    signer.address().create(nonce)
}
