//! What settings must fulfil beyond having the right type.

use std::net::SocketAddr;

use tracing_subscriber::EnvFilter;

use super::error::Problem;
use super::load::{Effective, is_test_mnemonic};
use super::origin::Origin;
use super::schema::Section;
use super::types::{ForkTime, NetworkName};
use super::{Config, Forks, Genesis, L2};
use duskevm_p2p::Endpoint;
use duskevm_rollup::FJORD_MAX_SEQUENCER_DRIFT;

/// One DUSK is 10^9 lux, and L1 counts lux in 64 bits: no network can hold more DUSK than this.
const MAX_DUSK: u64 = u64::MAX / 1_000_000_000;
/// Deposits of one L1 block may use 20,000,000 gas, and the L1-attributes deposit 1,000,000: they must fit a block.
const MIN_GAS_LIMIT: u64 = 21_000_000;
/// Block gas limits are stored as `uint64` in Solidity but as `i64` by some clients; 2^53 also survives JavaScript.
const MAX_GAS_LIMIT: u64 = 1 << 53;
/// A batch is on L1 one L1 block after its L2 block at the earliest.
const MIN_SEQUENCING_WINDOW: u64 = 2;
/// A year of L1 blocks of two seconds.
const MAX_SEQUENCING_WINDOW: u64 = 15_768_000;
/// Chain ids above this are refused by wallets: `v = 35 + 2 * id` must stay exact in JavaScript.
const MAX_CHAIN_ID: u64 = ((1 << 53) - 1 - 36) / 2;
const MAX_ACCOUNTS: u32 = 10_000;
const MAX_BLOCK_TIME: u64 = 3_600;
/// More committees than one process should sign for.
const MAX_LOCAL_PROVISIONERS: u64 = 64;
/// Blobs that one L1 block (1 MiB, sidecars included) can carry. It may show more, of earlier blocks: those that its envelopes name.
const BLOBS_OF_A_BLOCK: u32 = 7;
/// While the executor takes transactions it answers nobody: this stays far below the time after which it counts as hung (20 s).
const MAX_TIME_BUDGET_MS: u64 = 5_000;

/// Every problem that the values have, alone and together.
pub(crate) fn check(effective: &Effective, needs_data_dir: bool) -> Vec<Problem> {
    let mut checker = Checker { effective, problems: Vec::new() };
    checker.network(needs_data_dir);
    checker.chain();
    checker.forks();
    checker.actors();
    checker.provisioners();
    checker.peers();
    checker.services();
    checker.ports();
    checker.limits();
    checker.problems
}

