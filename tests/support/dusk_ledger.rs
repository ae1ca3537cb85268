//! What our code makes of the blocks of a Dusk node: headers, certificates, roots, finality, stakes, rewards and balances.
//! Gas is the node's word, and so is the state root: both come from its virtual machine.

#![allow(clippy::unwrap_used, unreachable_pub, missing_docs, missing_debug_implementations, reason = "part of a test")]

use crate::dusk_node::{DuskNode, Genesis, Given, Outcome};
use duskevm_dusk_l1::{
    Header,
    block::{LedgerParams, header_hash, tx_root},
    body::fault_root,
    finality::Finality,
    header::{HeaderContext, Stage, verify_header},
    keys::AccountId,
    rewards::rewards,
    sa::{
        bls::DuskBls,
        committee::Committees,
        provisioners::Provisioners,
        rules::Quorums,
        wire::{decode_block, decode_header},
    },
    stakes::{Slashing, Stake, StakeRules},
    tx::{Tx, TxId},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// What a node of this version uses, whatever its network is.
pub const BLOCK_GAS_LIMIT: u64 = 3_000_000_000;
pub const GAS_PER_BLOB: u64 = 1_000_000;

/// The chain id of a network that was given none.
pub const CHAIN_ID: u8 = 0;

/// What one of our transactions does when it succeeds. Its value and its gas are paid in any case.
#[derive(Debug, Clone, Copy)]
pub enum Effect {
    /// `lux` go to another account.
    Pay { to: AccountId, lux: u64 },
    /// `lux` of the sender are added to its stake.
    Stake { lux: u64 },
    /// `lux` of the sender's stake go back to its account.
    Unstake { lux: u64 },
    /// `lux` of the sender's rewards go to its account.
    Withdraw { lux: u64 },
    /// Nothing but gas.
    Blobs { count: usize },
}

/// Lux and last nonce of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Account {
    pub balance: u64,
    pub nonce: u64,
}

/// What is to be had of a node about one height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    pub height: u64,
    pub last_final: u64,
    pub stakes: BTreeMap<AccountId, Stake>,
    pub accounts: BTreeMap<AccountId, Account>,
}

/// Our own count of the chain.
pub struct Ledger {
    params: LedgerParams,
    bls: DuskBls,
    tip: Header,
    committees: Committees,
    previous: Option<Committees>,
    finality: Finality,
    stakes: BTreeMap<AccountId, Stake>,
    accounts: BTreeMap<AccountId, Account>,
    effects: BTreeMap<TxId, Effect>,
    /// Outcomes of the transactions seen, by id.
    pub outcomes: BTreeMap<TxId, Outcome>,
    /// Voters of each certificate that was verified: number of members, credits.
    pub certificates: Vec<(usize, u32)>,
    /// Failed iterations whose attestation was verified.
    pub failures: usize,
}

impl Ledger {
    /// Starts at the genesis block that a node has, after the stakes and accounts that it was made of.
    pub fn new(node: &DuskNode, genesis: &Genesis<'_>) -> Self {
        let staked = |lux| Stake { value: lux, ..Stake::default() };
        let stakes: BTreeMap<_, _> = genesis.provisioners.iter().map(|(key, lux)| (key.id(), staked(*lux))).collect();
        let accounts = genesis.accounts.iter().map(|(id, lux)| (*id, Account { balance: *lux, nonce: 0 })).collect();

        // The genesis carries no attestation, as neither does the certificate in it.
        let given = node.block(0);
        let tip = decode_header(&given.encode(&given.certificate())).unwrap();
        assert_eq!(header_hash(&tip).unwrap(), tip.hash, "the hash of the genesis block");
        let made = Header { timestamp: tip.timestamp, state_hash: tip.state_hash, hash: tip.hash, ..Header::default() };
        assert_eq!(tip, made, "the genesis block is a default one");

        // Whom the node pays its share of the rewards: the one account with a record that the genesis does not name.
        let others: Vec<_> = stakes_of(node).into_keys().filter(|id| !stakes.contains_key(id)).collect();
        let [treasury] = others[..] else { panic!("{others:?} are not the one account of the Dusk share") };
        let rules = StakeRules { slashing: Slashing::Relaxed, ..StakeRules::default() };
        let params = LedgerParams {
            chain_id: CHAIN_ID,
            block_time: genesis.block_time,
            block_gas_limit: BLOCK_GAS_LIMIT,
            gas_per_blob: GAS_PER_BLOB,
            stakes: rules,
            treasury,
        };
        let mut stakes = stakes;
        stakes.insert(treasury, Stake::default());
        Self {
            params,
            bls: DuskBls::default(),
            committees: committees(&tip, &stakes),
            previous: None,
            finality: Finality::genesis(),
            tip,
            stakes,
            accounts,
            effects: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            certificates: Vec::new(),
            failures: 0,
        }
    }

