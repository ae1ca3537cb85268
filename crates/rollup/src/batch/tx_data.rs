//! How a transaction is taken apart for the columns of a span batch, and put together again.
//!
//! Nonce, gas limit, recipient and signature have columns of their own. What is left, the "transaction data", is
//! `[type] ‖ rlp[value, fees…, data, access list…]`. All of it is copied as the RLP items that it is: nothing but their form is
//! looked at, and what a value means is for the execution to judge.

use super::reader::take;
use alloc::vec::Vec;
use alloy_rlp::{BufMut, Header};

/// Most bytes of one transaction's RLP list in the data column: the limit on elements of a span batch.
pub const MAX_TX_DATA: usize = 10_000_000;

/// Transaction data that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TxDataError {
    /// The batch ends within it.
    #[error("the batch ends within the transaction data")]
    Truncated,
    /// A type that span batches do not carry.
    #[error("transaction type {0} cannot be in a span batch: only 0, 1, 2 and 4 can")]
    Type(u8),
    /// Longer than the limit.
    #[error("{0} bytes of transaction data: at most {MAX_TX_DATA} are allowed")]
    TooLong(usize),
    /// Not the RLP items that its type has.
    #[error("the transaction data are not the RLP of type {ty}: {reason}")]
    Rlp {
        /// EIP-2718 type.
        ty: u8,
        /// What is wrong.
        reason: &'static str,
    },
    /// A set-code transaction (EIP-7702) that creates a contract.
    #[error("a set-code transaction needs a recipient, its creation bit must not be set")]
    NoRecipient,
}

/// A transaction type that span batches carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TxKind {
    Legacy,
    AccessList,
    DynamicFee,
    SetCode,
}

impl TxKind {
    /// Of a type byte. Legacy transactions have none.
    const fn of(ty: u8) -> Result<Self, TxDataError> {
        match ty {
            1 => Ok(Self::AccessList),
            2 => Ok(Self::DynamicFee),
            4 => Ok(Self::SetCode),
            other => Err(TxDataError::Type(other)),
        }
    }

    pub(super) const fn ty(self) -> u8 {
        match self {
            Self::Legacy => 0,
            Self::AccessList => 1,
            Self::DynamicFee => 2,
            Self::SetCode => 4,
        }
    }

    /// One gas price, or tip and fee cap.
    pub(super) const fn fee_items(self) -> usize {
        match self {
            Self::Legacy | Self::AccessList => 1,
            Self::DynamicFee | Self::SetCode => 2,
        }
    }

    const fn rlp(self, reason: &'static str) -> TxDataError {
        TxDataError::Rlp { ty: self.ty(), reason }
    }
}

/// An RLP item: its bytes with the header, and what they hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    pub(super) raw: &'a [u8],
    pub(super) payload: &'a [u8],
    pub(super) list: bool,
}

/// Takes an RLP item in canonical form.
pub(super) fn take_item<'a>(rest: &mut &'a [u8]) -> Option<Item<'a>> {
    let start = *rest;
    let mut after = start;
    let header = Header::decode(&mut after).ok()?;
    let (payload, after) = after.split_at_checked(header.payload_length)?;
    *rest = after;
    Some(Item { raw: start.get(..start.len() - after.len())?, payload, list: header.list })
}

impl Item<'_> {
    /// Is it a number of at most `bytes` bytes, without leading zeros?
    pub(super) fn is_integer(&self, bytes: usize) -> bool {
        !self.list && self.payload.len() <= bytes && self.payload.first() != Some(&0)
    }
}

/// The data of one transaction, as parts of the column.
#[derive(Debug, Clone, Copy)]
pub(super) struct TxData<'a> {
    pub(super) kind: TxKind,
    /// RLP item.
    pub(super) value: &'a [u8],
    /// One or two RLP items.
    pub(super) fees: &'a [u8],
    /// RLP items: call data, access list, authorizations, as the type has them.
    pub(super) rest: &'a [u8],
}

