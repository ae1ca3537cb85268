//! What our code makes of the blocks of a Dusk node: headers, certificates, roots, finality, and everything that execution does.
//!
//! Gas and the state root are the node's word: both come from its virtual machine. All else is computed here, from the genesis
//! on, with the node's gas in the place of ours: events down to the bloom, fees, rewards, penalties, stakes and balances.

#![allow(clippy::unwrap_used, unreachable_pub, missing_docs, missing_debug_implementations, reason = "part of a test")]

use crate::dusk_node::{self, DuskNode, Given, Outcome};
use alloy_primitives::hex;
use duskevm_dusk_l1::{
    Event, Header,
    block::{LedgerParams, header_hash},
    bloom::EventBloom,
    body::{Draft, build_body, verify_roots},
    contracts::NoContracts,
    execute::{BlockEnv, Executor},
    finality::Finality,
    genesis::{ConsensusParams, Genesis, GenesisAccount, GenesisStake},
    header::{HeaderContext, HeaderFacts, Stage, verify_header},
    keys::AccountId,
    rewards::rewards,
    sa::{
        bls::DuskBls,
        committee::Committees,
        provisioners::Provisioners,
        rules::Quorums,
        wire::{decode_block, decode_header},
    },
    stakes::{Slashing, Stake},
    state::{Account, MemoryState, Overlay, account, contract_balance, stake},
    transfer::{MOONLIGHT_TOPIC, MoonlightTransactionEvent, data::ContractCall},
    tx::{Tx, TxId, VerifiedTx},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// What a node of this version puts into its headers, whatever its network is.
const BLOCK_GAS_LIMIT: u64 = 3_000_000_000;

/// The chain id of a network that was given none.
pub const CHAIN_ID: u8 = 0;

/// The contract that holds the stakes.
const STAKE_CONTRACT: [u8; 32] = contract(2);

/// The contract that holds the accounts.
const TRANSFER_CONTRACT: [u8; 32] = contract(1);

const fn contract(number: u8) -> [u8; 32] {
    let mut id = [0; 32];
    id[0] = number;
    id
}

/// What is to be had of a node about one height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    pub height: u64,
    pub last_final: u64,
    pub stakes: BTreeMap<AccountId, Stake>,
    pub accounts: BTreeMap<AccountId, Account>,
    /// Lux that the stake contract holds.
    pub staked: u64,
}

/// Our own count of the chain.
pub struct Ledger {
    params: LedgerParams,
    bls: DuskBls,
    tip: Header,
    state: MemoryState,
    committees: Committees,
    previous: Option<Committees>,
    finality: Finality,
    /// Whose balances are compared.
    people: BTreeSet<AccountId>,
    /// What was sent and is in no block yet.
    pending: BTreeSet<TxId>,
    /// Voters of each certificate that was verified: number of members, credits.
    pub certificates: Vec<(usize, u32)>,
    /// Failed iterations whose attestation was verified.
    pub failures: usize,
}

