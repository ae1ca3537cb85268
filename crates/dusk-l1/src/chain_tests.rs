//! Execution, block making and block checking together.

use dusk_core::stake::STAKE_CONTRACT;
use dusk_core::transfer::data::{BlobData, ContractCall, ContractDeploy, TransactionData};
use dusk_core::transfer::{MoonlightTransactionEvent, TRANSFER_CONTRACT};
use dusk_node_data::ledger::{Attestation, Block, Header, IterationsInfo, LedgerTransaction};
use rkyv::Deserialize as _;

use crate::block::*;
use crate::contracts::{CallContext, CallError, CallFailure, NativeContracts, NoContracts};
use crate::execute::{BlockEnv, Executor, NotIncluded, Rejection, TxOutcome, gas, intrinsic_gas};
use crate::keys::{AccountId, Signer};
use crate::rewards::emission;
use crate::sole::{ChainParams, build_block, earliest_timestamp, verify_block};
use crate::stakes::StakeRules;
use crate::state::{Account, MemoryState, account, contract_balance, stake};
use crate::testing::{self, CHAIN_ID, DUSK, Spend, spend};

fn id(seed: &str) -> AccountId {
    Signer::from_seed(seed.as_bytes()).id()
}

fn genesis_state() -> MemoryState {
    let mut state = MemoryState::default();
    state.apply(&testing::genesis().state()).unwrap();
    state
}

fn env() -> BlockEnv {
    BlockEnv {
        chain_id: CHAIN_ID,
        height: 1,
        timestamp: 1_700_000_002,
        gas_limit: 3_000_000_000,
        gas_per_blob: 1_000_000,
        stakes: StakeRules::default(),
    }
}

const COUNTER: [u8; 32] = [0xc0; 32];

/// A contract that exercises every part of the hook.
struct Counter;

impl NativeContracts for Counter {
    fn functions(&self, id: &[u8; 32]) -> Option<&[&str]> {
        (*id == COUNTER).then_some(&["increment", "ignore", "pay", "fail", "burn"])
    }

    fn call(&self, context: &mut CallContext<'_>, call: &ContractCall) -> Result<(), CallError> {
        if call.contract.to_bytes() != COUNTER {
            return Err(CallFailure::UnknownContract(call.contract.to_bytes()).into());
        }
        context.charge(1000)?;
        match call.fn_name.as_str() {
            "increment" => {
                let count = context.get(b"count")?.map_or(0, |bytes| bytes[0]) + 1;
                context.set(b"count", Some(vec![count]));
                let taken = context.take_deposit()?;
                context.emit("incremented", [vec![count], taken.to_le_bytes().to_vec()].concat());
                Ok(())
            }
            "ignore" => Ok(()),
            "pay" => {
                let sender = *context.sender();
                context.pay(&sender, 7)
            }
            "fail" => {
                context.set(b"count", Some(vec![99]));
                context.take_deposit()?;
                context.emit("never", vec![]);
                Err(CallFailure::Refused("it fails".into()).into())
            }
            "burn" => loop {
                context.charge(1_000_000)?;
            },
            other => Err(CallFailure::UnknownFunction(other.into()).into()),
        }
    }
}

fn call(name: &str) -> Option<TransactionData> {
    Some(TransactionData::Call(ContractCall::new(COUNTER, name)))
}

fn rejection(state: &MemoryState, tx: Spend) -> Rejection {
    let mut executor = Executor::new(state, &NoContracts, env());
    match executor.execute(&spend(tx)) {
        Err(NotIncluded::Rejected(reason)) => reason,
        other => panic!("expected a rejection, got {other:?}"),
    }
}

#[test]
fn transfer_moves_value_and_charges_gas() {
    let state = genesis_state();
    let mut executor = Executor::new(&state, &NoContracts, env());
    let tx = spend(Spend::default());
    let outcome = executor.execute(&tx).unwrap().clone();
    assert_eq!(outcome, TxOutcome { id: *tx.id(), gas_spent: gas::TRANSACTION, error: None });
    let fee = gas::TRANSACTION * 2;
    assert_eq!(executor.fees(), fee);
    let executed = executor.finish(&[]).unwrap();
    let mut after = state.clone();
    after.apply(&executed.diff).unwrap();
    assert_eq!(account(&after, &id("alice")).unwrap(), Account { nonce: 1, balance: 999 * DUSK - fee });
    assert_eq!(account(&after, &id("bob")).unwrap(), Account { nonce: 0, balance: 2 * DUSK });
    let [(Some(0), event)] = &executed.events[..] else { panic!("{:?}", executed.events) };
    assert_eq!((event.source, event.topic.as_str()), (TRANSFER_CONTRACT, "moonlight"));
    assert!(executed.bloom.may_contain(&TRANSFER_CONTRACT.to_bytes(), "moonlight"));
    assert!(!event.data.is_empty());
}

