// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {FeeVault} from "./FeeVault.sol";

/// Priority fees. It is the beneficiary of every block.
contract SequencerFeeVault is FeeVault {
    /// Oldest name of `recipient`.
    function l1FeeWallet() external view returns (address) {
        return recipient;
    }
}

/// Base fees of L2 blocks, which OP chains collect where Ethereum burns them.
contract BaseFeeVault is FeeVault {}

/// L1 data fees.
contract L1FeeVault is FeeVault {}

/// Operator fees, since Isthmus.
contract OperatorFeeVault is FeeVault {}
