//! Every rule of admission, and the words in which it refuses.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test stops where it is wrong")]

mod common;

use std::sync::Arc;

use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_primitives::{B256, Bytes, U256};
use common::*;
use duskevm_evm::RecoveredTx;
use duskevm_pool::{AccountState, CodeKind, Origin, PoolError, PoolTx, Standing, code_kind};
use op_alloy_consensus::TxDeposit;
use op_revm::{L1BlockInfo, OpSpecId};

#[test]
fn takes_types_0_1_2_and_4() {
    let mut bed = Bed::new();
    for (nonce, ty) in [0, 1, 2].into_iter().enumerate() {
        let added = bed.add(tx(1, nonce as u64).ty(ty)).unwrap();
        assert_eq!(added.standing, Standing::Ready);
        assert_eq!(added.promoted.len(), 1);
    }
    let (_, authorization) = authorization(9);
    bed.add(tx(2, 0).authorize(vec![authorization]).gas(100_000)).unwrap();
    assert_eq!(bed.counts(), (4, 0));
}

#[test]
fn refuses_deposits_and_blobs_with_the_reason() {
    let mut bed = Bed::new();
    let deposit = PoolTx::new(Arc::new(RecoveredTx::deposit(TxDeposit::default())));
    let error = bed.pool.add(deposit, Origin::Submitted, &bed.accounts, 0).unwrap_err().to_string();
    assert!(error.starts_with("transaction type not supported: type 0x7e") && error.contains("bridge"), "{error}");
    for (first, word) in [(3u8, "blob"), (0x7d, "post-exec")] {
        let error = PoolError::from(RecoveredTx::decode(&Bytes::from(vec![first, 0xc0])).unwrap_err()).to_string();
        assert!(error.starts_with("transaction type not supported") && error.contains(word), "{error}");
    }
    let error = PoolError::from(RecoveredTx::decode(&Bytes::from_static(b"garbage")).unwrap_err());
    assert_eq!(error.label(), "malformed");
}

#[test]
fn refuses_the_same_twice() {
    let mut bed = Bed::new();
    bed.add(tx(1, 0)).unwrap();
    assert!(bed.refusal(tx(1, 0)).starts_with("already known"));
}

#[test]
fn checks_the_chain_id() {
    let mut bed = Bed::new();
    for ty in [0, 1, 2] {
        let error = bed.refusal(tx(1, 0).ty(ty).chain(Some(1)));
        assert!(error.starts_with("invalid sender: invalid chain id for signer: have 1 want 31310"), "{error}");
    }
    let error = bed.refusal(tx(1, 0).ty(0).chain(None));
    assert!(error.starts_with("only replay-protected (EIP-155) transactions allowed over RPC"), "{error}");
    let mut open = Bed::with(|config, _| config.allow_unprotected = true);
    open.add(tx(1, 0).ty(0).chain(None)).unwrap();
}

#[test]
fn checks_nonces() {
    let mut bed = Bed::with(|config, _| config.max_nonce_gap = 5);
    bed.accounts.entry(1).nonce = 3;
    assert_eq!(bed.refusal(tx(1, 2)), "nonce too low: next nonce 3, tx nonce 2");
    assert_eq!(bed.add(tx(1, 8)).unwrap().standing, Standing::NonceGap);
    assert!(bed.refusal(tx(1, 9)).starts_with("nonce too high: next nonce 3, tx nonce 9"));
    bed.add(tx(1, 3)).unwrap();
    assert_eq!(bed.add(tx(1, 9)).unwrap().standing, Standing::Behind);
    assert_eq!(bed.counts(), (1, 2));
    bed.accounts.entry(2).nonce = u64::MAX - 1;
    bed.add(tx(2, u64::MAX - 1)).unwrap();
    assert!(bed.refusal(tx(2, u64::MAX)).starts_with("nonce has max value"));
}