#[test]
fn unspendable_transactions_change_nothing() {
    let state = genesis_state();
    assert_eq!(
        rejection(&state, Spend { chain_id: 9, ..Spend::default() }),
        Rejection::ChainId { got: 9, want: CHAIN_ID }
    );
    assert_eq!(rejection(&state, Spend { nonce: 0, ..Spend::default() }), Rejection::NonceUsed { got: 0, next: 1 });
    assert_eq!(rejection(&state, Spend { nonce: 2, ..Spend::default() }), Rejection::NonceNotReady { got: 2, next: 1 });
    assert_eq!(rejection(&state, Spend { gas_price: 0, ..Spend::default() }), Rejection::GasPriceZero);
    assert_eq!(
        rejection(&state, Spend { gas_limit: 49_999, ..Spend::default() }),
        Rejection::GasLimitTooLow { got: 49_999, need: 50_000 }
    );
    assert_eq!(
        rejection(&state, Spend { gas_limit: 3_000_000_001, ..Spend::default() }),
        Rejection::GasLimitTooHigh { got: 3_000_000_001, limit: 3_000_000_000 }
    );
    assert_eq!(
        rejection(&state, Spend { value: 1000 * DUSK, ..Spend::default() }),
        Rejection::InsufficientBalance { have: 1000 * DUSK, need: 1000 * DUSK + 200_000 }
    );
    // Exactly what the sender owns: value, deposit and all of the gas.
    let mut executor = Executor::new(&state, &NoContracts, env());
    let all = spend(Spend { value: 1000 * DUSK - 200_000 - 5, deposit: 5, ..Spend::default() });
    assert!(executor.execute(&all).is_ok());
    assert_eq!(
        rejection(&state, Spend { value: 1000 * DUSK - 200_000 - 4, deposit: 5, ..Spend::default() }),
        Rejection::InsufficientBalance { have: 1000 * DUSK, need: 1000 * DUSK + 1 }
    );
    assert_eq!(rejection(&state, Spend { value: u64::MAX, ..Spend::default() }), Rejection::Overflow);
    assert_eq!(rejection(&state, Spend { gas_price: u64::MAX / 2, ..Spend::default() }), Rejection::Overflow);
    let deploy = ContractDeploy::new(vec![1], vec![2], None, 0);
    assert_eq!(
        rejection(&state, Spend { data: Some(TransactionData::Deploy(deploy)), ..Spend::default() }),
        Rejection::Deploy
    );
    let blobs = |n| Some(TransactionData::Blob(vec![BlobData { hash: [1; 32], data: None }; n]));
    assert_eq!(rejection(&state, Spend { data: blobs(0), ..Spend::default() }), Rejection::BlobCount(0));
    assert_eq!(rejection(&state, Spend { data: blobs(7), ..Spend::default() }), Rejection::BlobCount(7));
    assert_eq!(
        rejection(&state, Spend { data: blobs(2), gas_limit: 1_999_999, ..Spend::default() }),
        Rejection::BlobGas { got: 1_999_999, need: 2_000_000 }
    );
}

#[test]
fn rejected_transactions_leave_no_trace() {
    let state = genesis_state();
    let mut executor = Executor::new(&state, &NoContracts, env());
    assert!(executor.execute(&spend(Spend { nonce: 5, ..Spend::default() })).is_err());
    let executed = executor.finish(&[]).unwrap();
    assert!(executed.diff.is_empty() && executed.events.is_empty() && executed.outcomes.is_empty());
}

