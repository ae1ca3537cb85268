//! `duskevm genesis --provisioners N`: a network of several nodes, each with keys and a configuration of its own.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::Context as _;
use duskevm_dusk_l1::genesis::MINIMUM_STAKE;
use duskevm_dusk_l1::keyfile;
use duskevm_dusk_l1::keys::Signer;
use duskevm_gossip::{BlockIdentity, BlockPeer, Identity};
use duskevm_p2p::{Endpoint, PeerAddress};
use rand::TryRngCore as _;
use rand::rngs::OsRng;

use super::{Output, none_exists, shared, write_all};
use crate::cli::args::GenesisArgs;
use crate::cli::start::{absolute, path};
use crate::cli::{CliError, OK, print};
use crate::config::Effective;
use crate::network::{LOCAL_STAKE, Password};
use crate::node;

/// More than that is not made at once.
const MOST: u64 = 64;
/// Where the first node listens for peers unless `gossip.listen` names a port.
const GOSSIP_PORT: u16 = 9222;
/// The ports of one node and those of the next differ by this.
const PORT_STEP: u16 = 10;
/// Least stake of a provisioner, in DUSK.
const LEAST_STAKE: u64 = MINIMUM_STAKE / LUX;
/// Lux of a DUSK.
const LUX: u64 = 1_000_000_000;
/// Parts that only the first node runs: one sequencer makes the blocks of L2, and posts them. The others follow it.
const ONLY_FIRST: [&str; 2] = ["actors.sequencer", "actors.batcher"];
/// Settings that became part of the genesis.
const NOT_REPEATED: [&str; 5] = ["l2", "l2.forks", "genesis", "l1.provisioners", "l1.block_time"];

/// A node to be.
struct Member {
    number: u16,
    signer: Signer,
    identity: Identity,
    listen: SocketAddr,
    l2_identity: BlockIdentity,
    l2_listen: SocketAddr,
}

impl Member {
    fn new(number: u16, gossip_port: u16) -> anyhow::Result<Self> {
        let signer = Signer::from_random(&random()?)?;
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, shifted(gossip_port, number)?));
        let l2_port =
            gossip_port.checked_add(1).context("the peers of L2 would need port 65536: begin with lower ports")?;
        let l2_listen = SocketAddr::from((Ipv4Addr::LOCALHOST, shifted(l2_port, number)?));
        let identity = Identity::from_secret(random()?);
        Ok(Self { number, signer, identity, listen, l2_identity: BlockIdentity::generate(), l2_listen })
    }

    fn file(&self, kind: &str) -> String {
        format!("node-{}.{kind}", self.number)
    }

    fn address(&self) -> PeerAddress {
        let endpoint = Endpoint::Ip4(Ipv4Addr::LOCALHOST.octets(), self.listen.port());
        PeerAddress { peer: self.identity.id(), endpoint }
    }

    fn l2_address(&self) -> BlockPeer {
        self.l2_identity.at(Endpoint::Ip4(Ipv4Addr::LOCALHOST.octets(), self.l2_listen.port()))
    }
}

/// Bytes of the system's randomness.
fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).context("the system gives no random bytes for keys")?;
    Ok(bytes)
}

/// The port of the node with this number; 0, which takes a free one, stays.
fn shifted(port: u16, number: u16) -> anyhow::Result<u16> {
    if port == 0 {
        return Ok(0);
    }
    (number - 1)
        .checked_mul(PORT_STEP)
        .and_then(|step| port.checked_add(step))
        .with_context(|| format!("node {number} would need a port {PORT_STEP} above that of the node before it, beyond 65535: begin with lower ports"))
}

