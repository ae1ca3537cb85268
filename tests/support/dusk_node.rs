//! Real Dusk nodes on loopback: a genesis with keys of ours, processes, their HTTP, and the bytes of their blocks.

#![allow(clippy::unwrap_used, unreachable_pub, missing_docs, missing_debug_implementations, reason = "part of a test")]

use alloy_primitives::hex;
use duskevm_dusk_l1::keyfile;
use duskevm_dusk_l1::keys::{AccountId, Signer};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Password of the key files.
const PASSWORD: &str = "a password";

/// How long an answer may take. The first blob makes a node load its KZG settings.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// What the network starts from.
pub struct Genesis<'a> {
    /// Accounts and their balances in lux.
    pub accounts: &'a [(AccountId, u64)],
    /// Provisioners with their stakes in lux: each gets a node.
    pub provisioners: &'a [(Signer, u64)],
    /// Least distance of two blocks, in seconds.
    pub block_time: u64,
}

/// A network of Dusk nodes in a temporary folder, which are killed when this goes.
pub struct Network {
    pub nodes: Vec<DuskNode>,
    _folder: tempfile::TempDir,
}

/// The `rusk` binary that the environment names; `None` and a word about it if it names none.
pub fn binary() -> Option<PathBuf> {
    let path = std::env::var_os("DUSKEVM_TEST_RUSK").filter(|path| !path.is_empty()).map(PathBuf::from);
    if path.is_none() {
        println!("skipped: DUSKEVM_TEST_RUSK names no rusk 1.7 binary");
    }
    path
}

/// What the binary says of itself. Panics unless it is of the version that this code was written against.
pub fn version(binary: &Path) -> String {
    let output = Command::new(binary).arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(text.contains(" 1.7."), "{} is not rusk 1.7 but `{text}`", binary.display());
    text
}

fn free_tcp_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn free_udp_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Network {
    /// Makes the state of the genesis and starts a node for each provisioner.
    pub fn start(binary: &Path, genesis: &Genesis<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (toml, state) = (folder.path().join("genesis.toml"), folder.path().join("state.tar"));
        std::fs::write(&toml, genesis_toml(genesis)).unwrap();
        let made = command(binary, folder.path())
            .args(["recovery", "state", "--init"])
            .arg(&toml)
            .arg("-o")
            .arg(&state)
            .output()
            .unwrap();
        assert!(made.status.success() && state.exists(), "no genesis state: {}", output_text(&made));

        let addresses: Vec<_> = genesis.provisioners.iter().map(|_| format!("127.0.0.1:{}", free_udp_port())).collect();
        let start = |index: usize| {
            let home = folder.path().join(format!("node-{index}"));
            std::fs::create_dir(&home).unwrap();
            let keys = home.join("consensus.keys");
            let signer = &genesis.provisioners[index].0;
            // Randomness that nobody needs: neither key nor password is a secret.
            std::fs::write(&keys, keyfile::encrypt(signer, PASSWORD, &[7; keyfile::RANDOM_BYTES]).unwrap()).unwrap();
            let http = free_tcp_port();
            let log = home.join("log");
            let file = std::fs::File::create(&log).unwrap();
            let mut command = command(binary, &home);
            command
                .env("DUSK_CONSENSUS_KEYS_PASS", PASSWORD)
                .env("RUSK_MINIMUM_BLOCK_TIME", genesis.block_time.to_string())
                .args(["--log-type", "plain", "--http-listen-addr", &format!("127.0.0.1:{http}")])
                .args(["--kadcast-public-address", &addresses[index]])
                .arg("--state")
                .arg(&state)
                .arg("--consensus-keys-path")
                .arg(&keys);
            for other in addresses.iter().filter(|other| **other != addresses[index]) {
                command.args(["--kadcast-bootstrap", other]);
            }
            let child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
            DuskNode { child, http, log }
        };
        let mut nodes: Vec<_> = (0..addresses.len()).map(start).collect();
        nodes.iter_mut().for_each(DuskNode::wait_until_up);
        Self { nodes, _folder: folder }
    }
}

