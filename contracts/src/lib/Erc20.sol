// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// The part of ERC-20 that a bridge needs.
interface IERC20 {
    function balanceOf(address account) external view returns (uint256);

    function transfer(address to, uint256 amount) external returns (bool);

    function transferFrom(address from, address to, uint256 amount) external returns (bool);
}

/// Moves tokens, also those that return nothing where the standard wants `true`.
library Erc20 {
    /// The token did not move.
    error TransferFailed(address token);

    /// What arrived is not what was sent: the token takes a fee, or it lies.
    error WrongAmountArrived(address token, uint256 expected, uint256 arrived);

    /// Sends `amount` out of this contract.
    function pay(IERC20 token, address to, uint256 amount) internal {
        _call(token, abi.encodeCall(IERC20.transfer, (to, amount)));
    }

    /// Takes `amount` into this contract, all of it.
    function take(IERC20 token, address from, uint256 amount) internal {
        uint256 before = token.balanceOf(address(this));
        _call(token, abi.encodeCall(IERC20.transferFrom, (from, address(this), amount)));
        uint256 arrived = token.balanceOf(address(this)) - before;
        if (arrived != amount) revert WrongAmountArrived(address(token), amount, arrived);
    }

    function _call(IERC20 token, bytes memory data) private {
        (bool done, bytes memory answer) = address(token).call(data);
        if (done && answer.length == 0) done = address(token).code.length > 0;
        else if (done) done = answer.length >= 32 && abi.decode(answer, (uint256)) == 1;
        if (!done) revert TransferFailed(address(token));
    }
}
