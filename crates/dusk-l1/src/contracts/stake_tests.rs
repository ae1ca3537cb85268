//! Tests of the stake contract through whole transactions, as wallets make them.

use dusk_core::abi::Event;
use dusk_core::signatures::bls::SecretKey;
use dusk_core::stake::SlashEvent;
use dusk_core::transfer::DepositEvent;
use dusk_core::transfer::data::TransactionData;
use dusk_node_data::bls::PublicKey as NodeKey;
use dusk_node_data::ledger::{Slash, SlashType};
use rkyv::Serialize;
use rkyv::ser::serializers::AllocSerializer;

use super::*;
use crate::contracts::NoContracts;
use crate::execute::{BlockEnv, Executed, Executor, gas, intrinsic_gas};
use crate::keys::Signer;
use crate::stakes::{MINIMUM_STAKE, Slashing, StakeRules};
use crate::state::{MemoryState, StateKey, StateRead, account, contract_balance, stake as read_stake, stake_record};
use crate::testing::{self, CHAIN_ID, DUSK, Spend, spend};

const GAS: u64 = 20_000_000;

struct NoRng;

impl rand_core::RngCore for NoRng {
    fn next_u32(&mut self) -> u32 {
        0
    }

    fn next_u64(&mut self) -> u64 {
        0
    }

    fn fill_bytes(&mut self, dest: &mut [u8]) {
        dest.fill(0);
    }

    fn try_fill_bytes(&mut self, dest: &mut [u8]) -> Result<(), rand_core::Error> {
        dest.fill(0);
        Ok(())
    }
}

// Signatures of BLS keys take no randomness; the constructor asks for a source all the same.
impl rand_core::CryptoRng for NoRng {}

fn signer(seed: &str) -> Signer {
    Signer::from_seed(seed.as_bytes())
}

fn secret(seed: &str) -> SecretKey {
    signer(seed).secret_key().clone()
}

/// The genesis with a richer alice and a bob who can stake.
fn state() -> MemoryState {
    let mut genesis = testing::genesis();
    for account in &mut genesis.accounts {
        account.balance = 100_000 * DUSK;
    }
    let mut state = MemoryState::default();
    state.apply(&genesis.state()).unwrap();
    state
}

fn env(height: u64) -> BlockEnv {
    BlockEnv {
        chain_id: CHAIN_ID,
        height,
        timestamp: 0,
        gas_limit: 3_000_000_000,
        gas_per_blob: 1_000_000,
        stakes: StakeRules::default(),
    }
}

fn call_data<T>(name: &str, args: &T) -> Option<TransactionData>
where
    T: Serialize<AllocSerializer<1024>>,
{
    let args = rkyv::to_bytes::<_, 1024>(args).unwrap().into_vec();
    Some(TransactionData::Call(ContractCall::new(STAKE_CONTRACT, name).with_raw_args(args)))
}

fn stake_call(account: &str, owner: &str, lux: u64) -> Option<TransactionData> {
    call_data("stake", &StakeCall::new(&secret(account), &secret(owner), lux, CHAIN_ID))
}

fn transfer(to: &str, lux: u64, nonce: u64) -> TransferWithdraw {
    let receiver = WithdrawReceiver::Moonlight(*signer(to).public_key());
    let token = WithdrawReplayToken::Moonlight(nonce);
    TransferWithdraw::new(&mut NoRng, &secret(to), STAKE_CONTRACT, lux, receiver, token)
}

fn take_call(name: &str, account: &str, owner: &str, transfer: TransferWithdraw) -> Option<TransactionData> {
    call_data(name, &Withdraw::new(&secret(account), &secret(owner), transfer))
}

/// Runs one transaction of alice in a block of its own, and applies it.
fn run(
    state: &mut MemoryState,
    height: u64,
    deposit: u64,
    data: Option<TransactionData>,
) -> (Option<String>, Executed) {
    let nonce = account(state, &signer("alice").id()).unwrap().nonce + 1;
    let tx =
        spend(Spend { nonce, to: None, value: 0, deposit, gas_limit: GAS, gas_price: 1, data, ..Spend::default() });
    let mut executor = Executor::new(state, &NoContracts, env(height));
    let outcome = executor.execute(&tx).unwrap().clone();
    let executed = executor.finish(&[]).unwrap();
    state.apply(&executed.diff).unwrap();
    if outcome.error.is_some() {
        assert_eq!(outcome.gas_spent, GAS, "a failed call spends its whole limit");
    }
    (outcome.error, executed)
}

