// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IERC165} from "../lib/Erc165.sol";
import {IERC721, IERC721Enumerable, IERC721Metadata, IERC721Receiver} from "./IERC721.sol";

/// Tokens of unique things with the lists of all of them and of each owner's. The errors are those of ERC-6093.
abstract contract EnumerableERC721 is IERC165, IERC721, IERC721Metadata, IERC721Enumerable {
    error ERC721InvalidOwner(address owner);
    error ERC721NonexistentToken(uint256 tokenId);
    error ERC721IncorrectOwner(address sender, uint256 tokenId, address owner);
    error ERC721InvalidSender(address sender);
    error ERC721InvalidReceiver(address receiver);
    error ERC721InsufficientApproval(address operator, uint256 tokenId);
    error ERC721InvalidOperator(address operator);
    error ERC721OutOfBoundsIndex(address owner, uint256 index);

    // Slot 0
    /// Name of the tokens.
    string public name;

    // Slot 1
    /// Symbol of the tokens.
    string public symbol;

    // Slot 2
    mapping(uint256 => address) private _owners;

    // Slot 3
    mapping(address => uint256) private _balances;

    // Slot 4
    mapping(uint256 => address) private _approved;

    // Slot 5
    /// Whether the second account may move all tokens of the first.
    mapping(address => mapping(address => bool)) public isApprovedForAll;

    // Slot 6
    /// An owner's tokens, by index.
    mapping(address => mapping(uint256 => uint256)) private _ownedTokens;

    // Slot 7
    /// A token's index among its owner's.
    mapping(uint256 => uint256) private _ownedIndex;

    // Slot 8
    /// All tokens.
    uint256[] private _all;

    // Slot 9
    /// A token's index among all.
    mapping(uint256 => uint256) private _allIndex;

    constructor(string memory name_, string memory symbol_) {
        name = name_;
        symbol = symbol_;
    }

    /// Moves a token. A contract that receives it must agree.
    function safeTransferFrom(address from, address to, uint256 tokenId) external {
        transferFrom(from, to, tokenId);
        _askReceiver(from, to, tokenId, "");
    }

    /// Moves a token. A contract that receives it must agree; it is told `data`.
    function safeTransferFrom(address from, address to, uint256 tokenId, bytes calldata data) external {
        transferFrom(from, to, tokenId);
        _askReceiver(from, to, tokenId, data);
    }

    /// Lets `to` move a token.
    function approve(address to, uint256 tokenId) external {
        address owner = ownerOf(tokenId);
        if (msg.sender != owner && !isApprovedForAll[owner][msg.sender]) {
            revert ERC721InsufficientApproval(msg.sender, tokenId);
        }
        _approved[tokenId] = to;
        emit Approval(owner, to, tokenId);
    }

    /// Lets `operator` move all tokens of the caller, or no longer.
    function setApprovalForAll(address operator, bool approved) external {
        if (operator == address(0)) revert ERC721InvalidOperator(operator);
        isApprovedForAll[msg.sender][operator] = approved;
        emit ApprovalForAll(msg.sender, operator, approved);
    }

    /// Number of tokens of an owner.
    function balanceOf(address owner) external view returns (uint256) {
        if (owner == address(0)) revert ERC721InvalidOwner(owner);
        return _balances[owner];
    }

    /// Who may move a token besides its owner.
    function getApproved(uint256 tokenId) external view returns (address) {
        ownerOf(tokenId);
        return _approved[tokenId];
    }

    /// Number of all tokens.
    function totalSupply() external view returns (uint256) {
        return _all.length;
    }

    /// One of all tokens. Which one stands where changes when tokens are destroyed.
    function tokenByIndex(uint256 index) external view returns (uint256) {
        if (index >= _all.length) revert ERC721OutOfBoundsIndex(address(0), index);
        return _all[index];
    }

    /// One of an owner's tokens. Which one stands where changes when tokens move.
    function tokenOfOwnerByIndex(address owner, uint256 index) external view returns (uint256) {
        if (index >= _balances[owner]) revert ERC721OutOfBoundsIndex(owner, index);
        return _ownedTokens[owner][index];
    }

    /// Moves a token, whether or not the receiver knows what to do with it.
    function transferFrom(address from, address to, uint256 tokenId) public {
        address owner = ownerOf(tokenId);
        if (owner != from) revert ERC721IncorrectOwner(from, tokenId, owner);
        if (to == address(0)) revert ERC721InvalidReceiver(to);
        if (msg.sender != owner && !isApprovedForAll[owner][msg.sender] && _approved[tokenId] != msg.sender) {
            revert ERC721InsufficientApproval(msg.sender, tokenId);
        }
        _unlist(from, tokenId);
        _list(to, tokenId);
        emit Transfer(from, to, tokenId);
    }

    /// Who has a token.
    function ownerOf(uint256 tokenId) public view returns (address owner) {
        owner = _owners[tokenId];
        if (owner == address(0)) revert ERC721NonexistentToken(tokenId);
    }

    /// The interfaces of ERC-165 and of ERC-721 with names and lists.
    function supportsInterface(bytes4 interfaceId) public view virtual returns (bool) {
        return interfaceId == type(IERC165).interfaceId || interfaceId == type(IERC721).interfaceId
            || interfaceId == type(IERC721Metadata).interfaceId || interfaceId == type(IERC721Enumerable).interfaceId;
    }

    function _mint(address to, uint256 tokenId) internal {
        if (to == address(0)) revert ERC721InvalidReceiver(to);
        if (_owners[tokenId] != address(0)) revert ERC721InvalidSender(address(0));
        _allIndex[tokenId] = _all.length;
        _all.push(tokenId);
        _list(to, tokenId);
        emit Transfer(address(0), to, tokenId);
    }

    function _burn(address from, uint256 tokenId) internal {
        address owner = ownerOf(tokenId);
        if (owner != from) revert ERC721IncorrectOwner(from, tokenId, owner);
        _unlist(from, tokenId);
        // The last one takes its place among all.
        uint256 index = _allIndex[tokenId];
        uint256 last = _all[_all.length - 1];
        _all[index] = last;
        _allIndex[last] = index;
        _all.pop();
        delete _allIndex[tokenId];
        emit Transfer(from, address(0), tokenId);
    }

    /// A receiver without code holds a key; another one must say that it expects such tokens.
    function _askReceiver(address from, address to, uint256 tokenId, bytes memory data) internal {
        if (to.code.length == 0) return;
        bytes4 answer = IERC721Receiver(to).onERC721Received(msg.sender, from, tokenId, data);
        if (answer != IERC721Receiver.onERC721Received.selector) revert ERC721InvalidReceiver(to);
    }

    function _list(address to, uint256 tokenId) private {
        uint256 index = _balances[to]++;
        _owners[tokenId] = to;
        _ownedTokens[to][index] = tokenId;
        _ownedIndex[tokenId] = index;
    }

    function _unlist(address from, uint256 tokenId) private {
        delete _approved[tokenId];
        delete _owners[tokenId];
        // The last one takes its place among the owner's.
        uint256 end = --_balances[from];
        uint256 index = _ownedIndex[tokenId];
        uint256 last = _ownedTokens[from][end];
        _ownedTokens[from][index] = last;
        _ownedIndex[last] = index;
        delete _ownedTokens[from][end];
        delete _ownedIndex[tokenId];
    }
}
