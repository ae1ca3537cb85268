//! All contracts of a network: who is who, and which call goes where.

use alloc::vec::Vec;

use alloy_primitives::{Address, B256, Bytes};
use alloy_rlp::{Decodable, Encodable, RlpDecodable};

use crate::args::Arguments;
use crate::genesis::Genesis;
use crate::host::{Host, Storage};
use crate::methods::NEXT_NONCE;
use crate::refusal::{Error, Refusal};
use crate::{bridge, inbox, messenger, portal, system_config};

/// Gas to write one value of a contract's storage.
pub(crate) const RECORD_GAS: u64 = 20_000;

/// Gas for each byte of an event.
pub(crate) const LOG_BYTE_GAS: u64 = 10;

/// One of the contracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contract {
    /// Takes batches.
    BatchInbox,
    /// OptimismPortal.
    Portal,
    /// L1CrossDomainMessenger.
    Messenger,
    /// L1StandardBridge.
    StandardBridge,
    /// L1ERC721Bridge.
    Erc721Bridge,
    /// SystemConfig.
    SystemConfig,
}

impl Contract {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::BatchInbox, Self::Portal, Self::Messenger, Self::StandardBridge, Self::Erc721Bridge, Self::SystemConfig];

    /// Names of the functions that a transaction can call.
    pub const fn functions(self) -> &'static [&'static str] {
        match self {
            Self::BatchInbox => &["submitEnvelope"],
            Self::Portal => &["depositTransaction"],
            Self::Messenger => &["sendMessage"],
            Self::StandardBridge => &["depositETHToWithValue", "bridgeERC20To"],
            Self::Erc721Bridge => &["bridgeERC721To"],
            Self::SystemConfig => &[
                "setBatcherHash",
                "setGasConfigEcotone",
                "setGasLimit",
                "setEIP1559Params",
                "setOperatorFeeScalars",
                "setMinBaseFee",
                "setDAFootprintGasScalar",
                "setUnsafeBlockSigner",
                "transferOwnership",
            ],
        }
    }
}

/// Ids of the contracts. All must differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contracts {
    /// Takes batches.
    pub batch_inbox: B256,
    /// OptimismPortal.
    pub portal: B256,
    /// L1CrossDomainMessenger.
    pub messenger: B256,
    /// L1StandardBridge.
    pub standard_bridge: B256,
    /// L1ERC721Bridge.
    pub erc721_bridge: B256,
    /// SystemConfig.
    pub system_config: B256,
}

impl Contracts {
    /// The id of a contract.
    pub const fn id(&self, contract: Contract) -> &B256 {
        match contract {
            Contract::BatchInbox => &self.batch_inbox,
            Contract::Portal => &self.portal,
            Contract::Messenger => &self.messenger,
            Contract::StandardBridge => &self.standard_bridge,
            Contract::Erc721Bridge => &self.erc721_bridge,
            Contract::SystemConfig => &self.system_config,
        }
    }

    /// The contract with this id.
    pub fn find(&self, id: &B256) -> Option<Contract> {
        Contract::ALL.into_iter().find(|contract| self.id(*contract) == id)
    }
}

/// The contracts of one network. All that changes is in their storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    contracts: Contracts,
    l1_chain_id: u64,
}

#[derive(RlpDecodable)]
struct NoArgs {}

#[derive(RlpDecodable)]
struct OneAddress {
    address: Address,
}

#[derive(RlpDecodable)]
struct OneNumber {
    number: u64,
}

#[derive(RlpDecodable)]
struct MessageAndGas {
    message: Bytes,
    min_gas_limit: u32,
}

impl Settlement {
    /// The contracts that begin with `genesis`.
    pub fn new(genesis: &Genesis) -> Self {
        Self { contracts: genesis.contracts, l1_chain_id: genesis.l1_chain_id }
    }

    /// Where they stand.
    pub fn contracts(&self) -> &Contracts {
        &self.contracts
    }

    /// Chain id of the L1 view.
    pub fn l1_chain_id(&self) -> u64 {
        self.l1_chain_id
    }

    /// Runs one call. `args` are the RLP list of the function's arguments; see [`crate::args`].
    ///
    /// # Errors
    /// [`Error::Refused`] if the call breaks a rule, [`Error::Host`] if the ledger ends it. Whatever it has done then must be undone.
    pub fn call<H: Host>(
        &self,
        host: &mut H,
        contract: Contract,
        function: &str,
        args: &[u8],
    ) -> Result<(), Error<H::Fault>> {
        match (contract, function) {
            (Contract::BatchInbox, "submitEnvelope") => inbox::submit_envelope(self, host, decode(args)?),
            (Contract::Portal, "depositTransaction") => portal::deposit_transaction(self, host, decode(args)?),
            (Contract::Messenger, "sendMessage") => messenger::send_message(self, host, decode(args)?),
            (Contract::StandardBridge, "depositETHToWithValue") => {
                bridge::deposit_eth_to_with_value(self, host, decode(args)?)
            }
            (Contract::StandardBridge, "bridgeERC20To") => Err(bridge::bridge_erc20_to(decode(args)?).into()),
            (Contract::Erc721Bridge, "bridgeERC721To") => Err(bridge::bridge_erc721_to(decode(args)?).into()),
            (Contract::SystemConfig, name) => self.change_config(host, name, args),
            (_, other) => Err(Refusal::UnknownFunction(other.into()).into()),
        }
    }