struct Checker<'a> {
    effective: &'a Effective,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn config(&self) -> &Config {
        &self.effective.config
    }

    fn refuse(&mut self, key: &str, what: impl Into<String>) {
        let origin = self.effective.origin(key);
        self.problems.push(Problem::Senseless { key: key.to_owned(), origin, what: what.into() });
    }

    fn require(&mut self, holds: bool, key: &str, what: impl Into<String>) {
        if !holds {
            self.refuse(key, what);
        }
    }

    fn network(&mut self, needs_data_dir: bool) {
        let config = &self.effective.config;
        self.require(
            !needs_data_dir || config.data.dir.is_some(),
            "data.dir",
            "not set: set it to the folder that shall hold the node's databases, in the file, as DUSKEVM_DATA__DIR or with --data-dir",
        );
        self.require(
            config.data.archive || config.data.history_blocks >= 1,
            "data.history_blocks",
            "must be at least 1: the state of the head is needed to go on",
        );
        self.require(
            config.network.name == NetworkName::Local || !is_test_mnemonic(&config.keys.mnemonic),
            "keys.mnemonic",
            format!(
                "everybody knows the keys of the test mnemonic: set your own to take part in {}",
                config.network.name
            ),
        );
        // These are part of a genesis. Where one is given, a second opinion would be ignored, so it is refused.
        let fixed_by = match (&config.network.genesis, config.network.name) {
            (Some(_), _) => "the genesis that `network.genesis` names",
            (None, NetworkName::Local) => return,
            (None, _) => "the named network",
        };
        let sections = [L2::SPEC, Forks::SPEC, Genesis::SPEC];
        let keys = sections.iter().flat_map(|spec| spec.keys.iter().map(|key| format!("{}.{}", spec.path, key.name)));
        for path in keys.chain(["l1.provisioners".to_owned()]) {
            if !matches!(self.effective.origin(&path), Origin::Default | Origin::Dev) {
                self.refuse(&path, format!("is fixed by {fixed_by}: remove the setting"));
            }
        }
    }

    fn chain(&mut self) {
        let config = &self.effective.config;
        let (l1, l2, genesis) = (config.l1.block_time, &config.l2, &config.genesis);
        for (key, seconds) in [("l1.block_time", l1), ("l2.block_time", l2.block_time)] {
            self.require(
                (1..=MAX_BLOCK_TIME).contains(&seconds),
                key,
                format!("{seconds} s is not between 1 and {MAX_BLOCK_TIME}"),
            );
        }
        self.require(
            l1 >= l2.block_time,
            "l1.block_time",
            format!(
                "{l1} s is shorter than the L2 block time of {} s, and L2 would fall ever further behind L1: raise it, or lower `l2.block_time`",
                l2.block_time
            ),
        );
        // An origin is that many L1 blocks old when the next one can be taken.
        let confirmations = config.sequencer.l1_confirmations;
        let behind = l1.saturating_mul(confirmations.saturating_add(2));
        self.require(
            behind < FJORD_MAX_SEQUENCER_DRIFT,
            if confirmations == 0 { "l1.block_time" } else { "sequencer.l1_confirmations" },
            format!(
                "L2 would run up to {behind} s ahead of its L1 origin (`l1.block_time` times `sequencer.l1_confirmations` + 2), but blocks with user transactions end at {FJORD_MAX_SEQUENCER_DRIFT} s: lower one of them"
            ),
        );
        self.require(
            (1..=MAX_CHAIN_ID).contains(&l2.chain_id),
            "l2.chain_id",
            format!("{} is not between 1 and {MAX_CHAIN_ID}", l2.chain_id),
        );
        for real in [NetworkName::Devnet, NetworkName::Testnet, NetworkName::Mainnet] {
            self.require(
                config.network.name != NetworkName::Local || l2.chain_id != real.chain_id(),
                "l2.chain_id",
                format!(
                    "{} is DuskEVM {real}, and a transaction signed for this network would be valid there: take another one",
                    l2.chain_id
                ),
            );
        }
        self.require(
            (MIN_SEQUENCING_WINDOW..=MAX_SEQUENCING_WINDOW).contains(&l2.sequencing_window),
            "l2.sequencing_window",
            format!(
                "{} is not between {MIN_SEQUENCING_WINDOW} and {MAX_SEQUENCING_WINDOW} L1 blocks",
                l2.sequencing_window
            ),
        );
        // The newest L1 block that a node with peers sees is two behind the tip, and the last part of a window is for the batcher.
        let taken = confirmations.saturating_add(2).saturating_add((l2.sequencing_window / 4).clamp(1, 20));
        self.require(
            l2.sequencing_window > taken || behind >= FJORD_MAX_SEQUENCER_DRIFT,
            "l2.sequencing_window",
            format!(
                "{} L1 blocks are over before a user's transaction could be taken in time ({taken}, with `sequencer.l1_confirmations`): raise it",
                l2.sequencing_window
            ),
        );
        self.require(
            (MIN_GAS_LIMIT..=MAX_GAS_LIMIT).contains(&l2.gas_limit),
            "l2.gas_limit",
            format!("{} is not between {MIN_GAS_LIMIT} and {MAX_GAS_LIMIT}", l2.gas_limit),
        );
        self.require(
            (1..=MAX_ACCOUNTS).contains(&genesis.accounts),
            "genesis.accounts",
            format!("{} is not between 1 and {MAX_ACCOUNTS}", genesis.accounts),
        );
        self.require(
            u128::from(genesis.balance) * u128::from(genesis.accounts) <= u128::from(MAX_DUSK),
            "genesis.balance",
            format!("all accounts together would hold more than the {MAX_DUSK} DUSK that L1 can count: lower it"),
        );
    }

    fn forks(&mut self) {
        let forks = &self.effective.config.forks;
        let in_order: [(&str, ForkTime); 9] = [
            ("regolith", forks.regolith),
            ("canyon", forks.canyon),
            ("delta", forks.delta),
            ("ecotone", forks.ecotone),
            ("fjord", forks.fjord),
            ("granite", forks.granite),
            ("holocene", forks.holocene),
            ("isthmus", forks.isthmus),
            ("jovian", forks.jovian),
        ];
        for pair in in_order.windows(2) {
            let [(earlier, ForkTime(before)), (later, ForkTime(after))] = pair else { continue };
            if let Some(after) = after
                && before.is_none_or(|before| before > *after)
            {
                self.refuse(
                    &format!("l2.forks.{later}"),
                    format!("{later} is scheduled at {after}, but {earlier} before it is not active by then: schedule {earlier} at {after} or earlier, or {later} later"),
                );
            }
        }
    }

    fn actors(&mut self) {
        let config = &self.effective.config;
        let actors = &config.actors;
        let talks = config.has_peers() || config.l1.provisioners > 1;
        // What cannot work without what, as long as L1 is embedded.
        let needs = [
            ("sequencer", actors.sequencer, "executor", actors.executor),
            ("sequencer", actors.sequencer, "txpool", actors.txpool),
            ("sequencer", actors.sequencer, "l1", actors.l1),
            ("batcher", actors.batcher, "executor", actors.executor),
            ("batcher", actors.batcher, "l1", actors.l1),
            // It goes by what L1 has made safe.
            ("batcher", actors.batcher, "derivation", actors.derivation),
            // Two that post the same blocks pay twice.
            ("batcher", actors.batcher, "sequencer", actors.sequencer),
            ("derivation", actors.derivation, "executor", actors.executor),
            ("derivation", actors.derivation, "l1", actors.l1),
            ("txpool", actors.txpool, "executor", actors.executor),
            ("carrier", actors.carrier, "l1", actors.l1),
            ("carrier", actors.carrier, "l1_rpc", actors.l1_rpc),
            ("rpc", actors.rpc, "executor", actors.executor),
            ("rpc", actors.rpc, "txpool", actors.txpool),
            ("l1_rpc", actors.l1_rpc, "l1", actors.l1),
            // A consensus client does what L1 is needed for.
            ("executor", actors.executor && !actors.engine_api, "l1", actors.l1),
            ("engine_api", actors.engine_api, "executor", actors.executor),
            ("engine_api", actors.engine_api, "txpool", actors.txpool),
            ("rollup_rpc", actors.rollup_rpc, "executor", actors.executor),
            ("l1", actors.l1, "consensus", actors.consensus),
            ("da_store", actors.da_store, "consensus", actors.consensus),
            ("blob_api", actors.blob_api, "da_store", actors.da_store),
            ("gossip", actors.gossip && talks, "consensus", actors.consensus),
            // Whoever votes on blocks of others must see their blobs.
            ("gossip", actors.gossip && talks, "da_store", actors.da_store),
            // Blocks of L2 are imported and read there, and L1 names their signer.
            ("gossip", config.has_l2_peers(), "executor", actors.executor),
            ("gossip", config.has_l2_peers(), "l1", actors.l1),
        ];
        for (actor, on, other, other_on) in needs {
            self.require(
                !on || other_on,
                &format!("actors.{other}"),
                format!("off, but {actor} needs it: turn it on, or turn `actors.{actor}` off"),
            );
        }
        // Two that drive one chain would take back each other's blocks.
        for (key, other, on) in [
            ("actors.sequencer", "the sequencer", actors.sequencer),
            ("actors.derivation", "derivation", actors.derivation),
            ("actors.batcher", "the batcher", actors.batcher),
            ("gossip.l2_listen", "gossip of L2 blocks", config.has_l2_peers()),
            ("rollup_rpc.admin", "`admin_postUnsafePayload`", actors.rollup_rpc && config.rollup_rpc.admin),
        ] {
            self.require(
                !(actors.engine_api && on),
                key,
                format!("{other} does not go with `actors.engine_api`, by which a consensus client drives the chain: switch one of them off"),
            );
        }
    }

    fn provisioners(&mut self) {
        let config = &self.effective.config;
        let count = config.l1.provisioners;
        self.require(
            (1..=MAX_LOCAL_PROVISIONERS).contains(&count),
            "l1.provisioners",
            format!("{count} is not between 1 and {MAX_LOCAL_PROVISIONERS}"),
        );
        if count <= 1 {
            return;
        }
        self.require(
            config.actors.gossip,
            "actors.gossip",
            "off, but the provisioners of `l1.provisioners` talk through it: turn it on, or have one provisioner",
        );
        for (key, set) in [
            ("gossip.listen", !config.gossip.listen.is_empty()),
            ("gossip.boot", !config.gossip.boot.is_empty()),
            ("keys.consensus", config.keys.consensus.is_some()),
        ] {
            self.require(
                !set,
                key,
                "does not go with `l1.provisioners` above 1, whose keys everybody knows and whose messages stay in this process: remove one of them, or make a network of several nodes with `duskevm genesis --provisioners`",
            );
        }
    }

    fn peers(&mut self) {
        let gossip = self.effective.config.gossip.clone();
        self.require(gossip.max_peers >= 1, "gossip.max_peers", "must be at least 1");
        self.require(
            gossip.l2_max_peers as usize >= gossip.l2_peers.len().max(1),
            "gossip.l2_max_peers",
            "is less than the peers of `gossip.l2_peers`: raise it",
        );
        self.require(
            gossip.max_inbound <= gossip.max_peers,
            "gossip.max_inbound",
            "is more than `gossip.max_peers`: lower it, or raise that",
        );
        let named = gossip.boot.iter().map(|address| ("gossip.boot", address.to_string(), &address.endpoint));
        let external = gossip.external.iter().map(|endpoint| ("gossip.external", endpoint.to_string(), endpoint));
        for (key, text, endpoint) in named.chain(external) {
            let reachable = endpoint.is_dialable() && !matches!(endpoint, Endpoint::Memory(_));
            self.require(
                reachable,
                key,
                format!("nobody can connect to {text}: write an address with a port that is not 0"),
            );
        }
        self.require(
            self.effective.config.blobs.max_response_blobs >= BLOBS_OF_A_BLOCK,
            "blobs.max_response_blobs",
            format!("must be at least {BLOBS_OF_A_BLOCK}: one L1 block can carry so many"),
        );
    }

    fn services(&mut self) {
        let config = self.config().clone();
        self.require(
            config.admin.host.is_loopback() || config.admin.allow_remote,
            "admin.host",
            format!(
                "whoever reaches {} can stop this node, and no password is asked: use 127.0.0.1, or set `admin.allow_remote = true` if something else guards the port",
                config.admin.host
            ),
        );
        let rollup_rpc = &config.rollup_rpc;
        let is_open = config.actors.rollup_rpc && rollup_rpc.admin && !rollup_rpc.host.is_loopback();
        self.require(
            !is_open || rollup_rpc.allow_remote_admin,
            "rollup_rpc.admin",
            format!(
                "whoever reaches {} can stop the sequencer, and no password is asked: use 127.0.0.1, or set `rollup_rpc.allow_remote_admin = true` if something else guards the port",
                config.rollup_rpc.host
            ),
        );
        let has_miner = config.rpc.namespaces.iter().any(|name| name == "miner");
        self.require(
            !has_miner || config.rpc.host.is_loopback() || config.rpc.allow_remote_miner,
            "rpc.namespaces",
            format!(
                "whoever reaches {} can empty the sequencer's blocks by `miner`, and no password is asked: leave it out, use 127.0.0.1, or set `rpc.allow_remote_miner = true` if something else guards the port",
                config.rpc.host
            ),
        );
        let config = &self.effective.config;
        if let Some(url) = &config.rpc.sequencer {
            let wrong = duskevm_rpc::check_sequencer_url(url).err().map(|error| error.to_string());
            let own = config.actors.sequencer.then(|| {
                "this node makes the blocks itself: leave this out, or switch `actors.sequencer` off".to_owned()
            });
            let itself = (config.actors.rpc
                && duskevm_rpc::is_own_url(url, SocketAddr::new(config.rpc.host, config.rpc.port)))
            .then(|| "this is the port of this node's own RPC: name the node that makes the blocks".to_owned());
            if let Some(problem) = wrong.or(own).or(itself) {
                self.refuse("rpc.sequencer", problem);
            }
        }
        let config = &self.effective.config;
        if let Some(url) = &config.engine_api.sync_from {
            let wrong = duskevm_rpc::check_sequencer_url(url).err().map(|error| error.to_string());
            let undriven = (!config.actors.engine_api).then(|| {
                "`actors.engine_api` is off, and only a node that a consensus client drives fetches blocks: switch it on, or leave this out".to_owned()
            });
            let own = [
                (config.actors.rpc, config.rpc.host, config.rpc.port),
                (config.actors.engine_api, config.engine_api.host, config.engine_api.port),
            ];
            let itself = own
                .into_iter()
                .any(|(on, host, port)| on && duskevm_rpc::is_own_url(url, SocketAddr::new(host, port)))
                .then(|| "this is a port of this node itself: name another node".to_owned());
            if let Some(problem) = wrong.or(undriven).or(itself) {
                self.refuse("engine_api.sync_from", problem);
            }
        }
        let config = &self.effective.config;
        if let Err(error) = EnvFilter::builder().parse(&config.log.level) {
            let level = &config.log.level;
            self.refuse(
                "log.level",
                format!("\"{level}\" is not a level ({error}): write error, warn, info, debug, trace or off, or directives such as info,duskevm_executor=debug"),
            );
        }
    }

    /// What listens, and for which setting: two of them cannot have one port.
    fn ports(&mut self) {
        let config = &self.effective.config;
        let on = &config.actors;
        let mut ports: Vec<(&str, SocketAddr)> = Vec::new();
        for (key, used, host, port) in [
            ("rpc.port", on.rpc, config.rpc.host, config.rpc.port),
            ("l1_rpc.port", on.l1_rpc, config.l1_rpc.host, config.l1_rpc.port),
            ("engine_api.port", on.engine_api, config.engine_api.host, config.engine_api.port),
            ("rollup_rpc.port", on.rollup_rpc, config.rollup_rpc.host, config.rollup_rpc.port),
            ("admin.port", true, config.admin.host, config.admin.port),
            ("http.port", on.http, config.http.host, config.http.port),
            ("blobs.port", on.blob_api, config.blobs.host, config.blobs.port),
        ] {
            if used {
                ports.push((key, SocketAddr::new(host, port)));
            }
        }
        if on.gossip {
            ports.extend(config.gossip.listen.iter().map(|address| ("gossip.listen", *address)));
            ports.extend(config.gossip.l2_listen.iter().map(|address| ("gossip.l2_listen", *address)));
        }
        for (index, (key, address)) in ports.iter().enumerate() {
            for (other_key, other) in &ports[..index] {
                let (ip, other_ip) = (address.ip(), other.ip());
                let same_place = ip == other_ip || ip.is_unspecified() || other_ip.is_unspecified();
                let port = address.port();
                self.require(
                    !(port != 0 && port == other.port() && same_place),
                    key,
                    format!("{port} is taken by `{other_key}`: give one of them another port"),
                );
            }
        }
    }

    fn limits(&mut self) {
        let config = self.config().clone();
        let budget = config.sequencer.time_budget_ms;
        self.require(
            budget >= 1 && budget <= config.l2.block_time.saturating_mul(1_000),
            "sequencer.time_budget_ms",
            format!("{budget} ms is not between 1 ms and the L2 block time of {} s", config.l2.block_time),
        );
        self.require(
            budget <= MAX_TIME_BUDGET_MS,
            "sequencer.time_budget_ms",
            format!("{budget} ms is more than {MAX_TIME_BUDGET_MS} ms: the executor would seem to hang"),
        );
        let budget = config.engine_api.time_budget_ms;
        self.require(
            (1..=MAX_TIME_BUDGET_MS).contains(&budget),
            "engine_api.time_budget_ms",
            format!("{budget} ms is not between 1 ms and {MAX_TIME_BUDGET_MS} ms, beyond which the executor would seem to hang"),
        );
        self.require(
            config.sequencer.max_safe_lag == 0 || config.actors.derivation || !config.actors.sequencer,
            "sequencer.max_safe_lag",
            "the safe head does not move without derivation, and the chain would stop: leave it at 0, or switch `actors.derivation` on",
        );
        if config.actors.batcher
            && let Err(error) = crate::node::batcher_rules(&config.batcher, 1).validate()
        {
            self.refuse("batcher", error.to_string());
        }
        if config.actors.carrier {
            let rules = crate::node::unknown_rules(&config.carrier);
            if let Err(error) = crate::node::carrier_rules(&config.carrier, rules, 1).validate() {
                self.refuse("carrier", error.to_string());
            }
        }
        let at_least_one: [(&str, u64); 47] = [
            ("sequencer.max_transactions", config.sequencer.max_transactions),
            ("txpool.max_slots", config.txpool.max_slots),
            ("txpool.max_bytes", config.txpool.max_bytes),
            ("txpool.max_tx_bytes", config.txpool.max_tx_bytes),
            ("txpool.account_ready", config.txpool.account_ready),
            ("txpool.waiting_lifetime_seconds", config.txpool.waiting_lifetime_seconds),
            ("rpc.max_connections", config.rpc.max_connections.into()),
            ("rpc.max_request_bytes", config.rpc.max_request_bytes.into()),
            ("rpc.max_response_bytes", config.rpc.max_response_bytes.into()),
            ("rpc.max_batch", config.rpc.max_batch.into()),
            ("rpc.max_depth", config.rpc.max_depth.into()),
            ("rpc.max_subscriptions", config.rpc.max_subscriptions.into()),
            ("rpc.max_filters", config.rpc.max_filters.into()),
            ("rpc.max_log_blocks", config.rpc.max_log_blocks),
            ("rpc.max_log_results", config.rpc.max_log_results.into()),
            ("rpc.call_gas_cap", config.rpc.call_gas_cap),
            ("rpc.call_timeout_ms", config.rpc.call_timeout_ms),
            ("rpc.trace_timeout_ms", config.rpc.trace_timeout_ms),
            ("rpc.cache_bytes", config.rpc.cache_bytes),
            ("l1_rpc.max_connections", config.l1_rpc.max_connections.into()),
            ("l1_rpc.max_request_bytes", config.l1_rpc.max_request_bytes.into()),
            ("l1_rpc.max_response_bytes", config.l1_rpc.max_response_bytes.into()),
            ("l1_rpc.max_batch", config.l1_rpc.max_batch.into()),
            ("l1_rpc.max_depth", config.l1_rpc.max_depth.into()),
            ("l1_rpc.max_subscriptions", config.l1_rpc.max_subscriptions.into()),
            ("l1_rpc.max_log_blocks", config.l1_rpc.max_log_blocks),
            ("l1_rpc.max_log_results", config.l1_rpc.max_log_results.into()),
            ("l1_rpc.call_timeout_ms", config.l1_rpc.call_timeout_ms),
            ("l1_rpc.cache_bytes", config.l1_rpc.cache_bytes),
            ("engine_api.max_transactions", config.engine_api.max_transactions),
            ("engine_api.max_connections", config.engine_api.max_connections.into()),
            ("engine_api.max_request_bytes", config.engine_api.max_request_bytes.into()),
            ("engine_api.max_response_bytes", config.engine_api.max_response_bytes.into()),
            ("rollup_rpc.max_connections", config.rollup_rpc.max_connections.into()),
            ("rollup_rpc.max_request_bytes", config.rollup_rpc.max_request_bytes.into()),
            ("rollup_rpc.max_response_bytes", config.rollup_rpc.max_response_bytes.into()),
            ("rollup_rpc.max_batch", config.rollup_rpc.max_batch.into()),
            ("rollup_rpc.cache_bytes", config.rollup_rpc.cache_bytes),
            ("http.max_connections", config.http.max_connections.into()),
            ("http.header_timeout_ms", config.http.header_timeout_ms),
            ("http.connection_timeout_ms", config.http.connection_timeout_ms),
            ("supervision.max_restarts", config.supervision.max_restarts.into()),
            ("supervision.within_seconds", config.supervision.within_seconds),
            ("supervision.backoff_min_ms", config.supervision.backoff_min_ms),
            ("supervision.backoff_max_ms", config.supervision.backoff_max_ms),
            ("supervision.deadline_ms", config.supervision.deadline_ms),
            ("supervision.shutdown_ms", config.supervision.shutdown_ms),
        ];
        for (key, value) in at_least_one {
            self.require(value >= 1, key, "must be at least 1");
        }
        self.require(
            config.http.max_header_bytes >= 1_024,
            "http.max_header_bytes",
            "must be at least 1024: ordinary clients send that much",
        );
        self.require(
            config.supervision.backoff_max_ms >= config.supervision.backoff_min_ms,
            "supervision.backoff_max_ms",
            "is less than `supervision.backoff_min_ms`: raise it",
        );
        for (section, unsent, response) in [
            ("rpc", config.rpc.max_unsent_bytes, config.rpc.max_response_bytes),
            ("l1_rpc", config.l1_rpc.max_unsent_bytes, config.l1_rpc.max_response_bytes),
        ] {
            self.require(
                // A quarter is kept for short answers.
                unsent / 4 * 3 >= response.into(),
                &format!("{section}.max_unsent_bytes"),
                format!("is less than 4/3 of `{section}.max_response_bytes`: raise it"),
            );
        }
        for name in &config.rpc.namespaces {
            self.require(
                duskevm_rpc::NAMESPACES.contains(&name.as_str()),
                "rpc.namespaces",
                format!("there is no namespace {name:?}, only {}", duskevm_rpc::NAMESPACES.join(", ")),
            );
        }
        self.require(
            config.txpool.max_bytes >= config.txpool.max_tx_bytes,
            "txpool.max_bytes",
            "is less than `txpool.max_tx_bytes`: raise it",
        );
    }
}