impl<'a> TxData<'a> {
    /// Takes the data of the next transaction from the column.
    pub(super) fn take(column: &mut &'a [u8]) -> Result<Self, TxDataError> {
        let first = *column.first().ok_or(TxDataError::Truncated)?;
        let kind = if first <= 0x7f {
            take(column, 1).map_err(|_| TxDataError::Truncated)?;
            TxKind::of(first)?
        } else {
            TxKind::Legacy
        };
        let mut after = *column;
        let header = match Header::decode(&mut after) {
            Ok(header) => header,
            Err(alloy_rlp::Error::InputTooShort) => return Err(TxDataError::Truncated),
            Err(_) => return Err(kind.rlp("the list is not canonical")),
        };
        if !header.list {
            return Err(kind.rlp("not a list"));
        }
        let length = header.payload_length + (column.len() - after.len());
        if length > MAX_TX_DATA {
            return Err(TxDataError::TooLong(length));
        }
        let fields = take(column, length).map_err(|_| TxDataError::Truncated)?;
        let mut fields = fields.get(length - header.payload_length..).ok_or(TxDataError::Truncated)?;
        let value = take_item(&mut fields).ok_or(kind.rlp("no value"))?.raw;
        let before = fields;
        for _ in 0..kind.fee_items() {
            take_item(&mut fields).ok_or(kind.rlp("a fee is missing"))?;
        }
        let fees = before.get(..before.len() - fields.len()).ok_or(TxDataError::Truncated)?;
        Ok(Self { kind, value, fees, rest: fields })
    }

    /// Are all items of the form that the type has?
    pub(super) fn check(&self) -> Result<(), TxDataError> {
        let kind = self.kind;
        // op-node reads the numbers of the older types without a limit; such a transaction fails when it is executed.
        let most = if kind == TxKind::SetCode { 32 } else { usize::MAX };
        let mut numbers = [self.value, self.fees];
        for part in &mut numbers {
            while !part.is_empty() {
                if !take_item(part).is_some_and(|item| item.is_integer(most)) {
                    return Err(kind.rlp("value and fees must be numbers without leading zeros"));
                }
            }
        }
        let mut rest = self.rest;
        if take_item(&mut rest).is_none_or(|data| data.list) {
            return Err(kind.rlp("the call data must be a string"));
        }
        if kind != TxKind::Legacy && !take_item(&mut rest).is_some_and(|list| is_list_of(list, is_access)) {
            return Err(kind.rlp("the access list must be [[address, [slot, …]], …]"));
        }
        if kind == TxKind::SetCode && !take_item(&mut rest).is_some_and(|list| is_list_of(list, is_authorization)) {
            return Err(kind.rlp("authorizations must be [[chain id, address, nonce, y parity, r, s], …]"));
        }
        if rest.is_empty() { Ok(()) } else { Err(kind.rlp("the list has more members than the type has")) }
    }

    /// Appends the data to a column.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        if self.kind != TxKind::Legacy {
            out.push(self.kind.ty());
        }
        let payload_length = self.value.len() + self.fees.len() + self.rest.len();
        Header { list: true, payload_length }.encode(out);
        out.extend_from_slice(self.value);
        out.extend_from_slice(self.fees);
        out.extend_from_slice(self.rest);
    }
}

fn is_list_of(list: Item<'_>, member: fn(Item<'_>) -> bool) -> bool {
    let mut members = list.payload;
    while !members.is_empty() {
        if !take_item(&mut members).is_some_and(member) {
            return false;
        }
    }
    list.list
}

fn is_string(item: Item<'_>, len: usize) -> bool {
    !item.list && item.payload.len() == len
}

fn is_access(entry: Item<'_>) -> bool {
    let mut fields = entry.payload;
    entry.list
        && take_item(&mut fields).is_some_and(|address| is_string(address, 20))
        && take_item(&mut fields).is_some_and(|slots| is_list_of(slots, |slot| is_string(slot, 32)))
        && fields.is_empty()
}

