//! Calls of the rollup's contracts on L1, and the envelopes that its batch inbox takes.

use std::collections::BTreeMap;

use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes};
use alloy_rlp::Encodable;
use duskevm_l1_view::{DuskBlock, DuskEvent, DuskTx, LOG_TOPIC, ViewBlock, ViewConfig, contract_address, project};
use duskevm_rollup::{OriginBlock, RollupConfig};
use duskevm_settlement::args::{Arguments, SubmitEnvelope};
use duskevm_settlement::{
    Caller, Contract, Contracts, Error, Genesis, Host, Kind, MAX_ENVELOPE_BYTES, Method, Refusal, Settlement, Storage,
    SystemConfig, Type,
};

/// Chain id of the view.
pub(crate) const CHAIN_ID: u64 = 250;
const OWNER: Caller = Caller::Wallet([0x0e; 96]);
const ALICE: Caller = Caller::Wallet([0xa1; 96]);
/// Gas of a call: what a Dusk block holds.
const GAS: u64 = 3_000_000_000;

const fn contracts() -> Contracts {
    let id = B256::repeat_byte;
    Contracts {
        batch_inbox: id(1),
        portal: id(2),
        messenger: id(3),
        standard_bridge: id(4),
        erc721_bridge: id(5),
        system_config: id(6),
    }
}

/// The address of the batch inbox in the view.
pub(crate) fn inbox() -> Address {
    contract_address(&contracts().batch_inbox)
}

fn genesis() -> Genesis {
    Genesis {
        l1_chain_id: CHAIN_ID,
        contracts: contracts(),
        system_config: SystemConfig {
            owner: OWNER.address(),
            batcher: Address::repeat_byte(0xba),
            overhead: B256::ZERO,
            scalar: SystemConfig::scalar_v1(1368, 810_949),
            gas_limit: 60_000_000,
            eip1559_denominator: 0,
            eip1559_elasticity: 0,
            operator_fee_scalar: 0,
            operator_fee_constant: 0,
            min_base_fee: 0,
            da_footprint_gas_scalar: 0,
            unsafe_block_signer: Address::ZERO,
        },
    }
}

/// What ends a call besides the contracts' own rules.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    OutOfGas,
    Balance,
}

/// A ledger in memory, and the running call.
struct Ledger {
    storage: BTreeMap<(B256, Vec<u8>), Vec<u8>>,
    balances: BTreeMap<B256, u64>,
    events: Vec<(B256, &'static str, Vec<u8>)>,
    caller: Caller,
    attached: u64,
    gas: u64,
}

impl Ledger {
    fn new(caller: Caller, attached: u64) -> Self {
        let records = genesis().records().into_iter().map(|record| ((record.contract, record.key), record.value));
        let (balances, events) = (BTreeMap::new(), Vec::new());
        Self { storage: records.collect(), balances, events, caller, attached, gas: GAS }
    }

    /// The view of a block in which these events happened.
    fn view(&self) -> ViewBlock {
        let event = |(contract, topic, data): &(B256, &'static str, Vec<u8>)| DuskEvent {
            contract: *contract,
            topic: (*topic).into(),
            data: data.clone().into(),
        };
        let all = contracts();
        let config = ViewConfig {
            chain_id: CHAIN_ID,
            emitters: Contract::ALL.iter().map(|contract| *all.id(*contract)).collect(),
            inbox: Some(all.batch_inbox),
        };
        let block = DuskBlock {
            height: 0,
            timestamp: 1,
            hash: B256::repeat_byte(3),
            prev_hash: B256::ZERO,
            seed: [4; 48],
            txs: vec![DuskTx { id: B256::repeat_byte(5), index: 0, events: self.events.iter().map(event).collect() }],
        };
        project(&config, None, &block).expect("the genesis block has no parent to disagree with")
    }
}

impl Storage for Ledger {
    type Fault = Fault;

    fn get(&self, contract: &B256, key: &[u8]) -> Result<Option<Vec<u8>>, Error<Fault>> {
        Ok(self.storage.get(&(*contract, key.to_vec())).cloned())
    }
}

impl Host for Ledger {
    fn caller(&self) -> Caller {
        self.caller
    }

    fn height(&self) -> u64 {
        7
    }

    fn charge(&mut self, gas: u64) -> Result<(), Error<Fault>> {
        self.gas = self.gas.checked_sub(gas).ok_or(Error::Host(Fault::OutOfGas))?;
        Ok(())
    }

    fn set(&mut self, contract: &B256, key: &[u8], value: Option<Vec<u8>>) {
        match value {
            Some(value) => self.storage.insert((*contract, key.to_vec()), value),
            None => self.storage.remove(&(*contract, key.to_vec())),
        };
    }

    fn attached(&self) -> u64 {
        self.attached
    }

    fn take_attached(&mut self, contract: &B256) -> Result<u64, Error<Fault>> {
        let taken = std::mem::take(&mut self.attached);
        let balance = self.balances.entry(*contract).or_default();
        *balance = balance.checked_add(taken).ok_or(Error::Host(Fault::Balance))?;
        Ok(taken)
    }

    fn transfer(&mut self, from: &B256, to: &B256, lux: u64) -> Result<(), Error<Fault>> {
        let owned = self.balances.entry(*from).or_default();
        *owned = owned.checked_sub(lux).ok_or(Error::Host(Fault::Balance))?;
        let other = self.balances.entry(*to).or_default();
        *other = other.checked_add(lux).ok_or(Error::Host(Fault::Balance))?;
        Ok(())
    }

