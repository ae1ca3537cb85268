//! A real Dusk node, version 1.7, takes what our code builds and signs, and our code verifies what it makes.
//!
//! These tests run when `DUSKEVM_TEST_RUSK` names a `rusk` binary; otherwise they say so and pass. The README says how to build
//! one. Each network is made for its test: a genesis with keys of ours, in a temporary folder, on loopback.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/dusk_ledger.rs"]
mod dusk_ledger;
#[path = "support/dusk_node.rs"]
mod dusk_node;

use alloy_primitives::hex;
use dusk_ledger::{CHAIN_ID, Ledger, account_of};
use dusk_node::{Answer, DuskNode, Genesis, Network};
use duskevm_blobs::{Sidecar, api, api::dusk::Form, kzg};
use duskevm_dusk_l1::{
    keys::Signer,
    stakes::Stake,
    state::Account,
    transfer::{
        Transaction,
        data::{BlobData, TransactionData},
    },
    tx::{Tx, TxId},
    wallet::{self, Terms, WalletError},
};
use std::{
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};

const DUSK: u64 = 1_000_000_000;

/// Enough for every transaction here, at one lux each.
const GAS: u64 = 100_000_000;

/// How long a transaction may wait for its block, the first ones of a network that finds together included.
const INCLUDED_WITHIN: Duration = Duration::from_secs(300);

/// Nodes that vote together.
const NODES: usize = 6;

/// One network at a time: a node that shares its processors with too many others misses its turns.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A network, our count of its chain, and those who send.
struct Run {
    network: Network,
    ledger: Ledger,
    name: &'static str,
}

impl Run {
    fn start(name: &'static str, binary: &Path, genesis: &Genesis<'_>) -> Self {
        println!("{name}: {} node(s), a block every {} s", genesis.provisioners.len(), genesis.block_time);
        let network = Network::start(binary, genesis);
        let ledger = Ledger::new(&network.nodes[0], genesis);
        Self { network, ledger, name }
    }

    /// The node that is sent to.
    fn first(&self) -> &DuskNode {
        &self.network.nodes[0]
    }

    /// The node that is read from: another one, if there is one.
    fn other(&self) -> &DuskNode {
        self.network.nodes.get(1).unwrap_or(self.first())
    }

    fn terms(&self, signer: &Signer) -> Terms {
        let nonce = account_of(self.other(), &signer.id()).nonce + 1;
        Terms { chain_id: CHAIN_ID, nonce, gas_limit: GAS, gas_price: 1 }
    }

    /// Has the wallet build and sign, and sends that.
    fn send(
        &mut self,
        what: &str,
        signer: &Signer,
        build: impl FnOnce(&Signer, &Terms) -> Result<Tx, WalletError>,
    ) -> TxId {
        let built = build(signer, &self.terms(signer)).unwrap();
        self.send_bytes(what, &built.ledger().protocol_bytes())
    }

    /// Submits and waits for the block; says what it cost. The id is computed before anybody else sees the transaction.
    fn send_bytes(&mut self, what: &str, bytes: &[u8]) -> TxId {
        let ours = Tx::decode(bytes, 1).unwrap().verify().unwrap();
        let id = *ours.id();
        self.ledger.expect(id);
        let answer = submit(self.first(), bytes);
        assert_eq!(answer.status, 202, "{what}: {}", answer.text());
        let outcome = included(self.other(), &id);
        assert_eq!((outcome.id, &outcome.error), (id, &None), "{what}: {}", self.other().log_tail());
        let (name, length, hex) = (self.name, bytes.len(), hex::encode(id));
        println!("{name}: {what}: {length} bytes, id {hex}, {} gas, block {}", outcome.gas_spent, outcome.height);
        id
    }

    fn follow(&mut self, height: u64) {
        self.ledger.follow(self.network.nodes.get(1).unwrap_or(&self.network.nodes[0]), height);
    }

    fn compare(&mut self) {
        self.ledger.compare(self.network.nodes.get(1).unwrap_or(&self.network.nodes[0]));
        let (ledger, name) = (&self.ledger, self.name);
        let members = ledger.certificates.iter().map(|certificate| certificate.0);
        let credits = ledger.certificates.iter().map(|certificate| certificate.1);
        println!(
            "{name}: {} blocks verified, {} failed iterations among them; certificates of {:?} to {:?} members with {:?} to {:?} \
             credits; events, \
             stakes, rewards, balances and the last final block are those that we compute",
            ledger.height(),
            ledger.failures,
            members.clone().min().unwrap(),
            members.max().unwrap(),
            credits.clone().min().unwrap(),
            credits.max().unwrap(),
        );
    }
}