#[test]
fn checks_fees() {
    let mut bed = Bed::with(|config, head| {
        config.min_tip = 7;
        head.min_base_fee = 100;
        head.base_fee = 200;
    });
    let error = bed.refusal(tx(1, 0).fees(11, 10));
    assert!(error.starts_with("max priority fee per gas higher than max fee per gas"), "{error}");
    assert_eq!(bed.refusal(tx(1, 0).fees(6, 300)), "transaction underpriced: gas tip cap 6, minimum needed 7");
    assert!(bed.refusal(tx(1, 0).fees(7, 99)).starts_with("transaction underpriced: gas fee cap 99"));
    assert!(bed.refusal(tx(1, 0).ty(0).fees(0, 6)).starts_with("transaction underpriced"));
    // Below the base fee of today, but not below that of any day: it waits.
    let waiting = bed.add(tx(1, 0).fees(7, 199)).unwrap();
    assert_eq!(waiting.standing, Standing::Ready);
    assert_eq!(bed.counts(), (0, 1));
    assert!(bed.best().is_empty());
    bed.add(tx(2, 0).fees(7, 207)).unwrap();
    assert_eq!(bed.counts(), (1, 1));
}

#[test]
fn checks_gas() {
    let mut bed = Bed::new();
    assert_eq!(bed.refusal(tx(1, 0).gas(20_999)), "intrinsic gas too low: gas 20999, minimum needed 21000");
    assert!(bed.refusal(tx(1, 0).gas(30_000_001)).starts_with("exceeds block gas limit"));
    bed.add(tx(1, 0).gas(30_000_000)).unwrap();
    // EIP-7623: 1,000 non-zero bytes are 4,000 tokens: 21000 + 16 × 1000 intrinsic, 21000 + 10 × 4000 floor.
    assert!(bed.refusal(tx(2, 0).input(vec![1; 1000]).gas(36_999)).starts_with("intrinsic gas too low"));
    let error = bed.refusal(tx(2, 0).input(vec![1; 1000]).gas(60_999));
    assert_eq!(error, "insufficient gas for floor data gas cost: gas 60999, minimum needed 61000");
    bed.add(tx(2, 0).input(vec![1; 1000]).gas(61_000)).unwrap();
    // Before Isthmus there is no floor.
    let mut old = Bed::with(|_, head| head.spec = OpSpecId::HOLOCENE);
    old.add(tx(2, 0).input(vec![1; 1000]).gas(37_000)).unwrap();
    // Access lists cost 2400 per address and 1900 per slot.
    let mut listed = tx(3, 0).gas(21_000 + 2400 + 2 * 1900 - 1);
    let item = AccessListItem { address: address(5), storage_keys: vec![B256::ZERO, B256::repeat_byte(1)] };
    listed.access_list = AccessList(vec![item]);
    assert!(bed.refusal(listed.clone()).starts_with("intrinsic gas too low"));
    bed.add(listed.gas(27_200)).unwrap();
    // EIP-7825 comes with Karst.
    let mut karst = Bed::with(|_, head| head.spec = OpSpecId::KARST);
    assert!(karst.refusal(tx(1, 0).gas(16_777_217)).starts_with("transaction gas limit too high"));
    karst.add(tx(1, 0).gas(16_777_216)).unwrap();
}

#[test]
fn checks_init_code() {
    let mut bed = Bed::new();
    let error = bed.refusal(tx(1, 0).create().input(vec![0; 49_153]).gas(5_000_000));
    assert!(error.starts_with("max initcode size exceeded: code size 49153, limit 49152"), "{error}");
    bed.add(tx(1, 0).create().input(vec![0; 49_152]).gas(5_000_000)).unwrap();
    // The same bytes as calldata of a call are fine, and creation costs 32,000 and 2 per word more.
    bed.add(tx(1, 1).input(vec![0; 49_153]).gas(5_000_000)).unwrap();
    assert!(bed.refusal(tx(1, 2).create().input(vec![1]).gas(53_017)).contains("minimum needed 53018"));
}