impl Ledger {
    /// Starts at the genesis block that a node has, with the stakes and accounts that it was made of.
    pub fn new(node: &DuskNode, made_of: &dusk_node::Genesis<'_>) -> Self {
        // The genesis carries no attestation, as neither does the certificate in it.
        let given = node.block(0);
        let tip = decode_header(&given.encode(&given.certificate())).unwrap();
        assert_eq!(header_hash(&tip).unwrap(), tip.hash, "the hash of the genesis block");
        let made = Header { timestamp: tip.timestamp, state_hash: tip.state_hash, hash: tip.hash, ..Header::default() };
        assert_eq!(tip, made, "the genesis block is a default one");

        let stake = |key, amount| GenesisStake { key, amount, eligibility: 0 };
        let stakes: Vec<_> = made_of.provisioners.iter().map(|(signer, lux)| stake(signer.id(), *lux)).collect();
        // Whom the node pays the tenth of the rewards: the one account with a record that the genesis does not name.
        let is_named = |id: &AccountId| stakes.iter().any(|stake| stake.key == *id);
        let others: Vec<_> = stakes_of(node).into_keys().filter(|id| !is_named(id)).collect();
        let [treasury] = others[..] else { panic!("{others:?} are not the one account of the Dusk share") };
        let genesis = Genesis {
            chain_id: CHAIN_ID,
            timestamp: tip.timestamp,
            block_time: made_of.block_time,
            block_gas_limit: BLOCK_GAS_LIMIT,
            treasury,
            accounts: made_of
                .accounts
                .iter()
                .map(|(key, balance)| GenesisAccount { key: *key, balance: *balance })
                .collect(),
            stakes,
            contracts: Vec::new(),
            consensus: ConsensusParams { slashing: Slashing::Relaxed, ..ConsensusParams::default() },
        };
        let mut state = MemoryState::default();
        state.apply(&genesis.state()).unwrap();
        Self {
            params: LedgerParams::new(&genesis).unwrap(),
            bls: DuskBls::default(),
            committees: committees(&tip, &state),
            previous: None,
            finality: Finality::genesis(),
            people: made_of.accounts.iter().map(|(id, _)| *id).collect(),
            pending: BTreeSet::new(),
            tip,
            state,
            certificates: Vec::new(),
            failures: 0,
        }
    }

    /// Says that a transaction is on its way. Whatever else is in a block is a mistake.
    pub fn expect(&mut self, id: TxId) {
        self.pending.insert(id);
    }

    /// Says whose balance to compare, too.
    pub fn watch(&mut self, id: AccountId) {
        self.people.insert(id);
    }