/// A payment of `lux` with data, in the envelope that wallets of any version submit.
fn sign(signer: &Signer, to: Option<&Signer>, lux: u64, terms: &Terms, data: Option<TransactionData>) -> Vec<u8> {
    let (key, to) = (signer.secret_key(), to.map(|to| *to.public_key()));
    let Terms { chain_id, nonce, gas_limit, gas_price } = *terms;
    Transaction::moonlight(key, to, lux, 0, gas_limit, gas_price, nonce, chain_id, data).unwrap().to_network_bytes()
}

fn submit(node: &DuskNode, bytes: &[u8]) -> Answer {
    node.binary("/on/transactions/propagate", bytes)
}

fn included(node: &DuskNode, id: &TxId) -> dusk_node::Outcome {
    let deadline = Instant::now() + INCLUDED_WITHIN;
    loop {
        if let Some(outcome) = node.outcome(id) {
            return outcome;
        }
        assert!(Instant::now() < deadline, "{} is in no block: {}", hex::encode(id), node.log_tail());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A blob of canonical field elements that differs by `seed`.
fn blob(seed: u8) -> Sidecar {
    let mut data: Vec<u8> =
        (0..duskevm_blobs::BYTES).map(|at| (at as u8).wrapping_mul(seed) ^ (at >> 8) as u8).collect();
    data.chunks_mut(32).for_each(|element| element[0] = 0);
    kzg::commit_and_prove(&data).unwrap().sidecar().clone()
}

fn blob_data(sidecars: &[Sidecar]) -> TransactionData {
    let named = |sidecar: &Sidecar| BlobData { hash: sidecar.hash(), data: Some(sidecar.into()) };
    TransactionData::Blob(sidecars.iter().map(named).collect())
}

/// Each node that has their transaction gives each blob back, and ours is the proof that it is the right one.
fn check_blobs(nodes: &[DuskNode], id: &TxId, sidecars: &[Sidecar]) {
    for node in nodes {
        included(node, id);
    }
    for (node, sidecar) in nodes.iter().flat_map(|node| sidecars.iter().map(move |sidecar| (node, sidecar))) {
        let (hash, commitment) = (hex::encode(sidecar.hash()), hex::encode(sidecar.commitment));
        for path in [format!("/on/blobs:{hash}/hash"), format!("/on/blobs:{commitment}/commitment")] {
            let answer = node.binary(&path, b"");
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            let given = Sidecar::decode(&answer.body).unwrap();
            assert!(given == *sidecar, "{path} is not what was sent");
            kzg::verify(&sidecar.hash(), given).unwrap();
        }
        // Our blob API answers the same, in each of its forms. The node does not always say what form it is.
        for kind in ["application/octet-stream", "application/json", "text/plain"] {
            let theirs = node.post(&format!("/on/blobs:{hash}/hash"), kind, b"").unwrap();
            let ours = api::dusk::blob(sidecar, Form::of(Some(kind), None));
            let says = theirs.content_type.as_deref();
            assert!(says.is_none_or(|says| says == ours.content_type), "{kind}: {says:?} is not {}", ours.content_type);
            let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
            let is_same = ours.body == theirs.body || json(&ours.body).is_some_and(|o| Some(o) == json(&theirs.body));
            assert!(is_same && theirs.status == 200, "{kind}: {:?} is not as ours", theirs.text().get(..100));
        }
    }
}

/// What the node refuses, ours refuses too.
fn check_refusals(run: &Run, sender: &Signer) {
    let terms = run.terms(sender);
    let refused = |what: &str, bytes: &[u8]| {
        let answer = submit(run.first(), bytes);
        assert!((400..500).contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
        println!("{}: {what} is refused: {}", run.name, answer.text());
    };
    let (good, other) = (blob(3), blob(5));
    let wrong = Sidecar { proof: other.proof, ..good.clone() };
    assert!(kzg::verify(&wrong.hash(), wrong.clone()).is_err());
    refused("a blob with another one's proof", &sign(sender, None, 0, &terms, Some(blob_data(&[wrong]))));

    let misnamed = TransactionData::Blob(vec![BlobData { hash: other.hash(), data: Some((&good).into()) }]);
    assert!(kzg::verify(&other.hash(), good).is_err());
    refused("a blob with another one's hash", &sign(sender, None, 0, &terms, Some(misnamed)));

    // From the end: signature, no data, nonce, no refund address, gas price.
    let mut forged = sign(sender, None, 1, &terms, None);
    let gas_price_at = forged.len() - 48 - 1 - 8 - 1 - 8;
    forged[gas_price_at] += 1;
    assert!(Tx::decode(&forged, 1).unwrap().verify().is_err());
    refused("another gas price under the signature", &forged);

    let used = Terms { nonce: terms.nonce - 1, ..terms };
    refused("a nonce that was used", &sign(sender, None, 1, &used, None));
}

/// Transfers, stakes and blobs, each in a block, and everything that they change.
fn exchange(run: &mut Run, alice: &Signer, bob: &Signer, provisioner: &Signer, blobs: u8) {
    run.ledger.watch(bob.id());
    run.send("transfer", alice, |from, terms| wallet::transfer(from, &bob.id(), 5_000 * DUSK, terms));
    let memo = Some(TransactionData::Memo(b"hello".to_vec()));
    run.send_bytes("transfer with a memo", &sign(alice, Some(bob), 7, &run.terms(alice), memo));

    // Bob becomes a provisioner, whose stake ripens long after this test, and takes a part and then the rest of it back.
    run.send("stake", bob, |from, terms| wallet::stake(from, 3_000 * DUSK, terms));
    run.send("unstake a part", bob, |from, terms| wallet::unstake(from, 1_500 * DUSK, terms));
    run.send("unstake the rest", bob, |from, terms| wallet::unstake(from, 1_500 * DUSK, terms));

    // A provisioner that votes stakes more: a tenth of it is locked, the rest counts at once.
    run.send("stake more", provisioner, |from, terms| wallet::stake(from, 100_000 * DUSK, terms));

    // Its rewards, as far as we count them.
    let tip = run.other().heights().1;
    run.follow(tip);
    let lux = run.ledger.stake(&provisioner.id()).reward;
    assert!(lux > 0, "a provisioner earns");
    run.send("withdraw rewards", provisioner, |from, terms| wallet::withdraw(from, lux, terms));

    let sidecars: Vec<_> = (1..=blobs).map(blob).collect();
    let bytes = sign(alice, None, 0, &run.terms(alice), Some(blob_data(&sidecars)));
    let id = run.send_bytes(&format!("{blobs} blobs"), &bytes);
    check_blobs(&run.network.nodes, &id, &sidecars);
    run.compare();
    assert_eq!(run.ledger.pending(), 0, "every transaction is in a block");
}

/// Who pays, who is paid, and the provisioners with their stakes. The last of several has the least: when it is gone, the others
/// still have a quorum nearly always.
fn people(provisioners: usize) -> (Signer, Signer, Vec<(Signer, u64)>) {
    let key = |name: &str| Signer::from_seed(name.as_bytes());
    let stake = |i: u64| if i + 1 == NODES as u64 { 400_000 } else { 1_000_000 + 50_000 * i };
    let voters = (0..provisioners as u64).map(|i| (key(&format!("provisioner {i}")), stake(i) * DUSK));
    (key("alice"), key("bob"), voters.collect())
}

fn with_network(name: &'static str, nodes: usize, block_time: u64, test: impl FnOnce(Run, &Signer, &Signer, &Signer)) {
    let Some(binary) = dusk_node::binary() else { return };
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    println!("{}", dusk_node::version(&binary));
    kzg::warm_up();
    let (alice, bob, provisioners) = people(nodes);
    let rich = &provisioners[0].0;
    let accounts = [(alice.id(), 50_000 * DUSK), (rich.id(), 200_000 * DUSK)];
    let run = Run::start(name, &binary, &Genesis { accounts: &accounts, provisioners: &provisioners, block_time });
    for (id, balance) in accounts {
        assert_eq!(account_of(run.first(), &id), Account { balance, nonce: 0 });
    }
    test(run, &alice, &bob, rich);
}

#[test]
fn a_dusk_node_takes_what_we_sign_and_we_verify_what_it_makes() {
    with_network("alone", 1, 1, |mut run, alice, bob, provisioner| {
        exchange(&mut run, alice, bob, provisioner, 6);
        check_refusals(&run, alice);
        assert!(run.ledger.certificates.iter().all(|certificate| *certificate == (1, 128)));
    });
}

/// Committees of several members, certificates with sums of signatures, and, once a node is gone, iterations that fail and what
/// they cost it.
#[test]
fn dusk_nodes_that_vote_together_are_verified() {
    with_network("together", NODES, 2, |mut run, alice, bob, provisioner| {
        exchange(&mut run, alice, bob, provisioner, 2);
        assert!(run.ledger.certificates.iter().any(|(members, _)| *members > 2));

        // Whose node is gone fails as a generator. The first time is a warning, the next one costs stake and turns.
        let (gone, _) = people(NODES).2.pop().unwrap();
        run.network.nodes.pop().unwrap().kill();
        let deadline = Instant::now() + Duration::from_secs(900);
        while run.ledger.stake(&gone.id()).locked == 0 {
            assert!(Instant::now() < deadline, "no iteration fails: {}", run.other().log_tail());
            run.follow(run.ledger.height() + 1);
        }
        let Stake { value, locked, eligibility, .. } = run.ledger.stake(&gone.id());
        println!(
            "together: the penalty locks {locked} lux and leaves {value}, which count again from block {eligibility}"
        );
        run.follow(run.ledger.height() + 5);
        run.compare();
    });
}
