//! A ledger in memory for the tests of this crate.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use alloy_primitives::{Address, B256, Log, LogData, address};
use alloy_rlp::{Decodable, Encodable, RlpDecodable};
use duskevm_l1_view::LOG_TOPIC;

use crate::args::Arguments;
use crate::genesis::Genesis;
use crate::host::{Caller, Host, Storage};
use crate::refusal::{Error, Refusal};
use crate::settlement::{Contract, Contracts, Settlement};
use crate::system_config::SystemConfig;

pub(crate) const CHAIN_ID: u64 = 250;
pub(crate) const ALICE: Caller = Caller::Wallet([0xa1; 96]);
pub(crate) const OWNER: Caller = Caller::Wallet([0x0e; 96]);
pub(crate) const BATCHER: Address = address!("e72444b0e9d159ebf6c351674b98c34bc290481d");

pub(crate) fn contracts() -> Contracts {
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

pub(crate) fn genesis() -> Genesis {
    Genesis {
        l1_chain_id: CHAIN_ID,
        contracts: contracts(),
        system_config: SystemConfig {
            owner: OWNER.address(),
            batcher: BATCHER,
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

/// What only a broken test or a broken contract sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault(pub(crate) &'static str);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Emitted {
    pub(crate) contract: B256,
    pub(crate) topic: &'static str,
    pub(crate) data: Vec<u8>,
}

#[derive(RlpDecodable)]
struct RlpLog {
    topics: Vec<B256>,
    data: alloy_primitives::Bytes,
}

impl Emitted {
    pub(crate) fn log(&self) -> Log {
        assert_eq!(self.topic, LOG_TOPIC);
        let RlpLog { topics, data } = alloy_rlp::decode_exact(&self.data).unwrap();
        Log { address: duskevm_l1_view::contract_address(&self.contract), data: LogData::new(topics, data).unwrap() }
    }
}

/// The state, and the running call.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    pub(crate) storage: BTreeMap<(B256, Vec<u8>), Vec<u8>>,
    pub(crate) balances: BTreeMap<B256, u64>,
    pub(crate) blobs: BTreeSet<B256>,
    pub(crate) height: u64,
    pub(crate) gas: u64,
    pub(crate) events: Vec<Emitted>,
    caller: Caller,
    called: B256,
    attached: u64,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let records = genesis().records().into_iter().map(|record| ((record.contract, record.key), record.value));
        Self {
            storage: records.collect(),
            balances: BTreeMap::new(),
            blobs: BTreeSet::new(),
            height: 7,
            gas: 1_000_000_000,
            events: Vec::new(),
            caller: ALICE,
            called: B256::ZERO,
            attached: 0,
        }
    }

    /// Runs a call as a ledger does: undone if it fails. Returns what it emitted.
    pub(crate) fn run(
        &mut self,
        caller: Caller,
        lux: u64,
        contract: Contract,
        function: &str,
        args: &[u8],
    ) -> Result<Vec<Emitted>, Error<Fault>> {
        let before = self.clone();
        self.caller = caller;
        self.called = *contracts().id(contract);
        self.attached = lux;
        self.events.clear();
        match Settlement::new(&genesis()).call(self, contract, function, args) {
            Ok(()) => Ok(core::mem::take(&mut self.events)),
            Err(error) => {
                *self = before;
                Err(error)
            }
        }
    }

    pub(crate) fn send<A: Arguments>(
        &mut self,
        caller: Caller,
        lux: u64,
        contract: Contract,
        args: &A,
    ) -> Result<Vec<Emitted>, Error<Fault>> {
        self.run(caller, lux, contract, A::FUNCTION, &args.encode_args())
    }

    /// The refusal of a call that must be refused.
    pub(crate) fn refusal<A: Arguments>(&mut self, caller: Caller, lux: u64, contract: Contract, args: &A) -> Refusal {
        let before = self.storage.clone();
        let refused = self.send(caller, lux, contract, args);
        assert_eq!(self.storage, before);
        match refused {
            Err(Error::Refused(refusal)) => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) fn read<T: Decodable>(&self, contract: Contract, method: &str, args: &impl Encodable) -> T {
        let answer = Settlement::new(&genesis()).read(self, contract, method, &alloy_rlp::encode(args)).unwrap();
        alloy_rlp::decode_exact(answer).unwrap()
    }

    pub(crate) fn balance(&self, contract: Contract) -> u64 {
        self.balances.get(contracts().id(contract)).copied().unwrap_or(0)
    }
}

/// No arguments.
pub(crate) const NONE: Vec<String> = Vec::new();

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
        self.height
    }

    fn charge(&mut self, gas: u64) -> Result<(), Error<Fault>> {
        self.gas = self.gas.checked_sub(gas).ok_or(Error::Host(Fault("out of gas")))?;
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
        if *contract != self.called {
            return Err(Error::Host(Fault("not the called contract")));
        }
        let taken = core::mem::take(&mut self.attached);
        *self.balances.entry(*contract).or_default() += taken;
        Ok(taken)
    }

    fn transfer(&mut self, from: &B256, to: &B256, lux: u64) -> Result<(), Error<Fault>> {
        let owned = self.balances.entry(*from).or_default();
        *owned = owned.checked_sub(lux).ok_or(Error::Host(Fault("too little")))?;
        *self.balances.entry(*to).or_default() += lux;
        Ok(())
    }

    fn has_blob(&self, hash: &B256) -> Result<bool, Error<Fault>> {
        Ok(self.blobs.contains(hash))
    }

    fn emit(&mut self, contract: &B256, topic: &'static str, data: Vec<u8>) {
        self.events.push(Emitted { contract: *contract, topic, data });
    }
}
