//! Every setting of the node. The doc comment of a setting is also what `config show --docs` prints above it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use alloy_primitives::Address;
use duskevm_gossip::BlockPeer;
use duskevm_p2p::{Endpoint, PeerAddress};

use super::schema::section;
use super::types::{BatchCarrier, BatchCompression, ForkTime, L1Backend, L1Follow, LogFormat, NetworkName, Secret};

/// The mnemonic that every local Ethereum tool knows. Its keys are public.
pub const TEST_MNEMONIC: &str = "test test test test test test test test test test test junk";

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

section! {
    /// Which DuskEVM this node belongs to.
    Network = "network" {
        /// `local`, `devnet`, `testnet` or `mainnet`. A local network is made from the sections `l2`, `genesis` and `keys`.
        name: NetworkName = NetworkName::Local,
        /// Folder with `genesis.json`, `rollup.json` and `l1-genesis.json` as `duskevm genesis` writes them.
        /// It replaces what `l2` and `genesis` would say.
        genesis: Option<PathBuf> = None,
    }
}

section! {
    /// Where chains and state are kept.
    Data = "data" {
        /// Folder of the databases and journals. `dev` uses a temporary one, removed at exit, unless this is set.
        dir: Option<PathBuf> = None,
        /// Keep the state of every block instead of a window.
        archive: bool = false,
        /// How many blocks back the L2 state can be read (calls, proofs, traces) when `archive` is off. The chain cannot be
        /// taken back further than that, final or not. What is not safe is kept longer: the blocks of a sequencing window.
        history_blocks: u64 = 10_000,
    }
}

section! {
    /// Which actors run in this process.
    Actors = "actors" {
        /// The embedded Dusk L1.
        consensus: bool = true,
        /// Peers. It has none, and does not run, unless `gossip.listen` or `gossip.boot` is set or `l1.provisioners` is above 1.
        gossip: bool = true,
        /// Keeps the blobs of L1.
        da_store: bool = true,
        /// Serves them over HTTP.
        blob_api: bool = true,
        /// The L1 port: follows L1 and serves its view to the L2 side.
        l1: bool = true,
        /// L2 blocks and state.
        executor: bool = true,
        /// The safe and finalized L2 chain from L1 data. Where nobody posts batches (`actors.batcher`), L1 prescribes empty blocks once a
        /// sequencing window is over, and they replace those of the sequencer.
        derivation: bool = true,
        /// Pending transactions.
        txpool: bool = true,
        /// Builds L2 blocks. One node of a network has it on.
        sequencer: bool = true,
        /// Posts the sequencer's blocks to L1. The sequencer's node has it on, and no other.
        batcher: bool = true,
        /// Carries transactions to the batch inbox that clients send to the JSON-RPC of L1 (`l1_rpc`), such as an op-batcher, and pays for
        /// them on Dusk. On in `dev`.
        carrier: bool = false,
        /// The L2 JSON-RPC.
        rpc: bool = true,
        /// The JSON-RPC of L1 as an Ethereum chain.
        l1_rpc: bool = true,
        /// The Engine API, by which a consensus client of the OP Stack (op-node, kona-node) drives L2. Not together with what would
        /// drive it too: `sequencer`, `derivation`, `batcher`, gossip of blocks. Such a node can do without `consensus` and all of L1.
        engine_api: bool = false,
        /// The RPC of a rollup node, as op-node has it.
        rollup_rpc: bool = true,
        /// Metrics and health over HTTP.
        http: bool = true,
    }
}

section! {
    /// Dusk L1 as the L2 side sees it.
    L1 = "l1" {
        /// What stands behind the L1 port: `embedded` is the L1 of this same program.
        backend: L1Backend = L1Backend::Embedded,
        /// Seconds from one embedded L1 block to the next. Not below `l2.block_time`; if not set, at least twice as long
        /// as that where the default would be too short.
        block_time: u64 = 10,
        /// Which L1 blocks the L2 side is shown: `tip` all, `final` only those that no other block can replace any more, `auto`
        /// `final` if several provisioners stake in the genesis or the node has peers, else `tip`. L2 blocks whose L1 block is replaced
        /// are replaced too.
        follow: L1Follow = L1Follow::Auto,
        /// Provisioners that a local network has, all in this process and with public keys; at most 64. Part of the genesis.
        /// For provisioners in processes of their own: `duskevm genesis --provisioners N`.
        provisioners: u64 = 1,
    }
}