#[test]
fn checks_size() {
    let mut bed = Bed::new();
    let error = bed.refusal(tx(1, 0).input(vec![0; 128 * 1024]).gas(20_000_000));
    assert!(error.starts_with("oversized data: transaction size"), "{error}");
    bed.add(tx(1, 0).input(vec![0; 128 * 1024 - 200]).gas(20_000_000)).unwrap();
}

#[test]
fn checks_the_da_footprint() {
    let mut bed = Bed::with(|_, head| {
        head.spec = OpSpecId::JOVIAN;
        head.l1.da_footprint_gas_scalar = Some(65_000);
        head.gas_limit = 6_499_999;
    });
    // The least size is 100 bytes.
    let error = bed.refusal(tx(1, 0));
    assert!(error.starts_with("exceeds block gas limit: data availability footprint 6500000"), "{error}");
    bed.next_head(duskevm_pool::Touched::All, vec![], |head| head.gas_limit = 6_500_000);
    bed.add(tx(1, 0)).unwrap();
}

#[test]
fn checks_funds_with_l1_and_operator_fee() {
    let l1 = L1BlockInfo {
        l1_base_fee: U256::from(50 * GWEI),
        l1_base_fee_scalar: U256::from(1_000_000),
        l1_blob_base_fee: Some(U256::from(GWEI)),
        l1_blob_base_fee_scalar: Some(U256::from(500_000)),
        operator_fee_scalar: Some(U256::from(2_000_000)),
        operator_fee_constant: Some(U256::from(12_345)),
        ..Default::default()
    };
    for spec in [OpSpecId::ISTHMUS, OpSpecId::JOVIAN, OpSpecId::HOLOCENE, OpSpecId::ECOTONE] {
        let mut bed = Bed::with(|_, head| (head.l1, head.spec) = (l1.clone(), spec));
        let offered = tx(1, 0).value(U256::from(5 * DUSK));
        // What op-revm itself will charge, computed from the bytes.
        let extra = l1.clone().tx_cost(offered.clone().recovered().encoded(), U256::from(21_000), spec);
        assert!(extra > U256::ZERO);
        let cost = U256::from(5 * DUSK + 21_000 * 10 * GWEI) + extra;
        *bed.accounts.entry(1) = AccountState { balance: cost - U256::from(1), ..RICH };
        let error = bed.refusal(offered.clone());
        assert!(error.starts_with("insufficient funds for gas * price + value"), "{error}");
        assert!(error.contains(&format!("tx cost {cost} (of it {extra} ")), "{error}");
        bed.accounts.entry(1).balance = cost;
        bed.add(offered).unwrap();
    }
}

#[test]
fn funds_of_a_chain_without_operator_parameters_are_read_without_panic() {
    let mut bed = Bed::with(|_, head| head.l1 = L1BlockInfo::default());
    bed.add(tx(1, 0)).unwrap();
}

#[test]
fn refuses_what_no_balance_covers() {
    let mut bed = Bed::new();
    bed.accounts.entry(1).balance = U256::MAX;
    let error = bed.refusal(tx(1, 0).value(U256::MAX));
    assert!(error.starts_with("insufficient funds"), "{error}");
    bed.accounts.entry(1).balance = U256::MAX;
    let error = bed.refusal(tx(1, 0).fees(u128::MAX, u128::MAX).gas(30_000_000).value(U256::MAX - U256::from(5)));
    assert!(error.starts_with("insufficient funds"), "{error}");
}

#[test]
fn counts_what_the_others_of_the_sender_cost() {
    let mut bed = Bed::new();
    let each = U256::from(DUSK + 21_000 * 10 * GWEI);
    bed.accounts.entry(1).balance = each * U256::from(2);
    bed.add(tx(1, 0).value(U256::from(DUSK))).unwrap();
    bed.add(tx(1, 1).value(U256::from(DUSK))).unwrap();
    let error = bed.refusal(tx(1, 2));
    assert!(error.starts_with("insufficient funds") && error.contains("queued cost"), "{error}");
    // A replacement frees what it replaces.
    bed.add(tx(1, 1).value(U256::from(DUSK / 2)).fees(2 * GWEI, 11 * GWEI)).unwrap();
    bed.add(tx(1, 2)).unwrap();
}