    /// Says what a transaction will do.
    pub fn expect(&mut self, id: TxId, effect: Effect) {
        self.effects.insert(id, effect);
    }

    pub fn height(&self) -> u64 {
        self.tip.height
    }

    pub fn stake(&self, id: &AccountId) -> Stake {
        self.stakes.get(id).copied().unwrap_or_default()
    }

    /// Verifies every block up to `height`. Waits until the node has them, and they are final there.
    pub fn follow(&mut self, node: &DuskNode, height: u64) {
        let deadline = Instant::now() + Duration::from_secs(300);
        while node.heights().1 < height {
            assert!(Instant::now() < deadline, "block {height} does not become final: {}", node.log_tail());
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut next = node.block(self.height() + 1);
        while self.height() < height {
            let above = node.block(self.height() + 2);
            self.accept(&next, &above.certificate());
            next = above;
        }
    }

    /// Verifies the next block and counts what it does.
    fn accept(&mut self, given: &Given, attestation: &[u8]) {
        let bytes = given.encode(attestation);
        let block = decode_block(&bytes).unwrap();
        let header = block.header();
        let height = header.height;
        let context = HeaderContext {
            parent: &self.tip,
            committees: &self.committees,
            previous: self.previous.as_ref(),
            params: &self.params,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let facts = verify_header(&self.bls, &context, header, Stage::Accept { now: Some(now) }, &|_, _| false)
            .unwrap_or_else(|error| panic!("block {height}: {error}"));
        assert_eq!(header.txroot, tx_root(block.txs()), "transaction root of block {height}");
        assert_eq!(header.faultroot, fault_root(block.faults()), "fault root of block {height}");
        self.certificates.push((facts.att_voters.len(), facts.att_voters.iter().map(|(_, credits)| credits).sum()));

        for (failed, is_blamed) in failed_iterations(given) {
            self.failures += 1;
            if is_blamed {
                self.stakes.entry(failed).or_default().slash(&self.params.stakes, height);
            }
        }
        let mut fees = 0;
        assert_eq!(block.txs().len(), given.outcomes.len());
        for (ledger, outcome) in block.txs().iter().zip(&given.outcomes) {
            let tx = Tx::from_ledger(ledger.clone(), height).unwrap().verify().unwrap();
            assert_eq!((*tx.id(), height), (outcome.id, outcome.height));
            fees += outcome.gas_spent * tx.gas_price();
            self.execute(&tx, outcome);
        }
        let generator = AccountId::from_bytes(header.generator_bls_pubkey.0).unwrap();
        for reward in rewards(height, fees, self.params.treasury, generator, &facts.cert_voters).unwrap() {
            self.stakes.entry(reward.account).or_default().earn(reward.lux);
        }
        self.stakes.retain(|id, stake| !stake.is_spent() || *id == self.params.treasury);
        self.finality.accept(facts.unattested);
        self.previous = Some(std::mem::replace(&mut self.committees, committees(header, &self.stakes)));
        self.tip = header.clone();
    }

    fn execute(&mut self, tx: &Tx, outcome: &Outcome) {
        let effect = *self.effects.get(tx.id()).unwrap_or_else(|| panic!("{outcome:?} is not of ours"));
        assert_eq!(outcome.error, None, "{effect:?}");
        let (sender, height, rules) = (*tx.sender(), outcome.height, &self.params.stakes);
        let account = self.accounts.entry(sender).or_default();
        assert_eq!(tx.nonce(), account.nonce + 1);
        account.nonce += 1;
        account.balance -= outcome.gas_spent * tx.gas_price();
        match effect {
            Effect::Pay { to, lux } => {
                account.balance -= lux;
                self.accounts.entry(to).or_default().balance += lux;
            }
            Effect::Stake { lux } => {
                account.balance -= lux;
                self.stakes.entry(sender).or_default().add(rules, height, lux).unwrap();
            }
            Effect::Unstake { lux } => {
                account.balance += lux;
                self.stakes.entry(sender).or_default().take(lux).unwrap();
            }
            Effect::Withdraw { lux } => {
                account.balance += lux;
                self.stakes.entry(sender).or_default().take_reward(lux).unwrap();
            }
            Effect::Blobs { count } => {
                let least = GAS_PER_BLOB * u64::try_from(count).unwrap();
                assert!(outcome.gas_spent >= least, "{count} blobs for {} gas", outcome.gas_spent);
                assert_eq!(tx.blobs().map(<[_]>::len), Some(count));
            }
        }
        self.outcomes.insert(outcome.id, outcome.clone());
    }

    /// Follows the chain until everything that the node says of one height is what was counted here. The node answers from its
    /// present state, so that an answer may be torn between two blocks; it is then asked again.
    pub fn compare(&mut self, node: &DuskNode) {
        let deadline = Instant::now() + Duration::from_secs(120);
        let mut difference = "it never answers within one block".to_owned();
        while Instant::now() < deadline {
            if let Some(observed) = self.observe(node).filter(|observed| observed.height >= self.height()) {
                self.follow(node, observed.height);
                let counted = self.counted();
                if observed == counted {
                    return;
                }
                difference = format!("it says {observed:#?}\nbut it should be {counted:#?}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the node's state is not what we count: {difference}");
    }

    fn counted(&self) -> Observed {
        Observed {
            height: self.height(),
            last_final: self.finality.last_final(),
            stakes: self.stakes.clone(),
            accounts: self.accounts.clone(),
        }
    }

    fn observe(&self, node: &DuskNode) -> Option<Observed> {
        let (height, last_final) = node.heights();
        let stakes = stakes_of(node);
        let accounts = self.accounts.keys().map(|id| (*id, account_of(node, id))).collect();
        (node.heights() == (height, last_final)).then_some(Observed { height, last_final, stakes, accounts })
    }
}

fn committees(parent: &Header, stakes: &BTreeMap<AccountId, Stake>) -> Committees {
    let set = Provisioners::from_stakes(stakes.iter().map(|(id, stake)| (*id, *stake)));
    Committees::new(*parent.seed.inner(), parent.height + 1, Arc::new(set), Quorums::published())
}

/// Generators of the iterations that a block says failed, and whether they are to blame.
fn failed_iterations(given: &Given) -> Vec<(AccountId, bool)> {
    let list = given.header["failed_iterations"].as_array().unwrap();
    let attested = list.iter().filter(|entry| !entry.is_null());
    attested.map(|entry| (entry[1].as_str().unwrap().parse().unwrap(), entry[0]["result"] != "NoQuorum")).collect()
}

/// All records of stakes that a node has.
pub fn stakes_of(node: &DuskNode) -> BTreeMap<AccountId, Stake> {
    let list = node.json("/on/node/provisioners");
    let number = |value: &Value| value.as_u64().unwrap();
    let stake = |entry: &Value| Stake {
        value: number(&entry["amount"]),
        locked: number(&entry["locked_amt"]),
        reward: number(&entry["reward"]),
        eligibility: number(&entry["eligibility"]),
        faults: u8::try_from(number(&entry["faults"])).unwrap(),
        hard_faults: u8::try_from(number(&entry["hard_faults"])).unwrap(),
        ..Stake::default()
    };
    let entries = list.as_array().unwrap().iter();
    entries.map(|entry| (entry["key"].as_str().unwrap().parse().unwrap(), stake(entry))).collect()
}

/// An account as a node has it.
pub fn account_of(node: &DuskNode, id: &AccountId) -> Account {
    let json = node.json(&format!("/on/account:{id}/status"));
    Account { balance: json["balance"].as_u64().unwrap(), nonce: json["nonce"].as_u64().unwrap() }
}