pub(super) fn run(args: &GenesisArgs, effective: &Effective, count: u64) -> Result<u8, CliError> {
    let stake = args.stake.unwrap_or(LOCAL_STAKE / LUX);
    let lux = check(effective, count, stake)?;
    let password = Password::find("the keys of the provisioners", "--password-file", args.password_file.as_deref())
        .map_err(|error| CliError::Usage(error.to_string()))?;
    let password_file = match &args.password_file {
        Some(file) => Some(path(&absolute(file.clone()))?),
        None => None,
    };
    let outputs = make(effective, count, lux, &password, password_file.as_deref()).map_err(CliError::Failed)?;
    write(&args.out, &outputs).map_err(CliError::Failed)?;

    let mut text = String::new();
    for file in &outputs {
        text.push_str(&format!("wrote {}\n", args.out.join(&file.name).display()));
    }
    text.push_str("start each node, on this machine, with:\n");
    for number in 1..=count {
        let file = args.out.join(format!("node-{number}.toml"));
        text.push_str(&format!("  duskevm node --config {}\n", file.display()));
    }
    if args.password_file.is_none() {
        text.push_str("DUSKEVM_PASSWORD must be set then as it is now\n");
    }
    print(&text)?;
    Ok(OK)
}

/// Checks what only this command asks for. Returns the stake of each in lux.
fn check(effective: &Effective, count: u64, stake: u64) -> Result<u64, CliError> {
    let usage = |text: String| Err(CliError::Usage(text));
    if !(1..=MOST).contains(&count) {
        return usage(format!("--provisioners {count} is not between 1 and {MOST}"));
    }
    if stake < LEAST_STAKE {
        return usage(format!("--stake {stake} is below the {LEAST_STAKE} DUSK that make a provisioner"));
    }
    let config = &effective.config;
    if config.l1.provisioners != 1 {
        return usage(
            "`l1.provisioners` is for provisioners in one process, --provisioners for nodes of their own: give only one of them"
                .to_owned(),
        );
    }
    for (key, set) in [
        ("keys.consensus", config.keys.consensus.is_some()),
        ("gossip.identity", config.gossip.identity.is_some()),
        ("gossip.boot", !config.gossip.boot.is_empty()),
        ("gossip.l2_identity", config.gossip.l2_identity.is_some()),
        ("gossip.l2_peers", !config.gossip.l2_peers.is_empty()),
    ] {
        if set {
            return usage(format!("`{key}` is what this command makes for each node: remove the setting"));
        }
    }
    match stake.checked_mul(LUX) {
        Some(lux) => Ok(lux),
        None => usage(format!("--stake {stake} is more DUSK than L1 can count")),
    }
}

fn make(
    effective: &Effective,
    count: u64,
    stake: u64,
    password: &Password,
    password_file: Option<&str>,
) -> anyhow::Result<Vec<Output>> {
    let gossip_port = effective.config.gossip.listen.first().map_or(GOSSIP_PORT, SocketAddr::port);
    anyhow::ensure!(gossip_port != 0, "`gossip.listen` needs a port: the nodes find each other by it");
    let numbers = 1..=u16::try_from(count)?;
    let members: Vec<Member> = numbers.map(|number| Member::new(number, gossip_port)).collect::<Result<_, _>>()?;
    let keys: Vec<_> = members.iter().map(|member| member.signer.id()).collect();
    let mut outputs = shared(node::genesis_of(&effective.config, &keys, stake)?);
    let mut taken = BTreeMap::new();
    for member in &members {
        let node = member_settings(effective, member, &members, password_file)?;
        no_port_twice(&node, member, &mut taken)?;
        let key_file = keyfile::encrypt(&member.signer, password.reveal(), &random()?)?;
        outputs.push(Output::secret(&member.file("keys"), key_file));
        outputs.push(Output::public(&member.file("cpk"), *member.signer.id().as_bytes()));
        outputs.push(Output::secret(&member.file("p2p"), member.identity.to_text()));
        outputs.push(Output::secret(&member.file("l2p2p"), member.l2_identity.to_text()));
        outputs.push(Output::secret(&member.file("toml"), member_file(&node, member)));
    }
    Ok(outputs)
}