#[test]
fn a_contract_cannot_send_but_a_delegated_account_can() {
    let mut bed = Bed::new();
    bed.accounts.entry(1).code = CodeKind::Contract;
    assert!(bed.refusal(tx(1, 0)).starts_with("sender not an eoa"));
    bed.accounts.entry(2).code = CodeKind::Delegation;
    bed.add(tx(2, 0)).unwrap();

    let mut designator = vec![0xef, 1, 0];
    designator.extend([7; 20]);
    assert_eq!(code_kind(&designator), CodeKind::Delegation);
    designator.push(0);
    assert_eq!(code_kind(&designator), CodeKind::Contract);
    assert_eq!(code_kind(&[0xef, 1, 0]), CodeKind::Contract);
    assert_eq!(code_kind(&[]), CodeKind::None);
}

#[test]
fn type_4_needs_authorizations_and_isthmus() {
    let mut bed = Bed::new();
    let error = bed.refusal(tx(1, 0).authorize(vec![]).gas(100_000));
    assert_eq!(error, "set code tx must have at least one authorization tuple");
    let (_, authorization) = authorization(9);
    assert!(bed.refusal(tx(1, 0).authorize(vec![authorization.clone()]).gas(45_999)).contains("minimum needed 46000"));
    let mut old = Bed::with(|_, head| head.spec = OpSpecId::HOLOCENE);
    let error = old.refusal(tx(1, 0).authorize(vec![authorization]).gas(100_000));
    assert!(error.starts_with("transaction type not supported: type 0x04"), "{error}");
}

#[test]
fn a_delegated_account_has_one_transaction_in_flight() {
    let mut bed = Bed::new();
    bed.accounts.entry(1).code = CodeKind::Delegation;
    assert!(bed.refusal(tx(1, 1)).starts_with("gapped-nonce tx from delegated accounts"));
    bed.add(tx(1, 0)).unwrap();
    assert!(bed.refusal(tx(1, 1)).starts_with("in-flight transaction limit reached for delegated accounts"));
    bed.add(tx(1, 0).fees(2 * GWEI, 20 * GWEI)).unwrap();
}

#[test]
fn a_pending_authorization_limits_its_authority_and_the_other_way_round() {
    let (authority, signed) = authorization(9);
    let from_authority = |nonce| Tx { sender: authority, ..tx(0, nonce) };
    let mut bed = Bed::new();
    let delegating = bed.add(tx(1, 0).authorize(vec![signed.clone()]).gas(100_000)).unwrap();
    bed.add(from_authority(0)).unwrap();
    assert!(bed.refusal(from_authority(1)).starts_with("in-flight transaction limit reached"));
    bed.pool.remove(&delegating.hash, 0).unwrap();
    bed.add(from_authority(1)).unwrap();
    let error = bed.refusal(tx(2, 0).authorize(vec![signed]).gas(100_000));
    assert!(error.starts_with("authority already reserved"), "{error}");
}

