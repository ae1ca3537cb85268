//! Which kind of data a transaction carries, and the rule that leaves its id one reading only.
//!
//! A Moonlight transaction is signed, and identified, over the content of its data without their kind: a call is contract,
//! function name and arguments one after another, a memo its bytes, blobs their hashes. Whoever relays a transaction could
//! present one kind as another with the same id and a good signature. The published node takes that; here every content has one
//! kind, and a transaction of another one with that content is refused, in the pool and in blocks.

use dusk_core::transfer::data::TransactionData;

use crate::contracts::{NativeContracts, functions};

/// Most blobs of one transaction (`blob_check` of `dusk-core`).
pub const MAX_BLOBS: usize = 6;

/// First byte of a versioned blob hash (EIP-4844).
pub const BLOB_HASH_VERSION: u8 = 1;

/// What a content is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading<'a> {
    Nothing,
    /// A call of this function of a registered contract; `None` if no function, or more than one, fits.
    Call(Option<&'a str>),
    Blobs,
    Memo,
}

fn reading<'a>(content: &[u8], contracts: &'a dyn NativeContracts) -> Reading<'a> {
    if let Some((id, rest)) = content.split_first_chunk::<32>()
        && let Some(names) = functions(contracts, id)
    {
        let mut fitting = names.iter().filter(|name| rest.starts_with(name.as_bytes()));
        let name = fitting.next().filter(|_| fitting.next().is_none());
        return Reading::Call(name.copied());
    }
    let hashes = content.chunks_exact(32);
    let whole = hashes.remainder().is_empty() && (1..=MAX_BLOBS).contains(&hashes.len());
    if content.is_empty() {
        Reading::Nothing
    } else if whole && hashes.into_iter().all(|hash| hash.first() == Some(&BLOB_HASH_VERSION)) {
        Reading::Blobs
    } else {
        Reading::Memo
    }
}

/// Checks that `data` are of the one kind that their content has on a network with `contracts`.
///
/// # Errors
/// What else the content says, or what is not there to be called.
pub fn check(data: Option<&TransactionData>, contracts: &dyn NativeContracts) -> Result<(), &'static str> {
    let Some(data) = data else { return Ok(()) };
    let read = reading(&data.signature_message(), contracts);
    match (data, read) {
        (TransactionData::Call(call), Reading::Call(Some(name))) if call.fn_name == name => Ok(()),
        (TransactionData::Call(_), Reading::Call(_)) => Err("the contract has no such function"),
        (TransactionData::Call(_), _) => Err("no such contract is on this network"),
        (TransactionData::Blob(_), Reading::Blobs) | (TransactionData::Memo(_), Reading::Memo) => Ok(()),
        (TransactionData::Blob(_), Reading::Call(_)) => Err("the first blob hash is the id of a contract"),
        (TransactionData::Blob(_), _) => Err("blob hashes begin with 1"),
        (TransactionData::Memo(_), Reading::Nothing) => Err("an empty memo is none: leave it out"),
        (TransactionData::Memo(_), Reading::Call(_)) => Err("the memo begins with the id of a contract"),
        (TransactionData::Memo(_), _) => Err("the memo looks like blob hashes"),
        (TransactionData::Deploy(_), _) => Err("contracts cannot be deployed here"),
    }
}

#[cfg(test)]
mod tests {
    use dusk_core::stake::STAKE_CONTRACT;
    use dusk_core::transfer::data::{BlobData, ContractCall};
    use proptest::prelude::*;

    use super::*;
    use crate::contracts::{CallContext, CallError, NoContracts};

    /// A contract whose id looks like a blob hash, with names of which one begins another.
    struct Odd;

    const ODD: [u8; 32] = [1; 32];

    impl NativeContracts for Odd {
        fn functions(&self, id: &[u8; 32]) -> Option<&[&str]> {
            (*id == ODD).then_some(&["go", "act", "action"])
        }

        fn call(&self, _context: &mut CallContext<'_>, _call: &ContractCall) -> Result<(), CallError> {
            Ok(())
        }
    }

    fn call(contract: [u8; 32], name: &str, args: &[u8]) -> TransactionData {
        TransactionData::Call(ContractCall::new(contract, name).with_raw_args(args.to_vec()))
    }