fn is_authorization(entry: Item<'_>) -> bool {
    let mut fields = entry.payload;
    entry.list
        && take_item(&mut fields).is_some_and(|chain_id| chain_id.is_integer(32))
        && take_item(&mut fields).is_some_and(|address| is_string(address, 20))
        // Nonce, y parity, r, s.
        && [8, 1, 32, 32].into_iter().all(|bytes| take_item(&mut fields).is_some_and(|item| item.is_integer(bytes)))
        && fields.is_empty()
}

/// The other columns' parts of one transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct TxParts<'a> {
    pub(super) data: TxData<'a>,
    pub(super) nonce: u64,
    pub(super) gas: u64,
    /// The recipient's 20 bytes; none creates a contract.
    pub(super) to: Option<&'a [u8]>,
    pub(super) y_parity: bool,
    /// `r ‖ s`, 32 bytes each.
    pub(super) signature: &'a [u8; 64],
    /// Is a legacy transaction bound to the chain (EIP-155)?
    pub(super) protected: bool,
}

fn trimmed(word: &[u8]) -> &[u8] {
    let zeros = word.iter().take_while(|byte| **byte == 0).count();
    word.get(zeros..).unwrap_or_default()
}

fn string_len(bytes: &[u8]) -> usize {
    match bytes {
        [byte] if *byte < 0x80 => 1,
        _ => 1 + bytes.len(),
    }
}

/// Appends a string of less than 56 bytes.
fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    if !matches!(bytes, [byte] if *byte < 0x80) {
        out.push(0x80 + bytes.len() as u8);
    }
    out.extend_from_slice(bytes);
}

impl TxParts<'_> {
    /// Appends the EIP-2718 bytes of the transaction.
    pub(super) fn join(&self, chain_id: u64, out: &mut Vec<u8>) {
        let kind = self.data.kind;
        let (chain_id_bytes, nonce, gas) = (chain_id.to_be_bytes(), self.nonce.to_be_bytes(), self.gas.to_be_bytes());
        let v = match kind {
            TxKind::Legacy if self.protected => 2 * u128::from(chain_id) + 35 + u128::from(self.y_parity),
            TxKind::Legacy => 27 + u128::from(self.y_parity),
            _ => self.y_parity.into(),
        }
        .to_be_bytes();
        let (r, s) = self.signature.split_at(32);
        let (chain_id_bytes, nonce, gas, v) = (trimmed(&chain_id_bytes), trimmed(&nonce), trimmed(&gas), trimmed(&v));
        let (r, s) = (trimmed(r), trimmed(s));
        let to = self.to.unwrap_or_default();

        let strings = [nonce, gas, to, v, r, s];
        let mut payload_length = strings.iter().map(|part| string_len(part)).sum::<usize>();
        payload_length += self.data.value.len() + self.data.fees.len() + self.data.rest.len();
        if kind != TxKind::Legacy {
            payload_length += string_len(chain_id_bytes);
            out.put_u8(kind.ty());
        }
        Header { list: true, payload_length }.encode(out);
        if kind != TxKind::Legacy {
            put_string(out, chain_id_bytes);
        }
        put_string(out, nonce);
        out.extend_from_slice(self.data.fees);
        put_string(out, gas);
        put_string(out, to);
        out.extend_from_slice(self.data.value);
        out.extend_from_slice(self.data.rest);
        put_string(out, v);
        put_string(out, r);
        put_string(out, s);
    }

    /// Upper bound of what [`Self::join`] appends.
    pub(super) const fn joined_bound(&self) -> usize {
        // Type, list header, chain id, nonce, gas, recipient, v, r, s.
        const BESIDES: usize = 1 + 9 + 9 + 9 + 9 + 21 + 17 + 33 + 33;
        BESIDES + self.data.value.len() + self.data.fees.len() + self.data.rest.len()
    }
}

/// A transaction that cannot be taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SplitError {
    /// Not canonical EIP-2718 bytes.
    Malformed(&'static str),
    /// A type that span batches do not carry.
    Type(u8),
    /// Bound to another chain.
    ForeignChain(u128),
}

/// A transaction taken apart. The signature is a copy, because a batch has it with leading zeros.
pub(super) struct Split<'a> {
    pub(super) data: TxData<'a>,
    pub(super) nonce: u64,
    pub(super) gas: u64,
    pub(super) to: Option<&'a [u8]>,
    pub(super) y_parity: bool,
    pub(super) signature: [u8; 64],
    pub(super) protected: bool,
}