    fn change_config<H: Host>(&self, host: &mut H, name: &str, args: &[u8]) -> Result<(), Error<H::Fault>> {
        use crate::args::{
            SetBatcherHash, SetDaFootprintGasScalar, SetEip1559Params, SetGasConfigEcotone, SetGasLimit, SetMinBaseFee,
            SetOperatorFeeScalars, SetUnsafeBlockSigner, TransferOwnership,
        };
        use system_config::change;
        match name {
            "setBatcherHash" => change(self, host, decode::<SetBatcherHash>(args)?),
            "setGasConfigEcotone" => change(self, host, decode::<SetGasConfigEcotone>(args)?),
            "setGasLimit" => change(self, host, decode::<SetGasLimit>(args)?),
            "setEIP1559Params" => change(self, host, decode::<SetEip1559Params>(args)?),
            "setOperatorFeeScalars" => change(self, host, decode::<SetOperatorFeeScalars>(args)?),
            "setMinBaseFee" => change(self, host, decode::<SetMinBaseFee>(args)?),
            "setDAFootprintGasScalar" => change(self, host, decode::<SetDaFootprintGasScalar>(args)?),
            "setUnsafeBlockSigner" => change(self, host, decode::<SetUnsafeBlockSigner>(args)?),
            "transferOwnership" => change(self, host, decode::<TransferOwnership>(args)?),
            other => Err(Refusal::UnknownFunction(other.into()).into()),
        }
    }

    /// The nonce that the batch inbox takes next from a signer: so many of its envelopes are in the view.
    ///
    /// # Errors
    /// If the ledger cannot answer, or its record is damaged.
    pub fn next_nonce<S: Storage>(&self, storage: &S, signer: &Address) -> Result<u64, Error<S::Fault>> {
        inbox::next_nonce(storage, &self.contracts.batch_inbox, signer)
    }

    /// Answers a question to a contract, without changing anything: the RLP form of the value.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no such question, [`Error::Host`] if the ledger cannot answer.
    pub fn read<S: Storage>(
        &self,
        storage: &S,
        contract: Contract,
        method: &str,
        args: &[u8],
    ) -> Result<Vec<u8>, Error<S::Fault>> {
        match (contract, method) {
            (Contract::BatchInbox, NEXT_NONCE) => {
                let OneAddress { address } = question(NEXT_NONCE, args)?;
                Ok(rlp(&self.next_nonce(storage, &address)?))
            }
            (Contract::Portal, "minimumGasLimit") => {
                let OneNumber { number } = question("minimumGasLimit", args)?;
                Ok(rlp(&portal::minimum_gas_limit(number)))
            }
            (Contract::Messenger, "messageNonce") => {
                let NoArgs {} = question("messageNonce", args)?;
                Ok(rlp(&messenger::message_nonce(storage, &self.contracts.messenger)?))
            }
            (Contract::Messenger, "baseGas") => {
                let MessageAndGas { message, min_gas_limit } = question("baseGas", args)?;
                Ok(rlp(&messenger::base_gas(message.len() as u64, min_gas_limit)))
            }
            (Contract::SystemConfig, name) => self.read_config(storage, name, args),
            (_, other) => Err(Refusal::UnknownFunction(other.into()).into()),
        }
    }

    fn read_config<S: Storage>(&self, storage: &S, name: &str, args: &[u8]) -> Result<Vec<u8>, Error<S::Fault>> {
        let config = system_config::load(storage, &self.contracts.system_config)?;
        let (base_fee_scalar, blob_base_fee_scalar) = config.fee_scalars();
        let value = match name {
            "owner" => rlp(&config.owner),
            "batcherHash" => rlp(&config.batcher.into_word()),
            "overhead" => rlp(&config.overhead),
            "scalar" => rlp(&config.scalar),
            "basefeeScalar" => rlp(&base_fee_scalar),
            "blobbasefeeScalar" => rlp(&blob_base_fee_scalar),
            "gasLimit" => rlp(&config.gas_limit),
            "minimumGasLimit" => rlp(&system_config::MIN_GAS_LIMIT),
            "maximumGasLimit" => rlp(&system_config::MAX_GAS_LIMIT),
            "eip1559Denominator" => rlp(&config.eip1559_denominator),
            "eip1559Elasticity" => rlp(&config.eip1559_elasticity),
            "operatorFeeScalar" => rlp(&config.operator_fee_scalar),
            "operatorFeeConstant" => rlp(&config.operator_fee_constant),
            "minBaseFee" => rlp(&config.min_base_fee),
            "daFootprintGasScalar" => rlp(&config.da_footprint_gas_scalar),
            "unsafeBlockSigner" => rlp(&config.unsafe_block_signer),
            other => return Err(Refusal::UnknownFunction(other.into()).into()),
        };
        let NoArgs {} = question("the value", args)?;
        Ok(value)
    }
}

fn decode<A: Arguments>(args: &[u8]) -> Result<A, Refusal> {
    A::decode_args(args)
}

fn question<A: Decodable>(name: &'static str, args: &[u8]) -> Result<A, Refusal> {
    alloy_rlp::decode_exact(args).map_err(|_| Refusal::Arguments(name))
}

fn rlp(value: &impl Encodable) -> Vec<u8> {
    alloy_rlp::encode(value)
}
