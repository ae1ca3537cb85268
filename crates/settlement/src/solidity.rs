//! The contracts as an Ethereum client reads them: the functions of their Solidity originals that only read, and the storage slots
//! that programs of the OP Stack know.
//!
//! What [`Settlement::read`] answers is answered here too, under the same names with arguments and values in Solidity's ABI. To that
//! come values that never change, such as the addresses of the other contracts.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use alloy_primitives::{Address, B256, Bytes, U256, address, b256, keccak256};
use alloy_rlp::{Encodable, Header};
use alloy_sol_types::{Revert, SolError as _, SolValue as _};
use duskevm_l1_view::contract_address;

use crate::bridge::L2_STANDARD_BRIDGE;
use crate::host::Storage;
use crate::messenger::{L2_CROSS_DOMAIN_MESSENGER, MESSAGE_VERSION};
use crate::methods::{Kind, Method, Type};
use crate::refusal::{Error, Refusal};
use crate::settlement::{Contract, Settlement};
use crate::system_config;

/// Slot of SystemConfig in which op-node looks for the signer of unsafe blocks: keccak256 of `systemconfig.unsafeblocksigner`
/// (`SystemConfig.UNSAFE_BLOCK_SIGNER_SLOT`).
pub const UNSAFE_BLOCK_SIGNER_SLOT: B256 = b256!("65a7ed542fb37fe237fdfbdd70b31598523fe5b32879e307bae27a0bd9581c08");

/// What `OptimismPortal.l2Sender` says while no withdrawal is being finalized (`Constants.DEFAULT_L2_SENDER`).
const NO_L2_SENDER: Address = address!("000000000000000000000000000000000000dead");

/// The bridge of ERC-721 tokens on L2.
const L2_ERC721_BRIDGE: Address = address!("4200000000000000000000000000000000000014");

/// Why a call gets no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewCallError<F> {
    /// The contract refuses it. The bytes are what Solidity's `revert` gives: `Error(string)`, or nothing.
    #[error("the call reverted")]
    Reverted(Vec<u8>),
    /// The ledger cannot answer.
    #[error("the ledger failed")]
    Host(F),
}

impl<F> ViewCallError<F> {
    fn because(reason: impl Into<String>) -> Self {
        Self::Reverted(Revert { reason: reason.into() }.abi_encode())
    }
}

impl<F> From<Error<F>> for ViewCallError<F> {
    fn from(error: Error<F>) -> Self {
        match error {
            Error::Host(fault) => Self::Host(fault),
            Error::Refused(refusal) => Self::because(format!("{refusal}")),
        }
    }
}

impl Settlement {
    /// The contract at an Ethereum address.
    pub fn contract_at(&self, address: Address) -> Option<Contract> {
        Contract::ALL.into_iter().find(|contract| self.address_of(*contract) == address)
    }

    /// The Ethereum address of a contract.
    pub fn address_of(&self, contract: Contract) -> Address {
        contract_address(self.contracts().id(contract))
    }

    /// Answers a call that only reads, in Solidity's ABI. A function that changes something reverts with a reason, as do unknown ones
    /// without one.
    ///
    /// # Errors
    /// See [`ViewCallError`].
    pub fn view_call<S: Storage>(
        &self,
        storage: &S,
        contract: Contract,
        input: &[u8],
    ) -> Result<Vec<u8>, ViewCallError<S::Fault>> {
        let Some((selector, args)) = input.split_first_chunk::<4>() else {
            return Err(ViewCallError::Reverted(Vec::new()));
        };
        let is_called = |signature: &str| keccak256(signature).starts_with(selector);
        if let Some(constant) = self.constants(contract).into_iter().find(|constant| is_called(constant.0)) {
            return Ok(constant.1);
        }
        let of_contract = Method::all().iter().filter(|method| method.contract == contract);
        let Some(method) = of_contract.into_iter().find(|method| is_called(&signature(method))) else {
            return Err(ViewCallError::Reverted(Vec::new()));
        };
        let Kind::Read(answer) = method.kind else {
            let name = method.name;
            return Err(ViewCallError::because(format!(
                "{name} is called by a Dusk transaction, not over this endpoint"
            )));
        };
        let args = rlp_args(method, args).ok_or(ViewCallError::Reverted(Vec::new()))?;
        let value = self.read(storage, contract, method.name, &args)?;
        abi_value(answer, &value).ok_or_else(|| Error::from(Refusal::Damaged("an answer")).into())
    }

    /// A storage slot of a contract. Zero, as for a slot that was never written, for all but [`UNSAFE_BLOCK_SIGNER_SLOT`] of SystemConfig:
    /// the state of the contracts is not laid out in slots.
    ///
    /// # Errors
    /// If the ledger cannot answer, or its record is damaged.
    pub fn storage_slot<S: Storage>(
        &self,
        storage: &S,
        contract: Contract,
        slot: B256,
    ) -> Result<B256, Error<S::Fault>> {
        if contract != Contract::SystemConfig || slot != UNSAFE_BLOCK_SIGNER_SLOT {
            return Ok(B256::ZERO);
        }
        let config = system_config::load(storage, &self.contracts().system_config)?;
        Ok(config.unsafe_block_signer.into_word())
    }