/// The binary with an environment of its own: nothing of it is read from or written to the user's folders.
fn command(binary: &Path, home: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if ["RUSK_", "KADCAST_", "DUSK_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.env("HOME", home).env("TMPDIR", home).env("RUSK_PROFILE_PATH", home.join("profile")).stdin(Stdio::null());
    command
}

fn output_text(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

fn genesis_toml(genesis: &Genesis<'_>) -> String {
    let mut toml = String::new();
    for (account, lux) in genesis.accounts {
        toml += &format!("[[moonlight_account]]\naddress = \"{account}\"\nbalance = {lux}\n\n");
    }
    for (signer, lux) in genesis.provisioners {
        toml += &format!("[[stake]]\naddress = \"{}\"\namount = {lux}\n\n", signer.id());
    }
    toml
}

/// One running node.
pub struct DuskNode {
    child: Child,
    http: u16,
    log: PathBuf,
}

/// An answer by HTTP.
pub struct Answer {
    pub status: u16,
    pub content_type: Option<String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A block that a node gave: its raw bytes without an attestation of its own, and what became of its transactions.
pub struct Given {
    pub header: Value,
    pub envelopes: Vec<Vec<u8>>,
    pub outcomes: Vec<Outcome>,
}

/// What became of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub id: [u8; 32],
    pub height: u64,
    pub gas_spent: u64,
    pub error: Option<String>,
}

impl DuskNode {
    fn wait_until_up(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.post("/on/node/info", "application/json", b"").is_none_or(|answer| answer.status != 200) {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the node ended with {status}: {}", self.log_tail());
            }
            assert!(Instant::now() < deadline, "the node does not come up: {}", self.log_tail());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A request; nothing if it is not answered. Version 1.0 of the protocol, so that the answer is neither cut in chunks nor
    /// followed by another one.
    pub fn post(&self, path: &str, kind: &str, body: &[u8]) -> Option<Answer> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).ok()?;
        stream.set_read_timeout(Some(ANSWER_WITHIN)).ok()?;
        let (port, length) = (self.http, body.len());
        write!(stream, "POST {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {kind}\r\n").ok()?;
        write!(stream, "Content-Length: {length}\r\n\r\n").ok()?;
        stream.write_all(body).ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok()?;
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let fields = head.lines().filter_map(|line| line.split_once(':'));
        let mut kinds = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let content_type = kinds.next().map(|(_, kind)| kind.trim().to_owned());
        Some(Answer { status, content_type, body: bytes.split_off(end + 4) })
    }

    /// A request with a binary body, which is answered in binary.
    pub fn binary(&self, path: &str, body: &[u8]) -> Answer {
        self.post(path, "application/octet-stream", body)
            .unwrap_or_else(|| panic!("no answer to {path}: {}", self.log_tail()))
    }

    /// A request that is answered in JSON.
    pub fn json(&self, path: &str) -> Value {
        let answer = self.post(path, "application/json", b"").unwrap_or_else(|| panic!("no answer to {path}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    pub fn graphql(&self, query: &str) -> Value {
        let body = json!({ "query": query }).to_string();
        let answer = self.post("/graphql", "application/json", body.as_bytes()).unwrap_or_else(|| {
            panic!("no answer to {query}: {}", self.log_tail());
        });
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", answer.text()));
        assert!(value["errors"].is_null(), "{query}: {}", value["errors"]);
        value["data"].clone()
    }

    /// Heights of the newest block and of the newest final one.
    pub fn heights(&self) -> (u64, u64) {
        let pair = &self.graphql("{ lastBlockPair { json } }")["lastBlockPair"]["json"];
        (pair["last_block"][0].as_u64().unwrap(), pair["last_finalized_block"][0].as_u64().unwrap())
    }

    /// The block of a height, which must exist.
    pub fn block(&self, height: u64) -> Given {
        let data = self.graphql(&format!(
            "{{ block(height: {height}) {{ header {{ json }} transactions {{ id raw err gasSpent blockHeight }} }} }}"
        ));
        let header = serde_json::from_str(data["block"]["header"]["json"].as_str().unwrap()).unwrap();
        let spent = data["block"]["transactions"].as_array().unwrap();
        let envelopes = spent.iter().map(|tx| hex::decode(tx["raw"].as_str().unwrap()).unwrap()).collect();
        Given { header, envelopes, outcomes: spent.iter().map(outcome).collect() }
    }

    /// What became of a transaction, if it is in a block.
    pub fn outcome(&self, id: &[u8; 32]) -> Option<Outcome> {
        let id = hex::encode(id);
        let data = self.graphql(&format!("{{ tx(hash: \"{id}\") {{ id err gasSpent blockHeight }} }}"));
        (!data["tx"].is_null()).then(|| outcome(&data["tx"]))
    }
}

impl Drop for DuskNode {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn outcome(tx: &Value) -> Outcome {
    Outcome {
        id: bytes(&tx["id"]),
        height: tx["blockHeight"].as_u64().unwrap(),
        gas_spent: tx["gasSpent"].as_u64().unwrap(),
        error: tx["err"].as_str().map(str::to_owned),
    }
}

fn bytes<const N: usize>(text: &Value) -> [u8; N] {
    hex::decode_to_array(text.as_str().unwrap_or_else(|| panic!("{text} is not hex"))).unwrap()
}

impl Given {
    pub fn hash(&self) -> [u8; 32] {
        bytes(&self.header["hash"])
    }

    /// The certificate of the block below: its attestation, as it is encoded.
    pub fn certificate(&self) -> Vec<u8> {
        attestation(&self.header["prev_block_cert"])
    }

    /// The block as nodes send it: the JSON has every field but the attestation, which the block above carries.
    pub fn encode(&self, attestation_above: &[u8]) -> Vec<u8> {
        let (header, number) = (&self.header, |name: &str| self.header[name].as_u64().unwrap());
        let height = number("height");
        let mut out = vec![u8::try_from(number("version")).unwrap()];
        out.extend(height.to_le_bytes());
        out.extend(number("timestamp").to_le_bytes());
        out.extend(bytes::<32>(&header["prev_block_hash"]));
        out.extend(bytes::<48>(&header["seed"]));
        out.extend(bytes::<32>(&header["state_hash"]));
        out.extend(bytes::<256>(&header["event_bloom"]));
        // Nobody made the genesis block.
        out.extend(if height == 0 { [0; 96] } else { key(&header["generator_bls_pubkey"]) });
        out.extend(bytes::<32>(&header["txroot"]));
        out.extend(bytes::<32>(&header["faultroot"]));
        out.extend(number("gas_limit").to_le_bytes());
        out.push(u8::try_from(number("iteration")).unwrap());
        out.extend(self.certificate());
        let failed = header["failed_iterations"].as_array().unwrap();
        out.push(u8::try_from(failed.len()).unwrap());
        for entry in failed {
            out.push(u8::from(!entry.is_null()));
            if !entry.is_null() {
                out.extend(attestation(&entry[0]));
                out.extend(key(&entry[1]));
            }
        }
        out.extend(attestation_above);
        out.extend(self.hash());
        out.extend(bytes::<48>(&header["signature"]));
        out.extend(u32::try_from(self.envelopes.len()).unwrap().to_le_bytes());
        for envelope in &self.envelopes {
            out.extend([1u32.to_le_bytes(), 1u32.to_le_bytes()].concat());
            out.extend(u32::try_from(envelope.len()).unwrap().to_le_bytes());
            out.extend(envelope);
        }
        // No node of this version makes faults.
        out.extend(0u32.to_le_bytes());
        out
    }
}

fn key(text: &Value) -> [u8; 96] {
    *text.as_str().unwrap().parse::<AccountId>().unwrap().as_bytes()
}

/// Result, vote, and the votes of both steps. The JSON leaves out whether it is a success: the vote says it.
fn attestation(json: &Value) -> Vec<u8> {
    let vote = match (&json["result"]["Valid"], &json["result"]["Invalid"], json["result"].as_str()) {
        (Value::String(_), ..) => [&[1, 1][..], &bytes::<32>(&json["result"]["Valid"])].concat(),
        (_, Value::String(_), _) => [&[0, 2][..], &bytes::<32>(&json["result"]["Invalid"])].concat(),
        (.., Some("NoCandidate")) => vec![0, 0],
        (.., Some("NoQuorum")) => vec![0, 3],
        _ => panic!("{} is not the result of an attestation", json["result"]),
    };
    let votes = |json: &Value| {
        let bits = json["bitset"].as_u64().unwrap().to_le_bytes();
        [&bits[..], &bytes::<48>(&json["aggregate_signature"])].concat()
    };
    [vote, votes(&json["validation"]), votes(&json["ratification"])].concat()
}
