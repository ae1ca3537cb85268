//! L1CrossDomainMessenger, as far as it sends messages to L2.

use alloy_primitives::{Address, B256, Bytes, U256, address};
use alloy_sol_types::SolCall;

use crate::abi::{self, SentMessage, SentMessageExtension1, relayMessageCall};
use crate::args::SendMessage;
use crate::host::{Caller, Host, Storage};
use crate::portal::{self, Deposit, lux_to_wei};
use crate::refusal::{Error, Refusal};
use crate::settlement::{LOG_BYTE_GAS, RECORD_GAS, Settlement};

/// Who relays messages on L2.
pub const L2_CROSS_DOMAIN_MESSENGER: Address = address!("4200000000000000000000000000000000000007");

/// Version of the message encoding, in the two highest bytes of a nonce.
pub(crate) const MESSAGE_VERSION: u16 = 1;

const NONCE_KEY: &[u8] = b"nonce";

/// Gas on L2 of a message of so many bytes whose receiver gets at least `min_gas_limit` (`CrossDomainMessenger.baseGas`).
///
/// What the relay needs besides the receiver: 200,000 all in all, 40,000 for the call, 40,000 kept back after it, 5,000 between check
/// and call; and what the encoded message costs as call data, which is the floor of EIP-7623 where that is more. The encoding adds at
/// most 260 bytes to a message. So the portal's least gas limit is never undercut.
pub fn base_gas(message_bytes: u64, min_gas_limit: u32) -> u64 {
    const CALL: u64 = 21_000;
    const RELAY: u64 = 200_000 + 40_000 + 40_000 + 5_000;
    const ENCODING_BYTES: u64 = 260;
    let bytes = message_bytes.saturating_add(ENCODING_BYTES);
    // The receiver gets 63 of 64 parts of what is left (EIP-150).
    let execution = RELAY + u64::from(min_gas_limit) * 64 / 63;
    let gas = bytes.saturating_mul(16).saturating_add(execution);
    gas.max(bytes.saturating_mul(40)).saturating_add(CALL)
}

pub(crate) fn send_message<H: Host>(
    settlement: &Settlement,
    host: &mut H,
    args: SendMessage,
) -> Result<(), Error<H::Fault>> {
    let attached = host.attached();
    if attached != 0 {
        return Err(Refusal::NotPayable("a message (only the standard bridge brings DUSK to L2)", attached).into());
    }
    let SendMessage { target, message, min_gas_limit } = args;
    send(settlement, host, host.caller(), Message { target, message, min_gas_limit, lux: 0 })
}

pub(crate) struct Message {
    pub(crate) target: Address,
    pub(crate) message: Bytes,
    pub(crate) min_gas_limit: u32,
    /// What it carries. The portal holds it already.
    pub(crate) lux: u64,
}

pub(crate) fn send<H: Host>(
    settlement: &Settlement,
    host: &mut H,
    from: Caller,
    message: Message,
) -> Result<(), Error<H::Fault>> {
    let messenger = &settlement.contracts().messenger;
    let count = nonce_count(host, messenger)?;
    let Message { target, message, min_gas_limit, lux } = message;
    let (sender, value, nonce) = (from.address(), lux_to_wei(lux), versioned(count));
    let gas_limit = base_gas(message.len() as u64, min_gas_limit);
    let relay = relayMessageCall {
        nonce,
        sender,
        target,
        value,
        minGasLimit: U256::from(min_gas_limit),
        message: message.clone(),
    };
    portal::deposit(
        settlement,
        host,
        Caller::Contract(*messenger),
        Deposit {
            to: L2_CROSS_DOMAIN_MESSENGER,
            minted: lux,
            value,
            gas_limit,
            is_creation: false,
            data: relay.abi_encode().into(),
        },
    )?;
    host.charge(LOG_BYTE_GAS.saturating_mul(message.len() as u64))?;
    let sent = SentMessage { target, sender, message, messageNonce: nonce, gasLimit: U256::from(min_gas_limit) };
    abi::log(host, messenger, &sent);
    abi::log(host, messenger, &SentMessageExtension1 { sender, value });

    host.charge(RECORD_GAS)?;
    host.set(messenger, NONCE_KEY, Some(count.saturating_add(1).to_be_bytes().into()));
    Ok(())
}

/// Nonce of the next message, with its version.
pub(crate) fn message_nonce<S: Storage>(storage: &S, messenger: &B256) -> Result<U256, Error<S::Fault>> {
    Ok(versioned(nonce_count(storage, messenger)?))
}

fn nonce_count<S: Storage>(storage: &S, messenger: &B256) -> Result<u64, Error<S::Fault>> {
    match storage.get(messenger, NONCE_KEY)? {
        None => Ok(0),
        Some(bytes) => match <[u8; 8]>::try_from(bytes.as_slice()) {
            Ok(bytes) => Ok(u64::from_be_bytes(bytes)),
            Err(_) => Err(Refusal::Damaged("the message nonce").into()),
        },
    }
}

fn versioned(count: u64) -> U256 {
    let version: U256 = U256::from(MESSAGE_VERSION) << 240;
    version | U256::from(count)
}

#[cfg(test)]
mod tests;