#[test]
fn an_outline_is_judged_without_its_authorities() {
    let mut bed = Bed::new();
    bed.accounts.entry(1).nonce = 1;
    let (authority, signed) = authorization(9);
    let offer = |nonce| PoolTx::outline(tx(1, nonce).authorize(vec![signed.clone()]).gas(100_000).recovered());
    assert!(!offer(0).is_recovered() && PoolTx::outline(tx(1, 0).recovered()).is_recovered());
    let check = |bed: &Bed, tx: &PoolTx| bed.pool.check(tx, Origin::Submitted, &bed.accounts);
    assert!(matches!(check(&bed, &offer(0)), Err(PoolError::NonceTooLow { .. })));
    bed.accounts.entry(1).balance = U256::from(1);
    assert!(matches!(check(&bed, &offer(1)), Err(PoolError::InsufficientFunds { .. })));
    bed.accounts.entry(1).balance = RICH.balance;
    check(&bed, &offer(1)).unwrap();
    assert!(bed.pool.is_empty(), "checking adds nothing");
    // Adding asks the rules about authorities in any case.
    let mut full = offer(1);
    full.recover();
    assert_eq!(full.authorities(), [authority]);
    bed.accounts.known.insert(authority, RICH);
    for nonce in 0..2 {
        let mut own = tx(5, nonce);
        own.sender = authority;
        bed.add(own).unwrap();
    }
    check(&bed, &offer(1)).unwrap();
    let error = bed.pool.add(offer(1), Origin::Submitted, &bed.accounts, 0).unwrap_err();
    assert!(matches!(error, PoolError::AuthorityReserved(_)), "{error}");
}

#[test]
fn replacement_needs_ten_percent_of_both() {
    let mut bed = Bed::new();
    let old = bed.add(tx(1, 0).fees(100, 2000)).unwrap().hash;
    for (tip, cap) in [(100, 2000), (109, 2200), (110, 2199), (200, 2000), (100, 4000)] {
        let error = bed.refusal(tx(1, 0).fees(tip, cap).value(1u64));
        assert!(error.starts_with("replacement transaction underpriced"), "{error}");
        assert!(error.contains("2200") && error.contains("110"), "{error}");
    }
    let added = bed.add(tx(1, 0).fees(110, 2200)).unwrap();
    assert_eq!(added.replaced.unwrap().hash(), old);
    assert!(!bed.pool.contains(&old));
    assert_eq!(bed.pool.len(), 1);
    // Ten percent of little is nothing, but a replacement pays more.
    let mut bed = Bed::new();
    bed.add(tx(1, 0).fees(0, 5)).unwrap();
    assert!(bed.add(tx(1, 0).fees(0, 6)).is_err());
    bed.add(tx(1, 0).fees(1, 6)).unwrap();
    // Nothing is above the top.
    let mut bed = Bed::new();
    bed.accounts.entry(1).balance = U256::MAX;
    bed.add(tx(1, 0).fees(u128::MAX, u128::MAX)).unwrap();
    assert!(bed.refusal(tx(1, 0).fees(u128::MAX, u128::MAX).value(1u64)).starts_with("replacement transaction"));
}

#[test]
fn restored_ones_pass_where_only_price_and_balance_stand_against_them() {
    let mut bed = Bed::with(|config, _| config.min_tip = 5);
    bed.accounts.entry(1).balance = U256::ZERO;
    assert_eq!(bed.restore(tx(1, 0)).unwrap().standing, Standing::Unfunded);
    assert_eq!(bed.restore(tx(2, 0).fees(1, 1)).unwrap().standing, Standing::Ready);
    assert_eq!(bed.restore(tx(3, 0).gas(40_000_000)).unwrap().standing, Standing::OverGasLimit);
    assert!(matches!(bed.restore(tx(4, 0).chain(Some(9))), Err(PoolError::ChainId { .. })));
    bed.accounts.entry(5).nonce = 1;
    assert!(matches!(bed.restore(tx(5, 0)), Err(PoolError::NonceTooLow { .. })));
}

#[test]
fn a_failing_reader_refuses_and_changes_nothing() {
    let mut bed = Bed::new();
    bed.accounts.broken = true;
    assert!(bed.refusal(tx(1, 0)).contains("scripted"));
    assert!(bed.pool.is_empty());
}

#[test]
fn every_label_is_listed() {
    let errors = [
        PoolError::Full,
        PoolError::InvalidSender,
        PoolError::EmptyAuthorizations,
        PoolError::Malformed(String::new()),
    ];
    for error in errors {
        assert!(PoolError::LABELS.contains(&error.label()));
    }
}