    fn blobs(hashes: &[[u8; 32]]) -> TransactionData {
        TransactionData::Blob(hashes.iter().map(|hash| BlobData { hash: *hash, data: None }).collect())
    }

    fn refused(data: &TransactionData, why: &str) {
        assert_eq!(check(Some(data), &Odd), Err(why), "{data:?}");
    }

    #[test]
    fn every_kind_in_its_plain_form_passes() {
        let hash = [[1, 2].as_slice(), &[7; 30]].concat().try_into().unwrap();
        for data in [
            call(ODD, "go", b"anything"),
            call(STAKE_CONTRACT.to_bytes(), "unstake", b""),
            TransactionData::Memo(b"hello".to_vec()),
            TransactionData::Memo(vec![2; 64]),
            TransactionData::Memo([[1; 31].as_slice(), &[3]].concat().repeat(7)),
            blobs(&[hash]),
            blobs(&[hash; 6]),
        ] {
            assert_eq!(check(Some(&data), &Odd), Ok(()), "{data:?}");
        }
        assert_eq!(check(None, &NoContracts), Ok(()));
    }

    #[test]
    fn a_memo_that_looks_like_blobs_is_refused() {
        let hash = [[1].as_slice(), &[7; 31]].concat();
        refused(&TransactionData::Memo(hash.clone()), "the memo looks like blob hashes");
        refused(&TransactionData::Memo(hash.repeat(6)), "the memo looks like blob hashes");
    }

    #[test]
    fn a_memo_that_begins_with_a_contract_is_refused() {
        let memo = [STAKE_CONTRACT.to_bytes().as_slice(), b"stake"].concat();
        refused(&TransactionData::Memo(memo), "the memo begins with the id of a contract");
        refused(&TransactionData::Memo(ODD.to_vec()), "the memo begins with the id of a contract");
        refused(&TransactionData::Memo(vec![]), "an empty memo is none: leave it out");
    }

    #[test]
    fn calls_of_what_is_not_there_are_refused() {
        refused(&call([9; 32], "go", b""), "no such contract is on this network");
        refused(&call(ODD, "come", b""), "the contract has no such function");
        refused(&call(STAKE_CONTRACT.to_bytes(), "reward", b""), "the contract has no such function");
        // The name ends where a reader thinks it does: `act` with `ion` is `action`.
        refused(&call(ODD, "action", b""), "the contract has no such function");
        refused(&call(ODD, "g", b"o"), "the contract has no such function");
    }

    #[test]
    fn blobs_that_look_like_something_else_are_refused() {
        refused(&blobs(&[[2; 32]]), "blob hashes begin with 1");
        refused(&blobs(&[ODD]), "the first blob hash is the id of a contract");
    }

    proptest! {
        /// Two transactions with the same content are never both taken, unless they are the same.
        #[test]
        fn one_reading_for_each_content(
            head in prop::sample::select(vec![vec![], ODD.to_vec(), STAKE_CONTRACT.to_bytes().to_vec(), vec![1; 31]]),
            middle in prop::sample::select(vec!["", "go", "act", "action", "stake", "withdraw"]),
            tail in prop::collection::vec(0u8..3, 0..100),
        ) {
            let content = [head.as_slice(), middle.as_bytes(), &tail].concat();
            let mut taken: Vec<TransactionData> = vec![TransactionData::Memo(content.clone())];
            if content.len() >= 32 {
                let (id, rest) = content.split_first_chunk::<32>().unwrap();
                for at in 0..=rest.len() {
                    if let Ok(name) = std::str::from_utf8(&rest[..at]) {
                        taken.push(call(*id, name, &rest[at..]));
                    }
                }
                if content.len() % 32 == 0 {
                    let hashes: Vec<[u8; 32]> = content.chunks(32).map(|hash| hash.try_into().unwrap()).collect();
                    taken.push(blobs(&hashes));
                }
            }
            for data in &taken {
                prop_assert_eq!(data.signature_message(), content.clone());
            }
            taken.retain(|data| check(Some(data), &Odd).is_ok());
            prop_assert!(taken.len() <= 1, "{:?}", taken);
        }
    }
}
