// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {MAX_L1_AMOUNT, WEI_PER_LUX} from "../lib/Constants.sol";

/// The outbox of L2. A withdrawal is proven on L1 against this contract's storage: a message counts as sent if its
/// hash is set in the mapping of slot 0. The layout is therefore part of the settlement protocol.
contract L2ToL1MessagePasser {
    /// L1 counts in lux, so an amount that is no whole number of lux could never be paid out there.
    error NotWholeLux(uint256 value);

    /// L1 balances are 64-bit numbers of lux, so this amount could never be paid out there.
    error ExceedsL1Range(uint256 value);

    /// A withdrawal was recorded.
    event MessagePassed(
        uint256 indexed nonce,
        address indexed sender,
        address indexed target,
        uint256 value,
        uint256 gasLimit,
        bytes data,
        bytes32 withdrawalHash
    );

    /// Withdrawn value was removed from L2.
    event WithdrawerBalanceBurnt(uint256 indexed amount);

    /// Version of this implementation.
    string public constant version = "1.0.0";

    /// Version of the message format; the top two bytes of a nonce.
    uint16 public constant MESSAGE_VERSION = 1;

    /// L1 gas of a withdrawal made by a plain transfer to this contract.
    uint256 private constant DEFAULT_GAS_LIMIT = 100_000;

    // Slot 0
    /// Hashes of all withdrawals ever made.
    mapping(bytes32 => bool) public sentMessages;

    // Slot 1
    uint240 private _counter;

    /// A plain transfer withdraws to the sender's own address on L1.
    receive() external payable {
        initiateWithdrawal(msg.sender, DEFAULT_GAS_LIMIT, "");
    }

    /// Records a withdrawal of the value sent, with a call of `target` by `data`.
    function initiateWithdrawal(address target, uint256 gasLimit, bytes memory data) public payable {
        // Refused here because afterwards the value is gone from L2 and nothing could bring it back.
        if (msg.value % WEI_PER_LUX != 0) revert NotWholeLux(msg.value);
        if (msg.value > MAX_L1_AMOUNT) revert ExceedsL1Range(msg.value);

        uint256 nonce = messageNonce();
        bytes32 withdrawalHash = keccak256(abi.encode(nonce, msg.sender, target, msg.value, gasLimit, data));
        sentMessages[withdrawalHash] = true;
        unchecked {
            ++_counter;
        }
        emit MessagePassed(nonce, msg.sender, target, msg.value, gasLimit, data, withdrawalHash);
    }

    /// Destroys the value held here: it left L2 with the withdrawals. Anyone may call this.
    function burn() external {
        uint256 amount = address(this).balance;
        new Incinerator{value: amount}();
        emit WithdrawerBalanceBurnt(amount);
    }

    /// The nonce of the next withdrawal: the message version in the top two bytes, a counter below.
    function messageNonce() public view returns (uint256) {
        return (uint256(MESSAGE_VERSION) << 240) | _counter;
    }
}

/// Destroys the value it is created with: a contract that ends in the transaction that created it, in favour of
/// itself, takes its balance with it.
contract Incinerator {
    constructor() payable {
        selfdestruct(payable(address(this)));
    }
}
