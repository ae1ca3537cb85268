//! The stake contract: `stake`, `unstake` and `withdraw`, as provisioners call them from a Moonlight account.
//!
//! Arguments, checks, effects and events are those of Dusk's stake contract with what it calls of the transfer contract
//! (`deposit`, `withdraw`, `mint`). Not here: calls by other contracts, and withdrawals to Phoenix notes. Gas is ours, because
//! that contract's is counted in WASM instructions.

use bytecheck::CheckBytes;
use dusk_core::signatures::bls::{self, BlsVersion, PublicKey, Signature};
use dusk_core::stake::{STAKE_CONTRACT, Stake as StakeCall, StakeEvent, StakeFundOwner, StakeKeys, Withdraw};
use dusk_core::transfer::data::ContractCall;
use dusk_core::transfer::withdraw::{
    Withdraw as TransferWithdraw, WithdrawReceiver, WithdrawReplayToken, WithdrawSignature,
};
use dusk_core::transfer::{MINT_TOPIC, TRANSFER_CONTRACT, WITHDRAW_TOPIC, WithdrawEvent};
use rkyv::validation::validators::DefaultValidator;
use rkyv::{AlignedVec, Archive, Deserialize, Infallible};

use crate::contracts::{CallContext, CallError, CallFailure};
use crate::execute::rkyv_bytes;
use crate::keys::AccountId;
use crate::stakes::{Owner, Stake, StakeRefusal};

/// What can be called.
pub const FUNCTIONS: &[&str] = &["stake", "unstake", "withdraw"];

/// Gas of one signature check, which takes milliseconds: a block is full long before it takes too long.
pub const SIGNATURE_GAS: u64 = 3_000_000;

/// Key of the contract's storage under which the burnt lux are counted (u64 little-endian).
pub const BURNT_KEY: &[u8] = b"burnt";

pub(crate) fn call(context: &mut CallContext<'_>, call: &ContractCall) -> Result<(), CallError> {
    match call.fn_name.as_str() {
        "stake" => stake(context, &decode(&call.fn_args)?),
        "unstake" => unstake(context, &decode(&call.fn_args)?),
        "withdraw" => withdraw(context, &decode(&call.fn_args)?),
        other => Err(CallFailure::UnknownFunction(other.into()).into()),
    }
}

fn refused(why: impl Into<String>) -> CallError {
    CallFailure::Refused(why.into()).into()
}

impl From<StakeRefusal> for CallError {
    fn from(refusal: StakeRefusal) -> Self {
        refused(refusal.to_string())
    }
}

/// Decodes arguments with all checks on the way; the copy aligns them.
fn decode<T>(bytes: &[u8]) -> Result<T, CallError>
where
    T: Archive,
    T::Archived: for<'b> CheckBytes<DefaultValidator<'b>> + Deserialize<T, Infallible>,
{
    let mut aligned = AlignedVec::with_capacity(bytes.len());
    aligned.extend_from_slice(bytes);
    let archived = rkyv::check_archived_root::<T>(&aligned)
        .map_err(|_| refused("the arguments are not those of this function"))?;
    match archived.deserialize(&mut Infallible) {
        Ok(value) => Ok(value),
        Err(never) => match never {},
    }
}

/// Takes points only if none is the point at infinity, which is no key and no signature. Must come before anything else is done with
/// them, hashing included: any byte passes as that mark when arguments are decoded, and the curve library asserts that it is 0 or 1.
fn finite<'k>(
    keys: impl IntoIterator<Item = &'k PublicKey>,
    signatures: impl IntoIterator<Item = &'k Signature>,
) -> Result<(), CallError> {
    for key in keys {
        if key.to_raw_bytes().last() != Some(&0) {
            return Err(refused("a key is not a BLS public key"));
        }
    }
    for signature in signatures {
        // The type keeps its point to itself, but not how it is archived: two coordinates, then the mark.
        if rkyv_bytes(signature).ok().and_then(|bytes| bytes.get(SIGNATURE_MARK).copied()) != Some(0) {
            return Err(refused("a signature is not a BLS signature"));
        }
    }
    Ok(())
}

/// Where an archived signature says that it is the point at infinity.
const SIGNATURE_MARK: usize = 96;

/// The identity of a key. Keys arrive as raw coordinates: only those of a point of the group, in their one form, pass.
fn identity(key: &PublicKey) -> Result<AccountId, CallError> {
    if !key.is_valid() {
        return Err(refused("a key is not a BLS public key"));
    }
    let id = AccountId::from_key(key);
    match id.public_key() {
        Ok(same) if same == *key => Ok(id),
        _ => Err(refused("a key is not a BLS public key")),
    }
}

fn check(
    context: &mut CallContext<'_>,
    whose: &str,
    key: &PublicKey,
    signature: &Signature,
    message: &[u8],
) -> Result<(), CallError> {
    context.charge(SIGNATURE_GAS)?;
    bls::verify(key, signature, message, BlsVersion::V2)
        .map_err(|_| refused(format!("the signature of the {whose} does not match")))
}

/// The key of the account that owns the stake of `provisioner`.
fn owner_key(owner: Owner, provisioner: &PublicKey) -> Result<PublicKey, CallError> {
    match owner {
        Owner::Provisioner => Ok(*provisioner),
        Owner::Account(id) => id.public_key().map_err(|error| refused(error.to_string())),
        Owner::Contract(_) => Err(refused("the stake is owned by a contract")),
    }
}

