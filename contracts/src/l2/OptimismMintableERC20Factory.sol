// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {OptimismMintableERC20} from "../tokens/OptimismMintableERC20.sol";

/// Makes the fungible tokens that stand for L1 ones. Anyone may make one; the address depends on what it stands for and
/// how it is called, so there is one of each.
contract OptimismMintableERC20Factory {
    /// A token must stand for something.
    error ZeroRemoteToken();

    /// A token was made, in the form of older tools.
    event StandardL2TokenCreated(address indexed remoteToken, address indexed localToken);

    /// A token was made.
    event OptimismMintableERC20Created(address indexed localToken, address indexed remoteToken, address deployer);

    /// Version of this implementation.
    string public constant version = "1.0.0";

    // Slot 0
    /// Written at genesis. An implementation with an initializer that comes later finds it done.
    uint8 private _initialized;
    bool private _initializing;
    uint240 private _spacer0;

    // Slot 1
    /// Who mints the tokens made here.
    address public bridge;

    // Slot 2
    /// What a token made here stands for.
    mapping(address => address) public deployments;

    /// Older name of `createOptimismMintableERC20`.
    function createStandardL2Token(address remoteToken, string memory name, string memory symbol)
        external
        returns (address)
    {
        return createOptimismMintableERC20WithDecimals(remoteToken, name, symbol, 18);
    }

    /// Makes a token with 18 decimals.
    function createOptimismMintableERC20(address remoteToken, string memory name, string memory symbol)
        external
        returns (address)
    {
        return createOptimismMintableERC20WithDecimals(remoteToken, name, symbol, 18);
    }

    /// Makes a token with as many decimals as the one that it stands for. Amounts cross the bridge as they are.
    function createOptimismMintableERC20WithDecimals(
        address remoteToken,
        string memory name,
        string memory symbol,
        uint8 decimals
    ) public returns (address localToken) {
        if (remoteToken == address(0)) revert ZeroRemoteToken();
        bytes32 salt = keccak256(abi.encode(remoteToken, name, symbol, decimals));
        localToken = address(new OptimismMintableERC20{salt: salt}(bridge, remoteToken, name, symbol, decimals));
        deployments[localToken] = remoteToken;
        emit StandardL2TokenCreated(remoteToken, localToken);
        emit OptimismMintableERC20Created(localToken, remoteToken, msg.sender);
    }

    /// Older name of `bridge`.
    function BRIDGE() external view returns (address) {
        return bridge;
    }
}