fn number(item: Item<'_>) -> Option<u128> {
    item.is_integer(16).then(|| item.payload.iter().fold(0, |value, byte| (value << 8) | u128::from(*byte)))
}

/// Takes a transaction of chain `chain_id` apart.
pub(super) fn split(raw: &[u8], chain_id: u64) -> Result<Split<'_>, SplitError> {
    let malformed = SplitError::Malformed;
    let first = *raw.first().ok_or(malformed("it is empty"))?;
    let (kind, mut list) = if first <= 0x7f {
        match TxKind::of(first) {
            Err(_) => return Err(SplitError::Type(first)),
            Ok(kind) => (kind, raw.get(1..).unwrap_or_default()),
        }
    } else {
        (TxKind::Legacy, raw)
    };
    let outer = take_item(&mut list).ok_or(malformed("it is no canonical RLP"))?;
    if !outer.list || !list.is_empty() {
        return Err(malformed("it is not one RLP list"));
    }
    let mut fields = outer.payload;
    let mut next = |name| take_item(&mut fields).ok_or(malformed(name));
    if kind != TxKind::Legacy {
        let id = number(next("chain id")?).ok_or(malformed("chain id"))?;
        if id != u128::from(chain_id) {
            return Err(SplitError::ForeignChain(id));
        }
    }
    let as_u64 = |item, name| number(item).and_then(|n| u64::try_from(n).ok()).ok_or(malformed(name));
    let nonce = as_u64(next("nonce")?, "nonce")?;
    let before = fields;
    for _ in 0..kind.fee_items() {
        take_item(&mut fields).ok_or(malformed("fees"))?;
    }
    let fees = before.get(..before.len() - fields.len()).unwrap_or_default();
    let mut next = |name| take_item(&mut fields).ok_or(malformed(name));
    let gas = as_u64(next("gas limit")?, "gas limit")?;
    let to = match next("recipient")? {
        Item { list: false, payload: [], .. } if kind != TxKind::SetCode => None,
        Item { list: false, payload, .. } if payload.len() == 20 => Some(payload),
        _ => return Err(malformed("recipient")),
    };
    let value = next("value")?.raw;
    let before = fields;
    // Call data, access list, authorizations.
    for _ in 0..[1, 2, 2, 3][kind as usize] {
        take_item(&mut fields).ok_or(malformed("call data or lists"))?;
    }
    let rest = before.get(..before.len() - fields.len()).unwrap_or_default();
    let mut next = |name| take_item(&mut fields).ok_or(malformed(name));
    let v = number(next("v")?).ok_or(malformed("v"))?;
    let mut signature = [0; 64];
    let (r_word, s_word) = signature.split_at_mut(32);
    for (word, name) in [(r_word, "r"), (s_word, "s")] {
        let item = next(name)?;
        let start = 32usize.checked_sub(item.payload.len()).filter(|_| item.is_integer(32)).ok_or(malformed(name))?;
        word.split_at_mut(start).1.copy_from_slice(item.payload);
    }
    if !fields.is_empty() {
        return Err(malformed("it has more members than its type has"));
    }
    let (y_parity, protected) = match (kind, v) {
        (TxKind::Legacy, 27 | 28) => (v == 28, false),
        (TxKind::Legacy, 35..) => {
            let id = (v - 35) / 2;
            if id != u128::from(chain_id) {
                return Err(SplitError::ForeignChain(id));
            }
            ((v - 35) % 2 == 1, true)
        }
        (TxKind::Legacy, _) => return Err(malformed("v")),
        (_, 0 | 1) => (v == 1, false),
        _ => return Err(malformed("y parity")),
    };
    let data = TxData { kind, value, fees, rest };
    // What could not be read from the batch must not be written into it.
    data.check().map_err(|_| malformed("a member is of another form than its type has"))?;
    Ok(Split { data, nonce, gas, to, y_parity, signature, protected })
}
