// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// Interface detection, ERC-165.
interface IERC165 {
    /// Whether this contract implements the interface with this id.
    function supportsInterface(bytes4 interfaceId) external view returns (bool);
}

/// Asks contracts that may not answer.
library Erc165 {
    /// What ERC-165 allows an answer to cost.
    uint256 private constant GAS = 30_000;

    /// Whether `account` is a contract that says, by the rules of ERC-165, that it implements the interface.
    function has(address account, bytes4 interfaceId) internal view returns (bool) {
        return _says(account, type(IERC165).interfaceId) && !_says(account, 0xffffffff) && _says(account, interfaceId);
    }

    /// Takes one word of the answer, however long it is.
    function _says(address account, bytes4 interfaceId) private view returns (bool yes) {
        bytes memory question = abi.encodeCall(IERC165.supportsInterface, (interfaceId));
        assembly ("memory-safe") {
            let done := staticcall(GAS, account, add(question, 0x20), mload(question), 0, 0x20)
            yes := and(and(done, gt(returndatasize(), 0x1f)), eq(mload(0), 1))
        }
    }
}
