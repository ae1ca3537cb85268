//! Which entry points there are, with the types of their arguments and answers.

use crate::settlement::Contract;

/// Type of an argument or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// 20 bytes.
    Address,
    /// 32 bytes.
    Hash,
    /// Any bytes.
    Bytes,
    /// 0 or 1.
    Bool,
    /// A number of at most so many bits, 256 or fewer.
    Uint(u16),
}

/// Whether an entry point changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is called by a transaction, and answers nothing.
    Write,
    /// It is asked of a node, and answers this.
    Read(Type),
}

/// An entry point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// Its contract.
    pub contract: Contract,
    /// Its name.
    pub name: &'static str,
    /// Names and types of its arguments, in order.
    pub inputs: &'static [(&'static str, Type)],
    /// What it does.
    pub kind: Kind,
}

impl Method {
    /// The entry point with this name.
    pub fn find(contract: Contract, name: &str) -> Option<&'static Self> {
        METHODS.iter().find(|method| method.contract == contract && method.name == name)
    }

    /// All of them.
    pub fn all() -> &'static [Self] {
        METHODS
    }
}

use Contract::{BatchInbox, Erc721Bridge, Messenger, Portal, StandardBridge};
use Type::{Address, Bool, Bytes, Hash, Uint};

const fn write(contract: Contract, name: &'static str, inputs: &'static [(&'static str, Type)]) -> Method {
    Method { contract, name, inputs, kind: Kind::Write }
}

const fn read(contract: Contract, name: &'static str, inputs: &'static [(&'static str, Type)], answer: Type) -> Method {
    Method { contract, name, inputs, kind: Kind::Read(answer) }
}

/// The question to the batch inbox for the nonce of a signer's next envelope: what Ethereum calls the transaction count of an address.
pub const NEXT_NONCE: &str = "nextNonce";

const CONFIG: Contract = Contract::SystemConfig;

const METHODS: &[Method] = &[
    write(BatchInbox, "submitEnvelope", &[("envelope", Bytes)]),
    read(BatchInbox, NEXT_NONCE, &[("signer", Address)], Uint(64)),
    write(
        Portal,
        "depositTransaction",
        &[("to", Address), ("value", Uint(256)), ("gas_limit", Uint(64)), ("is_creation", Bool), ("data", Bytes)],
    ),
    read(Portal, "minimumGasLimit", &[("byte_count", Uint(64))], Uint(64)),
    write(Messenger, "sendMessage", &[("target", Address), ("message", Bytes), ("min_gas_limit", Uint(32))]),
    read(Messenger, "messageNonce", &[], Uint(256)),
    read(Messenger, "baseGas", &[("message", Bytes), ("min_gas_limit", Uint(32))], Uint(64)),
    write(
        StandardBridge,
        "depositETHToWithValue",
        &[("to", Address), ("amount_lux", Uint(64)), ("min_gas_limit", Uint(32)), ("extra_data", Bytes)],
    ),
    write(
        StandardBridge,
        "bridgeERC20To",
        &[
            ("l1_token", Address),
            ("l2_token", Address),
            ("to", Address),
            ("amount", Uint(256)),
            ("min_gas_limit", Uint(32)),
            ("extra_data", Bytes),
        ],
    ),
    write(
        Erc721Bridge,
        "bridgeERC721To",
        &[
            ("local_token", Address),
            ("remote_token", Address),
            ("to", Address),
            ("token_id", Uint(256)),
            ("min_gas_limit", Uint(32)),
            ("extra_data", Bytes),
        ],
    ),
    write(CONFIG, "setBatcherHash", &[("batcher_hash", Hash)]),
    write(CONFIG, "setGasConfigEcotone", &[("basefee_scalar", Uint(32)), ("blobbasefee_scalar", Uint(32))]),
    write(CONFIG, "setGasLimit", &[("gas_limit", Uint(64))]),
    write(CONFIG, "setEIP1559Params", &[("denominator", Uint(32)), ("elasticity", Uint(32))]),
    write(CONFIG, "setOperatorFeeScalars", &[("operator_fee_scalar", Uint(32)), ("operator_fee_constant", Uint(64))]),
    write(CONFIG, "setMinBaseFee", &[("min_base_fee", Uint(64))]),
    write(CONFIG, "setDAFootprintGasScalar", &[("da_footprint_gas_scalar", Uint(16))]),
    write(CONFIG, "setUnsafeBlockSigner", &[("unsafe_block_signer", Address)]),
    write(CONFIG, "transferOwnership", &[("new_owner", Address)]),
    read(CONFIG, "owner", &[], Address),
    read(CONFIG, "batcherHash", &[], Hash),
    read(CONFIG, "overhead", &[], Hash),
    read(CONFIG, "scalar", &[], Hash),
    read(CONFIG, "basefeeScalar", &[], Uint(32)),
    read(CONFIG, "blobbasefeeScalar", &[], Uint(32)),
    read(CONFIG, "gasLimit", &[], Uint(64)),
    read(CONFIG, "minimumGasLimit", &[], Uint(64)),
    read(CONFIG, "maximumGasLimit", &[], Uint(64)),
    read(CONFIG, "eip1559Denominator", &[], Uint(32)),
    read(CONFIG, "eip1559Elasticity", &[], Uint(32)),
    read(CONFIG, "operatorFeeScalar", &[], Uint(32)),
    read(CONFIG, "operatorFeeConstant", &[], Uint(64)),
    read(CONFIG, "minBaseFee", &[], Uint(64)),
    read(CONFIG, "daFootprintGasScalar", &[], Uint(16)),
    read(CONFIG, "unsafeBlockSigner", &[], Address),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_function_name_begins_another_one_of_its_contract() {
        // The id of a transaction does not tell where the name ends and the arguments begin.
        for contract in Contract::ALL {
            let names = contract.functions();
            for (index, name) in names.iter().enumerate() {
                let others = names.iter().enumerate().filter(|(other, _)| *other != index);
                assert!(others.into_iter().all(|(_, other)| !other.starts_with(name)), "{name}");
            }
        }
    }

    #[test]
    fn functions_are_the_methods_that_write() {
        for contract in Contract::ALL {
            let writes: Vec<&str> = Method::all()
                .iter()
                .filter(|method| method.contract == contract && method.kind == Kind::Write)
                .map(|method| method.name)
                .collect();
            assert_eq!(contract.functions(), writes);
        }
        assert!(Method::find(Contract::Portal, "depositTransaction").is_some());
        assert!(Method::find(Contract::Messenger, "depositTransaction").is_none());
    }
}