/// The settings of one node. Paths are relative to its file.
fn member_settings(
    effective: &Effective,
    member: &Member,
    all: &[Member],
    password_file: Option<&str>,
) -> anyhow::Result<Effective> {
    let mut node = effective.clone();
    let config = effective.config.clone();
    let boot: Vec<toml::Value> = all
        .iter()
        .filter(|other| other.number != member.number)
        .map(|other| other.address().to_string().into())
        .collect();
    let l2_peers: Vec<toml::Value> = all
        .iter()
        .filter(|other| other.number != member.number)
        .map(|other| other.l2_address().to_string().into())
        .collect();
    let mut settings: Vec<(&str, toml::Value)> = vec![
        ("network.genesis", ".".into()),
        ("data.dir", format!("node-{}", member.number).into()),
        ("keys.consensus", member.file("keys").into()),
        ("gossip.identity", member.file("p2p").into()),
        ("gossip.listen", vec![member.listen.to_string()].into()),
        ("gossip.boot", boot.into()),
        ("gossip.l2_identity", member.file("l2p2p").into()),
        ("gossip.l2_listen", vec![member.l2_listen.to_string()].into()),
        ("gossip.l2_peers", l2_peers.into()),
        // They are on this machine as they are written.
        ("gossip.allow_private", true.into()),
    ];
    if let Some(file) = password_file {
        settings.push(("keys.password_file", file.into()));
    }
    for (key, port) in [
        ("rpc.port", config.rpc.port),
        ("l1_rpc.port", config.l1_rpc.port),
        ("rollup_rpc.port", config.rollup_rpc.port),
        ("admin.port", config.admin.port),
        ("http.port", config.http.port),
        ("blobs.port", config.blobs.port),
    ] {
        settings.push((key, i64::from(shifted(port, member.number)?).into()));
    }
    if member.number != 1 {
        settings.extend(ONLY_FIRST.map(|key| (key, false.into())));
        // A free port is known to nobody.
        if config.rpc.port != 0 {
            settings.push(("rpc.sequencer", format!("http://{}:{}", Ipv4Addr::LOCALHOST, config.rpc.port).into()));
        }
    }
    for (key, value) in settings {
        anyhow::ensure!(node.set(key, value), "the setting {key} cannot be written");
    }
    Ok(node)
}

/// The nodes share a machine.
fn no_port_twice(node: &Effective, member: &Member, taken: &mut BTreeMap<u16, String>) -> anyhow::Result<()> {
    let config = &node.config;
    let ports = [
        ("rpc.port", config.rpc.port),
        ("l1_rpc.port", config.l1_rpc.port),
        ("rollup_rpc.port", config.rollup_rpc.port),
        ("admin.port", config.admin.port),
        ("http.port", config.http.port),
        ("blobs.port", config.blobs.port),
        ("gossip.listen", member.listen.port()),
        ("gossip.l2_listen", member.l2_listen.port()),
    ];
    for (key, port) in ports.into_iter().filter(|(_, port)| *port != 0) {
        let name = format!("{key} of node {}", member.number);
        if let Some(other) = taken.insert(port, name.clone()) {
            anyhow::bail!("port {port} would be both {other} and {name}: begin with ports that are further apart");
        }
    }
    Ok(())
}

fn member_file(node: &Effective, member: &Member) -> String {
    let mut skip = NOT_REPEATED.to_vec();
    if member.number != 1 {
        // The keys of L2's accounts are none of its business.
        skip.push("keys.mnemonic");
    }
    format!(
        "# Node {} of the network whose files lie beside this one. `duskevm config show --docs` explains every setting.\n\
         # On another machine: change gossip.listen and gossip.l2_listen here, and this node's addresses in gossip.boot and\n\
         # gossip.l2_peers of the others.\n{}",
        member.number,
        node.to_file(&skip)
    )
}

