// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {Token} from "../src/Token.sol";
import {Lab} from "../src/Lab.sol";

/// The few cheat codes that a broadcast needs.
interface Vm {
    function startBroadcast() external;
    function stopBroadcast() external;
}

/// Deploys two contracts and calls both, as one broadcast of several transactions.
contract Deploy {
    bool public constant IS_SCRIPT = true;
    Vm private constant VM = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    event Made(address token, address lab);

    function run() external returns (Token token, Lab lab) {
        VM.startBroadcast();
        token = new Token("Scripted", "S", 5000);
        lab = new Lab();
        token.transfer(address(lab), 321);
        lab.set(5, 55);
        VM.stopBroadcast();
        require(token.balanceOf(address(lab)) == 321, "the transfer is seen");
        emit Made(address(token), address(lab));
    }
}