section! {
    /// Parameters of a local L2 network. They are part of its genesis: change them only for a new data folder.
    L2 = "l2" {
        /// EIP-155 chain id.
        chain_id: u64 = NetworkName::Local.chain_id(),
        /// Seconds from one L2 block to the next.
        block_time: u64 = 2,
        /// Gas limit of an L2 block.
        gas_limit: u64 = 60_000_000,
        /// L1 blocks within which the batches of an L2 block must be on L1, counted from the block's own L1 origin; later ones do not
        /// count, and L1 prescribes blocks without users' transactions instead.
        sequencing_window: u64 = 3_600,
    }
}

section! {
    /// When each fork of the OP Stack activates on a local network: seconds of L2 block time (0 is genesis) or "never".
    Forks = "l2.forks" {
        /// Regolith.
        regolith: ForkTime = ForkTime::GENESIS,
        /// Canyon (Shanghai).
        canyon: ForkTime = ForkTime::GENESIS,
        /// Delta (span batches).
        delta: ForkTime = ForkTime::GENESIS,
        /// Ecotone (Cancun).
        ecotone: ForkTime = ForkTime::GENESIS,
        /// Fjord.
        fjord: ForkTime = ForkTime::GENESIS,
        /// Granite.
        granite: ForkTime = ForkTime::GENESIS,
        /// Holocene.
        holocene: ForkTime = ForkTime::GENESIS,
        /// Isthmus (Prague). The newest fork of the real DuskEVM networks.
        isthmus: ForkTime = ForkTime::GENESIS,
        /// Jovian.
        jovian: ForkTime = ForkTime::NEVER,
    }
}

section! {
    /// What the genesis of a local network holds.
    Genesis = "genesis" {
        /// How many accounts of the mnemonic are funded.
        accounts: u32 = 10,
        /// DUSK on each of them.
        balance: u64 = 10_000,
    }
}

section! {
    /// Secrets of this node.
    Keys = "keys" {
        /// BIP-39 mnemonic of the local network: its funded accounts (m/44'/60'/0'/0/i) and its own keys come from it.
        /// The default is public: for local networks only.
        mnemonic: Secret = Secret::new(TEST_MNEMONIC),
        /// File with the encrypted BLS key by which this node is a provisioner of L1, as `duskevm genesis` and Dusk's wallet
        /// write it. Never let two nodes use the same one. Without it a node that has peers follows L1 without a vote; one that
        /// has none votes by the public keys of a local network.
        consensus: Option<PathBuf> = None,
        /// File with the batcher's secp256k1 key, as 64 hex digits: its address is the batcher of the system config. Without it the
        /// batcher signs with the key of a local network that everybody knows.
        batcher: Option<PathBuf> = None,
        /// File with the encrypted BLS key of the Dusk account that pays for batches. Without it the batcher pays from the account
        /// of a local network whose key everybody knows.
        batcher_account: Option<PathBuf> = None,
        /// File with the encrypted BLS key of the Dusk account that pays for what is carried (`actors.carrier`): one that nothing else
        /// uses. Without it the carrier pays from the account of a local network whose key everybody knows.
        carrier_account: Option<PathBuf> = None,
        /// File with the secp256k1 key by which the sequencer signs the blocks that it announces to peers, as 64 hex digits: its address
        /// is the unsafe-block signer of the system config. Without it the sequencer signs with the key of a local network that
        /// everybody knows.
        unsafe_signer: Option<PathBuf> = None,
        /// File whose first line is the password of `keys.consensus`, `keys.batcher_account` and `keys.carrier_account`; otherwise
        /// it is read from DUSKEVM_PASSWORD.
        password_file: Option<PathBuf> = None,
    }
}

section! {
    /// The block builder.
    Sequencer = "sequencer" {
        /// Milliseconds a block may take pool transactions for; at most the block time, and at most 5000.
        time_budget_ms: u64 = 700,
        /// Pool transactions in one block.
        max_transactions: u64 = 100_000,
        /// L1 blocks that an L2 origin must be below the L1 tip. `l1.block_time` times this plus 2 must stay below 1800 s, the
        /// distance that L2 may run ahead of its origin.
        l1_confirmations: u64 = 0,
        /// Start without making blocks, until `admin_startSequencer` of `rollup_rpc` says so: for op-conductor, or while another node is
        /// the sequencer. What an operator started or stopped holds until the process ends.
        stopped: bool = false,
        /// Stop building when the unsafe head is this many blocks ahead of the safe head; 0 is no bound. Needs `actors.derivation`.
        max_safe_lag: u64 = 0,
    }
}

