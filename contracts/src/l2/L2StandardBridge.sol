// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Accounts} from "../lib/Accounts.sol";
import {NATIVE_TOKEN} from "../lib/Constants.sol";
import {Erc165} from "../lib/Erc165.sol";
import {Erc20, IERC20} from "../lib/Erc20.sol";
import {ILegacyMintableERC20, IOptimismMintableERC20} from "../tokens/IMintable.sol";
import {L2CrossDomainMessenger} from "./L2CrossDomainMessenger.sol";

/// The L2 end of the bridge for DUSK and fungible tokens.
///
/// A token that comes from L1 is minted here when it arrives and burnt when it leaves. A token whose home is L2 waits
/// here while its counterpart on L1 goes round. The extra data says on L1 who receives the assets; it passes through as
/// it is. The names speak of ETH where DUSK is meant, because clients call them so.
///
/// Genesis writes the state, so there is no initializer that somebody could call.
contract L2StandardBridge {
    using Erc20 for IERC20;

    /// Only the bridge on L1, by way of the messenger.
    error OnlyOtherBridge();

    /// Functions without a recipient send to the caller's own address, which on the other layer may belong to somebody
    /// else if the caller is a contract. Use the one with a recipient.
    error CallerIsContract();

    /// The value sent and the amount differ.
    error WrongValue(uint256 amount, uint256 sent);

    /// Nothing that arrives at this account could ever leave it.
    error BlockedRecipient(address to);

    /// The recipient does not take the payment.
    error PaymentRefused(address to);

    /// This token stands for another one than the one given.
    error WrongRemoteToken(address given);

    /// Value or tokens are on their way to L1, in the form of older tools.
    event WithdrawalInitiated(
        address indexed l1Token,
        address indexed l2Token,
        address indexed from,
        address to,
        uint256 amount,
        bytes extraData
    );

    /// Value or tokens have arrived from L1, in the form of older tools.
    event DepositFinalized(
        address indexed l1Token,
        address indexed l2Token,
        address indexed from,
        address to,
        uint256 amount,
        bytes extraData
    );

    /// DUSK is on its way to L1.
    event ETHBridgeInitiated(address indexed from, address indexed to, uint256 amount, bytes extraData);

    /// DUSK has arrived from L1.
    event ETHBridgeFinalized(address indexed from, address indexed to, uint256 amount, bytes extraData);

    /// Tokens are on their way to L1.
    event ERC20BridgeInitiated(
        address indexed localToken,
        address indexed remoteToken,
        address indexed from,
        address to,
        uint256 amount,
        bytes extraData
    );

    /// Tokens have arrived from L1.
    event ERC20BridgeFinalized(
        address indexed localToken,
        address indexed remoteToken,
        address indexed from,
        address to,
        uint256 amount,
        bytes extraData
    );

    /// Version of this implementation.
    string public constant version = "1.0.0";

    /// L1 gas of a withdrawal made by a plain transfer to this contract.
    uint32 private constant DEFAULT_GAS_LIMIT = 200_000;

    // Slot 0
    /// Written at genesis. An implementation with an initializer that comes later finds it done.
    uint8 private _initialized;
    bool private _initializing;

    // Slot 1
    uint256 private _spacer1;

    // Slot 2
    /// How much of the first token, whose home is here, is on L1 as the second.
    mapping(address => mapping(address => uint256)) public deposits;

    // Slot 3
    /// The messenger on this layer.
    L2CrossDomainMessenger public messenger;

    // Slot 4
    /// The bridge on L1.
    address public otherBridge;

    modifier onlyOtherBridge() {
        if (msg.sender != address(messenger) || messenger.xDomainMessageSender() != otherBridge) {
            revert OnlyOtherBridge();
        }
        _;
    }

    modifier onlyKeyHolder() {
        if (!Accounts.callerHoldsKey()) revert CallerIsContract();
        _;
    }

    /// A plain transfer sends DUSK to the sender's own address on L1.
    receive() external payable onlyKeyHolder {
        _sendNative(msg.sender, msg.value, DEFAULT_GAS_LIMIT, "");
    }

    /// Sends the value of this call to the caller's own address on L1.
    function bridgeETH(uint32 minGasLimit, bytes calldata extraData) external payable onlyKeyHolder {
        _sendNative(msg.sender, msg.value, minGasLimit, extraData);
    }

    /// Sends the value of this call to `to` on L1.
    function bridgeETHTo(address to, uint32 minGasLimit, bytes calldata extraData) external payable {
        _sendNative(to, msg.value, minGasLimit, extraData);
    }

    /// Sends tokens to the caller's own address on L1.
    function bridgeERC20(
        address localToken,
        address remoteToken,
        uint256 amount,
        uint32 minGasLimit,
        bytes calldata extraData
    ) external onlyKeyHolder {
        _sendToken(localToken, remoteToken, msg.sender, amount, minGasLimit, extraData);
    }

    /// Sends tokens to `to` on L1. A token that waits here while it is away must be approved first.
    function bridgeERC20To(
        address localToken,
        address remoteToken,
        address to,
        uint256 amount,
        uint32 minGasLimit,
        bytes calldata extraData
    ) external {
        _sendToken(localToken, remoteToken, to, amount, minGasLimit, extraData);
    }

    /// Sends tokens, or DUSK under its stand-in address, to the caller's own address on L1.
    function withdraw(address l2Token, uint256 amount, uint32 minGasLimit, bytes calldata extraData)
        external
        payable
        onlyKeyHolder
    {
        _withdraw(l2Token, msg.sender, amount, minGasLimit, extraData);
    }

    /// Sends tokens, or DUSK under its stand-in address, to `to` on L1.
    function withdrawTo(address l2Token, address to, uint256 amount, uint32 minGasLimit, bytes calldata extraData)
        external
        payable
    {
        _withdraw(l2Token, to, amount, minGasLimit, extraData);
    }

    /// DUSK arrives from L1: it is paid to `to`.
    function finalizeBridgeETH(address from, address to, uint256 amount, bytes calldata extraData)
        external
        payable
        onlyOtherBridge
    {
        if (msg.value != amount) revert WrongValue(amount, msg.value);
        if (to == address(this) || to == address(messenger)) revert BlockedRecipient(to);

        emit DepositFinalized(address(0), NATIVE_TOKEN, from, to, amount, extraData);
        emit ETHBridgeFinalized(from, to, amount, extraData);
        bool paid;
        assembly ("memory-safe") {
            // What the recipient returns is of no interest, so it is not copied.
            paid := call(gas(), to, amount, 0, 0, 0, 0)
        }
        if (!paid) revert PaymentRefused(to);
    }

    /// Tokens arrive from L1: those that come from there are minted, those whose home is here are handed back.
    function finalizeBridgeERC20(
        address localToken,
        address remoteToken,
        address from,
        address to,
        uint256 amount,
        bytes calldata extraData
    ) external onlyOtherBridge {
        if (_isMintable(localToken, remoteToken)) {
            IOptimismMintableERC20(localToken).mint(to, amount);
        } else {
            deposits[localToken][remoteToken] -= amount;
            IERC20(localToken).pay(to, amount);
        }
        emit DepositFinalized(remoteToken, localToken, from, to, amount, extraData);
        emit ERC20BridgeFinalized(localToken, remoteToken, from, to, amount, extraData);
    }

    /// Older name of `messenger`.
    function MESSENGER() external view returns (L2CrossDomainMessenger) {
        return messenger;
    }

    /// Older name of `otherBridge`.
    function OTHER_BRIDGE() external view returns (address) {
        return otherBridge;
    }

    /// Oldest name of `otherBridge`.
    function l1TokenBridge() external view returns (address) {
        return otherBridge;
    }

    /// False: nothing on L2 can stop the bridge.
    function paused() external pure returns (bool) {
        return false;
    }

    function _withdraw(address l2Token, address to, uint256 amount, uint32 minGasLimit, bytes calldata extraData)
        private
    {
        if (l2Token == NATIVE_TOKEN) {
            if (msg.value != amount) revert WrongValue(amount, msg.value);
            _sendNative(to, amount, minGasLimit, extraData);
        } else {
            if (msg.value != 0) revert WrongValue(0, msg.value);
            _sendToken(l2Token, ILegacyMintableERC20(l2Token).l1Token(), to, amount, minGasLimit, extraData);
        }
    }

    function _sendNative(address to, uint256 amount, uint32 minGasLimit, bytes memory extraData) private {
        emit WithdrawalInitiated(address(0), NATIVE_TOKEN, msg.sender, to, amount, extraData);
        emit ETHBridgeInitiated(msg.sender, to, amount, extraData);
        messenger.sendMessage{value: amount}(
            otherBridge, abi.encodeCall(this.finalizeBridgeETH, (msg.sender, to, amount, extraData)), minGasLimit
        );
    }

    function _sendToken(
        address localToken,
        address remoteToken,
        address to,
        uint256 amount,
        uint32 minGasLimit,
        bytes calldata extraData
    ) private {
        if (_isMintable(localToken, remoteToken)) {
            IOptimismMintableERC20(localToken).burn(msg.sender, amount);
        } else {
            IERC20(localToken).take(msg.sender, amount);
            deposits[localToken][remoteToken] += amount;
        }
        emit WithdrawalInitiated(remoteToken, localToken, msg.sender, to, amount, extraData);
        emit ERC20BridgeInitiated(localToken, remoteToken, msg.sender, to, amount, extraData);
        // There the two tokens change sides.
        messenger.sendMessage(
            otherBridge,
            abi.encodeCall(this.finalizeBridgeERC20, (remoteToken, localToken, msg.sender, to, amount, extraData)),
            minGasLimit
        );
    }

    /// Whether this bridge mints the token. One that it mints stands for exactly one token of the other layer.
    function _isMintable(address localToken, address remoteToken) private view returns (bool) {
        address standsFor;
        if (Erc165.has(localToken, type(ILegacyMintableERC20).interfaceId)) {
            standsFor = ILegacyMintableERC20(localToken).l1Token();
        } else if (Erc165.has(localToken, type(IOptimismMintableERC20).interfaceId)) {
            standsFor = IOptimismMintableERC20(localToken).remoteToken();
        } else {
            return false;
        }
        if (standsFor != remoteToken) revert WrongRemoteToken(remoteToken);
        return true;
    }
}
