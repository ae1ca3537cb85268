//! Small contracts that messages meet, in bytecode.

use alloy_primitives::{Address, Bytes, U256, hex};
use revm::{bytecode::Bytecode, state::AccountInfo};

use crate::chain::Chain;

/// Reverts until its slot 0 is set.
pub(crate) const STUBBORN: &str = "600054600b5760006000fd5b00";

/// Takes all gas that it gets.
pub(crate) const GLUTTON: &str = "5b600056";

/// Keeps what the caller answers to `xDomainMessageSender()` in slot 0, the value in slot 1, the first word of the input
/// in slot 2, the gas that it began with in slot 3.
pub(crate) const RECORDER: &str = concat!(
    "5a600355", // gas
    "636e296e45600052",
    "602060006004601c6000335af150", // call the caller
    "600051600055",
    "34600155",
    "60003560025500",
);

/// Calls its caller with its input, and keeps in slot 0 whether that went well.
pub(crate) const ECHO: &str = "366000600037600060003660006000335af160005500";

/// Calls the contract in its slot 0 with its own input and value, and ends as that ends.
pub(crate) const FORWARDER: &str = "36600060003760006000366000346000545af13d600060003e6020573d6000fd5b3d6000f3";

/// Answers every question with 1.
pub(crate) const YES: &str = "600160005260206000f3";

/// Puts code at an address.
pub(crate) fn install(chain: &mut Chain, address: Address, code: impl AsRef<[u8]>) {
    let code = Bytecode::new_raw(Bytes::copy_from_slice(code.as_ref()));
    chain.db.insert_account_info(address, AccountInfo::default().with_code(code));
}

/// Puts one of the contracts above at an address.
pub(crate) fn place(chain: &mut Chain, address: Address, code: &str) {
    install(chain, address, hex::decode(code).unwrap());
}

/// Sets a slot.
pub(crate) fn set(chain: &mut Chain, address: Address, slot: U256, value: U256) {
    chain.db.insert_account_storage(address, slot, value).unwrap();
}
