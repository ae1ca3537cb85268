// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// A call of a Dusk contract, as the message to `DUSK_CALL_TARGET` carries it:
///
///     version 1 (1 byte) ++ kind 1 (1 byte) ++ contract id (32) ++ length of the entry point's name (2) ++ name ++ arguments
library DuskCall {
    /// This message is no call that L1 could ever make.
    error MalformedDuskCall(string problem);

    uint256 private constant HEADER = 36;
    uint256 private constant MAX_NAME = 64;

    /// Refuses what L1 would refuse, before it becomes a message that nobody can deliver.
    function check(bytes calldata message) internal pure {
        if (message.length < HEADER) revert MalformedDuskCall("is shorter than its header");
        if (message[0] != 0x01) revert MalformedDuskCall("has an unknown version");
        if (message[1] != 0x01) revert MalformedDuskCall("has an unknown kind");
        if (bytes32(message[2:34]) == 0) revert MalformedDuskCall("names no contract");

        uint256 length = uint16(bytes2(message[34:36]));
        if (length == 0 || length > MAX_NAME) revert MalformedDuskCall("has an entry point of 0 or over 64 bytes");
        if (message.length < HEADER + length) revert MalformedDuskCall("ends within the entry point");
        bytes calldata name = message[HEADER:HEADER + length];
        for (uint256 i; i < length; ++i) {
            bytes1 c = name[i];
            bool letter = (c >= "a" && c <= "z") || (c >= "A" && c <= "Z") || c == "_";
            bool digit = c >= "0" && c <= "9";
            if (!letter && !(digit && i > 0)) revert MalformedDuskCall("has an entry point that is no identifier");
        }
        bytes32 hash = keccak256(name);
        if (hash == keccak256("init") || hash == keccak256("__constructor__")) {
            revert MalformedDuskCall("has an entry point that only the host may call");
        }
    }
}
