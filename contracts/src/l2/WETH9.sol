// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// Wrapped DUSK: the native token of this chain as an ERC-20, one to one.
///
/// It stands at the address and has the interface of WETH9 on other OP chains, so that contracts and tools that wrap
/// the native token work unchanged. Name and symbol say what it really holds.
contract WETH9 {
    /// `owner` lets `spender` take up to `value`.
    event Approval(address indexed owner, address indexed spender, uint256 value);

    /// Tokens have moved.
    event Transfer(address indexed from, address indexed to, uint256 value);

    /// Native tokens were wrapped.
    event Deposit(address indexed to, uint256 value);

    /// Native tokens were unwrapped.
    event Withdrawal(address indexed from, uint256 value);

    /// Name of the token.
    string public constant name = "Wrapped DUSK";

    /// Symbol of the token.
    string public constant symbol = "WDUSK";

    /// As many as the native token has.
    uint8 public constant decimals = 18;

    // Slot 0
    /// Wrapped tokens of an account.
    mapping(address => uint256) public balanceOf;

    // Slot 1
    /// What the second account may take from the first.
    mapping(address => mapping(address => uint256)) public allowance;

    /// Wraps what is sent.
    receive() external payable {
        deposit();
    }

    /// Wraps what is sent, whatever the call says.
    fallback() external payable {
        deposit();
    }

    /// Wraps what is sent.
    function deposit() public payable {
        balanceOf[msg.sender] += msg.value;
        emit Deposit(msg.sender, msg.value);
    }

    /// Unwraps `value` and sends it to the caller.
    function withdraw(uint256 value) external {
        uint256 balance = balanceOf[msg.sender];
        require(balance >= value, "WDUSK: balance too small");
        unchecked {
            balanceOf[msg.sender] = balance - value;
        }
        emit Withdrawal(msg.sender, value);
        (bool paid,) = msg.sender.call{value: value}("");
        require(paid, "WDUSK: the receiver refused the payment");
    }

    /// Every wrapped token has its native one in this contract.
    function totalSupply() external view returns (uint256) {
        return address(this).balance;
    }

    /// Lets `spender` take up to `value` from the caller. The largest number means without limit.
    function approve(address spender, uint256 value) external returns (bool) {
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
        return true;
    }

    /// Moves `value` from the caller to `to`.
    function transfer(address to, uint256 value) external returns (bool) {
        return transferFrom(msg.sender, to, value);
    }

    /// Moves `value` from `from` to `to`, within what `from` allows the caller.
    function transferFrom(address from, address to, uint256 value) public returns (bool) {
        uint256 balance = balanceOf[from];
        require(balance >= value, "WDUSK: balance too small");
        if (from != msg.sender) {
            uint256 allowed = allowance[from][msg.sender];
            if (allowed != type(uint256).max) {
                require(allowed >= value, "WDUSK: allowance too small");
                unchecked {
                    allowance[from][msg.sender] = allowed - value;
                }
            }
        }
        unchecked {
            balanceOf[from] = balance - value;
        }
        balanceOf[to] += value;
        emit Transfer(from, to, value);
        return true;
    }
}