#[test]
fn memo_costs_and_refund_goes_where_it_should() {
    let state = genesis_state();
    let mut executor = Executor::new(&state, &NoContracts, env());
    let memo = TransactionData::Memo(vec![9; 100]);
    let tx = spend(Spend { data: Some(memo.clone()), refund: Some(b"carol"), deposit: 11, ..Spend::default() });
    let spent = executor.execute(&tx).unwrap().gas_spent;
    assert_eq!(spent, gas::TRANSACTION + 100 * gas::DATA_BYTE);
    assert_eq!(spent, intrinsic_gas(Some(&memo)));
    let executed = executor.finish(&[]).unwrap();
    let mut after = state.clone();
    after.apply(&executed.diff).unwrap();
    // The whole limit left alice; what was not spent, and the deposit that nobody took, went to carol.
    assert_eq!(account(&after, &id("alice")).unwrap().balance, 999 * DUSK - 200_000 - 11);
    let refund = (100_000 - spent) * 2 + 11;
    assert_eq!(account(&after, &id("carol")).unwrap().balance, refund);
    let event = rkyv::check_archived_root::<MoonlightTransactionEvent>(&executed.events[0].1.data).unwrap();
    let event: MoonlightTransactionEvent = event.deserialize(&mut rkyv::Infallible).unwrap();
    assert_eq!(event.refund_info, Some((*Signer::from_seed(b"carol").public_key(), refund)));
}

#[test]
fn calls_of_what_is_not_there_are_refused() {
    let state = genesis_state();
    let why = "no such contract is on this network";
    let tx = Spend { deposit: 5, data: call("increment"), ..Spend::default() };
    assert_eq!(rejection(&state, tx), Rejection::Ambiguous(why));
    let mut executor = Executor::new(&state, &Counter, env());
    let tx = spend(Spend { data: call("nothing"), ..Spend::default() });
    let why = "the contract has no such function";
    let refused = executor.execute(&tx);
    assert!(matches!(refused, Err(NotIncluded::Rejected(Rejection::Ambiguous(got))) if got == why), "{refused:?}");
}

/// A blob transaction runs as the memo of its hashes, and pays for its blobs at least.
#[test]
fn blob_transactions_run_as_memos() {
    let state = genesis_state();
    let full = testing::blob_spend(b"alice", 1, 2);
    let run = |tx: &crate::tx::VerifiedTx| {
        let mut executor = Executor::new(&state, &NoContracts, env());
        let spent = executor.execute(tx).unwrap().gas_spent;
        (spent, executor.finish(&[]).unwrap())
    };
    let (spent, executed) = run(&full);
    assert_eq!(spent, 2_000_000);
    let (_, stripped) = run(&full.clone().strip());
    assert_eq!((&executed.diff, executed.bloom.into_bytes()), (&stripped.diff, stripped.bloom.into_bytes()));
    let event = rkyv::check_archived_root::<MoonlightTransactionEvent>(&executed.events[0].1.data).unwrap();
    let event: MoonlightTransactionEvent = event.deserialize(&mut rkyv::Infallible).unwrap();
    let hashes: Vec<u8> = full.blobs().unwrap().iter().flat_map(|blob| blob.hash).collect();
    assert_eq!((event.memo, event.gas_spent), (hashes, spent));
    // Blobs that cost nothing still cost what their hashes cost.
    let mut executor = Executor::new(&state, &NoContracts, BlockEnv { gas_per_blob: 0, ..env() });
    assert_eq!(executor.execute(&full).unwrap().gas_spent, gas::TRANSACTION + 64 * gas::DATA_BYTE);
}

#[test]
fn stored_blocks_have_no_sidecars() {
    let chain = Chain::new();
    let built = chain.build(&[testing::blob_spend(b"alice", 1, 1), spend(Spend { nonce: 2, ..Spend::default() })]);
    let block = &built.block.block;
    assert!(block.txs()[0].protocol().blob().unwrap()[0].data.is_some());
    let record = crate::record::AcceptedBlock::new(&built.block).unwrap();
    assert!(record.encoded.len() < 10_000);
    let stored = record.block().unwrap();
    assert!(stored.txs()[0].protocol().blob().unwrap()[0].data.is_none());
    assert_eq!((stored.header(), tx_root(stored.txs())), (block.header(), block.header().txroot));
    // With and without the data it is the same block.
    assert!(chain.verify(block.clone()).is_ok() && chain.verify(stored).is_ok());
}