fn fails(state: &MemoryState, height: u64, deposit: u64, data: Option<TransactionData>, why: &str) {
    let mut after = state.clone();
    let (error, executed) = run(&mut after, height, deposit, data);
    let error = error.expect("the call passed");
    assert!(error.contains(why), "{error}");
    assert_eq!(executed.events.len(), 1, "only the transaction's own event stays");
    assert!(after.stakes().eq(state.stakes()));
    assert_eq!(contract(&after), contract(state));
}

fn contract(state: &MemoryState) -> u64 {
    contract_balance(state, &STAKE_CONTRACT.to_bytes()).unwrap()
}

/// Source, topic and data of the events before the transaction's own.
fn told(executed: &Executed) -> Vec<(dusk_core::abi::ContractId, String, Vec<u8>)> {
    let all = executed.events.iter().map(|(_, e): &(_, Event)| (e.source, e.topic.clone(), e.data.clone()));
    all.take(executed.events.len() - 1).collect()
}

/// As `dusk-core` encodes what a contract is given or emits.
fn dusk_bytes(fill: impl FnOnce(ContractCall) -> Result<ContractCall, dusk_core::Error>) -> Vec<u8> {
    fill(ContractCall::new([0; 32], "")).unwrap().fn_args
}

#[test]
fn staking_moves_the_deposit_and_tells_it() {
    let mut state = state();
    let before = contract(&state);
    let lux = 5000 * DUSK;
    let (error, executed) = run(&mut state, 7, lux, stake_call("bob", "alice", lux));
    assert_eq!(error, None);
    let (alice, bob) = (signer("alice"), signer("bob"));
    let record = read_stake(&state, &bob.id()).unwrap();
    let expected = Stake { owner: Owner::Account(alice.id()), value: lux, eligibility: 4320, ..Stake::default() };
    assert_eq!(record, expected);
    assert_eq!(contract(&state), before + lux);
    let keys = StakeKeys::new(*bob.public_key(), *alice.public_key());
    let deposit = DepositEvent { sender: Some(*alice.public_key()), receiver: STAKE_CONTRACT, value: lux };
    assert_eq!(
        told(&executed),
        [
            (TRANSFER_CONTRACT, "deposit".into(), dusk_bytes(|call| call.with_args(&deposit))),
            (STAKE_CONTRACT, "stake".into(), dusk_bytes(|call| call.with_args(&StakeEvent::new(keys, lux)))),
        ]
    );
    assert_eq!(state.stakes().count(), 2);

    // Adding to a stake that does not count yet locks nothing, later a tenth.
    assert_eq!(run(&mut state, 4319, 100, stake_call("bob", "alice", 100)).0, None);
    let (error, executed) = run(&mut state, 4320, 105, stake_call("bob", "alice", 105));
    assert_eq!(error, None);
    let record = read_stake(&state, &bob.id()).unwrap();
    assert_eq!((record.value, record.locked), (lux + 100 + 95, 10));
    let event = StakeEvent::new(keys, 95).locked(10);
    assert_eq!(told(&executed)[1].2, dusk_bytes(|call| call.with_args(&event)));
}

#[test]
fn staking_gas_is_two_signatures_and_the_arguments() {
    let mut state = state();
    let data = stake_call("alice", "alice", MINIMUM_STAKE);
    let (_, executed) = run(&mut state, 1, MINIMUM_STAKE, data.clone());
    assert_eq!(executed.gas_spent, intrinsic_gas(data.as_ref()) + 2 * SIGNATURE_GAS);
    assert!(executed.gas_spent > gas::TRANSACTION + 2 * SIGNATURE_GAS);
    assert_eq!(read_stake(&state, &signer("alice").id()).unwrap().owner, Owner::Provisioner);
}

