// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// Who is behind an address.
library Accounts {
    /// What an L1 contract's address is shifted by where it sends deposits, so that it cannot pose as the L2 contract
    /// that happens to have the same address.
    uint160 private constant ALIAS_OFFSET = uint160(0x1111000000000000000000000000000000001111);

    /// The L1 contract behind the sender of a deposit.
    function undoAlias(address sender) internal pure returns (address) {
        unchecked {
            return address(uint160(sender) - ALIAS_OFFSET);
        }
    }

    /// Whether the caller holds a key: it signed this transaction, or its code is nothing but an EIP-7702 delegation.
    ///
    /// A contract that is being created has no code yet, so looking for code would not do.
    function callerHoldsKey() internal view returns (bool) {
        if (msg.sender == tx.origin) return true;
        if (msg.sender.code.length != 23) return false;
        bytes memory code = msg.sender.code;
        return code[0] == 0xef && code[1] == 0x01 && code[2] == 0x00;
    }
}
