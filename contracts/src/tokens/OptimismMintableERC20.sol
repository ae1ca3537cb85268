// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IERC165} from "../lib/Erc165.sol";
import {ILegacyMintableERC20, IOptimismMintableERC20} from "./IMintable.sol";

/// A fungible token that stands for one of L1: the bridge mints it when the other arrives, and burns it when it leaves.
///
/// ERC-20 with permits (ERC-2612). The errors are those of ERC-6093.
contract OptimismMintableERC20 is IERC165 {
    error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
    error ERC20InvalidSender(address sender);
    error ERC20InvalidReceiver(address receiver);
    error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed);
    error ERC20InvalidSpender(address spender);

    /// The permit's time is over.
    error ERC2612ExpiredSignature(uint256 deadline);

    /// The permit was not signed by the owner.
    error ERC2612InvalidSigner(address signer, address owner);

    /// Only the bridge mints and burns.
    error OnlyBridge();

    /// Tokens have moved.
    event Transfer(address indexed from, address indexed to, uint256 value);

    /// `owner` lets `spender` take up to `value`.
    event Approval(address indexed owner, address indexed spender, uint256 value);

    /// Tokens have arrived from L1.
    event Mint(address indexed account, uint256 amount);

    /// Tokens have left for L1.
    event Burn(address indexed account, uint256 amount);

    /// Version of this implementation.
    string public constant version = "1.0.0";

    bytes32 private constant DOMAIN_TYPE =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    bytes32 private constant PERMIT_TYPE =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    /// Half the order of secp256k1: of the two forms of a signature only the one with the smaller `s` counts.
    uint256 private constant MAX_S = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    // Slot 0
    /// Tokens of an account.
    mapping(address => uint256) public balanceOf;

    // Slot 1
    /// What the second account may take from the first.
    mapping(address => mapping(address => uint256)) public allowance;

    // Slot 2
    /// All tokens.
    uint256 public totalSupply;

    // Slot 3
    /// Name of the token.
    string public name;

    // Slot 4
    /// Symbol of the token.
    string public symbol;

    // Slot 5
    /// How many permits of an account were used.
    mapping(address => uint256) public nonces;

    /// What this token stands for.
    address public immutable REMOTE_TOKEN;

    /// Who mints and burns.
    address public immutable BRIDGE;

    /// Digits after the point.
    uint8 public immutable decimals;

    modifier onlyBridge() {
        if (msg.sender != BRIDGE) revert OnlyBridge();
        _;
    }

    constructor(address bridge_, address remoteToken_, string memory name_, string memory symbol_, uint8 decimals_) {
        BRIDGE = bridge_;
        REMOTE_TOKEN = remoteToken_;
        name = name_;
        symbol = symbol_;
        decimals = decimals_;
    }

    /// Makes tokens, when others arrive on the bridge.
    function mint(address to, uint256 amount) external onlyBridge {
        if (to == address(0)) revert ERC20InvalidReceiver(to);
        totalSupply += amount;
        unchecked {
            // No balance exceeds the supply.
            balanceOf[to] += amount;
        }
        emit Transfer(address(0), to, amount);
        emit Mint(to, amount);
    }

    /// Destroys tokens, when others leave the bridge. The owner asks the bridge for it, so it needs no allowance.
    function burn(address from, uint256 amount) external onlyBridge {
        _debit(from, amount);
        unchecked {
            totalSupply -= amount;
        }
        emit Transfer(from, address(0), amount);
        emit Burn(from, amount);
    }

    /// Moves `value` from the caller to `to`.
    function transfer(address to, uint256 value) external returns (bool) {
        _move(msg.sender, to, value);
        return true;
    }

    /// Moves `value` from `from` to `to`, within what `from` allows the caller.
    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        uint256 allowed = allowance[from][msg.sender];
        // The largest allowance is one without limit.
        if (allowed != type(uint256).max) {
            if (allowed < value) revert ERC20InsufficientAllowance(msg.sender, allowed, value);
            unchecked {
                allowance[from][msg.sender] = allowed - value;
            }
        }
        _move(from, to, value);
        return true;
    }

    /// Lets `spender` take up to `value` from the caller. The largest number means without limit.
    function approve(address spender, uint256 value) external returns (bool) {
        _approve(msg.sender, spender, value);
        return true;
    }

    /// Lets `spender` take up to `value` from `owner`, who signed this for the time up to `deadline`. Anyone may bring it.
    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
    {
        if (block.timestamp > deadline) revert ERC2612ExpiredSignature(deadline);
        uint256 nonce = nonces[owner]++;
        bytes32 content = keccak256(abi.encode(PERMIT_TYPE, owner, spender, value, nonce, deadline));
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", DOMAIN_SEPARATOR(), content));
        address signer = uint256(s) > MAX_S ? address(0) : ecrecover(digest, v, r, s);
        if (signer == address(0) || signer != owner) revert ERC2612InvalidSigner(signer, owner);
        _approve(owner, spender, value);
    }

    /// Older name of `REMOTE_TOKEN`.
    function l1Token() external view returns (address) {
        return REMOTE_TOKEN;
    }

    /// Older name of `BRIDGE`.
    function l2Bridge() external view returns (address) {
        return BRIDGE;
    }

    /// Newer name of `REMOTE_TOKEN`.
    function remoteToken() external view returns (address) {
        return REMOTE_TOKEN;
    }

    /// Newer name of `BRIDGE`.
    function bridge() external view returns (address) {
        return BRIDGE;
    }

    /// The interfaces by which the bridge recognizes such a token.
    function supportsInterface(bytes4 interfaceId) external pure returns (bool) {
        return interfaceId == type(IERC165).interfaceId || interfaceId == type(ILegacyMintableERC20).interfaceId
            || interfaceId == type(IOptimismMintableERC20).interfaceId;
    }

    /// What makes a permit one for this token on this chain.
    function DOMAIN_SEPARATOR() public view returns (bytes32) {
        return keccak256(
            abi.encode(DOMAIN_TYPE, keccak256(bytes(name)), keccak256("1"), block.chainid, address(this))
        );
    }

    function _move(address from, address to, uint256 value) private {
        if (to == address(0)) revert ERC20InvalidReceiver(to);
        _debit(from, value);
        unchecked {
            balanceOf[to] += value;
        }
        emit Transfer(from, to, value);
    }

    function _debit(address from, uint256 value) private {
        if (from == address(0)) revert ERC20InvalidSender(from);
        uint256 balance = balanceOf[from];
        if (balance < value) revert ERC20InsufficientBalance(from, balance, value);
        unchecked {
            balanceOf[from] = balance - value;
        }
    }

    function _approve(address owner, address spender, uint256 value) private {
        if (spender == address(0)) revert ERC20InvalidSpender(spender);
        allowance[owner][spender] = value;
        emit Approval(owner, spender, value);
    }
}