#[test]
fn a_stake_is_refused_unless_everything_fits() {
    let mut state = state();
    let (small, lux) = (MINIMUM_STAKE - 1, MINIMUM_STAKE);
    fails(&state, 1, small, stake_call("bob", "bob", small), "at least");
    fails(&state, 1, lux + 1, stake_call("bob", "bob", lux), "the deposit is");
    fails(&state, 1, 0, stake_call("bob", "bob", lux), "the deposit is 0");
    let foreign = call_data("stake", &StakeCall::new(&secret("bob"), &secret("bob"), lux, CHAIN_ID + 1));
    fails(&state, 1, lux, foreign, "chain id");
    let owned = StakeCall::new_from_contract(&secret("bob"), [9; 32].into(), lux, CHAIN_ID);
    fails(&state, 1, lux, call_data("stake", &owned), "only a contract");
    let garbage = TransactionData::Call(ContractCall::new(STAKE_CONTRACT, "stake").with_raw_args(vec![7; 400]));
    fails(&state, 1, lux, Some(garbage), "arguments");

    // Every changed byte is found, by one check or another, unless it means nothing (padding).
    let Some(TransactionData::Call(good)) = stake_call("bob", "alice", lux) else { unreachable!() };
    let mut meant = state.clone();
    assert_eq!(run(&mut meant, 1, lux, Some(TransactionData::Call(good.clone()))).0, None);
    let mut found = 0;
    for at in (0..good.fn_args.len()).step_by(11) {
        let mut call = good.clone();
        call.fn_args[at] ^= 1;
        let mut after = state.clone();
        match run(&mut after, 1, lux, Some(TransactionData::Call(call))).0 {
            Some(_) => found += 1,
            None => assert!(after.stakes().eq(meant.stakes()), "byte {at} changed the meaning unnoticed"),
        }
    }
    assert!(found * 11 > good.fn_args.len() / 2, "{found} found");

    assert_eq!(run(&mut state, 1, lux, stake_call("bob", "alice", lux)).0, None);
    fails(&state, 1, 5, stake_call("bob", "bob", 5), "another owner");
}

#[test]
fn unstaking_pays_out_and_removes() {
    let mut state = state();
    let (alice, bob) = (signer("alice"), signer("bob"));
    let lux = 3 * MINIMUM_STAKE;
    assert_eq!(run(&mut state, 1, lux, stake_call("bob", "alice", lux)).0, None);
    let held = contract(&state);
    let unstake = |lux, nonce| take_call("unstake", "bob", "alice", transfer("carol", lux, nonce));
    fails(&state, 2, 0, unstake(lux + 1, 2), "more than");
    fails(&state, 2, 0, unstake(lux - 1, 2), "would stay staked");
    fails(&state, 2, 0, unstake(MINIMUM_STAKE, 3), "name its nonce");
    fails(&state, 2, 0, take_call("unstake", "bob", "bob", transfer("carol", lux, 2)), "signature of the owner");
    fails(&state, 2, 0, take_call("unstake", "carol", "alice", transfer("carol", lux, 2)), "no such stake");
    let elsewhere = TransferWithdraw::new(
        &mut NoRng,
        &secret("carol"),
        TRANSFER_CONTRACT,
        lux,
        WithdrawReceiver::Moonlight(*signer("carol").public_key()),
        WithdrawReplayToken::Moonlight(2),
    );
    fails(&state, 2, 0, take_call("unstake", "bob", "alice", elsewhere), "another contract");
    // Somebody else's signature for the receiver.
    let forged = TransferWithdraw::new(
        &mut NoRng,
        &secret("bob"),
        STAKE_CONTRACT,
        lux,
        WithdrawReceiver::Moonlight(*signer("carol").public_key()),
        WithdrawReplayToken::Moonlight(2),
    );
    fails(&state, 2, 0, take_call("unstake", "bob", "alice", forged), "signature of the receiver");

    let part = transfer("carol", MINIMUM_STAKE, 2);
    let (error, executed) = run(&mut state, 2, 0, take_call("unstake", "bob", "alice", part.clone()));
    assert_eq!(error, None);
    assert_eq!(account(&state, &signer("carol").id()).unwrap().balance, MINIMUM_STAKE);
    assert_eq!(contract(&state), held - MINIMUM_STAKE);
    let keys = StakeKeys::new(*bob.public_key(), *alice.public_key());
    let event = StakeEvent::new(keys, MINIMUM_STAKE);
    assert_eq!(
        told(&executed),
        [
            (TRANSFER_CONTRACT, "withdraw".into(), dusk_bytes(|call| call.with_args(&WithdrawEvent::from(part)))),
            (STAKE_CONTRACT, "unstake".into(), dusk_bytes(|call| call.with_args(&event))),
        ]
    );
    assert_eq!(run(&mut state, 3, 0, unstake(2 * MINIMUM_STAKE, 3)).0, None);
    assert_eq!(stake_record(&state, &bob.id()).unwrap(), None, "nothing is left of the record");
    assert_eq!(contract(&state), held - 3 * MINIMUM_STAKE);
}

