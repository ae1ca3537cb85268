//! Tests of the mapping.

use std::collections::BTreeSet;

use alloy_consensus::transaction::SignerRecoverable;
use alloy_consensus::{
    EMPTY_OMMER_ROOT_HASH, EMPTY_ROOT_HASH, Header, ReceiptEnvelope, SignableTransaction, TxEip1559,
};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B64, B256, Bloom, BloomInput, Bytes, Log, Sealed, TxKind, U256, b256, keccak256};
use alloy_rlp::Encodable;
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use proptest::prelude::*;

use crate::*;

const PORTAL: B256 = B256::repeat_byte(0x70);
const INBOX: B256 = B256::repeat_byte(0x71);

fn config() -> ViewConfig {
    ViewConfig { chain_id: 31_311, emitters: BTreeSet::from([PORTAL]), inbox: Some(INBOX) }
}

fn genesis() -> DuskBlock {
    DuskBlock {
        height: 0,
        timestamp: 1_700_000_000,
        hash: B256::repeat_byte(0xa0),
        prev_hash: B256::ZERO,
        seed: [0; 48],
        txs: vec![],
    }
}

fn child(height: u64, txs: Vec<DuskTx>) -> DuskBlock {
    DuskBlock {
        height,
        timestamp: 1_700_000_000 + 2 * height,
        hash: B256::repeat_byte(0xa0 + height as u8),
        prev_hash: B256::repeat_byte(0xa0 + height as u8 - 1),
        seed: [height as u8; 48],
        txs,
    }
}

fn log_event(contract: B256, topics: &[B256], data: &[u8]) -> DuskEvent {
    DuskEvent { contract, topic: LOG_TOPIC.into(), data: encode_log(topics, data).into() }
}

fn deposit(index: u32, logs: usize) -> DuskTx {
    let events = (0..logs)
        .map(|i| log_event(PORTAL, &[B256::repeat_byte(1), B256::with_last_byte(i as u8)], &[index as u8; 70]))
        .collect();
    DuskTx { id: keccak256(index.to_be_bytes()), index, events }
}

fn view(block: &DuskBlock, parent: Option<&Sealed<Header>>) -> ViewBlock {
    project(&config(), parent, block).unwrap()
}

/// First key of the well-known test mnemonic.
const BATCHER: B256 = b256!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80");

/// A batcher's transaction.
fn envelope() -> Bytes {
    let tx = TxEip1559 {
        chain_id: config().chain_id,
        gas_limit: 21_000,
        max_fee_per_gas: u128::from(BASE_FEE),
        to: TxKind::Call(Address::repeat_byte(0xff)),
        input: Bytes::from_static(b"frames"),
        ..Default::default()
    };
    let signature = PrivateKeySigner::from_bytes(&BATCHER).unwrap().sign_hash_sync(&tx.signature_hash()).unwrap();
    tx.into_signed(signature).encoded_2718().into()
}

fn publish(data: Bytes) -> DuskTx {
    let event = DuskEvent { contract: INBOX, topic: ENVELOPE_TOPIC.into(), data };
    DuskTx { id: B256::repeat_byte(0xe0), index: 9, events: vec![event] }
}

#[test]
fn header_fields() {
    let zero = view(&genesis(), None);
    let one = view(&child(1, vec![]), Some(&zero.header));
    for block in [&zero, &one] {
        let header = &block.header;
        assert_eq!(header.ommers_hash, EMPTY_OMMER_ROOT_HASH);
        assert_eq!((header.difficulty, header.nonce), (U256::ZERO, B64::ZERO));
        assert_eq!(header.base_fee_per_gas, Some(BASE_FEE));
        assert_eq!((header.blob_gas_used, header.excess_blob_gas), (Some(0), Some(0)));
        assert_eq!(header.withdrawals_root, Some(EMPTY_ROOT_HASH));
        assert_eq!(header.parent_beacon_block_root, Some(B256::ZERO));
        assert_eq!(header.requests_hash, None);
        for root in [header.state_root, header.transactions_root, header.receipts_root] {
            assert_eq!(root, EMPTY_ROOT_HASH);
        }
        let mut rlp = Vec::new();
        header.inner().encode(&mut rlp);
        assert_eq!(block.hash(), keccak256(rlp));
    }
    assert_eq!((zero.number(), zero.parent_hash(), zero.dusk_hash()), (0, B256::ZERO, genesis().hash));
    assert_eq!((one.number(), one.parent_hash()), (1, zero.hash()));
    assert_eq!(one.dusk_hash(), child(1, vec![]).hash);
    assert_ne!(zero.header.mix_hash, one.header.mix_hash);
}