#[test]
fn native_contracts_plug_in() {
    let state = genesis_state();
    let mut executor = Executor::new(&state, &Counter, env());
    let run = |executor: &mut Executor<'_, MemoryState>, nonce, name, gas_limit| {
        let tx = Spend { nonce, deposit: 100, value: 0, gas_limit, data: call(name), ..Spend::default() };
        executor.execute(&spend(tx)).unwrap().clone()
    };
    let done = run(&mut executor, 1, "increment", 100_000);
    assert_eq!((done.gas_spent, done.error), (gas::TRANSACTION + 9 * gas::DATA_BYTE + 1000, None));
    let done = run(&mut executor, 2, "fail", 100_000);
    assert_eq!((done.gas_spent, done.error.as_deref()), (100_000, Some("it fails")));
    let done = run(&mut executor, 3, "burn", 5_000_000);
    assert_eq!((done.gas_spent, done.error.as_deref()), (5_000_000, Some("out of gas")));
    assert_eq!(run(&mut executor, 4, "ignore", 100_000).error, None);
    assert_eq!(run(&mut executor, 5, "pay", 100_000).error, None);
    let fees = executor.fees();
    let executed = executor.finish(&[]).unwrap();
    let mut after = state.clone();
    after.apply(&executed.diff).unwrap();
    assert_eq!(contract_balance(&after, &COUNTER).unwrap(), 93, "one deposit taken, seven lux paid out");
    assert_eq!(account(&after, &id("alice")).unwrap().balance, 1000 * DUSK - fees - 93);
    let own: Vec<_> = executed.events.iter().filter(|(_, event)| event.source.to_bytes() == COUNTER).collect();
    let [(Some(0), event)] = own[..] else { panic!("{own:?}") };
    assert_eq!((event.topic.as_str(), event.data[0]), ("incremented", 1));
    assert!(executed.bloom.may_contain(&COUNTER, "incremented") && !executed.bloom.may_contain(&COUNTER, "never"));
}

#[test]
fn block_gas_limit_bounds_what_is_spent() {
    let state = genesis_state();
    let mut executor = Executor::new(&state, &NoContracts, BlockEnv { gas_limit: 120_000, ..env() });
    assert!(executor.execute(&spend(Spend::default())).is_ok());
    assert!(executor.execute(&spend(Spend { nonce: 2, ..Spend::default() })).is_ok());
    let third = executor.execute(&spend(Spend { nonce: 3, ..Spend::default() }));
    assert!(matches!(third, Err(NotIncluded::BlockFull)), "{third:?}");
    assert_eq!(executor.included(), 2);
}

/// A small chain, driven by hand.
struct Chain {
    params: ChainParams,
    signer: Signer,
    state: MemoryState,
    tip: Header,
}

impl Chain {
    fn new() -> Self {
        let genesis = testing::genesis();
        Self {
            params: ChainParams::new(&genesis),
            signer: Signer::from_seed(b"producer"),
            state: genesis_state(),
            tip: genesis.block().header().clone(),
        }
    }

    fn build(&self, txs: &[crate::tx::VerifiedTx]) -> Built {
        let timestamp = earliest_timestamp(&self.tip, &self.params);
        build_block(&self.tip, timestamp, &self.params, &self.signer, &self.state, &NoContracts, txs).unwrap()
    }

    fn verify(&self, block: Block) -> Result<ExecutedBlock, BlockError> {
        verify_block(&self.tip, block, &self.params, None, &self.state, &NoContracts)
    }

    fn accept(&mut self, block: ExecutedBlock) {
        self.state.apply(&block.executed.diff).unwrap();
        self.tip = block.block.header().clone();
    }
}

#[test]
fn built_blocks_verify_and_round_trip() {
    let mut chain = Chain::new();
    for height in 1..=3u64 {
        let txs = [
            spend(Spend { nonce: height, ..Spend::default() }),
            spend(Spend { nonce: height, seed: b"bob", to: Some(b"alice"), value: 1, ..Spend::default() }),
        ];
        let built = chain.build(&txs);
        assert!(built.rejected.is_empty(), "{:?}", built.rejected);
        let bytes = encode_block(&built.block.block).unwrap();
        let decoded = decode_block(&bytes).unwrap();
        assert_eq!(decoded.header(), built.block.block.header());
        let verified = chain.verify(decoded).unwrap();
        assert_eq!(verified.executed.diff, built.block.executed.diff);
        assert_eq!(verified.executed.outcomes, built.block.executed.outcomes);
        chain.accept(verified);
        assert_eq!((chain.tip.height, chain.tip.state_hash), (height, chain.state.root().0));
    }
}

/// Sizes that the published format fixes.
#[test]
fn header_sizes() {
    let chain = Chain::new();
    let built = chain.build(&[]);
    assert_eq!(Header::default().size(), 863);
    // Its own certificate is a success (+32); that of the genesis block is the empty one.
    assert_eq!(built.block.block.header().size(), 895);
    assert_eq!(encode_block(&built.block.block).unwrap().len(), 895 + 8);
}

