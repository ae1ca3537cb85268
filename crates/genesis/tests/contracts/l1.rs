//! Both halves together: what the contracts on Dusk L1 send, the contracts on L2 understand.

use std::{collections::BTreeMap, convert::Infallible};

use alloy_primitives::{Address, B256, Bytes, Log, LogData, U256, address};
use alloy_rlp::RlpDecodable;
use alloy_sol_types::{SolEvent, sol};
use duskevm_genesis::{LOCAL_CONTRACTS, NetworkSpec, evm_address};
use duskevm_settlement::{
    Caller, Contract, Contracts, Error, Genesis, Host, Settlement, Storage, SystemConfig,
    args::{Arguments, DepositEthToWithValue, SendMessage},
};
use revm::DatabaseRef;

use crate::{
    chain::{ALICE, BOB, Chain, Outcome},
    relay::{LUX, Messenger, alias, l1, nonce},
    targets::{GLUTTON, RECORDER, place},
};

sol! {
    #[derive(Debug)]
    event TransactionDeposited(address indexed from, address indexed to, uint256 indexed version, bytes opaqueData);
}

const WALLET: Caller = Caller::Wallet([0xa1; 96]);
const TARGET: Address = address!("00000000000000000000000000000000007a46e7");

/// A ledger with one call in each block.
struct Ledger {
    height: u64,
    storage: BTreeMap<(B256, Vec<u8>), Vec<u8>>,
    caller: Caller,
    attached: u64,
    logs: Vec<(B256, Vec<u8>)>,
}

impl Storage for Ledger {
    type Fault = Infallible;

