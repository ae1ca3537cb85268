//! Two nodes in the role `execution`, and a consensus client of our own that drives them, with the types that kona-node uses.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "each test uses its part"
)]

use super::support::{self, Ports, call, client, free_ports};
use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_rpc_types_engine::{ForkchoiceState, ForkchoiceUpdated, PayloadAttributes, PayloadStatus, PayloadStatusEnum};
use duskevm::network::NetworkFiles;
use duskevm_engine_api::JwtSecret;
use duskevm_rollup::{ConfigUpdates, L1BlockRef, OriginBlock, OriginChoice, RollupConfig, epoch_attributes};
use jsonrpsee::{
    core::{ClientError, client::ClientT},
    http_client::{HeaderMap, HttpClient, HttpClientBuilder},
    rpc_params,
};
use op_alloy_consensus::TxDeposit;
use op_alloy_rpc_types_engine::{OpExecutionPayloadEnvelopeV4, OpExecutionPayloadV4, OpPayloadAttributes};
use serde_json::{Value, json};
use std::{
    fs::{self, OpenOptions},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Whatever happens to a node, the driver is on again within this time.
pub const LONG: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(50);

/// A node.
pub struct Node {
    pub name: &'static str,
    pub ports: Ports,
    pub engine: u16,
    pub net: PathBuf,
    child: Option<Child>,
}

impl Node {
    /// `settings` are more lines of the section `engine_api`.
    fn new(name: &'static str, net: PathBuf, settings: &str) -> Self {
        let [engine] = free_ports();
        let mut node = Self { name, ports: Ports::free(), engine, net, child: None };
        let Ports { rpc, admin, http, .. } = node.ports;
        let text = format!(
            "[network]\nname = \"local\"\ngenesis = \".\"\n[data]\ndir = \"{name}\"\n[rpc]\nport = {rpc}\n[admin]\nport = {admin}\n\
             [http]\nport = {http}\n[engine_api]\nport = {engine}\njwt_secret = \"jwt.hex\"\n{settings}[faults]\nallow = true\n\
             [actors]\nengine_api = true\nconsensus = false\ngossip = false\nda_store = false\nblob_api = false\nl1 = false\nrollup_rpc = false\n\
             l1_rpc = false\nderivation = false\nsequencer = false\nbatcher = false\n"
        );
        fs::write(node.file("toml"), text).unwrap();
        node.start();
        node
    }

    pub fn file(&self, end: &str) -> PathBuf {
        self.net.join(format!("{}.{end}", self.name))
    }

    pub fn data(&self) -> PathBuf {
        self.net.join(self.name)
    }

    pub fn start(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(self.file("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_duskevm"))
            .env_clear()
            .args(["node", "--config"])
            .arg(self.file("toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        assert!(self.child.replace(child).is_none());
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// An ordered stop.
    pub fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        assert!(child.wait().unwrap().success(), "{}", self.log());
    }

    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.file("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("-- {}\n{}\n", self.name, lines[lines.len().saturating_sub(30)..].join("\n"))
    }

    pub fn rpc(&self) -> HttpClient {
        client(self.ports.rpc)
    }

    pub fn admin(&self) -> HttpClient {
        client(self.ports.admin)
    }

    /// A client of the Engine API; its token is of now.
    fn engine(&self) -> HttpClient {
        let secret = JwtSecret::from_hex(&fs::read_to_string(self.net.join("jwt.hex")).unwrap()).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {}", secret.token(now)).parse().unwrap());
        HttpClientBuilder::default()
            .set_headers(headers)
            .request_timeout(Duration::from_secs(30))
            .build(format!("http://127.0.0.1:{}", self.engine))
            .unwrap()
    }

    pub async fn new_payload(&self, block: &Envelope) -> Result<PayloadStatus, ClientError> {
        let (payload, root) = (&block.execution_payload, block.parent_beacon_block_root);
        let none: [B256; 0] = [];
        self.engine().request("engine_newPayloadV4", rpc_params![payload, none, root, none]).await
    }

    pub async fn forkchoice(
        &self,
        state: ForkchoiceState,
        attributes: Option<&OpPayloadAttributes>,
    ) -> Result<ForkchoiceUpdated, ClientError> {
        self.engine().request("engine_forkchoiceUpdatedV3", rpc_params![state, attributes]).await
    }

    pub async fn get_payload(&self, id: alloy_rpc_types_engine::PayloadId) -> Result<Envelope, ClientError> {
        self.engine().request("engine_getPayloadV4", rpc_params![id]).await
    }

    /// Any method of the Engine API's port.
    pub async fn ask(&self, method: &str, params: Vec<Value>) -> Result<Value, ClientError> {
        call(&self.engine(), method, params).await
    }

    /// A block by number or tag, as the Engine API's port has it.
    pub async fn block(&self, tag: &str) -> Value {
        self.ask("eth_getBlockByNumber", vec![json!(tag), json!(true)]).await.unwrap()
    }

    /// Waits until it answers.
    pub async fn up(&mut self) {
        let begin = Instant::now();
        while self.ask("eth_chainId", vec![]).await.is_err() {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("{} ended with {status}\n{}", self.name, self.log());
            }
            assert!(begin.elapsed() < LONG, "{} does not come up\n{}", self.name, self.log());
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub type Envelope = OpExecutionPayloadEnvelopeV4;

pub const fn hash(block: &Envelope) -> B256 {
    block.execution_payload.payload_inner.payload_inner.payload_inner.block_hash
}

pub const fn parent(block: &Envelope) -> B256 {
    block.execution_payload.payload_inner.payload_inner.payload_inner.parent_hash
}

pub const fn state_root(block: &Envelope) -> B256 {
    block.execution_payload.payload_inner.payload_inner.payload_inner.state_root
}

pub const fn transactions(block: &Envelope) -> &Vec<Bytes> {
    &block.execution_payload.payload_inner.payload_inner.payload_inner.transactions
}

/// A state whose labels stay where they are.
pub const fn head_at(head: B256) -> ForkchoiceState {
    ForkchoiceState { head_block_hash: head, safe_block_hash: B256::ZERO, finalized_block_hash: B256::ZERO }
}

/// The consensus client: it knows the chain that it wants, and brings it to whoever does not have it.
pub struct Driver {
    rollup: Arc<RollupConfig>,
    genesis: (B256, u64),
    /// The chain from block 1 on.
    pub chain: Vec<Envelope>,
}

impl Driver {
    pub fn head(&self) -> B256 {
        self.chain.last().map_or(self.genesis.0, hash)
    }

    pub const fn genesis(&self) -> B256 {
        self.genesis.0
    }

    /// Attributes of a block after the `above`th: L1 attributes and a user's deposit. `salt` makes them differ from others.
    pub fn attributes(&self, above: usize, salt: u8, no_tx_pool: bool) -> OpPayloadAttributes {
        let number = above as u64 + 1;
        let timestamp = self.genesis.1 + number * self.rollup.block_time;
        let header = Header {
            number,
            timestamp: timestamp - 1,
            base_fee_per_gas: Some(1_000_000_000),
            mix_hash: B256::repeat_byte(salt),
            parent_beacon_block_root: Some(B256::ZERO),
            ..Default::default()
        };
        let l1 = header.hash_slow();
        let origin = L1BlockRef { hash: l1, number, parent_hash: B256::ZERO, timestamp: header.timestamp };
        let choice = OriginChoice { origin, sequence_number: 0, no_user_transactions: false };
        let deposit = TxDeposit {
            source_hash: B256::from(U256::from(number * 256 + u64::from(salt))),
            from: Address::repeat_byte(0xab),
            to: TxKind::Call(Address::repeat_byte(0xcd)),
            mint: 1_000_000,
            value: U256::from(1_000_000),
            gas_limit: 100_000,
            ..Default::default()
        };
        let deposits = Ok(vec![Arc::new(duskevm_evm::RecoveredTx::deposit(deposit))]);
        let origin = OriginBlock { header, hash: l1, deposits, updates: ConfigUpdates::default() };
        let system = self.rollup.genesis.system_config;
        let made = epoch_attributes(&self.rollup, &system, timestamp, &choice, &origin).unwrap();
        OpPayloadAttributes {
            payload_attributes: PayloadAttributes {
                timestamp,
                prev_randao: made.prev_randao,
                suggested_fee_recipient: made.fee_recipient,
                withdrawals: Some(Vec::new()),
                parent_beacon_block_root: made.parent_beacon_block_root,
                ..Default::default()
            },
            transactions: Some(made.transactions.iter().map(|tx| tx.encoded().clone()).collect()),
            no_tx_pool: Some(no_tx_pool),
            gas_limit: Some(made.gas_limit),
            eip_1559_params: made.eip1559_params,
            min_base_fee: made.min_base_fee,
        }
    }

    /// Brings a node to the newest block, whatever it knows and whatever happens to it meanwhile: blocks that it does not know are sent again.
    pub async fn lead(&self, node: &Node) {
        let begin = Instant::now();
        while !self.try_lead(node).await {
            assert!(begin.elapsed() < LONG, "{} does not come to the head\n{}", node.name, node.log());
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_lead(&self, node: &Node) -> bool {
        // Down to what it knows, then up.
        let mut known = self.chain.len();
        while known > 0 {
            match node.new_payload(&self.chain[known - 1]).await {
                Ok(status) if status.status == PayloadStatusEnum::Syncing => known -= 1,
                Ok(status) => {
                    assert_eq!(status.status, PayloadStatusEnum::Valid, "block {known}\n{}", node.log());
                    break;
                }
                Err(error) => return retry(&error, node),
            }
        }
        for block in &self.chain[known..] {
            match node.new_payload(block).await {
                // It was restarted in between.
                Ok(status) if status.status == PayloadStatusEnum::Syncing => return false,
                Ok(status) => assert_eq!(status.status, PayloadStatusEnum::Valid, "{}", node.log()),
                Err(error) => return retry(&error, node),
            }
        }
        match node.forkchoice(head_at(self.head()), None).await {
            Ok(answer) => match answer.payload_status.status {
                PayloadStatusEnum::Valid => true,
                PayloadStatusEnum::Syncing => false,
                other => panic!("{other}\n{}", node.log()),
            },
            Err(error) => retry(&error, node),
        }
    }

    /// Has a node build the next block, whatever happens to it meanwhile.
    pub async fn build(&mut self, node: &Node, salt: u8, no_tx_pool: bool) {
        let begin = Instant::now();
        let attributes = self.attributes(self.chain.len(), salt, no_tx_pool);
        let block = loop {
            assert!(begin.elapsed() < LONG, "{} builds no block\n{}", node.name, node.log());
            self.lead(node).await;
            let id = match node.forkchoice(head_at(self.head()), Some(&attributes)).await {
                Ok(answer) if answer.payload_status.status == PayloadStatusEnum::Valid => answer.payload_id.unwrap(),
                Ok(answer) => {
                    assert_eq!(answer.payload_status.status, PayloadStatusEnum::Syncing);
                    continue;
                }
                Err(error) => {
                    retry(&error, node);
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            match node.get_payload(id).await {
                Ok(block) => break block,
                // Unknown: the actor was restarted. It is begun again.
                Err(ClientError::Call(error)) if error.code() == -38001 => {}
                Err(error) => {
                    retry(&error, node);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        assert_eq!(parent(&block), self.head());
        let forced = attributes.transactions.unwrap();
        assert_eq!(transactions(&block)[..forced.len()], forced);
        self.chain.push(block);
    }

    /// Gives a node the newest block as op-node does: until it is answered VALID, and then never again.
    pub async fn give_once(&self, node: &Node) {
        let newest = self.chain.last().unwrap();
        let begin = Instant::now();
        loop {
            match node.new_payload(newest).await {
                Ok(status) => {
                    assert_eq!(status.status, PayloadStatusEnum::Valid, "{}", node.log());
                    return;
                }
                Err(error) => retry(&error, node),
            };
            assert!(begin.elapsed() < LONG, "{} does not take a block\n{}", node.name, node.log());
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Makes the newest block the head of a node that was given it: what is unknown now would stop an op-node.
    pub async fn choose_once(
        &self,
        node: &Node,
        attributes: Option<&OpPayloadAttributes>,
    ) -> Option<alloy_rpc_types_engine::PayloadId> {
        let begin = Instant::now();
        loop {
            match node.forkchoice(head_at(self.head()), attributes).await {
                Ok(answer) => {
                    let status = answer.payload_status.status;
                    assert_eq!(status, PayloadStatusEnum::Valid, "a block that was valid\n{}", node.log());
                    return answer.payload_id;
                }
                Err(error) => retry(&error, node),
            };
            assert!(begin.elapsed() < LONG, "{} does not come to the head\n{}", node.name, node.log());
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Has a node build the next block, and sends it nothing but the question.
    pub async fn build_once(&mut self, node: &Node, salt: u8, no_tx_pool: bool) {
        let begin = Instant::now();
        let attributes = self.attributes(self.chain.len(), salt, no_tx_pool);
        let block = loop {
            assert!(begin.elapsed() < LONG, "{} builds no block\n{}", node.name, node.log());
            let id = self.choose_once(node, Some(&attributes)).await.unwrap();
            match node.get_payload(id).await {
                Ok(block) => break block,
                // What was begun is lost with its instance, and is begun again.
                Err(ClientError::Call(error)) if error.code() == -38001 => {}
                Err(error) => {
                    retry(&error, node);
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        assert_eq!(parent(&block), self.head());
        self.chain.push(block);
    }

    /// Both nodes have the same chain as the driver.
    pub async fn check(&self, nodes: [&Node; 2]) {
        for node in nodes {
            self.lead(node).await;
            let latest = node.block("latest").await;
            assert_eq!(latest["hash"], json!(self.head()), "{}", node.log());
            if let Some(block) = self.chain.last() {
                assert_eq!(latest["stateRoot"], json!(state_root(block)));
            }
            for (index, block) in self.chain.iter().enumerate() {
                let found = node.block(&format!("{:#x}", index + 1)).await;
                assert_eq!(found["hash"], json!(hash(block)), "block {} of {}", index + 1, node.name);
            }
        }
    }
}

/// May a consensus client try again after this error? Always false, for the caller's convenience; everything else is a fault.
fn retry(error: &ClientError, node: &Node) -> bool {
    match error {
        ClientError::Call(error) => {
            assert!(matches!(error.code(), -32000 | -32005), "{error:?}\n{}", node.log());
        }
        // The process is away, or the connection broke with its instance.
        ClientError::Transport(_) | ClientError::RequestTimeout | ClientError::RestartNeeded(_) => {}
        other => panic!("{other:?}\n{}", node.log()),
    }
    false
}

/// One network, one builder and one that imports.
pub struct Pair {
    pub driver: Driver,
    pub builder: Node,
    pub importer: Node,
    folder: tempfile::TempDir,
}

impl Pair {
    pub async fn start() -> Self {
        Self::start_with(|_| String::new()).await
    }

    /// `importer` says, for the builder's ports, what stands besides in the section `engine_api` of the other.
    pub async fn start_with(importer: impl FnOnce(Ports) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let net = folder.path().join("net");
        let made = Command::new(env!("CARGO_BIN_EXE_duskevm"))
            .env_clear()
            .args(["genesis", "--block-time", "1", "--out"])
            .arg(&net)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        // What L1 begins with is none of their business.
        fs::remove_file(net.join("l1-genesis.json")).unwrap();
        fs::write(net.join("jwt.hex"), format!("0x{}\n", "5a".repeat(32))).unwrap();
        let network = NetworkFiles::read(&net).unwrap().load().unwrap();
        let genesis = (network.genesis_block.hash(), network.genesis_block.header.timestamp);
        let driver = Driver { rollup: network.rollup, genesis, chain: Vec::new() };
        let builder = Node::new("builder", net.clone(), "");
        let importer = Node::new("importer", net, &importer(builder.ports));
        let mut pair = Self { driver, builder, importer, folder };
        pair.builder.up().await;
        pair.importer.up().await;
        pair
    }

    /// The builder makes a block, and the other one has it as well.
    pub async fn step(&mut self, salt: u8) {
        self.driver.build(&self.builder, salt, false).await;
        self.driver.lead(&self.importer).await;
        self.driver.lead(&self.builder).await;
    }

    pub async fn check(&self) {
        self.driver.check([&self.builder, &self.importer]).await;
    }

    /// Stops both, and executes their chains again.
    pub fn finish(mut self) {
        for node in [&mut self.builder, &mut self.importer] {
            node.stop();
            support::verify(&node.data());
        }
        drop(self.folder);
    }
}

/// What a payload is made of, for `engine_newPayload` with another version.
pub const fn payload(block: &Envelope) -> &OpExecutionPayloadV4 {
    &block.execution_payload
}