fn stake(context: &mut CallContext<'_>, call: &StakeCall) -> Result<(), CallError> {
    if call.chain_id() != context.env().chain_id {
        return Err(refused(format!("the stake is for chain id {}", call.chain_id())));
    }
    let keys = *call.keys();
    let StakeFundOwner::Account(owner_key) = keys.owner else {
        return Err(refused("only a contract can stake for itself"));
    };
    finite([&keys.account, &owner_key], [&call.signature().owner, &call.signature().account])?;
    let provisioner = identity(&keys.account)?;
    let owner = Owner::account(&provisioner, identity(&owner_key)?);
    let mut record = match context.state.stake(&provisioner)? {
        Some(record) if record.owner != owner => return Err(refused("the stake has another owner")),
        Some(record) => record,
        None => Stake { owner, ..Stake::default() },
    };
    let message = call.signature_message();
    check(context, "owner", &owner_key, &call.signature().owner, &message)?;
    check(context, "account", &keys.account, &call.signature().account, &message)?;

    let (rules, height) = (context.env().stakes, context.env().height);
    let parts = record.add(&rules, height, call.value())?;
    if call.value() == 0 || context.deposit() != call.value() {
        let deposit = context.deposit();
        return Err(refused(format!("the deposit is {deposit} lux, the stake {}", call.value())));
    }
    context.take_deposit()?;
    context.emit_as(STAKE_CONTRACT, "stake", &StakeEvent::new(keys, parts.value).locked(parts.locked))?;
    context.state.set_stake(&provisioner, Some(record));
    Ok(())
}

/// What `unstake` and `withdraw` have in common: the record, its keys, and both signatures.
fn authorised(context: &mut CallContext<'_>, call: &Withdraw) -> Result<(AccountId, Stake, StakeKeys), CallError> {
    // What is signed includes the withdrawal, receiver and signature: nothing is hashed before these are sound. A Phoenix address or
    // signature, whose coordinates may be any numbers, makes the published code panic when it is hashed.
    let (to, signature) = moonlight(call.transfer_withdraw())?;
    finite([call.account(), to], [&call.signature().owner, &call.signature().account, signature])?;
    let provisioner = identity(call.account())?;
    let record = context.state.stake(&provisioner)?.ok_or_else(|| refused("there is no such stake"))?;
    let owner = owner_key(record.owner, call.account())?;
    let message = call.signature_message();
    check(context, "owner", &owner, &call.signature().owner, &message)?;
    check(context, "account", call.account(), &call.signature().account, &message)?;
    Ok((provisioner, record, StakeKeys::new(*call.account(), owner)))
}

fn unstake(context: &mut CallContext<'_>, call: &Withdraw) -> Result<(), CallError> {
    let (provisioner, mut record, keys) = authorised(context, call)?;
    let transfer = call.transfer_withdraw();
    let parts = record.take(transfer.value())?;
    let receiver = receiver(context, transfer)?;
    context.pay(&receiver, transfer.value())?;
    context.emit_as(TRANSFER_CONTRACT, WITHDRAW_TOPIC, &WithdrawEvent::from(transfer.clone()))?;
    context.emit_as(STAKE_CONTRACT, "unstake", &StakeEvent::new(keys, parts.value).locked(parts.locked))?;
    context.state.set_stake(&provisioner, (!record.is_spent()).then_some(record));
    Ok(())
}

fn withdraw(context: &mut CallContext<'_>, call: &Withdraw) -> Result<(), CallError> {
    let (provisioner, mut record, keys) = authorised(context, call)?;
    let transfer = call.transfer_withdraw();
    record.take_reward(transfer.value())?;
    let receiver = receiver(context, transfer)?;
    // Rewards are new lux: they come into being when they are withdrawn.
    if !context.state.credit(&receiver, transfer.value())? {
        return Err(refused("the receiver's balance would overflow"));
    }
    context.emit_as(TRANSFER_CONTRACT, MINT_TOPIC, &WithdrawEvent::from(transfer.clone()))?;
    context.emit_as(STAKE_CONTRACT, "withdraw", &StakeEvent::new(keys, transfer.value()))?;
    context.state.set_stake(&provisioner, (!record.is_spent()).then_some(record));
    Ok(())
}

/// Receiver and signature of a withdrawal to a Moonlight account.
fn moonlight(withdraw: &TransferWithdraw) -> Result<(&PublicKey, &Signature), CallError> {
    match (withdraw.receiver(), withdraw.signature()) {
        (WithdrawReceiver::Moonlight(key), WithdrawSignature::Moonlight(signature)) => Ok((key, signature)),
        _ => Err(refused("Phoenix is not supported: withdraw to a Moonlight account")),
    }
}

/// Checks that a withdrawal is from this contract, for this transaction, and signed by the account that receives it.
fn receiver(context: &mut CallContext<'_>, withdraw: &TransferWithdraw) -> Result<AccountId, CallError> {
    if *withdraw.contract() != STAKE_CONTRACT {
        return Err(refused("the withdrawal is from another contract"));
    }
    match withdraw.token() {
        WithdrawReplayToken::Moonlight(nonce) if *nonce == context.caller.nonce => {}
        _ => return Err(refused("the withdrawal is not for this transaction: it must name its nonce")),
    }
    let (key, signature) = moonlight(withdraw)?;
    let id = identity(key)?;
    check(context, "receiver", key, signature, &withdraw.signature_message())?;
    Ok(id)
}

#[cfg(test)]
#[path = "stake_tests.rs"]
mod tests;
