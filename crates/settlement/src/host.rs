//! What the contracts ask of the ledger that runs them.

use alloc::vec::Vec;

use alloy_primitives::{Address, B256};
use duskevm_l1_view::contract_address;

use crate::identity::{apply_alias, wallet_address};
use crate::refusal::Error;

/// Reads the storage of the contracts.
pub trait Storage {
    /// What is wrong when the ledger fails, as opposed to the call.
    type Fault;

    /// A value of a contract's storage; `None` if nothing is there.
    ///
    /// # Errors
    /// [`Error::Host`] if the ledger cannot answer.
    fn get(&self, contract: &B256, key: &[u8]) -> Result<Option<Vec<u8>>, Error<Self::Fault>>;
}

/// One running call. If the call fails, the ledger undoes everything that it did.
///
/// The contracts of a rollup belong together: one of them acts in the storage and in the name of another where on Ethereum it would
/// call it.
pub trait Host: Storage {
    /// Who called the entry point.
    fn caller(&self) -> Caller;

    /// Height of the Dusk block.
    fn height(&self) -> u64;

    /// Spends gas.
    ///
    /// # Errors
    /// [`Error::Host`] if there is less left; the call ends.
    fn charge(&mut self, gas: u64) -> Result<(), Error<Self::Fault>>;

    /// Writes a value of a contract's storage; `None` removes it.
    fn set(&mut self, contract: &B256, key: &[u8], value: Option<Vec<u8>>);

    /// Lux that the caller attached to the call and no contract took yet.
    fn attached(&self) -> u64;

    /// Gives the attached lux to `contract`, which must be the called one. Returns how much it was.
    ///
    /// # Errors
    /// [`Error::Host`] if the contract cannot hold so much.
    fn take_attached(&mut self, contract: &B256) -> Result<u64, Error<Self::Fault>>;

    /// Moves lux from one contract to another.
    ///
    /// # Errors
    /// [`Error::Host`] if the one has less, or the other cannot hold so much.
    fn transfer(&mut self, from: &B256, to: &B256, lux: u64) -> Result<(), Error<Self::Fault>>;

    /// Whether the blob with this versioned hash came to L1 in an earlier block, or earlier in this block, and is kept.
    ///
    /// # Errors
    /// [`Error::Host`] if the ledger cannot answer.
    fn has_blob(&self, versioned_hash: &B256) -> Result<bool, Error<Self::Fault>>;

    /// Emits an event of a contract.
    fn emit(&mut self, contract: &B256, topic: &'static str, data: Vec<u8>);
}

/// Who calls. A wallet and a contract are distinct identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// A Moonlight account, by its compressed BLS public key.
    Wallet([u8; 96]),
    /// A Dusk contract, by its id.
    Contract(B256),
}

impl Caller {
    /// The caller as an Ethereum address.
    pub fn address(&self) -> Address {
        match self {
            Self::Wallet(key) => wallet_address(key),
            Self::Contract(id) => contract_address(id),
        }
    }

    /// The sender of its deposits on L2: a contract's address is aliased there (deposits specification, address aliasing).
    pub fn deposit_sender(&self) -> Address {
        match self {
            Self::Wallet(_) => self.address(),
            Self::Contract(_) => apply_alias(self.address()),
        }
    }
}
