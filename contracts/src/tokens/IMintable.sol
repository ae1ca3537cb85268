// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

// What the bridges ask of the tokens that they mint. The ERC-165 ids of these interfaces are fixed by tokens that exist
// on other chains: 0xec4fc8e3, 0x1d1d8b63 and 0x74259ebf, in this order.

/// A fungible token that stands for one of the other layer.
interface IOptimismMintableERC20 {
    function remoteToken() external view returns (address);

    function bridge() external returns (address);

    function mint(address to, uint256 amount) external;

    function burn(address from, uint256 amount) external;
}

/// The older form of such a token.
interface ILegacyMintableERC20 {
    function l1Token() external view returns (address);

    function mint(address to, uint256 amount) external;

    function burn(address from, uint256 amount) external;
}

/// A token of unique things that stands for one of the other layer.
interface IOptimismMintableERC721 {
    function safeMint(address to, uint256 tokenId) external;

    function burn(address from, uint256 tokenId) external;

    function REMOTE_CHAIN_ID() external view returns (uint256);

    function REMOTE_TOKEN() external view returns (address);

    function BRIDGE() external view returns (address);

    function remoteChainId() external view returns (uint256);

    function remoteToken() external view returns (address);

    function bridge() external view returns (address);
}