    fn has_blob(&self, hash: &B256) -> Result<bool, Error<Fault>> {
        // Every second blob is there.
        Ok(hash[31].is_multiple_of(2))
    }

    fn emit(&mut self, contract: &B256, topic: &'static str, data: Vec<u8>) {
        self.events.push((*contract, topic, data));
    }
}

/// Takes bytes off the front, with zeros for those that are not there.
fn take<const N: usize>(data: &mut &[u8]) -> [u8; N] {
    let mut taken = [0; N];
    let there = N.min(data.len());
    let (front, rest) = data.split_at(there);
    taken[..there].copy_from_slice(front);
    *data = rest;
    taken
}

/// Arguments of the right types, so that the fuzzer need not find out what RLP is.
fn arguments(method: &Method, mut data: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    for (_, kind) in method.inputs {
        match kind {
            Type::Address => Address::from(take::<20>(&mut data)).encode(&mut fields),
            Type::Hash => B256::from(take::<32>(&mut data)).encode(&mut fields),
            Type::Bool => (take::<1>(&mut data)[0] % 2 == 1).encode(&mut fields),
            Type::Uint(bits) => {
                let bytes = usize::from(bits / 8).min(32);
                let (front, rest) = data.split_at(bytes.min(data.len()));
                let number = front.iter().skip_while(|byte| **byte == 0).copied().collect::<Vec<u8>>();
                number[..].encode(&mut fields);
                data = rest;
            }
            Type::Bytes => {
                let length = usize::from(u16::from_le_bytes(take::<2>(&mut data)));
                let (front, rest) = data.split_at(length.min(data.len()));
                front.encode(&mut fields);
                data = rest;
            }
        }
    }
    let mut args = Vec::new();
    alloy_rlp::Header { list: true, payload_length: fields.len() }.encode(&mut args);
    args.extend(fields);
    args
}

/// A call: entry point, flags (the owner calls; arguments as they are), attached lux as a power of two, arguments.
pub fn settlement_call(data: &[u8]) {
    let [index, flags, power, rest @ ..] = data else { return };
    let writes: Vec<_> = Method::all().iter().filter(|method| method.kind == Kind::Write).collect();
    let Some(method) = writes.get(usize::from(*index) % writes.len()) else { return };
    let args = if flags & 2 == 0 { arguments(method, rest) } else { rest.to_vec() };
    let lux = if power % 65 == 0 { 0 } else { 1u64 << (power % 65 - 1) };
    let caller = if flags & 1 == 0 { ALICE } else { OWNER };
    let mut ledger = Ledger::new(caller, lux);
    let settlement = Settlement::new(&genesis());
    match settlement.call(&mut ledger, method.contract, method.name, &args) {
        Ok(()) => {}
        Err(Error::Refused(refusal)) => return assert!(!refusal.to_string().is_empty()),
        Err(Error::Host(fault)) => return assert_eq!(fault, Fault::OutOfGas, "no rule moves lux that is not there"),
    }
    assert_eq!(ledger.attached, 0, "what is attached has a new owner");
    assert_eq!(ledger.balances.values().map(|lux| u128::from(*lux)).sum::<u128>(), u128::from(lux));
    let emitted: usize = ledger.events.iter().map(|(_, _, data)| data.len()).sum();
    assert!((GAS - ledger.gas) as usize >= emitted, "what all nodes keep is paid for");
    // What the contracts emit the view shows, and L2 can make blocks of it.
    let view = ledger.view();
    let logs = ledger.events.iter().filter(|(_, topic, _)| *topic == LOG_TOPIC).count();
    let shown: usize = view.receipts.iter().map(|receipt| receipt.logs().len()).sum();
    assert_eq!(shown, logs, "every log is in the view");
    let config = RollupConfig {
        deposit_contract_address: contract_address(&contracts().portal),
        l1_system_config_address: contract_address(&contracts().system_config),
        ..crate::batches::config()
    };
    let origin = OriginBlock::read(&config, &view.header, &view.receipts);
    assert!(origin.deposits.is_ok(), "{:?}: derivation would stand still", origin.deposits);
    assert!(origin.updates.skipped.is_empty(), "{:?}", origin.updates.skipped);
}

/// An envelope that is brought to the batch inbox.
pub fn envelope(data: &[u8]) {
    let settlement = Settlement::new(&genesis());
    let args = SubmitEnvelope { envelope: Bytes::copy_from_slice(data) }.encode_args();
    let mut ledger = Ledger::new(ALICE, 0);
    let bring = |ledger: &mut Ledger| {
        settlement.call(ledger, Contract::BatchInbox, SubmitEnvelope::FUNCTION, &args).map(|()| ledger.events.len())
    };
    let mut brought = bring(&mut ledger);
    if let Err(Error::Refused(Refusal::EnvelopeNonce { signer, got, next: 0 })) = brought {
        // Out of turn: what comes of it when it is its turn?
        let key = [b"nonce/".as_slice(), signer.as_slice()].concat();
        ledger.set(&contracts().batch_inbox, &key, Some(got.to_be_bytes().to_vec()));
        brought = bring(&mut ledger);
    }
    if brought.is_err() {
        return;
    }
    assert!(data.len() <= MAX_ENVELOPE_BYTES);
    let view = ledger.view();
    let [shown] = &view.transactions[..] else { panic!("an envelope that was taken is in the view") };
    assert_eq!(shown.envelope.encoded_2718(), data, "an envelope has one form");
    let again = bring(&mut ledger);
    assert!(matches!(again, Err(Error::Refused(Refusal::EnvelopeNonce { .. }))), "an envelope gets in once");
}