/// Writes all files unless one of them is there already: keys are never replaced.
fn write(out: &Path, outputs: &[Output]) -> anyhow::Result<()> {
    none_exists(out, outputs.iter().map(|output| output.name.as_str()), "")?;
    write_all(out, outputs, false)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::{Config, Loader};
    use crate::network::{Network, NetworkFiles, read_key_file};

    /// Four nodes whose first ports are 4000 to 4006.
    fn settings() -> Effective {
        Loader::new()
            .flag("--l1-block-time", "l1.block_time", 2)
            .flag("--block-time", "l2.block_time", 1)
            .flag(
                "--mnemonic",
                "keys.mnemonic",
                "legal winner thank year wave sausage worth useful legal winner thank yellow",
            )
            .flag("--port", "rpc.port", 4000)
            .flag("--admin-port", "admin.port", 4001)
            .flag("--metrics-port", "http.port", 4002)
            .flag("--blob-port", "blobs.port", 4003)
            .flag("--l1-rpc-port", "l1_rpc.port", 4006)
            .flag("--rollup-rpc-port", "rollup_rpc.port", 4007)
            .flag("--listen", "gossip.listen", vec!["127.0.0.1:4004"])
            .load()
            .unwrap()
    }

    fn password(folder: &Path) -> Password {
        let file = folder.join("password");
        fs::write(&file, "secret\n").unwrap();
        Password::find("keys", "--password-file", Some(&file)).unwrap()
    }

    fn loaded(out: &Path, number: u16) -> Config {
        let file = out.join(format!("node-{number}.toml"));
        Loader::new().needs_data_dir().file(Some(&file)).load().unwrap().config
    }

    #[test]
    fn every_node_gets_keys_and_a_configuration_that_fit_together() {
        let folder = tempfile::tempdir().unwrap();
        let (out, password) = (folder.path().join("net"), password(folder.path()));
        let file = folder.path().join("password");
        let outputs = make(&settings(), 4, 2_000 * LUX, &password, file.to_str()).unwrap();
        write(&out, &outputs).unwrap();
        let files = NetworkFiles::read(&out).unwrap();
        let network = files.load().unwrap();
        assert_eq!(network.dusk().unwrap().l1.block_time, 2);
        assert!(network.dusk().unwrap().l1.stakes.iter().all(|stake| stake.amount == 2_000 * LUX));
        let ids: Vec<_> =
            (1..=4).map(|number| Identity::read(&out.join(format!("node-{number}.p2p"))).unwrap().id()).collect();
        for number in 1..=4 {
            let file = |kind: &str| out.join(format!("node-{number}.{kind}"));
            for (kind, mode) in [("keys", 0o600), ("p2p", 0o600), ("l2p2p", 0o600), ("toml", 0o600), ("cpk", 0o644)] {
                assert_eq!(fs::metadata(file(kind)).unwrap().permissions().mode() & 0o777, mode, "{kind}");
            }
            let key = read_key_file(&file("keys"), "keys.consensus", &password).unwrap().id();
            assert_eq!(fs::read(file("cpk")).unwrap(), key.as_bytes());
            let at = usize::from(number) - 1;
            assert_eq!(network.dusk().unwrap().l1.stakes[at].key, key);

            let config = loaded(&out, number);
            let config = network.in_force(&config).unwrap();
            assert_eq!((config.l1.block_time, config.l2.block_time), (2, 1));
            assert_eq!(network.signers(&config).unwrap()[0].id(), key);
            assert_eq!(config.data.dir, Some(out.join(format!("node-{number}"))));
            assert_eq!(config.gossip.identity, Some(file("p2p")));
            let step = 10 * (number - 1);
            assert_eq!(
                (config.rpc.port, config.admin.port, config.http.port, config.blobs.port),
                (4000 + step, 4001 + step, 4002 + step, 4003 + step)
            );
            assert_eq!((config.l1_rpc.port, config.rollup_rpc.port), (4006 + step, 4007 + step));
            assert_eq!(config.gossip.listen, [SocketAddr::from(([127, 0, 0, 1], 4004 + step))]);
            assert!(config.has_peers() && config.gossip.allow_private);
            let others: Vec<String> = (1..=4u16)
                .filter(|other| *other != number)
                .map(|other| {
                    format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", 4004 + 10 * (other - 1), ids[usize::from(other) - 1])
                })
                .collect();
            assert_eq!(config.gossip.boot.iter().map(ToString::to_string).collect::<Vec<_>>(), others);
            let on = &config.actors;
            let first = number == 1;
            assert_eq!([on.sequencer, on.batcher], [first; 2]);
            assert_eq!(config.rpc.sequencer.as_deref(), (!first).then_some("http://127.0.0.1:4000"));
            assert!(config.has_l2_peers());
            assert_eq!(config.gossip.l2_listen, [SocketAddr::from(([127, 0, 0, 1], 4005 + step))]);
            assert_eq!(config.gossip.l2_identity, Some(file("l2p2p")));
            let own = BlockIdentity::read(&file("l2p2p")).unwrap();
            let own = own.at(Endpoint::Ip4([127, 0, 0, 1], 4005 + step));
            assert_eq!(config.gossip.l2_peers.len(), 3);
            assert!(!config.gossip.l2_peers.contains(&own), "not oneself");
            let dialled = (1..=4).filter(|other| loaded(&out, *other).gossip.l2_peers.contains(&own)).count();
            assert_eq!(dialled, 3);
            assert!(on.consensus && on.gossip && on.da_store && on.blob_api && on.l1 && on.http);
            assert!(on.executor && on.txpool && on.derivation && on.rpc);
            let text = fs::read_to_string(file("toml")).unwrap();
            assert_eq!(text.contains("legal winner"), first, "only the sequencer's node knows the accounts");
            assert!(!text.contains("secret\n"));
            Network::open(&config, &folder.path().join(format!("data-{number}")), 1).unwrap();
        }
        let again = make(&settings(), 1, 2_000 * LUX, &password, None).unwrap();
        let key =
            |outputs: &[Output]| outputs.iter().find(|output| output.name == "node-1.cpk").unwrap().content.clone();
        assert_ne!(key(&again), key(&outputs), "keys are random");
    }

    #[test]
    fn nothing_is_written_over_or_beside_an_existing_file() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("net");
        let outputs = make(&settings(), 2, 2_000 * LUX, &password(folder.path()), None).unwrap();
        fs::create_dir(&out).unwrap();
        fs::write(out.join("node-2.keys"), "precious").unwrap();
        let error = write(&out, &outputs).unwrap_err().to_string();
        assert!(error.contains("node-2.keys") && !error.contains("--force"), "{error}");
        assert_eq!(fs::read_to_string(out.join("node-2.keys")).unwrap(), "precious");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    }

    #[test]
    fn ports_that_do_not_fit_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let with = |count, port: i64, listen: &str| {
            let settings = Loader::new()
                .flag("--metrics-port", "http.port", port)
                .flag("--listen", "gossip.listen", vec![listen])
                .load()
                .unwrap();
            match make(&settings, count, 2_000 * LUX, &password(folder.path()), None) {
                Ok(_) => String::new(),
                Err(error) => error.to_string(),
            }
        };
        assert_eq!(with(2, 7300, "127.0.0.1:9222"), "");
        assert!(with(3, 65_520, "127.0.0.1:9222").contains("beyond 65535"));
        assert!(with(2, 7300, "127.0.0.1:0").contains("needs a port"));
        let twice = with(3, 7300, "127.0.0.1:7310");
        assert!(twice.contains("port 7310 would be both gossip.listen of node 1 and http.port of node 2"), "{twice}");
    }

    #[test]
    fn what_makes_no_sense_is_wrong_usage() {
        let refused = |loader: Loader, count, stake| match check(&loader.load().unwrap(), count, stake) {
            Err(CliError::Usage(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(check(&settings(), 64, 1_000).unwrap(), 1_000 * LUX);
        assert!(refused(Loader::new(), 0, 1_000).contains("not between 1 and 64"));
        assert!(refused(Loader::new(), 65, 1_000).contains("not between 1 and 64"));
        assert!(refused(Loader::new(), 1, 999).contains("below the 1000 DUSK"));
        assert!(refused(Loader::new(), 1, u64::MAX).contains("more DUSK than L1 can count"));
        assert!(refused(Loader::new().flag("-", "l1.provisioners", 2), 2, 1_000).contains("only one"));
        assert!(refused(Loader::new().flag("-", "keys.consensus", "k"), 2, 1_000).contains("keys.consensus"));
    }
}
