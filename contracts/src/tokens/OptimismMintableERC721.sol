// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {EnumerableERC721} from "./EnumerableERC721.sol";
import {IOptimismMintableERC721} from "./IMintable.sol";

/// Tokens of unique things that stand for those of L1: the bridge mints one when the other arrives, and burns it when it
/// leaves. What a token looks like is asked of the other one.
contract OptimismMintableERC721 is EnumerableERC721 {
    /// Only the bridge mints and burns.
    error OnlyBridge();

    /// A token has arrived from L1.
    event Mint(address indexed account, uint256 tokenId);

    /// A token has left for L1.
    event Burn(address indexed account, uint256 tokenId);

    /// Version of this implementation.
    string public constant version = "1.0.0";

    // Slot 10
    /// The beginning of every token's URI: a call of the other token, in the form of ERC-681.
    string public baseTokenURI;

    /// Who mints and burns.
    address public immutable BRIDGE;

    /// The chain of the token that this one stands for.
    uint256 public immutable REMOTE_CHAIN_ID;

    /// The token that this one stands for.
    address public immutable REMOTE_TOKEN;

    modifier onlyBridge() {
        if (msg.sender != BRIDGE) revert OnlyBridge();
        _;
    }

    constructor(
        address bridge_,
        uint256 remoteChainId_,
        address remoteToken_,
        string memory name_,
        string memory symbol_
    ) EnumerableERC721(name_, symbol_) {
        BRIDGE = bridge_;
        REMOTE_CHAIN_ID = remoteChainId_;
        REMOTE_TOKEN = remoteToken_;
        baseTokenURI = string.concat(
            "ethereum:", _hex(remoteToken_), "@", _decimal(remoteChainId_), "/tokenURI?uint256="
        );
    }

    /// Makes a token, when the other one arrives on the bridge. A contract that receives it must agree.
    function safeMint(address to, uint256 tokenId) external onlyBridge {
        _mint(to, tokenId);
        _askReceiver(address(0), to, tokenId, "");
        emit Mint(to, tokenId);
    }

    /// Destroys a token, when the other one leaves the bridge.
    function burn(address from, uint256 tokenId) external onlyBridge {
        _burn(from, tokenId);
        emit Burn(from, tokenId);
    }

    /// Newer name of `BRIDGE`.
    function bridge() external view returns (address) {
        return BRIDGE;
    }

    /// Newer name of `REMOTE_CHAIN_ID`.
    function remoteChainId() external view returns (uint256) {
        return REMOTE_CHAIN_ID;
    }

    /// Newer name of `REMOTE_TOKEN`.
    function remoteToken() external view returns (address) {
        return REMOTE_TOKEN;
    }

    /// Where a token is described.
    function tokenURI(uint256 tokenId) external view returns (string memory) {
        ownerOf(tokenId);
        return string.concat(baseTokenURI, _decimal(tokenId));
    }

    /// Also the interface by which the bridge recognizes such a token.
    function supportsInterface(bytes4 interfaceId) public view override returns (bool) {
        return interfaceId == type(IOptimismMintableERC721).interfaceId || super.supportsInterface(interfaceId);
    }

    function _decimal(uint256 value) private pure returns (string memory) {
        uint256 digits = 1;
        for (uint256 rest = value / 10; rest != 0; rest /= 10) ++digits;
        bytes memory text = new bytes(digits);
        for (uint256 i = digits; i > 0; value /= 10) text[--i] = bytes1(uint8(48 + value % 10));
        return string(text);
    }

    function _hex(address account) private pure returns (string memory) {
        bytes16 digits = "0123456789abcdef";
        uint160 rest = uint160(account);
        bytes memory text = new bytes(42);
        for (uint256 i = 42; i > 2; rest >>= 4) text[--i] = digits[rest & 15];
        text[0] = "0";
        text[1] = "x";
        return string(text);
    }
}
