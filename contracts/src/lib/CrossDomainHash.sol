// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// Names of messages between the layers. The version stands in the top two bytes of the nonce.
library CrossDomainHash {
    /// The version of a nonce.
    function versionOf(uint256 nonce) internal pure returns (uint16) {
        return uint16(nonce >> 240);
    }

    /// Version 0, without value and gas: the hash of a call of
    /// `relayMessage(address target, address sender, bytes message, uint256 nonce)`.
    function v0(address target, address sender, bytes calldata message, uint256 nonce)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encodeWithSignature("relayMessage(address,address,bytes,uint256)", target, sender, message, nonce)
        );
    }

    /// Version 1: the hash of a call of
    /// `relayMessage(uint256 nonce, address sender, address target, uint256 value, uint256 minGasLimit, bytes message)`.
    function v1(
        uint256 nonce,
        address sender,
        address target,
        uint256 value,
        uint256 minGasLimit,
        bytes calldata message
    ) internal pure returns (bytes32) {
        return keccak256(
            abi.encodeWithSignature(
                "relayMessage(uint256,address,address,uint256,uint256,bytes)",
                nonce,
                sender,
                target,
                value,
                minGasLimit,
                message
            )
        );
    }
}