section! {
    /// What posts L2 blocks to L1.
    Batcher = "batcher" {
        /// `blobs`, `calldata`, or `cheaper`: whichever costs less for a whole channel.
        carrier: BatchCarrier = BatchCarrier::Blobs,
        /// `zlib`, `brotli-9`, `brotli-10` or `brotli-11`; the last two give way to `brotli-9` while more than two channels wait.
        compression: BatchCompression = BatchCompression::Brotli10,
        /// Blobs that a channel is filled to.
        target_blobs: u64 = 6,
        /// Most blobs of one L1 submission, 1 to 6.
        blobs_per_submission: u64 = 6,
        /// Most bytes of batches in the call data of one submission.
        max_calldata_bytes: u64 = 120_000,
        /// L1 blocks after which a channel is closed, however full it is: L2 blocks are safe about this much later.
        max_channel_duration: u64 = 1,
        /// A channel is closed this many L1 blocks before its first L2 block could not be included any more; a quarter of the window
        /// if that is less.
        window_margin: u64 = 100,
        /// A submission is hurried on when its channel has only so many L1 blocks left.
        timeout_margin: u64 = 10,
        /// Most submissions that wait for L1.
        max_in_flight: u64 = 3,
        /// Lux for each gas of L1 at first.
        gas_price: u64 = 1,
        /// Most lux for each gas of L1.
        max_gas_price: u64 = 1_000,
        /// By how many percent each further attempt pays more.
        fee_bump_percent: u64 = 20,
        /// L1 blocks that a transaction may wait before another attempt.
        bump_after: u64 = 3,
        /// Bytes of batches that are not on L1 from which on the sequencer is asked to make less data.
        throttle_from_bytes: u64 = 8 * 1024 * 1024,
        /// Bytes at which it is asked for as little as it can.
        throttle_full_bytes: u64 = 64 * 1024 * 1024,
    }
}

section! {
    /// What carries transactions from `eth_sendRawTransaction` of the JSON-RPC of L1 to the batch inbox on Dusk.
    Carrier = "carrier" {
        /// Ethereum addresses whose transactions are carried, at most 16. Empty: the batcher that the network's genesis names.
        senders: Vec<Address> = Vec::new(),
        /// Lux for each gas of L1 at first.
        gas_price: u64 = 1,
        /// Most lux for each gas of L1.
        max_gas_price: u64 = 1_000,
        /// By how many percent each further attempt pays more.
        fee_bump_percent: u64 = 20,
        /// L1 blocks that a Dusk transaction may wait before another attempt.
        bump_after: u64 = 3,
        /// Transactions that are under way on Dusk at one time, 1 to 16.
        max_in_flight: u64 = 3,
        /// How far the nonce of a transaction may lie beyond the sender's next one.
        max_nonce_gap: u64 = 16,
        /// Bytes of all transactions that are kept, with their blobs: at least one with six blobs, 917504.
        max_bytes: u64 = 64 * 1024 * 1024,
    }
}

section! {
    /// Limits and prices of the transaction pool.
    Txpool = "txpool" {
        /// Slots in the whole pool; a transaction takes one for each started 32 KiB. Beyond it the cheapest is evicted.
        max_slots: u64 = 65_536,
        /// Encoded bytes in the whole pool.
        max_bytes: u64 = 128 * 1024 * 1024,
        /// Encoded bytes of one transaction.
        max_tx_bytes: u64 = 128 * 1024,
        /// Executable transactions of one sender.
        account_ready: u64 = 2_048,
        /// Transactions of one sender that wait behind a missing nonce.
        account_waiting: u64 = 256,
        /// How far a nonce may lie beyond the sender's next one.
        max_nonce_gap: u64 = 1_024,
        /// Seconds after which a waiting transaction is dropped.
        waiting_lifetime_seconds: u64 = 3 * 60 * 60,
        /// By how many percent a replacement must raise both fees.
        price_bump: u8 = 10,
        /// Least priority fee per gas, in wei.
        min_tip_wei: u64 = 0,
        /// Accept legacy transactions that name no chain; anybody can replay them elsewhere.
        allow_unprotected: bool = false,
    }
}

