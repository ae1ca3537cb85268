// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Accounts} from "../lib/Accounts.sol";
import {DUSK_CALL_TARGET, ESTIMATOR, L2_TO_L1_MESSAGE_PASSER} from "../lib/Constants.sol";
import {CrossDomainHash} from "../lib/CrossDomainHash.sol";
import {DuskCall} from "../lib/DuskCall.sol";
import {L2ToL1MessagePasser} from "./L2ToL1MessagePasser.sol";

/// The L2 end of the line between the layers. It passes messages on to the messenger on L1, and delivers those that
/// come from there; a delivery that fails can be tried again by anybody, with more gas or at a better time.
///
/// Genesis writes the state, so there is no initializer that somebody could call.
contract L2CrossDomainMessenger {
    /// A call of a Dusk contract takes arguments, no value.
    error DuskCallTakesNoValue();

    /// Nonces are of version 0 or 1.
    error UnknownMessageVersion(uint16 version);

    /// This message has been delivered.
    error AlreadyRelayed(bytes32 msgHash);

    /// Only messages whose delivery failed can be tried again.
    error NotReplayable(bytes32 msgHash);

    /// The value that came along is not the one that the message says; another try brings none.
    error WrongValue(uint256 expected, uint256 sent);

    /// A message must not speak as the messenger to itself or to the outbox.
    error BlockedTarget(address target);

    /// The delivery failed, and whoever estimates gas wants to know.
    error RelayFailed();

    /// No message is being delivered.
    error NoMessage();

    /// A message is on its way to L1.
    event SentMessage(address indexed target, address sender, bytes message, uint256 messageNonce, uint256 gasLimit);

    /// And this is its value.
    event SentMessageExtension1(address indexed sender, uint256 value);

    /// A message from L1 was delivered.
    event RelayedMessage(bytes32 indexed msgHash);

    /// A message from L1 could not be delivered; it can be tried again.
    event FailedRelayedMessage(bytes32 indexed msgHash);

    /// Version of this implementation.
    string public constant version = "1.0.0";

    /// Version of the messages sent; the top two bytes of a nonce.
    uint16 public constant MESSAGE_VERSION = 1;

    /// Gas for what a relay does whatever the message is.
    uint64 public constant RELAY_CONSTANT_OVERHEAD = 200_000;

    /// A call passes on at most 63/64 of the gas, so the target's share is taken times 64/63.
    uint64 public constant MIN_GAS_DYNAMIC_OVERHEAD_NUMERATOR = 64;

    /// The lower half of that fraction.
    uint64 public constant MIN_GAS_DYNAMIC_OVERHEAD_DENOMINATOR = 63;

    /// Gas per byte of the message.
    uint64 public constant MIN_GAS_CALLDATA_OVERHEAD = 16;

    /// Gas for the call itself, with value to a new account at worst.
    uint64 public constant RELAY_CALL_OVERHEAD = 40_000;

    /// Gas kept back for what follows the call.
    uint64 public constant RELAY_RESERVED_GAS = 40_000;

    /// Gas between the check and the call.
    uint64 public constant RELAY_GAS_CHECK_BUFFER = 5_000;

    /// Stands in the sender's slot while no message is being delivered. Not zero: such a slot is cheaper to set.
    address private constant NOBODY = 0x000000000000000000000000000000000000dEaD;

    // Slot 0
    address private _spacer0;
    /// Written at genesis. An implementation with an initializer that comes later finds it done.
    uint8 private _initialized;
    bool private _initializing;

    // Slots 1 to 202
    uint256[202] private _spacers1to202;

    // Slot 203
    /// Messages that were delivered, by hash of version 1 (and of version 0).
    mapping(bytes32 => bool) public successfulMessages;

    // Slot 204
    address private xDomainMsgSender;

    // Slot 205
    uint240 private msgNonce;

    // Slot 206
    /// Messages whose delivery failed at least once, by hash of version 1.
    mapping(bytes32 => bool) public failedMessages;

    // Slot 207
    /// The messenger on L1.
    address public otherMessenger;

    /// Sends a message to `target` on L1, with the value of this call. `minGasLimit` is what the target shall have at
    /// least.
    function sendMessage(address target, bytes calldata message, uint32 minGasLimit) external payable {
        if (target == DUSK_CALL_TARGET) {
            if (msg.value != 0) revert DuskCallTakesNoValue();
            DuskCall.check(message);
        }
        uint256 nonce = messageNonce();
        unchecked {
            ++msgNonce;
        }
        L2ToL1MessagePasser(payable(L2_TO_L1_MESSAGE_PASSER)).initiateWithdrawal{value: msg.value}(
            otherMessenger,
            baseGas(message, minGasLimit),
            abi.encodeCall(this.relayMessage, (nonce, msg.sender, target, msg.value, minGasLimit, message))
        );
        emit SentMessage(target, msg.sender, message, nonce, minGasLimit);
        emit SentMessageExtension1(msg.sender, msg.value);
    }

    /// Delivers a message from L1.
    ///
    /// The messenger on L1 calls this by a deposit, which brings the value along. Everybody else may try a message again
    /// whose delivery failed: the value waits here since the first try.
    function relayMessage(
        uint256 nonce,
        address sender,
        address target,
        uint256 value,
        uint256 minGasLimit,
        bytes calldata message
    ) external payable {
        uint16 messageVersion = CrossDomainHash.versionOf(nonce);
        if (messageVersion > 1) revert UnknownMessageVersion(messageVersion);
        if (messageVersion == 0) {
            bytes32 oldHash = CrossDomainHash.v0(target, sender, message, nonce);
            if (successfulMessages[oldHash]) revert AlreadyRelayed(oldHash);
        }
        // A message of version 0 counts under this hash as well.
        bytes32 hash = CrossDomainHash.v1(nonce, sender, target, value, minGasLimit, message);
        if (successfulMessages[hash]) revert AlreadyRelayed(hash);

        bool first = Accounts.undoAlias(msg.sender) == otherMessenger;
        if (first ? failedMessages[hash] : !failedMessages[hash]) revert NotReplayable(hash);
        uint256 expected = first ? value : 0;
        if (msg.value != expected) revert WrongValue(expected, msg.value);
        if (target == address(this) || target == L2_TO_L1_MESSAGE_PASSER) revert BlockedTarget(target);

        // Copied before gas is counted, because the price of a copy grows with the message.
        bytes memory data = message;
        // Within a delivery there is no other one: a target could otherwise act in the name of two senders. And whoever
        // sends too little gas along must not decide that a message is delivered by a call that runs out of it.
        if (xDomainMsgSender != NOBODY || !_canGive(minGasLimit)) {
            _fail(hash);
            return;
        }
        xDomainMsgSender = sender;
        bool delivered = _deliver(target, value, data);
        xDomainMsgSender = NOBODY;

        if (delivered) {
            successfulMessages[hash] = true;
            emit RelayedMessage(hash);
        } else {
            _fail(hash);
        }
    }

    /// Who sent the message that is being delivered, on L1.
    function xDomainMessageSender() external view returns (address) {
        if (xDomainMsgSender == NOBODY) revert NoMessage();
        return xDomainMsgSender;
    }

    /// Older name of `otherMessenger`.
    function OTHER_MESSENGER() external view returns (address) {
        return otherMessenger;
    }

    /// Another name of `otherMessenger`.
    function l1CrossDomainMessenger() external view returns (address) {
        return otherMessenger;
    }

    /// False: nothing on L2 can stop the messages.
    function paused() external pure returns (bool) {
        return false;
    }

    /// The nonce of the next message: its version in the top two bytes, a counter below.
    function messageNonce() public view returns (uint256) {
        return (uint256(MESSAGE_VERSION) << 240) | msgNonce;
    }

    /// Gas that the relay of a message needs on the other layer, its target's share included.
    function baseGas(bytes calldata message, uint32 minGasLimit) public pure returns (uint64) {
        return RELAY_CONSTANT_OVERHEAD + uint64(message.length) * MIN_GAS_CALLDATA_OVERHEAD
            + minGasLimit * MIN_GAS_DYNAMIC_OVERHEAD_NUMERATOR / MIN_GAS_DYNAMIC_OVERHEAD_DENOMINATOR
            + RELAY_CALL_OVERHEAD + RELAY_RESERVED_GAS + RELAY_GAS_CHECK_BUFFER;
    }

    function _fail(bytes32 hash) private {
        failedMessages[hash] = true;
        emit FailedRelayedMessage(hash);
        // An estimator looks for the least gas with which the call does not revert.
        if (tx.origin == ESTIMATOR) revert RelayFailed();
    }

    /// Whether a call with what is left, minus the reserve, can give its target `minGasLimit`.
    function _canGive(uint256 minGasLimit) private view returns (bool) {
        if (minGasLimit > type(uint64).max) return false;
        return gasleft() * MIN_GAS_DYNAMIC_OVERHEAD_DENOMINATOR
            >= minGasLimit * MIN_GAS_DYNAMIC_OVERHEAD_NUMERATOR
                + (RELAY_CALL_OVERHEAD + RELAY_RESERVED_GAS + RELAY_GAS_CHECK_BUFFER)
                    * MIN_GAS_DYNAMIC_OVERHEAD_DENOMINATOR;
    }

    /// The call. What the target returns is left where it is: copying it would cost gas that the target decides on.
    function _deliver(address target, uint256 value, bytes memory data) private returns (bool delivered) {
        uint256 gas_ = gasleft() - RELAY_RESERVED_GAS;
        assembly ("memory-safe") {
            delivered := call(gas_, target, value, add(data, 0x20), mload(data), 0, 0)
        }
    }
}