    /// Functions without arguments whose answers never change, with these answers.
    fn constants(&self, contract: Contract) -> Vec<(&'static str, Vec<u8>)> {
        let at = |contract| self.address_of(contract).abi_encode();
        let version = || env!("CARGO_PKG_VERSION").abi_encode();
        let no = || false.abi_encode();
        match contract {
            Contract::BatchInbox => Vec::new(),
            Contract::Portal => [
                ("version()", version()),
                ("paused()", no()),
                ("l2Sender()", NO_L2_SENDER.abi_encode()),
                ("systemConfig()", at(Contract::SystemConfig)),
            ]
            .into(),
            Contract::Messenger => [
                ("version()", version()),
                ("paused()", no()),
                ("MESSAGE_VERSION()", U256::from(MESSAGE_VERSION).abi_encode()),
                ("PORTAL()", at(Contract::Portal)),
                ("portal()", at(Contract::Portal)),
                ("OTHER_MESSENGER()", L2_CROSS_DOMAIN_MESSENGER.abi_encode()),
                ("otherMessenger()", L2_CROSS_DOMAIN_MESSENGER.abi_encode()),
            ]
            .into(),
            Contract::StandardBridge => bridge(version(), no(), at(Contract::Messenger), L2_STANDARD_BRIDGE),
            Contract::Erc721Bridge => bridge(version(), no(), at(Contract::Messenger), L2_ERC721_BRIDGE),
            Contract::SystemConfig => [
                ("version()", version()),
                ("VERSION()", U256::ZERO.abi_encode()),
                ("paused()", no()),
                // The view begins with the contracts.
                ("startBlock()", U256::ZERO.abi_encode()),
                ("UNSAFE_BLOCK_SIGNER_SLOT()", UNSAFE_BLOCK_SIGNER_SLOT.abi_encode()),
                ("batchInbox()", at(Contract::BatchInbox)),
                ("optimismPortal()", at(Contract::Portal)),
                ("l1CrossDomainMessenger()", at(Contract::Messenger)),
                ("l1StandardBridge()", at(Contract::StandardBridge)),
                ("l1ERC721Bridge()", at(Contract::Erc721Bridge)),
            ]
            .into(),
        }
    }
}

fn bridge(version: Vec<u8>, paused: Vec<u8>, messenger: Vec<u8>, other: Address) -> Vec<(&'static str, Vec<u8>)> {
    [
        ("version()", version),
        ("paused()", paused),
        ("MESSENGER()", messenger.clone()),
        ("messenger()", messenger),
        ("OTHER_BRIDGE()", other.abi_encode()),
        ("otherBridge()", other.abi_encode()),
    ]
    .into()
}

/// The signature from which the selector comes.
fn signature(method: &Method) -> String {
    let inputs: Vec<String> = method.inputs.iter().map(|(_, kind)| solidity_name(*kind)).collect();
    format!("{}({})", method.name, inputs.join(","))
}

fn solidity_name(kind: Type) -> String {
    match kind {
        Type::Address => "address".into(),
        Type::Hash => "bytes32".into(),
        Type::Bytes => "bytes".into(),
        Type::Bool => "bool".into(),
        Type::Uint(bits) => format!("uint{bits}"),
    }
}

/// Arguments from Solidity's ABI to the RLP list that the contracts read; `None` if they do not decode. All of them are one word, but
/// for bytes, whose word says where they begin.
fn rlp_args(method: &Method, args: &[u8]) -> Option<Vec<u8>> {
    let mut payload = Vec::new();
    for (index, (_, kind)) in method.inputs.iter().enumerate() {
        let word: [u8; 32] = word_at(args, index.checked_mul(32)?)?;
        match kind {
            Type::Address => {
                let (zeros, address) = word.split_at(12);
                if zeros.iter().any(|byte| *byte != 0) {
                    return None;
                }
                Address::try_from(address).ok()?.encode(&mut payload);
            }
            Type::Hash => B256::from(word).encode(&mut payload),
            Type::Bool => match U256::from_be_bytes(word) {
                U256::ZERO => false.encode(&mut payload),
                U256::ONE => true.encode(&mut payload),
                _ => return None,
            },
            Type::Uint(bits) => {
                let number = U256::from_be_bytes(word);
                if number.bit_len() > usize::from(*bits) {
                    return None;
                }
                number.encode(&mut payload);
            }
            Type::Bytes => {
                let offset = usize::try_from(U256::from_be_bytes(word)).ok()?;
                let length = usize::try_from(U256::from_be_bytes(word_at(args, offset)?)).ok()?;
                let begin = offset.checked_add(32)?;
                let bytes = args.get(begin..begin.checked_add(length)?)?;
                bytes.encode(&mut payload);
            }
        }
    }
    let mut out = Vec::with_capacity(payload.len() + 9);
    Header { list: true, payload_length: payload.len() }.encode(&mut out);
    out.extend_from_slice(&payload);
    Some(out)
}

fn word_at(args: &[u8], offset: usize) -> Option<[u8; 32]> {
    args.get(offset..offset.checked_add(32)?)?.try_into().ok()
}

/// A value from RLP to Solidity's ABI; `None` if it is not of the type.
fn abi_value(kind: Type, value: &[u8]) -> Option<Vec<u8>> {
    let word = match kind {
        Type::Address => alloy_rlp::decode_exact::<Address>(value).ok()?.into_word(),
        Type::Hash => alloy_rlp::decode_exact::<B256>(value).ok()?,
        Type::Bool => B256::with_last_byte(u8::from(alloy_rlp::decode_exact::<bool>(value).ok()?)),
        Type::Uint(_) => alloy_rlp::decode_exact::<U256>(value).ok()?.into(),
        Type::Bytes => return Some(alloy_rlp::decode_exact::<Bytes>(value).ok()?.abi_encode()),
    };
    Some(word.to_vec())
}

#[cfg(test)]
mod tests;