#[test]
fn rewards_are_paid_to_stakes() {
    let mut chain = Chain::new();
    let first = chain.build(&[]);
    chain.accept(first.block);
    let tenth = emission(1) / 10;
    assert_eq!(stake(&chain.state, &id("producer")).unwrap().reward, emission(1) - 3 * tenth);
    assert_eq!(stake(&chain.state, &id("treasury")).unwrap().reward, tenth);
    let before = stake(&chain.state, &id("producer")).unwrap().reward;
    let second = chain.build(&[spend(Spend::default())]);
    let events: Vec<_> = second.block.executed.events.iter().map(|(i, e)| (*i, e.source, e.topic.as_str())).collect();
    assert_eq!(events, [(Some(0), TRANSFER_CONTRACT, "moonlight"), (None, STAKE_CONTRACT, "reward")]);
    chain.accept(second.block);
    // With the certificate of block 1: fixed share, the whole extra tenth, and all 128 credits of the voters' tenth.
    let total = emission(2) + gas::TRANSACTION * 2;
    let tenth = total / 10;
    let earned = stake(&chain.state, &id("producer")).unwrap().reward - before;
    assert_eq!(earned, (total - 3 * tenth) + tenth + tenth / 128 * 128);
    assert_eq!(stake(&chain.state, &id("producer")).unwrap().value, 1_000_000 * DUSK);
}

#[test]
fn builder_drops_what_cannot_run() {
    let chain = Chain::new();
    let bad = spend(Spend { chain_id: 1, ..Spend::default() });
    let good = spend(Spend::default());
    let late = spend(Spend { nonce: 3, ..Spend::default() });
    let built = chain.build(&[bad.clone(), good.clone(), late.clone()]);
    assert_eq!(built.block.block.txs().len(), 1);
    assert_eq!(built.rejected.len(), 2);
    assert_eq!(built.rejected[0], (*bad.id(), Rejection::ChainId { got: 1, want: CHAIN_ID }));
    assert_eq!(built.rejected[1], (*late.id(), Rejection::NonceNotReady { got: 3, next: 2 }));
}

/// Changes one thing of a good block, recomputes nothing, and expects the named field to be found.
#[test]
fn every_header_field_is_checked() {
    let mut chain = Chain::new();
    let first = chain.build(&[spend(Spend::default())]);
    chain.accept(first.block);
    let good = chain.build(&[spend(Spend { nonce: 2, ..Spend::default() })]).block.block;
    assert!(chain.verify(good.clone()).is_ok());

    type Change = fn(&mut Header);
    // Fields that are hashed: with the old hash kept, the hash is wrong; the field's own check may come first.
    let hashed: [(&str, Change); 14] = [
        ("version", |h| h.version = 2),
        ("height", |h| h.height += 1),
        ("timestamp", |h| h.timestamp -= 1),
        ("prev_block_hash", |h| h.prev_block_hash[0] ^= 1),
        ("seed", |h| h.seed = [1; 48].into()),
        ("state_hash", |h| h.state_hash[0] ^= 1),
        ("event_bloom", |h| h.event_bloom[0] ^= 1),
        ("generator_bls_pubkey", |h| h.generator_bls_pubkey.0[0] ^= 1),
        ("txroot", |h| h.txroot[0] ^= 1),
        ("faultroot", |h| h.faultroot[0] ^= 1),
        ("gas_limit", |h| h.gas_limit -= 1),
        ("iteration", |h| h.iteration = 1),
        ("prev_block_cert", |h| h.prev_block_cert = Attestation::default()),
        ("iteration", |h| h.failed_iterations = IterationsInfo::new(vec![None])),
    ];
    let field_of = |result: Result<ExecutedBlock, BlockError>| match result {
        Err(BlockError::Header { field, .. }) => field,
        other => panic!("expected a header error, got {other:?}"),
    };
    for (name, change) in hashed {
        let mut header = good.header().clone();
        change(&mut header);
        let block = Block::new(header.clone(), good.txs().clone(), vec![]).unwrap();
        let field = field_of(chain.verify(block));
        assert!(field == name || field == "hash", "{name} changed, {field} found");

        // A producer that signs the changed header as its own must be caught too.
        let resigned = resign(header, &chain.signer, good.txs().clone());
        assert_eq!(field_of(chain.verify(resigned)), name);
    }
    let unhashed: [(&str, Change); 4] = [
        ("hash", |h| h.hash[0] ^= 1),
        ("signature", |h| h.signature = [1; 48].into()),
        ("att", |h| h.att = Attestation::default()),
        ("att", |h| h.att.validation.bitset = 3),
    ];
    for (name, change) in unhashed {
        let mut header = good.header().clone();
        change(&mut header);
        let block = Block::new(header, good.txs().clone(), vec![]).unwrap();
        assert_eq!(field_of(chain.verify(block)), name);
    }
}

