// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// What a call tree, a creation and a self-destruct need: something to call and to create.
contract Child {
    uint256 public value;

    constructor(uint256 value_) payable {
        value = value_;
    }

    function set(uint256 value_) external payable returns (uint256 before) {
        before = value;
        value = value_;
    }

    function refuse() external pure {
        revert("child says no");
    }

    function die(address payable heir) external {
        selfdestruct(heir);
    }
}

/// One contract with every behaviour that the suites ask a node about.
contract Lab {
    event Bumped(uint256 indexed count, address indexed by, bytes note);
    event Spawned(address child);

    error Broken(uint256 code, string what);

    uint256 public counter;
    mapping(uint256 => uint256) public values;
    Child public child;

    constructor() payable {
        child = new Child(7);
    }

    receive() external payable {}

    function bump(bytes calldata note) external returns (uint256) {
        counter += 1;
        emit Bumped(counter, msg.sender, note);
        return counter;
    }

    function set(uint256 key, uint256 value) external {
        values[key] = value;
    }

    /// Writes `value` to `count` keys from `first` on; zero clears them.
    function setMany(uint256 first, uint256 count, uint256 value) external {
        for (uint256 i = 0; i < count; i++) values[first + i] = value == 0 ? 0 : value + i;
    }

    function failPlain() external pure {
        revert();
    }

    function failReason() external pure {
        revert("too low");
    }

    function failPanic(uint256 by) external pure returns (uint256) {
        return 1 / by;
    }

    function failCustom(uint256 code) external pure {
        revert Broken(code, "as asked");
    }

    /// Changes storage, emits, and then fails: none of it may stay.
    function failLate() external {
        counter += 1;
        emit Bumped(counter, msg.sender, "");
        revert Broken(counter, "late");
    }

    function environment()
        external
        view
        returns (uint256 number, uint256 time, uint256 baseFee, address coinbase, uint256 chain, uint256 gasLimit, uint256 random)
    {
        return (block.number, block.timestamp, block.basefee, block.coinbase, block.chainid, block.gaslimit, block.prevrandao);
    }

    function hashOf(uint256 number) external view returns (bytes32) {
        return blockhash(number);
    }

    /// Never ends by itself.
    function spin() external view returns (uint256 turns) {
        while (gasleft() > 0) turns += 1;
    }

    /// A call with value, a static call, a delegate call to code without storage of its own, and an inner revert that is caught.
    function tour(uint256 value) external payable returns (uint256 before, uint256 afterwards, bool refused) {
        before = child.set{value: msg.value}(value);
        afterwards = child.value();
        try child.refuse() {
            refused = false;
        } catch {
            refused = true;
        }
    }

    function spawn(bytes32 salt, uint256 value) external payable returns (address made) {
        made = address(new Child{salt: salt, value: msg.value}(value));
        emit Spawned(made);
    }

    /// Creates and destroys in one transaction: after Cancun the only way in which an account goes away.
    function spawnAndDestroy(bytes32 salt, address payable heir) external payable returns (address made) {
        Child one = new Child{salt: salt, value: msg.value}(99);
        made = address(one);
        one.die(heir);
        emit Spawned(made);
    }
}

/// Code to delegate to by EIP-7702: several calls in one transaction.
contract Batcher {
    struct Call {
        address to;
        uint256 value;
        bytes data;
    }

    error CallFailed(uint256 index);

    function execute(Call[] calldata calls) external payable {
        for (uint256 i = 0; i < calls.length; i++) {
            (bool ok,) = calls[i].to.call{value: calls[i].value}(calls[i].data);
            if (!ok) revert CallFailed(i);
        }
    }

    receive() external payable {}
}