section! {
    /// Peers: those of the L1 network, and those that gossip blocks of L2, which may be op-node or kona-node.
    Gossip = "gossip" {
        /// Addresses to listen on for peers, such as `["0.0.0.0:9222"]`; port 0 takes a free one.
        listen: Vec<SocketAddr> = Vec::new(),
        /// Addresses besides those at which peers reach this node, such as a port that a router forwards to it:
        /// `["/ip4/203.0.113.7/tcp/9222"]`.
        external: Vec<Endpoint> = Vec::new(),
        /// Peers to connect to at the start: `["/ip4/203.0.113.9/tcp/9222/p2p/12D3KooW…"]`. A node logs its own id when it starts.
        boot: Vec<PeerAddress> = Vec::new(),
        /// File with the key by which peers know this node, as `duskevm genesis --provisioners` writes it. Without it the key is
        /// made at the first start and kept in the data folder.
        identity: Option<PathBuf> = None,
        /// Connections to peers at one time.
        max_peers: u32 = 64,
        /// How many of them others may have made.
        max_inbound: u32 = 48,
        /// Learn addresses of private networks and of this machine from peers, and tell them to others.
        allow_private: bool = false,
        /// Addresses to listen on for peers that gossip blocks of L2, such as `["0.0.0.0:9223"]`; port 0 takes a free one.
        l2_listen: Vec<SocketAddr> = Vec::new(),
        /// Peers that gossip blocks of L2, to connect to: `["/ip4/203.0.113.9/tcp/9223/p2p/16Uiu2HA…"]`. A node without a sequencer
        /// follows the newest blocks by them; no others are looked for.
        l2_peers: Vec<BlockPeer> = Vec::new(),
        /// File with the secp256k1 key by which those peers know this node, as 64 hex digits. Without it the key is made at the first
        /// start and kept in the data folder.
        l2_identity: Option<PathBuf> = None,
        /// Connections to such peers at one time.
        l2_max_peers: u32 = 32,
    }
}

section! {
    /// Blobs of L1, and the HTTP server that has the beacon routes and Dusk's own: `/eth/v1/beacon/blobs`, `/on/blobs:…`.
    Blobs = "blobs" {
        /// Address to listen on.
        host: IpAddr = LOOPBACK,
        /// Port; 0 takes a free one.
        port: u16 = 5052,
        /// L1 blocks after which the blobs of a final block are removed; 0 keeps them for ever.
        retention_blocks: u64 = 86_400,
        /// Blobs in one answer. A request that names more is refused; one that names none gets the first so many of a block that shows
        /// more, each once. A blob takes up to 400 kB of memory while an answer is made.
        max_response_blobs: u32 = 64,
    }
}

/// Namespaces that may be served to anybody: what wallets need. The others cost more, or tell more.
const PUBLIC_NAMESPACES: [&str; 4] = ["eth", "net", "rpc", "web3"];

