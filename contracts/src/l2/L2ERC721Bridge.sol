// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {Accounts} from "../lib/Accounts.sol";
import {Erc165} from "../lib/Erc165.sol";
import {IERC721} from "../tokens/IERC721.sol";
import {IOptimismMintableERC721} from "../tokens/IMintable.sol";
import {L2CrossDomainMessenger} from "./L2CrossDomainMessenger.sol";

/// The L2 end of the bridge for tokens of unique things. Their home is L1: they are minted here when they arrive and
/// burnt when they leave. The extra data says on L1 who receives them; it passes through as it is.
///
/// Genesis writes the state, so there is no initializer that somebody could call.
contract L2ERC721Bridge {
    /// Only the bridge on L1, by way of the messenger.
    error OnlyOtherBridge();

    /// The function without a recipient sends to the caller's own address, which on the other layer may belong to
    /// somebody else if the caller is a contract. Use the one with a recipient.
    error CallerIsContract();

    /// Nobody is no recipient.
    error ZeroRecipient();

    /// The token is not the caller's.
    error NotOwner(address caller, uint256 tokenId);

    /// This is no token that the bridge can mint.
    error NotMintable(address token);

    /// This token stands for another one than the one given.
    error WrongRemoteToken(address given);

    /// A token is on its way to L1.
    event ERC721BridgeInitiated(
        address indexed localToken,
        address indexed remoteToken,
        address indexed from,
        address to,
        uint256 tokenId,
        bytes extraData
    );

    /// A token has arrived from L1.
    event ERC721BridgeFinalized(
        address indexed localToken,
        address indexed remoteToken,
        address indexed from,
        address to,
        uint256 tokenId,
        bytes extraData
    );

    /// Version of this implementation.
    string public constant version = "1.0.0";

    // Slot 0
    /// Written at genesis. An implementation with an initializer that comes later finds it done.
    uint8 private _initialized;
    bool private _initializing;

    // Slot 1
    /// The messenger on this layer. It begins a slot, as on other chains.
    uint240 private _spacer0;
    L2CrossDomainMessenger public messenger;

    // Slot 2
    /// The bridge on L1.
    address public otherBridge;

    modifier onlyOtherBridge() {
        if (msg.sender != address(messenger) || messenger.xDomainMessageSender() != otherBridge) {
            revert OnlyOtherBridge();
        }
        _;
    }

    /// Sends a token to the caller's own address on L1.
    function bridgeERC721(
        address localToken,
        address remoteToken,
        uint256 tokenId,
        uint32 minGasLimit,
        bytes calldata extraData
    ) external {
        if (!Accounts.callerHoldsKey()) revert CallerIsContract();
        _send(localToken, remoteToken, msg.sender, tokenId, minGasLimit, extraData);
    }

    /// Sends a token to `to` on L1.
    function bridgeERC721To(
        address localToken,
        address remoteToken,
        address to,
        uint256 tokenId,
        uint32 minGasLimit,
        bytes calldata extraData
    ) external {
        if (to == address(0)) revert ZeroRecipient();
        _send(localToken, remoteToken, to, tokenId, minGasLimit, extraData);
    }

    /// A token arrives from L1: it is minted.
    function finalizeBridgeERC721(
        address localToken,
        address remoteToken,
        address from,
        address to,
        uint256 tokenId,
        bytes calldata extraData
    ) external onlyOtherBridge {
        _check(localToken, remoteToken);
        IOptimismMintableERC721(localToken).safeMint(to, tokenId);
        emit ERC721BridgeFinalized(localToken, remoteToken, from, to, tokenId, extraData);
    }

    /// Older name of `messenger`.
    function MESSENGER() external view returns (L2CrossDomainMessenger) {
        return messenger;
    }

    /// Older name of `otherBridge`.
    function OTHER_BRIDGE() external view returns (address) {
        return otherBridge;
    }

    /// False: nothing on L2 can stop the bridge.
    function paused() external pure returns (bool) {
        return false;
    }

    function _send(
        address localToken,
        address remoteToken,
        address to,
        uint256 tokenId,
        uint32 minGasLimit,
        bytes calldata extraData
    ) private {
        _check(localToken, remoteToken);
        if (IERC721(localToken).ownerOf(tokenId) != msg.sender) revert NotOwner(msg.sender, tokenId);
        IOptimismMintableERC721(localToken).burn(msg.sender, tokenId);

        emit ERC721BridgeInitiated(localToken, remoteToken, msg.sender, to, tokenId, extraData);
        // There the two tokens change sides.
        messenger.sendMessage(
            otherBridge,
            abi.encodeCall(this.finalizeBridgeERC721, (remoteToken, localToken, msg.sender, to, tokenId, extraData)),
            minGasLimit
        );
    }

    function _check(address localToken, address remoteToken) private view {
        if (!Erc165.has(localToken, type(IOptimismMintableERC721).interfaceId)) revert NotMintable(localToken);
        if (remoteToken == address(0) || IOptimismMintableERC721(localToken).remoteToken() != remoteToken) {
            revert WrongRemoteToken(remoteToken);
        }
    }
}