/// The hashes that the L2 of an existing network depends on. If these change, [`VERSION`] must.
#[test]
fn golden_hashes() {
    let zero = view(&genesis(), None);
    let one = view(&child(1, vec![]), Some(&zero.header));
    let two = view(&child(2, vec![deposit(0, 1), publish(envelope()), deposit(4, 3)]), Some(&one.header));
    assert_eq!(VERSION, 1);
    let got = [zero.hash(), one.hash(), two.hash()].map(|hash| hash.to_string());
    assert_eq!(got, GOLDEN);
}

const GOLDEN: [&str; 3] = [
    "0x840edb7ce1f6212437ceed582cfe68bc7f4a93b961ce6e3bd6f6fb7460ace948",
    "0x2d191dab5e7fb572f899aa1c979752475c501cba441211f7e751b5b4e3c25597",
    "0x320ddb60da772d0db751e7eef50a67dfdf93e0357663b18675980375d36d36a5",
];

#[test]
fn deposits_become_one_transaction_each() {
    let zero = view(&genesis(), None);
    let block = view(&child(1, vec![deposit(0, 2), deposit(3, 1)]), Some(&zero.header));
    assert_eq!((block.transactions.len(), block.receipts.len()), (2, 2));
    assert_eq!(block.transactions[0].dusk_id, deposit(0, 2).id);
    let [first, second] = &block.receipts[..] else { panic!() };
    assert_eq!((first.cumulative_gas_used(), second.cumulative_gas_used()), (21_000, 42_000));
    assert_eq!(block.header.gas_used, 42_000);
    assert!(first.status() && second.status());
    assert_eq!((first.logs().len(), second.logs().len()), (2, 1));
    assert_eq!(first.logs()[0].address, contract_address(&PORTAL));
    assert_eq!(first.logs()[1].topics(), [B256::repeat_byte(1), B256::with_last_byte(1)]);
    assert!(block.header.logs_bloom.contains_input(BloomInput::Raw(contract_address(&PORTAL).as_slice())));
    assert!(block.header.logs_bloom.contains_input(BloomInput::Raw(B256::repeat_byte(1).as_slice())));
    // What stands for a Dusk transaction can be handled by any client: decodes, and a sender can be recovered.
    for tx in &block.transactions {
        assert!(tx.envelope.recover_signer().is_ok());
        let bytes = tx.envelope.encoded_2718();
        assert_eq!(keccak256(&bytes), tx.hash());
    }
    assert_ne!(block.transactions[0].hash(), block.transactions[1].hash());
}

#[test]
fn only_registered_contracts_appear() {
    let zero = view(&genesis(), None);
    let foreign = DuskTx {
        id: B256::repeat_byte(5),
        index: 0,
        events: vec![
            log_event(B256::repeat_byte(0x99), &[], &[]),
            DuskEvent { contract: PORTAL, topic: "other".into(), data: Bytes::from_static(b"junk") },
            DuskEvent { contract: PORTAL, topic: ENVELOPE_TOPIC.into(), data: envelope() },
        ],
    };
    let block = view(&child(1, vec![foreign]), Some(&zero.header));
    assert!(block.transactions.is_empty());
    assert_eq!(block.header.logs_bloom, Bloom::ZERO);
}

#[test]
fn a_broken_log_is_an_error() {
    let zero = view(&genesis(), None);
    for data in [&b""[..], b"junk", &[0xc0], &encode_log(&[B256::ZERO; 5], b"")] {
        let event = DuskEvent { contract: PORTAL, topic: LOG_TOPIC.into(), data: Bytes::copy_from_slice(data) };
        let tx = DuskTx { id: B256::repeat_byte(5), index: 0, events: vec![event] };
        let error = project(&config(), Some(&zero.header), &child(1, vec![tx])).unwrap_err();
        assert_eq!(error, ViewError::Event { tx: B256::repeat_byte(5), event: 0 });
    }
}

