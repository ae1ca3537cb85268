//! Import of a chain by a node that a consensus client drives, next to the import inside of the process.
//!
//! `in process`: each block's bytes are decoded, senders recovered, and the executor is asked to import it, as for a block that gossip
//! brought. `engine api`: the same blocks by `engine_newPayload` and `engine_forkchoiceUpdated` over HTTP with JWT to a node of the role
//! `execution`, a process of its own. One call after the other, as consensus clients do.
//!
//! `cargo bench --bench engine_api`; `DUSKEVM_BENCH_BLOCKS` and `DUSKEVM_BENCH_TRANSACTIONS` (of a block) say how much.

use alloy_consensus::{Header, SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{B256, Bytes, TxKind, U256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use duskevm::{
    cli::dev_accounts,
    config::Config,
    network::{Network, NetworkFiles},
    node::DataFolder,
};
use duskevm_engine_api::{ExecutionPayload, JwtSecret, PayloadMethod, version::ForkchoiceMethod};
use duskevm_evm::{Block, NoPool, RecoveredTx};
use duskevm_executor::{ChainState, Executor, Feeds, KeptBlocks, Settings, Suspect};
use duskevm_fence::Fence;
use duskevm_messages::{executor::Import, txpool::HeadChanged};
use duskevm_rollup::{ConfigUpdates, L1BlockRef, OriginBlock, OriginChoice, epoch_attributes};
use duskevm_supervision::{ChildSpec, Port, Ref, Strategy, Tree};
use duskevm_trie::StateLimits;
use jsonrpsee::{
    core::client::ClientT,
    http_client::{HeaderMap, HeaderValue, HttpClient, HttpClientBuilder},
    rpc_params,
};
use serde_json::Value;
use std::{
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;

/// As in the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const SENDERS: u32 = 100;
/// A token holds for a minute around its time.
const TOKEN: Duration = Duration::from_secs(20);
const BODY: u32 = 256 << 20;

fn wanted(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

fn config() -> Config {
    let mut config = Config::default();
    config.l2.block_time = 1;
    config.l2.gas_limit = 2_000_000_000;
    config.genesis.accounts = SENDERS;
    config
}

fn open(folder: &Path, network: &Network) -> (Settings, Arc<duskevm_store::l2::L2Store>) {
    let stores = DataFolder::open(folder).and_then(|data| data.stores(&config(), network)).expect("fresh stores");
    (Settings { spec: network.spec.clone(), block_time: 1, trie: StateLimits::default(), answered: None }, stores.l2)
}

fn sign(signer: &PrivateKeySigner, nonce: u64, to: TxKind) -> Arc<RecoveredTx> {
    let tx = TxEip1559 {
        chain_id: 31310,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 20_000_000_000,
        max_priority_fee_per_gas: 1_000_000,
        to,
        value: U256::from(1),
        ..Default::default()
    };
    let signature = signer.sign_hash_sync(&tx.signature_hash()).expect("a hash can be signed");
    let encoded: Bytes = TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into();
    Arc::new(RecoveredTx::decode(&encoded).expect("a transaction of our own"))
}

/// The chain that is imported: transfers between the funded accounts.
fn make(network: &Network, blocks: u64, transactions: u64) -> Vec<Arc<Block>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (settings, store) = open(folder.path(), network);
    let mut chain = ChainState::open(settings, store, Fence::unfenced()).expect("a fresh chain");
    let signers: Vec<PrivateKeySigner> = dev_accounts(&config().keys.mnemonic, SENDERS)
        .expect("the test mnemonic")
        .iter()
        .map(|account| PrivateKeySigner::from_bytes(&account.private_key).expect("a key"))
        .collect();
    let mut nonces = vec![0u64; signers.len()];
    let genesis = chain.head().header.timestamp;
    // All blocks are of one L1 block, the one after that in which the rollup begins.
    let (parent_hash, number) = (network.rollup.genesis.l1.hash, network.rollup.genesis.l1.number + 1);
    let header =
        Header { parent_hash, number, timestamp: genesis, base_fee_per_gas: Some(1_000_000_000), ..Default::default() };
    let hash = header.hash_slow();
    let origin = L1BlockRef { hash, number, parent_hash, timestamp: genesis };
    let mut made = Vec::new();
    let mut next = 0;
    for sequence_number in 0..blocks {
        let choice = OriginChoice { origin, sequence_number, no_user_transactions: false };
        let block =
            OriginBlock { header: header.clone(), hash, deposits: Ok(Vec::new()), updates: ConfigUpdates::default() };
        let system = network.rollup.genesis.system_config;
        let mut attributes = epoch_attributes(&network.rollup, &system, genesis + sequence_number + 1, &choice, &block)
            .expect("the origin is the chosen one");
        for _ in 0..transactions {
            let (from, to) = (next % signers.len(), (next + 1) % signers.len());
            attributes.transactions.push(sign(&signers[from], nonces[from], TxKind::Call(signers[to].address())));
            nonces[from] += 1;
            next += 1;
        }
        let executed = chain.build(&attributes, &mut NoPool).expect("a sound store").expect("a valid block");
        made.push(executed.block.clone());
        chain.commit(executed).expect("a sound store");
    }
    made
}

struct Row {
    name: &'static str,
    took: Duration,
    blocks: u64,
    gas: u64,
}

impl Row {
    fn print(&self) {
        let seconds = self.took.as_secs_f64();
        println!(
            "{:<12} {:>8.1} blocks/s {:>8.1} Mgas/s   ({} blocks, {:.1} ms each)",
            self.name,
            self.blocks as f64 / seconds,
            self.gas as f64 / seconds / 1e6,
            self.blocks,
            seconds * 1e3 / self.blocks as f64
        );
    }
}

async fn in_process(network: &Network, blocks: &[Bytes]) -> Duration {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (settings, store) = open(folder.path(), network);
    let executor: Ref<Executor> = Ref::declare("executor");
    let feeds = Feeds {
        heads: watch::Sender::new(None),
        pool: watch::Sender::new(None),
        head_changed: Port::from_fn(|_: HeadChanged| async {}),
        suspect: Suspect::default(),
        kept: KeptBlocks::default(),
        wanted: watch::Sender::new(None),
    };
    let rollup = network.rollup.clone();
    let child = ChildSpec::new(&executor, move |start| {
        Ok(Executor::open(settings.clone(), rollup.clone(), store.clone(), feeds.clone(), &start)?)
    });
    let supervisor = Tree::new("root", Strategy::OneForOne).actor(child).start();
    let begin = Instant::now();
    for bytes in blocks {
        let block = Arc::new(Block::from_rlp(bytes).expect("a block of our own"));
        executor.ask(Import { block }).await.expect("an executor").expect("a valid block");
    }
    let took = begin.elapsed();
    supervisor.shutdown(Duration::from_secs(30)).await;
    took
}

/// A node in the role `execution`.
struct Execution {
    child: Child,
    engine: u16,
    secret: JwtSecret,
    _folder: tempfile::TempDir,
}

impl Drop for Execution {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Execution {
    fn start(files: &NetworkFiles) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (network, data) = (folder.path().join("network"), folder.path().join("data"));
        files.write(&network).expect("a folder");
        let listeners: Vec<_> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let ports: Vec<u16> = listeners.iter().map(|one| one.local_addr().expect("an address").port()).collect();
        drop(listeners);
        let child = Command::new(env!("CARGO_BIN_EXE_duskevm"))
            .args(["node", "--config", concat!(env!("CARGO_MANIFEST_DIR"), "/config/execution.toml")])
            .env_clear()
            .env("DUSKEVM_DATA__DIR", &data)
            .env("DUSKEVM_NETWORK__GENESIS", &network)
            .env("DUSKEVM_RPC__PORT", ports[0].to_string())
            .env("DUSKEVM_ENGINE_API__PORT", ports[1].to_string())
            .env("DUSKEVM_ADMIN__PORT", ports[2].to_string())
            .env("DUSKEVM_HTTP__PORT", ports[3].to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program");
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", ports[1])).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(60), "the node does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
        let text = std::fs::read_to_string(data.join("jwt.hex")).expect("the node's secret");
        let secret = JwtSecret::from_hex(text.trim()).expect("a secret");
        Self { child, engine: ports[1], secret, _folder: folder }
    }

    fn client(&self) -> HttpClient {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs();
        let token = HeaderValue::from_str(&format!("Bearer {}", self.secret.token(now))).expect("plain text");
        let headers = HeaderMap::from_iter([("authorization".parse().expect("a name"), token)]);
        HttpClientBuilder::default()
            .set_headers(headers)
            .max_request_size(BODY)
            .build(format!("http://127.0.0.1:{}", self.engine))
            .expect("an address")
    }
}

async fn by_engine_api(network: &Network, files: &NetworkFiles, blocks: &[Arc<Block>]) -> Duration {
    let node = Execution::start(files);
    let payloads: Vec<_> = blocks.iter().map(|block| ExecutionPayload::from_block(block)).collect();
    let (mut client, mut since) = (node.client(), Instant::now());
    let begin = Instant::now();
    for (block, payload) in blocks.iter().zip(&payloads) {
        if since.elapsed() > TOKEN {
            (client, since) = (node.client(), Instant::now());
        }
        let timestamp = block.header.timestamp;
        let (none, root) = (Vec::<B256>::new(), block.header.parent_beacon_block_root);
        let method = PayloadMethod::at(&network.spec, timestamp);
        let params = match method {
            PayloadMethod::V1 | PayloadMethod::V2 => rpc_params![payload],
            PayloadMethod::V3 => rpc_params![payload, none, root],
            PayloadMethod::V4 => rpc_params![payload, none, root, Vec::<Bytes>::new()],
        };
        let status: Value = client.request(method.new_payload(), params).await.expect("an answer");
        assert_eq!(status["status"], "VALID", "{status}");
        let state = serde_json::json!({
            "headBlockHash": block.hash(), "safeBlockHash": B256::ZERO, "finalizedBlockHash": B256::ZERO,
        });
        let method = ForkchoiceMethod::at(&network.spec, timestamp);
        let updated: Value = client.request(method.name(), rpc_params![state, Value::Null]).await.expect("an answer");
        assert_eq!(updated["payloadStatus"]["status"], "VALID", "{updated}");
    }
    begin.elapsed()
}

fn main() {
    // `cargo test --benches` asks whether it works, not how fast.
    let test = !std::env::args().any(|argument| argument == "--bench");
    let (blocks, transactions) = if test { (3, 3) } else { (300, 1000) };
    let (blocks, transactions) =
        (wanted("DUSKEVM_BENCH_BLOCKS", blocks), wanted("DUSKEVM_BENCH_TRANSACTIONS", transactions));
    let files = NetworkFiles::local(&config(), 1_700_000_000).expect("a local network");
    let network = files.load().expect("a local network");
    let chain = make(&network, blocks, transactions);
    let bytes: Vec<Bytes> = chain.iter().map(|block| block.to_rlp().into()).collect();
    let gas = chain.iter().map(|block| block.header.gas_used).sum();
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    println!("{blocks} blocks of {transactions} transfers");
    let took = runtime.block_on(in_process(&network, &bytes));
    Row { name: "in process", took, blocks, gas }.print();
    let took = runtime.block_on(by_engine_api(&network, &files, &chain));
    Row { name: "engine api", took, blocks, gas }.print();
}