/// Recomputes hash, signature and attestation after a change.
fn resign(header: Header, signer: &Signer, txs: Vec<LedgerTransaction>) -> Block {
    let mut block = Block::new(Header { hash: [0; 32], ..header }, txs, vec![]).unwrap();
    let (height, hash) = (block.header().height, block.header().hash);
    block.set_signature(signer.sign_multisig(height, &hash));
    let att = crate::sole::attest(signer, block.header());
    block.set_attestation(att);
    block
}

#[test]
fn changed_transactions_are_found() {
    let chain = Chain::new();
    let tx = spend(Spend::default());
    let good = chain.build(std::slice::from_ref(&tx)).block.block;
    let with = |txs: Vec<LedgerTransaction>| Block::new(good.header().clone(), txs, vec![]).unwrap();
    let root = |result| match result {
        Err(BlockError::Header { field, .. }) => assert_eq!(field, "txroot"),
        other => panic!("{other:?}"),
    };
    root(chain.verify(with(vec![])));
    // Dusk's tree repeats the last leaf of an odd level, so a repeated transaction keeps the root; its nonce gives it away.
    let twice = chain.verify(with(vec![tx.ledger().clone(), tx.ledger().clone()]));
    assert!(matches!(twice, Err(BlockError::NotIncludable { index: 1, .. })), "{twice:?}");
    // The same transaction with another kind of data has the same id, but not the same root.
    let memo = spend(Spend { data: Some(TransactionData::Memo(vec![])), ..Spend::default() });
    assert_eq!(memo.id(), tx.id());
    root(chain.verify(with(vec![memo.ledger().clone()])));

    // A producer that includes what must not be included.
    let include = |ledger: LedgerTransaction| {
        let mut header = good.header().clone();
        header.txroot = tx_root(std::slice::from_ref(&ledger));
        chain.verify(resign(header, &chain.signer, vec![ledger]))
    };
    let unpayable = spend(Spend { value: 2000 * DUSK, ..Spend::default() });
    assert!(matches!(include(unpayable.ledger().clone()), Err(BlockError::NotIncludable { index: 0, .. })));
    let forged = {
        let mut bytes = tx.ledger().protocol_bytes();
        let value = 2 + 8 + 1 + 96 + 1 + 96;
        bytes[value] ^= 1;
        LedgerTransaction::decode_any(&bytes).unwrap()
    };
    assert!(matches!(include(forged), Err(BlockError::Transaction { index: 0, .. })));
}

#[test]
fn clock_bounds() {
    let chain = Chain::new();
    let block = chain.build(&[]).block.block;
    let at = block.header().timestamp;
    let verify = |now| verify_block(&chain.tip, block.clone(), &chain.params, Some(now), &chain.state, &NoContracts);
    assert!(verify(at - CLOCK_MARGIN).is_ok());
    assert!(matches!(verify(at - CLOCK_MARGIN - 1), Err(BlockError::Header { field: "timestamp", .. })));
}

#[test]
fn block_bytes_are_checked() {
    let chain = Chain::new();
    let bytes = encode_block(&chain.build(&[spend(Spend::default())]).block.block).unwrap();
    assert!(decode_block(&bytes).is_ok());
    for cut in [0, 1, 100, 862, 900, bytes.len() - 1] {
        assert!(decode_block(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    assert!(decode_block(&[bytes.as_slice(), &[0]].concat()).is_err());
    assert!(decode_block(&vec![0; MAX_BLOCK_BYTES + 1]).is_err());
    for at in (0..bytes.len()).step_by(11) {
        let mut bad = bytes.clone();
        bad[at] ^= 0x40;
        let result = decode_block(&bad).and_then(|block| chain.verify(block));
        assert!(result.is_err(), "byte {at} changed unnoticed");
    }
}
