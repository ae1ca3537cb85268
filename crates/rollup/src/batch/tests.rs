//! Both ways, and what is refused.

use super::*;
use crate::{
    L1Info, L1InfoFork, SystemConfig,
    block_ref::BlockRefError,
    config::{BlockId, RollupConfig},
    testing::{
        self,
        samples::{Kind, block},
    },
};
use alloc::{sync::Arc, vec};
use alloy_consensus::{Header, Sealable};
use alloy_primitives::{Address, B256, U256};
use duskevm_evm::{Block, RecoveredTx};
use proptest::prelude::*;

fn encode(config: &RollupConfig, blocks: &[SingularBatch]) -> Bytes {
    let mut encoder = SpanEncoder::new(config);
    for block in blocks {
        encoder.push(block, 1).unwrap();
    }
    encoder.encode().into()
}

fn span(bytes: &Bytes) -> Result<SpanBatch, SpanBatchError> {
    assert_eq!(bytes[0], SPAN_BATCH_VERSION);
    SpanBatch::decode(bytes.slice(1..))
}

/// The prefix and the count of one block, then `rest`.
fn one_block(rest: &[u8]) -> Bytes {
    let mut bytes = vec![SPAN_BATCH_VERSION, 5, 9];
    bytes.extend_from_slice(&[0xaa; 20]);
    bytes.extend_from_slice(&[0xbb; 20]);
    bytes.push(1);
    bytes.extend_from_slice(rest);
    bytes.into()
}

/// One block, one transaction to 0x11…: `data` in its data column, and what comes after it.
fn one_tx(data: &[u8], after: &[u8]) -> Bytes {
    let mut rest = vec![0, 1, 0, 1];
    rest.extend_from_slice(&[0x22; 64]);
    rest.extend_from_slice(&[0x11; 20]);
    rest.extend_from_slice(data);
    rest.extend_from_slice(after);
    one_block(&rest)
}

