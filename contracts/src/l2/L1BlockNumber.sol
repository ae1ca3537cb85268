// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {L1_BLOCK} from "../lib/Constants.sol";
import {L1Block} from "./L1Block.sol";

/// The number of the L1 origin, for contracts that ask here. New ones ask L1Block.
contract L1BlockNumber {
    /// Version of this implementation.
    string public constant version = "1.0.0";

    /// Answers a plain transfer with the number, and keeps the value.
    receive() external payable {
        _answer();
    }

    /// Answers whatever is asked with the number.
    fallback() external payable {
        _answer();
    }

    /// The number of the L1 origin of this block.
    function getL1BlockNumber() public view returns (uint256) {
        return L1Block(L1_BLOCK).number();
    }

    function _answer() private view {
        uint256 answer = getL1BlockNumber();
        assembly {
            mstore(0, answer)
            return(0, 0x20)
        }
    }
}
