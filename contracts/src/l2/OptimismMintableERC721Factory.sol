// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {L2_ERC721_BRIDGE} from "../lib/Constants.sol";
import {OptimismMintableERC721} from "../tokens/OptimismMintableERC721.sol";

/// Makes the tokens of unique things that stand for L1 ones. Anyone may make one; the address depends on what it stands
/// for and how it is called, so there is one of each.
contract OptimismMintableERC721Factory {
    /// A token must stand for something.
    error ZeroRemoteToken();

    /// A token was made.
    event OptimismMintableERC721Created(address indexed localToken, address indexed remoteToken, address deployer);

    /// Version of this implementation.
    string public constant version = "1.0.0";

    // Slot 0
    /// Whether a token was made here.
    mapping(address => bool) public isOptimismMintableERC721;

    // Slot 1
    /// The chain whose tokens are stood for. Written at genesis.
    uint256 public remoteChainID;

    /// Makes a token.
    function createOptimismMintableERC721(address remoteToken, string memory name, string memory symbol)
        external
        returns (address localToken)
    {
        if (remoteToken == address(0)) revert ZeroRemoteToken();
        bytes32 salt = keccak256(abi.encode(remoteToken, name, symbol));
        localToken = address(
            new OptimismMintableERC721{salt: salt}(L2_ERC721_BRIDGE, remoteChainID, remoteToken, name, symbol)
        );
        isOptimismMintableERC721[localToken] = true;
        emit OptimismMintableERC721Created(localToken, remoteToken, msg.sender);
    }

    /// Who mints the tokens made here.
    function bridge() external pure returns (address) {
        return L2_ERC721_BRIDGE;
    }

    /// Older name of `bridge`.
    function BRIDGE() external pure returns (address) {
        return L2_ERC721_BRIDGE;
    }

    /// Older name of `remoteChainID`.
    function REMOTE_CHAIN_ID() external view returns (uint256) {
        return remoteChainID;
    }
}