section! {
    /// The L2 JSON-RPC: HTTP and WebSocket on one port.
    Rpc = "rpc" {
        /// Address to listen on.
        host: IpAddr = LOOPBACK,
        /// Port; 0 takes a free one.
        port: u16 = 9545,
        /// Origins that browsers may call from, over HTTP and WebSocket; `["*"]` is every origin.
        cors: Vec<String> = Vec::new(),
        /// Names under which it may be called besides addresses and `localhost`; `["*"]` is every name, as is an empty list where
        /// `host` is not loopback. This keeps web pages away whose name was made to point to this machine.
        hosts: Vec<String> = Vec::new(),
        /// Namespaces that are served, of `debug`, `eth`, `miner`, `net`, `optimism`, `rpc`, `txpool`, `web3`. `duskevm dev` serves all.
        namespaces: Vec<String> = PUBLIC_NAMESPACES.map(str::to_owned).to_vec(),
        /// Allow `miner` on an address that other machines can reach. op-batcher bounds the data of blocks by it, and so can anybody else.
        allow_remote_miner: bool = false,
        /// JSON-RPC of the sequencer where another node makes the blocks, such as `http://192.0.2.7:9545`: transactions are handed to it,
        /// and its refusals to whoever sent them. Without it a node that does not make blocks refuses transactions.
        sequencer: Option<String> = None,
        /// Connections at one time.
        max_connections: u32 = 1_024,
        /// Bytes of one HTTP body or WebSocket message.
        max_request_bytes: u32 = 5 * 1024 * 1024,
        /// Bytes of one answer, and of all answers of a batch together.
        max_response_bytes: u32 = 64 * 1024 * 1024,
        /// Bytes of all answers that clients have not taken yet; beyond it calls are refused as if the server were busy.
        max_unsent_bytes: u64 = 512 * 1024 * 1024,
        /// Calls in one batch.
        max_batch: u32 = 1_000,
        /// Nesting of arrays and objects in the parameters of a call.
        max_depth: u32 = 64,
        /// Subscriptions of one WebSocket connection.
        max_subscriptions: u32 = 128,
        /// Filters that may be installed at one time.
        max_filters: u32 = 1_024,
        /// Blocks that one log query may span.
        max_log_blocks: u64 = 10_000,
        /// Logs that one query may return.
        max_log_results: u32 = 10_000,
        /// Gas that one call or estimate may use.
        call_gas_cap: u64 = 50_000_000,
        /// Milliseconds that one call or estimate may run.
        call_timeout_ms: u64 = 5_000,
        /// Milliseconds that one trace may run.
        trace_timeout_ms: u64 = 10_000,
        /// Bytes of recently read blocks and receipts to keep in memory.
        cache_bytes: u64 = 128 * 1024 * 1024,
    }
}

section! {
    /// Dusk L1 as an Ethereum chain, for programs of the OP Stack and wallets: JSON-RPC over HTTP and WebSocket on one port.
    L1Rpc = "l1_rpc" {
        /// Address to listen on.
        host: IpAddr = LOOPBACK,
        /// Port; 0 takes a free one.
        port: u16 = 8545,
        /// Origins that browsers may call from, over HTTP and WebSocket; `["*"]` is every origin.
        cors: Vec<String> = Vec::new(),
        /// Names under which it may be called besides addresses and `localhost`, as for `rpc.hosts`.
        hosts: Vec<String> = Vec::new(),
        /// Connections at one time.
        max_connections: u32 = 1_024,
        /// Bytes of one HTTP body or WebSocket message.
        max_request_bytes: u32 = 5 * 1024 * 1024,
        /// Bytes of one answer, and of all answers of a batch together.
        max_response_bytes: u32 = 64 * 1024 * 1024,
        /// Bytes of all answers that clients have not taken yet; beyond it calls are refused as if the server were busy.
        max_unsent_bytes: u64 = 256 * 1024 * 1024,
        /// Calls in one batch.
        max_batch: u32 = 1_000,
        /// Nesting of arrays and objects in the parameters of a call.
        max_depth: u32 = 64,
        /// Subscriptions of one WebSocket connection.
        max_subscriptions: u32 = 128,
        /// Blocks that one log query may span.
        max_log_blocks: u64 = 10_000,
        /// Logs that one query may return.
        max_log_results: u32 = 10_000,
        /// Milliseconds that one search may run.
        call_timeout_ms: u64 = 5_000,
        /// Bytes of recently read blocks to keep in memory.
        cache_bytes: u64 = 32 * 1024 * 1024,
    }
}

section! {
    /// The Engine API: JSON-RPC over HTTP and WebSocket on one port, for those who have the secret only.
    EngineApi = "engine_api" {
        /// Address to listen on.
        host: IpAddr = LOOPBACK,
        /// Port; 0 takes a free one.
        port: u16 = 8551,
        /// File with the secret that this node and the consensus client share, as 64 hex digits. Without it the secret is made at the
        /// first start and kept in the data folder, as `jwt.hex`.
        jwt_secret: Option<PathBuf> = None,
        /// URL of the JSON-RPC of another node of this L2 (`eth`, over HTTP): the sequencer's, an op-geth's, a reth's. Blocks that lack
        /// before a head that the consensus client wants are fetched there. Without it they are the client's to bring.
        sync_from: Option<String> = None,
        /// Milliseconds a payload may take pool transactions for; at most 5000.
        time_budget_ms: u64 = 500,
        /// Pool transactions in one payload.
        max_transactions: u64 = 100_000,
        /// Connections at one time.
        max_connections: u32 = 64,
        /// Bytes of one HTTP body or WebSocket message: a payload has two hex digits for each byte of its transactions.
        max_request_bytes: u32 = 128 * 1024 * 1024,
        /// Bytes of one answer, and of all answers of a batch together.
        max_response_bytes: u32 = 128 * 1024 * 1024,
    }
}