fn tx_error(bytes: &Bytes) -> TxDataError {
    match span(bytes) {
        Err(SpanBatchError::Tx { index: 0, source }) => source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_span_batch_has_its_columns_where_the_specification_has_them() {
    // Legacy, protected: value 1, price 2, no call data; nonce 3, gas 4; the longer form of a number is read too.
    let bytes = one_tx(&[0xc3, 1, 2, 0x80], &[3, 0x84, 0x00, 1]);
    let batch = span(&bytes).unwrap();
    let config = testing::config();
    assert_eq!((batch.first_timestamp(&config), batch.last_timestamp(&config)), (5, 5));
    assert_eq!((batch.start_epoch(), batch.last_epoch(), batch.begins_epoch()), (9, 9, false));
    assert_eq!((batch.parent_check(), batch.l1_origin_check()), (&[0xaa; 20], &[0xbb; 20]));
    let block = batch.blocks(&config).next().unwrap();
    let mut expected = vec![0xf8, 28 + 64 + 2 + 3];
    expected.extend_from_slice(&[3, 2, 4, 0x94]);
    expected.extend_from_slice(&[0x11; 20]);
    // Value, no data, v = 2 · 31310 + 35 + 1.
    expected.extend_from_slice(&[1, 0x80, 0x82, 0xf4, 0xc0, 0xa0]);
    expected.extend_from_slice(&[0x22; 32]);
    expected.push(0xa0);
    expected.extend_from_slice(&[0x22; 32]);
    expected[1] = (expected.len() - 2) as u8;
    assert_eq!(block.transactions, [Bytes::from(expected)]);
}

#[test]
fn an_unprotected_legacy_transaction_comes_back_without_the_chain_id() {
    let batch = span(&one_tx(&[0xc3, 1, 2, 0x80], &[3, 4, 0])).unwrap();
    let tx = &batch.blocks(&testing::config()).next().unwrap().transactions[0];
    // v = 28.
    assert_eq!(tx[tx.len() - 67], 28);
}

#[test]
fn every_column_may_be_cut_off_and_is_then_named() {
    let whole = one_tx(&[0xc3, 1, 2, 0x80], &[3, 4, 1]);
    assert!(span(&whole).is_ok());
    let at = |end| span(&whole.slice(..end)).unwrap_err();
    let names = [
        (1, "rel_timestamp"),
        (2, "l1_origin_num"),
        (22, "parent_check"),
        (42, "l1_origin_check"),
        (43, "block_count"),
        (44, "origin_bits"),
        (45, "block_tx_counts"),
        (46, "contract_creation_bits"),
        (47, "y_parity_bits"),
        (48 + 63, "tx_sigs"),
        (48 + 64 + 19, "tx_tos"),
        (whole.len() - 3, "tx_nonces"),
        (whole.len() - 2, "tx_gases"),
        (whole.len() - 1, "protected_bits"),
    ];
    for (end, column) in names {
        assert_eq!(at(end), SpanBatchError::Truncated(column), "{end}");
    }
    assert_eq!(at(whole.len() - 4), SpanBatchError::Tx { index: 0, source: TxDataError::Truncated });
}

#[test]
fn bytes_behind_the_last_column_are_ignored() {
    let config = testing::config();
    let good = encode(&config, &[block(1, Kind::Mixed, 7)]);
    let mut longer = good.to_vec();
    longer.extend_from_slice(b"tail");
    assert_eq!(span(&longer.into()), span(&good));
}

#[test]
fn a_span_has_blocks_and_not_too_many() {
    let counted = |count: u64, rest: &[u8]| {
        let mut bytes = one_block(&[])[..43].to_vec();
        reader::put_uvarint(&mut bytes, count);
        bytes.extend_from_slice(rest);
        span(&bytes.into()).unwrap_err()
    };
    assert_eq!(counted(0, &[]), SpanBatchError::Empty);
    let most = MAX_SPAN_BATCH_ELEMENTS;
    assert_eq!(counted(most, &[]), SpanBatchError::Truncated("origin_bits"));
    assert_eq!(counted(most + 1, &[]), SpanBatchError::TooMany { what: "blocks", count: most + 1 });
    let mut two = vec![0];
    reader::put_uvarint(&mut two, most);
    two.push(1);
    assert_eq!(counted(2, &two), SpanBatchError::TooMany { what: "transactions", count: most + 1 });
    let mut one = vec![0];
    reader::put_uvarint(&mut one, most + 1);
    assert_eq!(counted(1, &one), SpanBatchError::TooMany { what: "transactions", count: most + 1 });
}

#[test]
fn bits_behind_the_last_item_are_refused() {
    assert_eq!(span(&one_block(&[2, 0])), Err(SpanBatchError::Bits("origin_bits")));
    assert_eq!(span(&one_block(&[0, 1, 2, 0])), Err(SpanBatchError::Bits("contract_creation_bits")));
    assert_eq!(span(&one_block(&[0, 1, 0, 4])), Err(SpanBatchError::Bits("y_parity_bits")));
    let protected = one_tx(&[0xc3, 1, 2, 0x80], &[3, 4, 2]);
    assert_eq!(span(&protected), Err(SpanBatchError::Bits("protected_bits")));
}

#[test]
fn numbers_of_more_than_64_bits_are_refused() {
    let mut after = vec![0xff; 9];
    after.extend_from_slice(&[2, 4, 1]);
    assert_eq!(span(&one_tx(&[0xc3, 1, 2, 0x80], &after)), Err(SpanBatchError::Overflow("tx_nonces")));
}

#[test]
fn only_types_0_1_2_and_4_are_carried() {
    // A legacy transaction has no type byte, not even 0.
    for ty in [0x00, 0x03, 0x05, 0x7e, 0x7d, 0x7f] {
        assert_eq!(tx_error(&one_tx(&[ty, 0xc3, 1, 2, 0x80], &[3, 4, 1])), TxDataError::Type(ty));
    }
}

#[test]
fn transaction_data_must_be_the_items_of_their_type() {
    let refused: [&[u8]; 14] = [
        // A string, too few items, too many, a leading zero, a list for a number, a list for the call data.
        &[0x83, 1, 2, 0x80],
        &[0xc2, 1, 2],
        &[0xc4, 1, 2, 0x80, 0x80],
        &[0xc5, 0x82, 0, 1, 2, 0x80],
        &[0xc3, 0xc0, 2, 0x80],
        &[0xc3, 1, 2, 0xc0],
        // 0 must be the empty string; a single byte is its own encoding.
        &[0xc3, 0, 2, 0x80],
        &[0xc4, 0x81, 1, 2, 0x80],
        // Type 1 without an access list, with one that has an address of 1 byte, with a slot of 1 byte.
        &[1, 0xc3, 1, 2, 0x80],
        &[1, 0xc7, 1, 2, 0x80, 0xc3, 0xc2, 7, 0xc0],
        &[1, 0xc4, 1, 2, 0x80, 0x80],
        // Type 2 with one fee, type 4 without authorizations, with an empty one.
        &[2, 0xc4, 1, 2, 0x80, 0xc0],
        &[4, 0xc5, 1, 2, 3, 0x80, 0xc0],
        &[4, 0xc7, 1, 2, 3, 0x80, 0xc0, 0xc1, 0xc0],
    ];
    for data in refused {
        let error = tx_error(&one_tx(data, &[3, 4, 1]));
        assert!(matches!(error, TxDataError::Rlp { .. }), "{data:02x?}: {error}");
    }
    for data in
        [&[1, 0xc4, 1, 2, 0x80, 0xc0][..], &[2, 0xc5, 1, 2, 3, 0x80, 0xc0], &[4, 0xc6, 1, 2, 3, 0x80, 0xc0, 0xc0]]
    {
        assert!(span(&one_tx(data, &[3, 4])).is_ok(), "{data:02x?}");
    }
}

#[test]
fn numbers_of_more_than_256_bits_are_left_to_the_execution_except_in_set_code_transactions() {
    // op-node reads the older types into numbers without a limit.
    let mut value = vec![0xa1];
    value.extend_from_slice(&[1; 33]);
    let data = |ty: &[u8], rest: &[u8]| {
        let mut data = ty.to_vec();
        data.push(0xc0 + (value.len() + rest.len()) as u8);
        data.extend_from_slice(&value);
        data.extend_from_slice(rest);
        data
    };
    assert!(span(&one_tx(&data(&[2], &[2, 3, 0x80, 0xc0]), &[3, 4])).is_ok());
    assert!(matches!(
        tx_error(&one_tx(&data(&[4], &[2, 3, 0x80, 0xc0, 0xc0]), &[3, 4])),
        TxDataError::Rlp { ty: 4, .. }
    ));
}

#[test]
fn a_set_code_transaction_needs_a_recipient() {
    let mut rest = vec![0, 1, 1, 0];
    rest.extend_from_slice(&[0x22; 64]);
    rest.extend_from_slice(&[4, 0xc6, 1, 2, 3, 0x80, 0xc0, 0xc0, 3, 4]);
    assert_eq!(tx_error(&one_block(&rest)), TxDataError::NoRecipient);
}

#[test]
fn transaction_data_have_at_most_ten_million_bytes() {
    let list = |payload: usize| {
        let mut data = vec![0xfa, (payload >> 16) as u8, (payload >> 8) as u8, payload as u8, 1, 2, 0xba];
        let content = payload - 6;
        data.extend_from_slice(&[(content >> 16) as u8, (content >> 8) as u8, content as u8]);
        data.resize(4 + payload, 7);
        one_tx(&data, &[3, 4, 1])
    };
    assert!(span(&list(MAX_TX_DATA - 4)).is_ok());
    assert_eq!(tx_error(&list(MAX_TX_DATA - 3)), TxDataError::TooLong(MAX_TX_DATA + 1));
}

#[test]
fn epochs_are_counted_back_from_the_last_one() {
    let config = testing::config();
    let blocks: Vec<_> = (3..14).map(|number| block(number, Kind::Transfer, 1)).collect();
    let batch = span(&encode(&config, &blocks)).unwrap();
    assert_eq!((batch.start_epoch(), batch.last_epoch()), (1, 3));
    let epochs: Vec<_> = batch.blocks(&config).map(|block| block.epoch_number).collect();
    assert_eq!(epochs, blocks.iter().map(|block| block.epoch.number).collect::<Vec<_>>());
    // With more steps than its last epoch allows it wraps around, and no check will take it.
    let mut wrapped = vec![SPAN_BATCH_VERSION, 5, 0];
    wrapped.extend_from_slice(&[0; 40]);
    wrapped.extend_from_slice(&[3, 0b110, 0, 0, 0]);
    assert_eq!(span(&wrapped.into()).unwrap().start_epoch(), u64::MAX - 1);
}

#[test]
fn the_first_block_says_whether_it_begins_its_epoch() {
    let config = testing::config();
    for (sequence_number, begins) in [(0, true), (1, false)] {
        let mut encoder = SpanEncoder::new(&config);
        encoder.push(&block(5, Kind::Transfer, 1), sequence_number).unwrap();
        assert_eq!(span(&encoder.encode().into()).unwrap().begins_epoch(), begins);
    }
}

#[test]
fn ten_million_empty_blocks_are_read_without_being_built() {
    let count = MAX_SPAN_BATCH_ELEMENTS;
    let mut bytes = one_block(&[])[..43].to_vec();
    reader::put_uvarint(&mut bytes, count);
    bytes.resize(bytes.len() + (count / 8) as usize + count as usize, 0);
    let config = testing::config();
    let batch = span(&bytes.into()).unwrap();
    assert_eq!(batch.last_timestamp(&config), 5 + 2 * (count - 1));
    let mut blocks = batch.blocks(&config);
    assert_eq!(blocks.nth(1000).map(|block| block.timestamp), Some(2005));
    assert_eq!(blocks.len() as u64, count - 1001);
}

#[test]
fn skipped_blocks_leave_the_later_ones_as_they_are() {
    let config = testing::config();
    let blocks: Vec<_> = (1..20).map(|number| block(number, Kind::Mixed, number % 9)).collect();
    let batch = span(&encode(&config, &blocks)).unwrap();
    for skip in 0..20 {
        let mut left = batch.blocks(&config);
        for _ in 0..skip {
            left.skip_block();
        }
        assert!(
            left.map(|block| block.transactions).eq(blocks.iter().skip(skip).map(|block| block.transactions.clone()))
        );
    }
}

#[test]
fn the_encoder_refuses_what_a_batch_cannot_say() {
    let config = testing::config();
    let mut encoder = SpanEncoder::new(&config);
    let mut with = |tx: &[u8]| {
        let mut bad = block(1, Kind::Transfer, 2);
        bad.transactions.push(Bytes::copy_from_slice(tx));
        let refused = encoder.push(&bad, 1).unwrap_err();
        assert_eq!((encoder.block_count(), encoder.encode().len()), (0, 0));
        refused
    };
    assert_eq!(with(&[0x7e, 0xc0]), SpanEncodeError::Type { index: 2, ty: 0x7e });
    assert_eq!(with(&[0x03, 0xc0]), SpanEncodeError::Type { index: 2, ty: 3 });
    assert!(matches!(with(&[]), SpanEncodeError::Malformed { index: 2, .. }));
    assert!(matches!(with(&[2, 0xc0]), SpanEncodeError::Malformed { index: 2, .. }));
    let foreign = testing::foreign_transaction();
    assert_eq!(with(&foreign), SpanEncodeError::ForeignChain { index: 2, expected: 31310, found: 31311 });
    let mut tail = block(1, Kind::Transfer, 1).transactions[0].to_vec();
    tail.push(0);
    assert!(matches!(with(&tail), SpanEncodeError::Malformed { index: 2, .. }));

    let early = RollupConfig { genesis: crate::RollupGenesis { l2_time: 3, ..config.genesis }, ..testing::config() };
    let refused = SpanEncoder::new(&early).push(&block(1, Kind::Transfer, 1), 1);
    assert_eq!(refused, Err(SpanEncodeError::BeforeGenesis(2)));
}

#[test]
fn a_singular_batch_has_the_fields_of_the_specification() {
    let batch = SingularBatch {
        parent_hash: B256::repeat_byte(1),
        epoch: BlockId { hash: B256::repeat_byte(2), number: 3 },
        timestamp: 0x1234,
        transactions: vec![Bytes::from_static(&[5]), Bytes::from_static(b"tx")],
    };
    let mut expected = vec![SINGULAR_BATCH_VERSION, 0xf8, 33 + 1 + 33 + 3 + 5, 0xa0];
    expected.extend_from_slice(&[1; 32]);
    expected.extend_from_slice(&[3, 0xa0]);
    expected.extend_from_slice(&[2; 32]);
    expected.extend_from_slice(&[0x82, 0x12, 0x34, 0xc4, 5, 0x82, b't', b'x']);
    assert_eq!(Batch::Singular(batch.clone()).encode(), expected);
    assert_eq!(batch.encoded_len(), expected.len() - 1);
    assert_eq!(Batch::decode(&expected.into()), Ok(Batch::Singular(batch)));
}

#[test]
fn a_singular_batch_must_be_exactly_its_list() {
    let good = Batch::Singular(block(1, Kind::Transfer, 1)).encode();
    let refused = |bytes: Vec<u8>| Batch::decode(&bytes.into()).unwrap_err();
    assert!(matches!(refused(good[..good.len() - 1].to_vec()), BatchError::Singular(SingularBatchError::Rlp(_))));
    let empty = SingularBatch { transactions: vec![], ..block(1, Kind::Transfer, 0) };
    let mut longer = Batch::Singular(empty).encode();
    // One more member within the list.
    longer[2] += 1;
    longer.push(0x80);
    assert_eq!(refused(longer), BatchError::Singular(SingularBatchError::Longer(1)));
    assert_eq!(refused(vec![]), BatchError::Empty);
    assert_eq!(refused(vec![2, 0xc0]), BatchError::Version(2));
    // Behind the list anything may come.
    let mut tail = good.clone();
    tail.push(9);
    assert_eq!(Batch::decode(&tail.into()), Batch::decode(&good.into()));
}

/// The L2 block of a batch, with its L1-attributes deposit of this sequence number.
fn l2_block(batch: &SingularBatch, sequence_number: u64) -> Block {
    let one = U256::from(1);
    let info = L1Info::new(
        L1InfoFork::Isthmus,
        &SystemConfig::default(),
        batch.epoch.number,
        batch.timestamp,
        one,
        one,
        batch.epoch.hash,
        sequence_number,
    );
    let user = batch.transactions.iter().map(|tx| RecoveredTx::decode_with_sender(tx, Address::ZERO).unwrap());
    // A user deposit comes along, which no batch repeats.
    let deposits = [info.deposit(true), info.deposit(true)].map(RecoveredTx::deposit);
    let header = Header {
        number: batch.timestamp / 2,
        timestamp: batch.timestamp,
        parent_hash: batch.parent_hash,
        ..Default::default()
    };
    Block { header: header.seal_slow(), transactions: deposits.into_iter().chain(user).map(Arc::new).collect() }
}

#[test]
fn the_batch_of_a_block_has_its_origin_and_its_transactions_without_deposits() {
    let config = testing::config();
    let batch = block(9, Kind::Mixed, 12);
    assert_eq!(batch_of_block(&config, &l2_block(&batch, 4)), Ok((batch, 4)));
    let empty = block(9, Kind::Mixed, 0);
    assert_eq!(batch_of_block(&config, &l2_block(&empty, 0)), Ok((empty, 0)));
}

#[test]
fn blocks_that_do_not_say_their_origin_have_no_batch() {
    let mut config = testing::config();
    let mut bare = l2_block(&block(9, Kind::Transfer, 1), 0);
    bare.transactions.drain(..2);
    assert_eq!(batch_of_block(&config, &bare), Err(BlockBatchError::Block(BlockRefError::NoL1Info(9))));
    config.genesis.l2 = BlockId { hash: bare.hash(), number: 9 };
    assert_eq!(batch_of_block(&config, &bare), Err(BlockBatchError::Genesis));
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Transfer), Just(Kind::Token), Just(Kind::Random), Just(Kind::Zeros), Just(Kind::Mixed)]
}

