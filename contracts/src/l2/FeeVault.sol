// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {L2_TO_L1_MESSAGE_PASSER, PROXY_ADMIN, WEI_PER_LUX} from "../lib/Constants.sol";
import {ProxyAdmin} from "../proxy/ProxyAdmin.sol";
import {L2ToL1MessagePasser} from "./L2ToL1MessagePasser.sol";

/// Collects one kind of fee until someone has it paid out to the recipient, on L1 or on L2.
///
/// Configuration is storage, written at genesis, so that one runtime code serves every network.
abstract contract FeeVault {
    /// Where a withdrawal pays out.
    enum WithdrawalNetwork {
        L1,
        L2
    }

    /// The caller is not the owner of the proxy admin.
    error OnlyProxyAdminOwner();

    /// Fees must not be paid to nobody.
    error ZeroRecipient();

    /// A withdrawal, in the form of older tools.
    event Withdrawal(uint256 value, address to, address from);

    /// A withdrawal.
    event Withdrawal(uint256 value, address to, address from, WithdrawalNetwork withdrawalNetwork);

    /// The smallest balance that can be withdrawn has changed.
    event MinWithdrawalAmountUpdated(uint256 oldWithdrawalAmount, uint256 newWithdrawalAmount);

    /// The recipient has changed.
    event RecipientUpdated(address oldRecipient, address newRecipient);

    /// The layer of withdrawals has changed.
    event WithdrawalNetworkUpdated(WithdrawalNetwork oldWithdrawalNetwork, WithdrawalNetwork newWithdrawalNetwork);

    /// Version of this implementation.
    string public constant version = "1.0.0";

    /// L1 gas of a withdrawal to L1.
    uint256 private constant WITHDRAWAL_MIN_GAS = 400_000;

    // Slot 0
    /// Everything ever withdrawn, in wei.
    uint256 public totalProcessed;

    // Slot 1
    /// The smallest balance that can be withdrawn, in wei.
    uint256 public minWithdrawalAmount;

    // Slot 2
    /// Who receives the fees.
    address public recipient;
    /// On which layer.
    WithdrawalNetwork public withdrawalNetwork;

    modifier onlyProxyAdminOwner() {
        if (msg.sender != ProxyAdmin(PROXY_ADMIN).owner()) revert OnlyProxyAdminOwner();
        _;
    }

    receive() external payable {}

    /// Pays the balance out to the recipient. Anyone may call this.
    ///
    /// To L1 only whole lux travel; what is left below one lux stays here for the next time.
    function withdraw() external returns (uint256 value) {
        value = address(this).balance;
        require(
            value >= minWithdrawalAmount,
            "FeeVault: withdrawal amount must be greater than minimum withdrawal amount"
        );
        WithdrawalNetwork network = withdrawalNetwork;
        address to = recipient;
        if (network == WithdrawalNetwork.L1) value -= value % WEI_PER_LUX;

        totalProcessed += value;
        emit Withdrawal(value, to, msg.sender);
        emit Withdrawal(value, to, msg.sender, network);

        if (network == WithdrawalNetwork.L1) {
            L2ToL1MessagePasser(payable(L2_TO_L1_MESSAGE_PASSER)).initiateWithdrawal{value: value}(
                to, WITHDRAWAL_MIN_GAS, ""
            );
        } else {
            (bool paid,) = to.call{value: value}("");
            require(paid, "FeeVault: failed to send ETH to L2 fee recipient");
        }
    }

    /// Changes the smallest balance that can be withdrawn.
    function setMinWithdrawalAmount(uint256 newMinWithdrawalAmount) external onlyProxyAdminOwner {
        emit MinWithdrawalAmountUpdated(minWithdrawalAmount, newMinWithdrawalAmount);
        minWithdrawalAmount = newMinWithdrawalAmount;
    }

    /// Changes who receives the fees.
    function setRecipient(address newRecipient) external onlyProxyAdminOwner {
        if (newRecipient == address(0)) revert ZeroRecipient();
        emit RecipientUpdated(recipient, newRecipient);
        recipient = newRecipient;
    }

    /// Changes the layer of withdrawals.
    function setWithdrawalNetwork(WithdrawalNetwork newWithdrawalNetwork) external onlyProxyAdminOwner {
        emit WithdrawalNetworkUpdated(withdrawalNetwork, newWithdrawalNetwork);
        withdrawalNetwork = newWithdrawalNetwork;
    }

    /// Older name of `recipient`.
    function RECIPIENT() external view returns (address) {
        return recipient;
    }

    /// Older name of `minWithdrawalAmount`.
    function MIN_WITHDRAWAL_AMOUNT() external view returns (uint256) {
        return minWithdrawalAmount;
    }

    /// Older name of `withdrawalNetwork`.
    function WITHDRAWAL_NETWORK() external view returns (WithdrawalNetwork) {
        return withdrawalNetwork;
    }
}