    /// Transactions that were in no block so far.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    pub fn height(&self) -> u64 {
        self.tip.height
    }

    pub fn stake(&self, id: &AccountId) -> Stake {
        stake(&self.state, id).unwrap()
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

    /// Verifies the next block and executes it.
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
        verify_roots(&block).unwrap();
        self.certificates.push((facts.att_voters.len(), facts.att_voters.iter().map(|(_, credits)| credits).sum()));

        assert_eq!(block.txs().len(), given.outcomes.len());
        let verified =
            block.txs().iter().map(|ledger| Tx::from_ledger(ledger.clone(), height).unwrap().verify().unwrap());
        let txs: Vec<_> = verified.zip(&given.outcomes).collect();
        let events = self.execute(header, &facts, given, &txs);
        let mut bloom = EventBloom::default();
        events.iter().for_each(|event| bloom.add(event));
        assert_eq!(bloom.into_bytes(), header.event_bloom, "event bloom of block {height}: {events:#?}");

        self.finality.accept(facts.unattested);
        self.previous = Some(std::mem::replace(&mut self.committees, committees(header, &self.state)));
        self.tip = header.clone();
    }

    /// Penalties, transactions, rewards. Gives all events, and leaves the state after the block.
    fn execute(
        &mut self,
        header: &Header,
        facts: &HeaderFacts,
        given: &Given,
        txs: &[(VerifiedTx, &Outcome)],
    ) -> Vec<Event> {
        let (params, height) = (&self.params, header.height);
        let failed = failed_iterations(given);
        self.failures += failed.len();
        let mut events = Vec::new();
        if failed.iter().any(|(_, is_blamed)| *is_blamed) {
            // A block without transactions tells the penalties first.
            let draft = Draft { header: header.clone(), faults: Vec::new(), cert_voters: &facts.cert_voters };
            let built = build_body(draft, params, &self.state, &NoContracts, []).unwrap();
            let told = built.block.executed.events.into_iter().map(|(_, event)| event);
            events.extend(told.filter(|event| event.topic == "slash"));
        }
        let mut overlay = Overlay::new(&self.state);
        for (id, _) in failed.iter().filter(|(_, is_blamed)| *is_blamed) {
            let mut record = stake(&overlay, id).unwrap();
            record.slash(&params.stakes, height);
            overlay.set_stake(id, record);
        }
        let diff = overlay.into_diff();
        self.state.apply(&diff).unwrap();

        let env = BlockEnv {
            chain_id: params.chain_id,
            height,
            timestamp: header.timestamp,
            gas_limit: header.gas_limit,
            gas_per_blob: params.gas_per_blob,
            stakes: params.stakes,
        };
        let mut executor = Executor::new(&self.state, &NoContracts, env);
        let (mut fees, mut overpaid) = (0, Vec::new());
        for (tx, outcome) in txs {
            assert_eq!((*tx.id(), height), (outcome.id, outcome.height));
            assert!(self.pending.remove(tx.id()), "{outcome:?} is not of ours");
            let ours = executor.execute(tx).unwrap();
            assert_eq!((&ours.error, &outcome.error), (&None, &None), "{outcome:?}");
            let blobs = tx.blobs().map_or(0, |blobs| u64::try_from(blobs.len()).unwrap());
            assert!(outcome.gas_spent >= blobs * params.gas_per_blob, "{blobs} blobs for {} gas", outcome.gas_spent);
            fees += outcome.gas_spent * tx.gas_price();
            overpaid.push((*tx.sender(), outcome.gas_spent * tx.gas_price(), ours.gas_spent * tx.gas_price()));
        }
        let generator = AccountId::from_bytes(header.generator_bls_pubkey.0).unwrap();
        let shares = rewards(height, fees, params.treasury, generator, &facts.cert_voters).unwrap();
        let executed = executor.finish(&shares).unwrap();
        self.state.apply(&executed.diff).unwrap();

        let mut overlay = Overlay::new(&self.state);
        for (id, theirs, ours) in overpaid {
            let mut record = account(&overlay, &id).unwrap();
            record.balance = record.balance + ours - theirs;
            overlay.set_account(&id, record);
        }
        let diff = overlay.into_diff();
        self.state.apply(&diff).unwrap();
        events.extend(executed.events.into_iter().map(|(index, event)| match index {
            Some(index) if is_conclusion(&event) => with_gas(event, &txs[index]),
            _ => event,
        }));
        events
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
            stakes: self.state.stakes().collect(),
            accounts: self.people.iter().map(|id| (*id, account(&self.state, id).unwrap())).collect(),
            staked: contract_balance(&self.state, &STAKE_CONTRACT).unwrap(),
        }
    }

    /// What the node says of its tip; nothing if that changes while it is asked.
    fn observe(&self, node: &DuskNode) -> Option<Observed> {
        let (height, last_final) = node.heights();
        let stakes = stakes_of(node);
        let accounts = self.people.iter().map(|id| (*id, account_of(node, id))).collect();
        let staked = node.json(&format!("/on/contract:{}/status", hex::encode(STAKE_CONTRACT)));
        let staked = staked["balance"].as_u64().unwrap();
        (node.heights() == (height, last_final)).then_some(Observed { height, last_final, stakes, accounts, staked })
    }
}

/// Whether it is the event with which every transaction ends, and which tells its gas.
fn is_conclusion(event: &Event) -> bool {
    event.source.to_bytes() == TRANSFER_CONTRACT && event.topic == MOONLIGHT_TOPIC
}

/// That event with the node's gas. Nothing else of it depends on gas, as unspent gas goes back to the sender.
fn with_gas(event: Event, (tx, outcome): &(VerifiedTx, &Outcome)) -> Event {
    let protocol = tx.ledger().protocol();
    let hashes = || tx.blobs().unwrap_or_default().iter().flat_map(|blob| blob.hash).collect();
    let told = MoonlightTransactionEvent {
        sender: *protocol.moonlight_sender().unwrap(),
        receiver: protocol.moonlight_receiver().copied(),
        value: protocol.value().unwrap(),
        memo: protocol.memo().map_or_else(hashes, <[u8]>::to_vec),
        gas_spent: outcome.gas_spent,
        refund_info: None,
    };
    // Arguments of calls are encoded as events are.
    let data = ContractCall::new(TRANSFER_CONTRACT, "").with_args(&told).unwrap().fn_args;
    Event { data, ..event }
}

fn committees(parent: &Header, state: &MemoryState) -> Committees {
    let set = Provisioners::from_stakes(state.stakes());
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