proptest! {
    #[test]
    fn span_batches_survive_with_every_form_of_transaction(
        first in 1u64..1000, sizes in proptest::collection::vec((kind(), 0u64..12), 1..20)
    ) {
        let config = testing::config();
        let blocks: Vec<_> =
            (first..).zip(&sizes).map(|(number, (kind, count))| block(number, *kind, *count)).collect();
        let bytes = encode(&config, &blocks);
        let batch = span(&bytes).unwrap();
        prop_assert_eq!(&Batch::Span(Box::new(batch.clone())).encode(), &bytes);
        let back: Vec<_> = batch.blocks(&config).collect();
        prop_assert_eq!(back.len(), blocks.len());
        for (back, block) in back.iter().zip(&blocks) {
            prop_assert_eq!((back.timestamp, back.epoch_number), (block.timestamp, block.epoch.number));
            prop_assert_eq!(&back.transactions, &block.transactions);
        }
        prop_assert_eq!(batch.parent_check()[..].to_vec(), blocks[0].parent_hash[..20].to_vec());
    }

    #[test]
    fn a_batch_of_the_first_blocks_is_the_batch_of_those_blocks(
        sizes in proptest::collection::vec((kind(), 0u64..6), 1..12), cut in 0usize..12, again in 0usize..6
    ) {
        let config = testing::config();
        let blocks: Vec<_> = (1..).zip(&sizes).map(|(number, (kind, count))| block(number, *kind, *count)).collect();
        let mut encoder = SpanEncoder::new(&config);
        for block in &blocks {
            encoder.push(block, 1).unwrap();
        }
        let cut = 1 + cut % blocks.len();
        let expected = encode(&config, &blocks[..cut]);
        let mut prefix = Vec::new();
        encoder.encode_prefix(cut, &mut prefix);
        prop_assert_eq!(&prefix[..], &expected[..]);
        prop_assert!(prefix.len() <= encoder.size_bound());
        // Taken out and put in again.
        encoder.truncate(cut.saturating_sub(again));
        for block in blocks.iter().skip(cut.saturating_sub(again)) {
            encoder.push(block, 1).unwrap();
        }
        prop_assert_eq!(encoder.encode(), encode(&config, &blocks).to_vec());
    }

    #[test]
    fn singular_batches_survive(number in 1u64..u64::MAX / 4000, kind in kind(), count in 0u64..9) {
        let batch = Batch::Singular(block(number, kind, count));
        prop_assert_eq!(Batch::decode(&batch.encode().into()), Ok(batch));
    }

    #[test]
    fn truncated_batches_are_refused(kind in kind(), cut in any::<prop::sample::Index>()) {
        let blocks = [block(1, kind, 3), block(2, kind, 2)];
        let whole = encode(&testing::config(), &blocks);
        prop_assert!(span(&whole).is_ok());
        let cut = 1 + cut.index(whole.len() - 1);
        prop_assert!(span(&whole.slice(..cut)).is_err());
    }

    #[test]
    fn no_bytes_make_the_decoder_panic_and_what_it_takes_can_be_walked(
        bent in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), kind in kind()
    ) {
        let config = testing::config();
        let mut bytes = encode(&config, &[block(1, kind, 4), block(2, kind, 3)]).to_vec();
        for (at, to) in bent {
            let at = 1 + at.index(bytes.len() - 1);
            bytes[at] = to;
        }
        if let Ok(batch) = span(&bytes.into()) {
            // A bent count of blocks can make millions of them.
            let (blocks, count) = (batch.blocks(&config), batch.block_count());
            if count < 100 {
                let txs: u64 = blocks.map(|block| block.transactions.len() as u64).sum();
                prop_assert_eq!(txs, batch.tx_count());
            } else {
                prop_assert_eq!(blocks.take(100).count(), 100);
            }
        }
    }

    #[test]
    fn garbage_is_no_batch_that_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Batch::decode(&bytes.clone().into());
        let _ = SpanBatch::decode(one_block(&bytes).slice(1..));
        let mut encoder = SpanEncoder::new(&testing::config());
        let garbage = SingularBatch { transactions: vec![bytes.into()], ..block(1, Kind::Transfer, 0) };
        let _ = encoder.push(&garbage, 1);
    }
}
