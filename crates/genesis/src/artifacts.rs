//! The compiled system contracts, embedded.
//!
//! `contracts/build.mjs` writes the artifacts and can check them against their sources; a test of this crate checks
//! the recorded source hashes without needing the compiler.

use std::{collections::BTreeMap, sync::OnceLock};

use alloy_primitives::{B256, Bytes, FixedBytes, keccak256};
use serde::Deserialize;

use crate::error::GenesisError;

/// A contract of `contracts/src`, as compiled.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Source file that defines the contract, relative to `contracts/`.
    pub source: String,
    /// keccak256 of every source file the contract was compiled from, by path relative to `contracts/`.
    pub sources: BTreeMap<String, B256>,
    /// Function selectors by signature.
    pub selectors: BTreeMap<String, FixedBytes<4>>,
    /// Creation code, without constructor arguments.
    pub bytecode: Bytes,
    /// Runtime code, as genesis installs it. Contracts that only factories make have none: their constructors complete
    /// it.
    #[serde(default)]
    pub deployed_bytecode: Option<Bytes>,
}

macro_rules! contracts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A contract whose artifact is embedded.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Contract {
            $($(#[$doc])* $name,)*
        }

        impl Contract {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The contract's name in its source.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The artifact as it is in the repository: JSON with ABI, storage layout, code and source hashes.
            pub const fn json(self) -> &'static str {
                match self {
                    $(Self::$name => include_str!(
                        concat!("../../../contracts/artifacts/", stringify!($name), ".json")
                    ),)*
                }
            }
        }
    };
}

contracts! {
    /// What L2 knows of its L1 origin.
    L1Block,
    /// Estimates of L1 and operator fees.
    GasPriceOracle,
    /// The outbox for withdrawals.
    L2ToL1MessagePasser,
    /// Priority fees.
    SequencerFeeVault,
    /// Base fees.
    BaseFeeVault,
    /// L1 data fees.
    L1FeeVault,
    /// Operator fees.
    OperatorFeeVault,
    /// Wrapped DUSK.
    WETH9,
    /// The ERC-1967 proxy in front of the predeploys.
    Proxy,
    /// Admin of the proxies.
    ProxyAdmin,
    /// Batched calls.
    Multicall3,
    /// Messages between the layers.
    L2CrossDomainMessenger,
    /// The bridge for DUSK and fungible tokens.
    L2StandardBridge,
    /// The bridge for tokens of unique things.
    L2ERC721Bridge,
    /// The number of the L1 origin.
    L1BlockNumber,
    /// Makes fungible tokens that stand for L1 ones.
    OptimismMintableERC20Factory,
    /// Makes tokens of unique things that stand for L1 ones.
    OptimismMintableERC721Factory,
    /// What the first factory makes.
    OptimismMintableERC20,
    /// What the second factory makes.
    OptimismMintableERC721,
}

impl Contract {
    /// The parsed artifact. Parsed once.
    ///
    /// # Errors
    /// [`GenesisError::Artifact`] if the embedded JSON is not an artifact.
    pub fn artifact(self) -> Result<&'static Artifact, GenesisError> {
        static PARSED: [OnceLock<Result<Artifact, String>>; Contract::ALL.len()] =
            [const { OnceLock::new() }; Contract::ALL.len()];
        PARSED[self as usize]
            .get_or_init(|| serde_json::from_str(self.json()).map_err(|e| e.to_string()))
            .as_ref()
            .map_err(|problem| GenesisError::Artifact { name: self.name(), problem: problem.clone() })
    }

    /// The runtime code.
    ///
    /// # Errors
    /// As for [`Contract::artifact`]; [`GenesisError::NoRuntimeCode`] for contracts that only factories make.
    pub fn runtime(self) -> Result<Bytes, GenesisError> {
        self.artifact()?.deployed_bytecode.clone().ok_or(GenesisError::NoRuntimeCode(self.name()))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct External {
    code_hash: B256,
    deployed_bytecode: Bytes,
}

/// Code of the CREATE2 deployer that Canyon puts on every OP chain.
///
/// # Errors
/// [`GenesisError::Artifact`] if the embedded code does not have the recorded hash.
pub fn create2_deployer() -> Result<Bytes, GenesisError> {
    external("Create2Deployer", include_str!("../../../contracts/external/Create2Deployer.json"))
}

/// Code of the keyless CREATE2 proxy.
///
/// # Errors
/// As for [`create2_deployer`].
pub fn deterministic_deployment_proxy() -> Result<Bytes, GenesisError> {
    external(
        "DeterministicDeploymentProxy",
        include_str!("../../../contracts/external/DeterministicDeploymentProxy.json"),
    )
}

fn external(name: &'static str, json: &str) -> Result<Bytes, GenesisError> {
    let damaged = |problem: String| GenesisError::Artifact { name, problem };
    let External { code_hash, deployed_bytecode } = serde_json::from_str(json).map_err(|e| damaged(e.to_string()))?;
    let actual = keccak256(&deployed_bytecode);
    if actual != code_hash {
        return Err(damaged(format!("its code hash is {actual}, not {code_hash}")));
    }
    Ok(deployed_bytecode)
}