#[test]
fn published_envelopes_are_shown_once_and_unchanged() {
    let zero = view(&genesis(), None);
    let block = view(&child(1, vec![publish(envelope()), publish(envelope())]), Some(&zero.header));
    let [tx] = &block.transactions[..] else { panic!("{}", block.transactions.len()) };
    assert_eq!(tx.envelope.encoded_2718(), envelope());
    assert_eq!(tx.hash(), keccak256(envelope()));
    // The sender is the batcher's own key: the first account of the well-known test mnemonic.
    let sender = tx.envelope.recover_signer().unwrap();
    assert_eq!(sender.to_string(), "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
    assert!(matches!(block.receipts[0], ReceiptEnvelope::Eip1559(_)));

    let other = ViewConfig { chain_id: 1, ..config() };
    let zero = project(&other, None, &genesis()).unwrap();
    let block = project(&other, Some(&zero.header), &child(1, vec![publish(envelope())])).unwrap();
    assert!(block.transactions.is_empty(), "signed for another chain");
    let mut cut = envelope().to_vec();
    cut.pop();
    let zero = view(&genesis(), None);
    let block = view(&child(1, vec![publish(cut.into()), publish(Bytes::new())]), Some(&zero.header));
    assert!(block.transactions.is_empty(), "undecodable");
}

#[test]
fn what_does_not_follow_is_refused() {
    let zero = view(&genesis(), None);
    let good = child(1, vec![]);
    let refused = |parent: Option<&Sealed<Header>>, change: fn(&mut DuskBlock)| {
        let mut block = good.clone();
        change(&mut block);
        project(&config(), parent, &block).unwrap_err()
    };
    let parent = Some(&zero.header);
    assert_eq!(refused(None, |_| {}), ViewError::Parent { height: 1 });
    assert_eq!(refused(parent, |b| b.height = 0), ViewError::Parent { height: 0 });
    assert_eq!(refused(parent, |b| b.height = 2), ViewError::Height { height: 2, parent: 0 });
    assert!(matches!(refused(parent, |b| b.prev_hash = B256::ZERO), ViewError::Fork { height: 1, .. }));
    assert!(matches!(refused(parent, |b| b.timestamp -= 2), ViewError::Timestamp { .. }));
    assert!(matches!(refused(parent, |b| b.timestamp = 0), ViewError::Timestamp { .. }));
    assert!(project(&config(), parent, &good).is_ok());
}

#[test]
fn every_input_changes_the_hash() {
    let zero = view(&genesis(), None);
    let base = child(1, vec![deposit(0, 1)]);
    let hash = view(&base, Some(&zero.header)).hash();
    let changes: [fn(&mut DuskBlock); 6] = [
        |b| b.timestamp += 1,
        |b| b.hash = B256::ZERO,
        |b| b.seed[0] ^= 1,
        |b| b.txs[0].id = B256::ZERO,
        |b| b.txs[0].index = 1,
        |b| b.txs[0].events[0].data = encode_log(&[B256::repeat_byte(1)], b"").into(),
    ];
    for (i, change) in changes.iter().enumerate() {
        let mut block = base.clone();
        change(&mut block);
        assert_ne!(view(&block, Some(&zero.header)).hash(), hash, "change {i}");
    }
    let other = ViewConfig { chain_id: 2, ..config() };
    assert_ne!(project(&other, None, &genesis()).unwrap().hash(), zero.hash());
}

#[test]
fn stored_form_round_trips_and_is_checked() {
    let zero = view(&genesis(), None);
    let block = view(&child(1, vec![deposit(0, 2), publish(envelope())]), Some(&zero.header));
    let bytes = block.encode();
    assert_eq!(ViewBlock::decode(&bytes).unwrap(), block);
    assert_eq!(ViewBlock::decode_header(&bytes).unwrap(), block.header);
    assert!(ViewBlock::decode_header(&bytes[..bytes.len() / 2]).is_err());
    assert!(ViewBlock::decode(&[]).is_err());
    assert!(ViewBlock::decode(&bytes[..bytes.len() - 1]).is_err());
    assert!(ViewBlock::decode(&[&bytes[..], &[0]].concat()).is_err());
    // Dropping a transaction leaves the header's roots behind.
    let mut short = block.clone();
    short.transactions.pop();
    short.receipts.pop();
    assert_eq!(ViewBlock::decode(&short.encode()), Err(DecodeError::Malformed("the roots do not match the lists")));
}

/// A Merkle-Patricia root computed the slow way, straight from the Yellow Paper.
fn naive_root(items: Vec<Vec<u8>>) -> B256 {
    fn hex_prefix(nibbles: &[u8], leaf: bool) -> Vec<u8> {
        let flag = 2 * u8::from(leaf) + (nibbles.len() % 2) as u8;
        let mut all = vec![flag];
        if nibbles.len().is_multiple_of(2) {
            all.push(0);
        }
        all.extend_from_slice(nibbles);
        all.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }
    fn list(items: &[Vec<u8>]) -> Vec<u8> {
        let payload = items.concat();
        let mut out = Vec::new();
        alloy_rlp::Header { list: true, payload_length: payload.len() }.encode(&mut out);
        out.extend(payload);
        out
    }
    fn string(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        bytes.encode(&mut out);
        out
    }
    fn reference(node: Vec<u8>) -> Vec<u8> {
        if node.len() < 32 { node } else { string(keccak256(node).as_slice()) }
    }
    fn node(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        if let [(path, value)] = entries {
            return list(&[string(&hex_prefix(path, true)), string(value)]);
        }
        let common = (0..)
            .take_while(|i| {
                let first = entries[0].0.get(*i);
                first.is_some() && entries.iter().all(|(path, _)| path.get(*i) == first)
            })
            .count();
        if common > 0 {
            let rest: Vec<_> = entries.iter().map(|(p, v)| (p[common..].to_vec(), v.clone())).collect();
            return list(&[string(&hex_prefix(&entries[0].0[..common], false)), reference(node(&rest))]);
        }
        let mut children: Vec<Vec<u8>> = (0..16u8)
            .map(|nibble| {
                let under: Vec<_> = entries
                    .iter()
                    .filter(|(path, _)| path.first() == Some(&nibble))
                    .map(|(path, value)| (path[1..].to_vec(), value.clone()))
                    .collect();
                if under.is_empty() { string(&[]) } else { reference(node(&under)) }
            })
            .collect();
        let value = entries.iter().find(|(path, _)| path.is_empty()).map_or(string(&[]), |(_, v)| string(v));
        children.push(value);
        list(&children)
    }
    if items.is_empty() {
        return keccak256(string(&[]));
    }
    let entries: Vec<_> = items
        .into_iter()
        .enumerate()
        .map(|(index, value)| {
            let mut key = Vec::new();
            (index as u64).encode(&mut key);
            (key.iter().flat_map(|byte| [byte >> 4, byte & 15]).collect(), value)
        })
        .collect();
    keccak256(node(&entries))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Roots and bloom against an independent computation, for any number of transactions and logs.
    #[test]
    fn roots_and_bloom(shape in prop::collection::vec(0usize..4, 0..200)) {
        let zero = view(&genesis(), None);
        let txs: Vec<DuskTx> = shape.iter().enumerate().map(|(i, logs)| deposit(i as u32, *logs)).collect();
        let block = child(1, txs);
        let view = view(&block, Some(&zero.header));
        prop_assert_eq!(view.transactions.len(), shape.iter().filter(|logs| **logs > 0).count());
        let txs = view.transactions.iter().map(|tx| tx.envelope.encoded_2718()).collect();
        prop_assert_eq!(view.header.transactions_root, naive_root(txs));
        let receipts = view.receipts.iter().map(|receipt| receipt.encoded_2718()).collect();
        prop_assert_eq!(view.header.receipts_root, naive_root(receipts));
        let logs: Vec<&Log> = view.receipts.iter().flat_map(|receipt| receipt.logs()).collect();
        prop_assert_eq!(view.header.logs_bloom, alloy_primitives::logs_bloom(logs));
        prop_assert_eq!(&project(&config(), Some(&zero.header), &block).unwrap(), &view);
        prop_assert_eq!(&ViewBlock::decode(&view.encode()).unwrap(), &view);
    }

    #[test]
    fn stored_garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = ViewBlock::decode(&bytes);
        let _ = ViewBlock::decode_header(&bytes);
    }
}
