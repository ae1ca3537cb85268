// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ADMIN_SLOT, IMPLEMENTATION_SLOT} from "../lib/Constants.sol";

/// A transparent ERC-1967 proxy: the admin talks to the proxy, everybody else to the implementation behind it.
///
/// The zero address counts as admin. Nobody can send from it, but `eth_call` without a sender does, so that anyone
/// can ask for the admin and the implementation.
contract Proxy {
    /// The implementation has changed.
    event Upgraded(address indexed implementation);

    /// The admin has changed.
    event AdminChanged(address previousAdmin, address newAdmin);

    constructor(address admin_) {
        _setAdmin(admin_);
    }

    modifier ifAdmin() {
        if (msg.sender == _load(ADMIN_SLOT) || msg.sender == address(0)) {
            _;
        } else {
            _delegate();
        }
    }

    receive() external payable {
        _delegate();
    }

    fallback() external payable {
        _delegate();
    }

    /// Replaces the implementation.
    function upgradeTo(address newImplementation) external ifAdmin {
        _setImplementation(newImplementation);
    }

    /// Replaces the implementation and calls it, through the proxy, with `data` and the value sent.
    function upgradeToAndCall(address newImplementation, bytes calldata data)
        external
        payable
        ifAdmin
        returns (bytes memory)
    {
        _setImplementation(newImplementation);
        (bool done, bytes memory result) = newImplementation.delegatecall(data);
        if (!done) {
            if (result.length == 0) revert("Proxy: delegatecall to new implementation contract failed");
            assembly ("memory-safe") {
                revert(add(result, 0x20), mload(result))
            }
        }
        return result;
    }

    /// Replaces the admin.
    function changeAdmin(address newAdmin) external ifAdmin {
        _setAdmin(newAdmin);
    }

    /// The admin. Not a view: for others than the admin the call goes to the implementation.
    function admin() external ifAdmin returns (address) {
        return _load(ADMIN_SLOT);
    }

    /// The implementation. Not a view, for the same reason.
    function implementation() external ifAdmin returns (address) {
        return _load(IMPLEMENTATION_SLOT);
    }

    /// Runs the whole call on the implementation's code and ends it with the implementation's result.
    function _delegate() private {
        address target = _load(IMPLEMENTATION_SLOT);
        require(target != address(0), "Proxy: implementation not initialized");
        assembly {
            calldatacopy(0, 0, calldatasize())
            let done := delegatecall(gas(), target, 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            if iszero(done) { revert(0, returndatasize()) }
            return(0, returndatasize())
        }
    }

    function _setImplementation(address newImplementation) private {
        _store(IMPLEMENTATION_SLOT, newImplementation);
        emit Upgraded(newImplementation);
    }

    function _setAdmin(address newAdmin) private {
        emit AdminChanged(_load(ADMIN_SLOT), newAdmin);
        _store(ADMIN_SLOT, newAdmin);
    }

    function _load(bytes32 slot) private view returns (address value) {
        assembly ("memory-safe") {
            value := sload(slot)
        }
    }

    function _store(bytes32 slot, address value) private {
        assembly ("memory-safe") {
            sstore(slot, value)
        }
    }
}
