//! The L1 side of the messenger, as L2 sees it: deposits from the alias of an address, and withdrawals for it.

use alloy_primitives::{Address, B256, Bytes, U256, address, keccak256};
use alloy_sol_types::{SolCall, SolValue, sol};
use duskevm_genesis::{
    L1Bridges, NetworkSpec,
    predeploys::{L2_CROSS_DOMAIN_MESSENGER as MESSENGER, L2_TO_L1_MESSAGE_PASSER as PASSER},
};

use crate::chain::{Chain, NOW, Outcome};

sol! {
    #[derive(Debug, PartialEq, Eq)]
    interface Messenger {
        error DuskCallTakesNoValue();
        error MalformedDuskCall(string problem);
        error UnknownMessageVersion(uint16 version);
        error AlreadyRelayed(bytes32 msgHash);
        error NotReplayable(bytes32 msgHash);
        error WrongValue(uint256 expected, uint256 sent);
        error BlockedTarget(address target);
        error RelayFailed();
        error NoMessage();
        event SentMessage(address indexed target, address sender, bytes message, uint256 messageNonce,
            uint256 gasLimit);
        event SentMessageExtension1(address indexed sender, uint256 value);
        event RelayedMessage(bytes32 indexed msgHash);
        event FailedRelayedMessage(bytes32 indexed msgHash);
        function relayMessage(uint256 nonce, address sender, address target, uint256 value, uint256 minGasLimit,
            bytes message) external payable;
        function sendMessage(address target, bytes message, uint32 minGasLimit) external payable;
        function messageNonce() external view returns (uint256);
        function xDomainMessageSender() external view returns (address);
        function successfulMessages(bytes32 hash) external view returns (bool);
        function failedMessages(bytes32 hash) external view returns (bool);
        function baseGas(bytes message, uint32 minGasLimit) external pure returns (uint64);
        function otherMessenger() external view returns (address);
        function OTHER_MESSENGER() external view returns (address);
        function l1CrossDomainMessenger() external view returns (address);
        function MESSAGE_VERSION() external view returns (uint16);
        function paused() external view returns (bool);
    }
    #[derive(Debug)]
    interface Passer {
        error NotWholeLux(uint256 value);
        error ExceedsL1Range(uint256 value);
        event MessagePassed(uint256 indexed nonce, address indexed sender, address indexed target, uint256 value,
            uint256 gasLimit, bytes data, bytes32 withdrawalHash);
    }
}

/// Wei per lux.
pub(crate) const LUX: U256 = U256::from_limbs([1_000_000_000, 0, 0, 0]);

/// The counterparts on L1 of the network that the tests run.
pub(crate) fn l1() -> L1Bridges {
    NetworkSpec::local(NOW - 2).unwrap().bridges
}

/// How deposits show an L1 contract.
pub(crate) fn alias(contract: Address) -> Address {
    let offset = U256::from_be_slice(address!("1111000000000000000000000000000000001111").as_slice());
    let sum = U256::from_be_slice(contract.as_slice()).wrapping_add(offset);
    Address::from_word(B256::from(sum))
}

/// The nonce with this version and counter.
pub(crate) fn nonce(version: u16, counter: u64) -> U256 {
    (U256::from(version) << 240) | U256::from(counter)
}

/// A message from L1.
pub(crate) fn message(
    counter: u64,
    sender: Address,
    target: Address,
    data: impl Into<Bytes>,
) -> Messenger::relayMessageCall {
    Messenger::relayMessageCall {
        nonce: nonce(1, counter),
        sender,
        target,
        value: U256::ZERO,
        minGasLimit: U256::from(100_000),
        message: data.into(),
    }
}

/// The hash that names a message: that of its relay, whatever the version of its nonce.
pub(crate) fn hash(message: &Messenger::relayMessageCall) -> B256 {
    keccak256(message.abi_encode())
}

/// What the L1 messenger's deposit does with a message.
pub(crate) fn deposit(chain: &mut Chain, message: &Messenger::relayMessageCall) -> Outcome {
    chain.send(alias(l1().messenger), MESSENGER, message.value, message.abi_encode())
}

/// A message that must arrive.
pub(crate) fn arrive(chain: &mut Chain, message: &Messenger::relayMessageCall) -> Outcome {
    let outcome = deposit(chain, message);
    assert!(outcome.success, "{}", outcome.reason());
    assert_eq!(outcome.event::<Messenger::RelayedMessage>().msgHash, hash(message));
    outcome
}

/// A message that must arrive at the messenger and fail at its target.
pub(crate) fn fail(chain: &mut Chain, message: &Messenger::relayMessageCall) {
    let outcome = deposit(chain, message);
    assert!(outcome.success, "{}", outcome.reason());
    assert_eq!(outcome.event::<Messenger::FailedRelayedMessage>().msgHash, hash(message));
    assert_eq!(outcome.logs.len(), 1, "what the target did is undone: {:?}", outcome.logs);
}

/// The message to L1 that a transaction sent: recorded in the outbox as a call of the L1 messenger, and announced.
pub(crate) fn sent(chain: &mut Chain, outcome: &Outcome) -> Messenger::relayMessageCall {
    assert!(outcome.success, "{}", outcome.reason());
    let passed = outcome.event::<Passer::MessagePassed>();
    assert_eq!(passed.address, PASSER);
    assert_eq!((passed.sender, passed.target), (MESSENGER, l1().messenger));
    let withdrawal =
        (passed.nonce, passed.sender, passed.target, passed.value, passed.gasLimit, passed.data.data.clone());
    let withdrawal_hash = keccak256(withdrawal.abi_encode_params());
    assert_eq!(passed.withdrawalHash, withdrawal_hash);
    let slot = keccak256([withdrawal_hash, B256::ZERO].concat());
    assert_eq!(chain.db.cache.accounts[&PASSER].storage.get(&slot.into()), Some(&U256::from(1)));

    let relay = Messenger::relayMessageCall::abi_decode_validate(&passed.data.data).unwrap();
    assert_eq!(relay.abi_encode(), passed.data.data.to_vec());
    assert_eq!(relay.value, passed.value);
    let announced = outcome.event::<Messenger::SentMessage>();
    assert_eq!(announced.address, MESSENGER);
    assert_eq!((announced.target, announced.sender, &announced.message), (relay.target, relay.sender, &relay.message));
    assert_eq!((announced.messageNonce, announced.gasLimit), (relay.nonce, relay.minGasLimit));
    let extension = outcome.event::<Messenger::SentMessageExtension1>();
    assert_eq!((extension.sender, extension.value), (relay.sender, relay.value));
    let base = Messenger::baseGasCall { message: relay.message.clone(), minGasLimit: relay.minGasLimit.to() };
    assert_eq!(passed.gasLimit, U256::from(chain.ask(MESSENGER, base)));
    relay
}