#[test]
fn withdrawing_mints_the_reward() {
    let mut state = state();
    let producer = signer("producer");
    let executed = {
        let mut executor = Executor::new(&state, &NoContracts, env(1));
        let voters = [(producer.id(), 128)];
        let rewards = crate::rewards::rewards(2, 0, signer("treasury").id(), producer.id(), &voters).unwrap();
        executor.slash(&[]).unwrap();
        executor.finish(&rewards).unwrap()
    };
    state.apply(&executed.diff).unwrap();
    let reward = read_stake(&state, &producer.id()).unwrap().reward;
    let held = contract(&state);
    let take = |lux, nonce| take_call("withdraw", "producer", "producer", transfer("carol", lux, nonce));
    fails(&state, 3, 0, take(reward + 1, 1), "more than");
    fails(&state, 3, 0, take(0, 1), "nothing");
    let part = transfer("carol", reward - 1, 1);
    let (error, executed) = run(&mut state, 3, 0, take_call("withdraw", "producer", "producer", part.clone()));
    assert_eq!(error, None);
    assert_eq!(account(&state, &signer("carol").id()).unwrap().balance, reward - 1);
    assert_eq!(contract(&state), held, "rewards are not part of what is staked");
    let keys = StakeKeys::single_key(*producer.public_key());
    let event = StakeEvent::new(keys, reward - 1);
    assert_eq!(
        told(&executed),
        [
            (TRANSFER_CONTRACT, "mint".into(), dusk_bytes(|call| call.with_args(&WithdrawEvent::from(part)))),
            (STAKE_CONTRACT, "withdraw".into(), dusk_bytes(|call| call.with_args(&event))),
        ]
    );
    // The treasury has a record for its reward only: it goes with the last lux.
    let treasury = signer("treasury").id();
    let reward = read_stake(&state, &treasury).unwrap().reward;
    let all = take_call("withdraw", "treasury", "treasury", transfer("treasury", reward, 2));
    assert_eq!(run(&mut state, 3, 0, all).0, None);
    assert_eq!(stake_record(&state, &treasury).unwrap(), None);
}