    fn get(&self, contract: &B256, key: &[u8]) -> Result<Option<Vec<u8>>, Error<Infallible>> {
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

    fn charge(&mut self, _: u64) -> Result<(), Error<Infallible>> {
        Ok(())
    }

    fn set(&mut self, contract: &B256, key: &[u8], value: Option<Vec<u8>>) {
        self.storage.insert((*contract, key.to_vec()), value.unwrap());
    }

    fn attached(&self) -> u64 {
        self.attached
    }

    fn take_attached(&mut self, _: &B256) -> Result<u64, Error<Infallible>> {
        Ok(std::mem::take(&mut self.attached))
    }

    fn transfer(&mut self, _: &B256, _: &B256, _: u64) -> Result<(), Error<Infallible>> {
        Ok(())
    }

    fn has_blob(&self, _: &B256) -> Result<bool, Error<Infallible>> {
        Ok(false)
    }

    fn emit(&mut self, contract: &B256, _: &'static str, data: Vec<u8>) {
        self.logs.push((*contract, data));
    }
}

#[derive(RlpDecodable)]
struct RlpLog {
    topics: Vec<B256>,
    data: Bytes,
}

/// The contracts of the local network on a ledger, and its L2.
struct Layers {
    settlement: Settlement,
    ledger: Ledger,
    l2: Chain,
}

impl Layers {
    fn new() -> Self {
        let ids = LOCAL_CONTRACTS;
        let genesis = Genesis {
            l1_chain_id: NetworkSpec::LOCAL_L1_CHAIN_ID,
            contracts: Contracts {
                batch_inbox: ids.batch_inbox,
                portal: ids.portal,
                messenger: ids.messenger,
                standard_bridge: ids.standard_bridge,
                erc721_bridge: ids.erc721_bridge,
                system_config: ids.system_config,
            },
            system_config: SystemConfig {
                owner: ALICE,
                batcher: BOB,
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
        };
        let storage = genesis.records().into_iter().map(|r| ((r.contract, r.key), r.value)).collect();
        let ledger = Ledger { height: 0, storage, caller: WALLET, attached: 0, logs: vec![] };
        Self { settlement: Settlement::new(&genesis), ledger, l2: Chain::new() }
    }

    /// Calls a contract on L1, and runs the deposit that this makes on L2.
    fn deposit<A: Arguments>(&mut self, caller: Caller, lux: u64, contract: Contract, args: &A) -> Outcome {
        (self.ledger.caller, self.ledger.attached) = (caller, lux);
        self.ledger.logs.clear();
        self.ledger.height += 1;
        self.settlement.call(&mut self.ledger, contract, A::FUNCTION, &args.encode_args()).unwrap();

        let deposits = self.ledger.logs.iter().filter_map(|(contract, data)| {
            let RlpLog { topics, data } = alloy_rlp::decode_exact(data).unwrap();
            let log = Log { address: evm_address(*contract), data: LogData::new(topics, data).unwrap() };
            TransactionDeposited::decode_log(&log).ok()
        });
        let [deposit] = deposits.collect::<Vec<_>>().try_into().unwrap();
        assert_eq!(deposit.address, evm_address(LOCAL_CONTRACTS.portal));
        // Version 0: mint, value, gas limit, whether it creates a contract, data.
        let opaque = &deposit.opaqueData;
        let (mint, value) = (U256::from_be_slice(&opaque[..32]), U256::from_be_slice(&opaque[32..64]));
        let gas_limit = u64::from_be_bytes(opaque[64..72].try_into().unwrap());
        assert_eq!((mint, value, opaque[72]), (LUX * U256::from(lux), mint, 0));
        self.l2.send_with_gas(deposit.from, deposit.to, value, opaque[73..].to_vec(), gas_limit)
    }
}

#[test]
fn dusk_that_is_deposited_on_l1_arrives_on_l2() {
    let mut layers = Layers::new();
    for lux in [1, 12_345_678_901, u64::MAX] {
        let before = layers.l2.balance(BOB);
        let extra_data = Bytes::from_static(b"DEVM\x01 whatever");
        let args = DepositEthToWithValue { to: BOB, amount_lux: lux, min_gas_limit: 50_000, extra_data };
        let outcome = layers.deposit(WALLET, lux, Contract::StandardBridge, &args);
        assert!(outcome.success, "{}", outcome.reason());
        outcome.event::<Messenger::RelayedMessage>();
        assert_eq!(layers.l2.balance(BOB) - before, LUX * U256::from(lux));
    }
}

#[test]
fn messages_from_wallets_and_contracts_arrive_with_their_senders() {
    let mut layers = Layers::new();
    place(&mut layers.l2, TARGET, RECORDER);
    for caller in [WALLET, Caller::Contract(B256::repeat_byte(0xc0))] {
        let message = B256::repeat_byte(0x77).to_vec();
        let args = SendMessage { target: TARGET, message: message.into(), min_gas_limit: 150_000 };
        let outcome = layers.deposit(caller, 0, Contract::Messenger, &args);
        outcome.event::<Messenger::RelayedMessage>();
        assert_eq!(layers.l2.slot(TARGET, 0), caller.address().into_word());
        assert_eq!(layers.l2.slot(TARGET, 2), B256::repeat_byte(0x77));
    }
    // Each has its own nonce.
    assert_eq!(nonce(1, 2), next_nonce(&layers));
    assert_eq!(alias(l1().messenger), Caller::Contract(LOCAL_CONTRACTS.messenger).deposit_sender());
}

fn next_nonce(layers: &Layers) -> U256 {
    let no_arguments = [0xc0];
    let answer = layers.settlement.read(&layers.ledger, Contract::Messenger, "messageNonce", &no_arguments).unwrap();
    alloy_rlp::decode_exact(answer).unwrap()
}

/// The gas that the L1 messenger buys is enough for what it promises, however long the message is and whatever its target
/// does.
#[test]
fn the_gas_that_l1_buys_is_enough() {
    let mut layers = Layers::new();
    for length in [0, 100, 5_000, 12_000, 60_000, 119_000] {
        for min_gas_limit in [150_000, 2_000_000] {
            for (code, arrives) in [(RECORDER, true), (GLUTTON, false)] {
                place(&mut layers.l2, TARGET, code);
                let args = SendMessage { target: TARGET, message: vec![0xee; length].into(), min_gas_limit };
                let outcome = layers.deposit(WALLET, 0, Contract::Messenger, &args);
                assert!(outcome.success, "{}", outcome.reason());
                if arrives {
                    outcome.event::<Messenger::RelayedMessage>();
                    let got = layers.l2.db.storage_ref(TARGET, U256::from(3)).unwrap();
                    // The first instruction has cost two.
                    assert!(got + U256::from(2) >= U256::from(min_gas_limit), "{length}: {got}");
                } else {
                    outcome.event::<Messenger::FailedRelayedMessage>();
                }
            }
        }
    }
}