section! {
    /// The RPC of a rollup node as op-node serves it, for op-batcher, op-proposer and op-challenger: HTTP and WebSocket on one port.
    RollupRpc = "rollup_rpc" {
        /// Address to listen on.
        host: IpAddr = LOOPBACK,
        /// Port; 0 takes a free one. op-node's own default, 9545, is the port of the L2 JSON-RPC here.
        port: u16 = 9547,
        /// Origins that browsers may call from, over HTTP and WebSocket; `["*"]` is every origin.
        cors: Vec<String> = Vec::new(),
        /// Names under which it may be called besides addresses and `localhost`, as for `rpc.hosts`.
        hosts: Vec<String> = Vec::new(),
        /// Serve `admin_` as well, by which op-conductor and operators start and stop the sequencer; op-batcher asks it which of several
        /// nodes makes the blocks. No password is asked. On in `dev`.
        admin: bool = false,
        /// Allow `admin`, and orders about peers (`opp2p_`), on an address that other machines can reach. Questions are answered to all.
        allow_remote_admin: bool = false,
        /// Connections at one time.
        max_connections: u32 = 256,
        /// Bytes of one HTTP body or WebSocket message.
        max_request_bytes: u32 = 5 * 1024 * 1024,
        /// Bytes of one answer, and of all answers of a batch together.
        max_response_bytes: u32 = 5 * 1024 * 1024,
        /// Calls in one batch.
        max_batch: u32 = 100,
        /// Bytes of recently read blocks to keep in memory.
        cache_bytes: u64 = 16 * 1024 * 1024,
    }
}

section! {
    /// The admin JSON-RPC: actors, faults, status. It asks for no password.
    Admin = "admin" {
        /// Address to listen on.
        host: IpAddr = LOOPBACK,
        /// Port; 0 takes a free one.
        port: u16 = 9546,
        /// Allow an address that other machines can reach.
        allow_remote: bool = false,
    }
}

section! {
    /// Metrics and health over HTTP: `/metrics`, `/healthz`, `/readyz`.
    Http = "http" {
        /// Address to listen on.
        host: IpAddr = LOOPBACK,
        /// Port; 0 takes a free one.
        port: u16 = 7300,
        /// Connections at one time.
        max_connections: u32 = 64,
        /// Bytes of the headers of one request.
        max_header_bytes: u32 = 8 * 1024,
        /// Milliseconds a client has to send the headers of a request.
        header_timeout_ms: u64 = 5_000,
        /// Milliseconds from the first to the last byte of a connection, however slowly the client reads.
        connection_timeout_ms: u64 = 60_000,
    }
}

section! {
    /// Log lines, written to standard error.
    Log = "log" {
        /// `error`, `warn`, `info`, `debug`, `trace`, `off`, or directives such as `info,duskevm_executor=debug`.
        level: String = "info".to_owned(),
        /// `human` or `json`.
        format: LogFormat = LogFormat::Human,
    }
}

section! {
    /// When actors are restarted and when the node gives up.
    Supervision = "supervision" {
        /// Restarts within `within_seconds` after which a failure goes up to the parent, and from the root ends the process.
        max_restarts: u32 = 10,
        /// The window of `max_restarts`, in seconds.
        within_seconds: u64 = 10,
        /// Milliseconds before the second restart in a row; it doubles from there. The first one is immediate.
        backoff_min_ms: u64 = 10,
        /// Longest pause between two restarts in milliseconds.
        backoff_max_ms: u64 = 5_000,
        /// Milliseconds without progress after which an actor counts as hung and is replaced. It can only be raised: no actor
        /// is given less than 10 s, the executor not less than 20 s, because an honest piece of work may take that long.
        deadline_ms: u64 = 10_000,
        /// Milliseconds an ordered shutdown may take.
        shutdown_ms: u64 = 10_000,
    }
}

section! {
    /// Fault injection.
    Faults = "faults" {
        /// Obey `actors kill|panic|hang|restart` and failing disk writes. On in `dev`.
        allow: bool = false,
    }
}