fn slash(seed: &str, kind: SlashType) -> Slash {
    Slash { provisioner: NodeKey::new(*signer(seed).public_key()), r#type: kind }
}

fn burnt(state: &MemoryState) -> Option<u64> {
    let key = StateKey::ContractStorage(STAKE_CONTRACT.to_bytes(), BURNT_KEY.to_vec());
    state.read(&key).unwrap().map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
}

#[test]
fn penalties_come_first_and_are_told() {
    let slashes = [
        slash("producer", SlashType::Soft),
        slash("nobody", SlashType::Hard),
        slash("producer", SlashType::Soft),
        slash("producer", SlashType::Hard),
        slash("producer", SlashType::HardWithSeverity(2)),
    ];
    let staked = 1_000_000 * DUSK;
    let run = |slashing| {
        let mut state = state();
        let env = BlockEnv { stakes: StakeRules { slashing, ..StakeRules::default() }, ..env(1) };
        let mut executor = Executor::new(&state, &NoContracts, env);
        executor.slash(&slashes).unwrap();
        let executed = executor.finish(&[]).unwrap();
        state.apply(&executed.diff).unwrap();
        let events: Vec<(String, Vec<u8>)> = executed
            .events
            .iter()
            .map(|(tx, event)| {
                assert_eq!((*tx, event.source), (None, STAKE_CONTRACT));
                (event.topic.clone(), event.data.clone())
            })
            .collect();
        (state, events)
    };
    let event = |topic: &str, value, epochs: u64| {
        let account = *signer("producer").public_key();
        let event = SlashEvent { account, value, next_eligibility: 2160 + epochs * 2160 };
        (topic.to_string(), dusk_bytes(|call| call.with_args(&event)))
    };

    let (full, events) = run(Slashing::Full);
    // A warning, a tenth locked, a tenth of the rest burnt, three tenths of that rest.
    let (locked, first) = (staked / 10, staked * 9 / 100);
    let second = (staked - locked - first) * 3 / 10;
    assert_eq!(events, [event("slash", locked, 1), event("hard_slash", first, 1), event("hard_slash", second, 3)]);
    let record = read_stake(&full, &signer("producer").id()).unwrap();
    assert_eq!((record.value, record.locked), (staked - locked - first - second, locked));
    assert_eq!((record.faults, record.hard_faults, record.eligibility), (2, 3, 4 * 2160));
    assert_eq!(contract(&full), record.total());
    assert_eq!(burnt(&full), Some(first + second));

    let (relaxed, events) = run(Slashing::Relaxed);
    assert!(events.iter().all(|(topic, _)| topic == "slash") && events.len() == 3);
    let record = read_stake(&relaxed, &signer("producer").id()).unwrap();
    assert_eq!((record.total(), record.faults, record.hard_faults), (staked, 4, 0));
    assert_eq!((contract(&relaxed), burnt(&relaxed)), (staked, None));
}

/// Whoever unstakes in the block that punishes is punished first.
#[test]
fn unstaking_in_the_same_block_does_not_help() {
    let mut state = state();
    let mut executor = Executor::new(&state, &NoContracts, env(1));
    executor.slash(&[slash("producer", SlashType::Hard)]).unwrap();
    let all = take_call("unstake", "producer", "producer", transfer("carol", 1_000_000 * DUSK, 1));
    let tx = spend(Spend { to: None, value: 0, gas_limit: GAS, gas_price: 1, data: all, ..Spend::default() });
    assert!(executor.execute(&tx).unwrap().error.is_some());
    let executed = executor.finish(&[]).unwrap();
    let topics: Vec<_> = executed.events.iter().map(|(_, event)| event.topic.as_str()).collect();
    assert_eq!(topics, ["hard_slash", "moonlight"]);
    state.apply(&executed.diff).unwrap();
    assert_eq!(read_stake(&state, &signer("producer").id()).unwrap().value, 900_000 * DUSK);
}

/// Where in a call's arguments the coordinates of a key or a signature are.
fn place(args: &[u8], raw: &[u8]) -> usize {
    args.windows(96).position(|window| *window == raw[..96]).expect("the point is in the arguments")
}

fn args(data: Option<TransactionData>) -> Vec<u8> {
    let Some(TransactionData::Call(call)) = data else { panic!("a call") };
    call.fn_args
}

fn raw_call(name: &str, args: Vec<u8>) -> Option<TransactionData> {
    Some(TransactionData::Call(ContractCall::new(STAKE_CONTRACT, name).with_raw_args(args)))
}

#[test]
fn an_archived_signature_ends_with_the_mark_of_infinity() {
    let signature = bls::sign(&secret("alice"), b"m", BlsVersion::V2);
    for (signature, mark) in [(Signature::default(), 1), (signature, 0)] {
        let bytes = rkyv_bytes(&signature).unwrap();
        assert_eq!((bytes.len(), bytes[SIGNATURE_MARK]), (104, mark));
    }
}

/// The curve library asserts that the mark of infinity is 0 or 1, and hashing is enough to make it look.
#[test]
fn points_with_an_impossible_mark_are_refused() {
    let state = state();
    let lux = 5000 * DUSK;
    let good = args(stake_call("bob", "alice", lux));
    for name in ["alice", "bob"] {
        for mark in [1, 2, 255] {
            let mut bent = good.clone();
            let at = place(&bent, &signer(name).public_key().to_raw_bytes());
            bent[at + 192] = mark;
            fails(&state, 7, lux, raw_call("stake", bent), "a key is not a BLS public key");
        }
    }
    let call = StakeCall::new(&secret("bob"), &secret("alice"), lux, CHAIN_ID);
    for signature in [call.signature().owner, call.signature().account] {
        let mut bent = good.clone();
        let at = place(&bent, &rkyv_bytes(&signature).unwrap());
        bent[at + SIGNATURE_MARK] = 2;
        fails(&state, 7, lux, raw_call("stake", bent), "a signature is not a BLS signature");
    }
    let withdrawal = transfer("carol", DUSK, 1);
    let good = args(take_call("unstake", "producer", "producer", withdrawal.clone()));
    let WithdrawSignature::Moonlight(signature) = withdrawal.signature() else { panic!("Moonlight") };
    let marks = [
        (place(&good, &signer("carol").public_key().to_raw_bytes()) + 192, "a key is not"),
        (place(&good, &signer("producer").public_key().to_raw_bytes()) + 192, "a key is not"),
        (place(&good, &rkyv_bytes(signature).unwrap()) + SIGNATURE_MARK, "a signature is not"),
    ];
    for (at, why) in marks {
        let mut bent = good.clone();
        bent[at] = 2;
        fails(&state, 7, 0, raw_call("unstake", bent), why);
    }
}

/// Hashing a stealth address divides by one of its numbers, which whoever makes the arguments may choose to be zero.
#[test]
fn a_withdrawal_to_an_impossible_phoenix_address_is_refused() {
    let mut bent = args(take_call("unstake", "producer", "producer", transfer("carol", DUSK, 1)));
    let at = place(&bent, &signer("carol").public_key().to_raw_bytes());
    // The kind of receiver, padded to eight bytes, is before its key.
    assert_eq!(bent[at - 8], 1);
    bent[at - 8] = 0;
    bent[at..at + 200].fill(0);
    fails(&state(), 7, 0, raw_call("unstake", bent), "Phoenix is not supported");
}
