// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {DEPOSITOR} from "../lib/Constants.sol";

/// What L2 knows of its L1 origin. The first transaction of every block writes it.
///
/// The storage layout is consensus: execution clients read the fee parameters straight from slots 1, 3, 5, 6, 7 and
/// 8. A variable may be appended; none may move.
contract L1Block {
    /// The caller is not the depositor account.
    error NotDepositor();

    /// Version of this implementation.
    string public constant version = "1.0.0";

    // Slot 0
    /// Number of the L1 origin.
    uint64 public number;
    /// Time of the L1 origin, in seconds.
    uint64 public timestamp;

    // Slot 1
    /// Base fee of the L1 origin, in wei.
    uint256 public basefee;

    // Slot 2
    /// Hash of the L1 origin.
    bytes32 public hash;

    // Slot 3
    /// Number of L2 blocks before this one with the same origin.
    uint64 public sequenceNumber;
    /// Scalar of the blob base fee in the L1 fee, times 1e6.
    uint32 public blobBaseFeeScalar;
    /// Scalar of the base fee in the L1 fee, times 1e6.
    uint32 public baseFeeScalar;

    // Slot 4
    /// The batcher's address, left-padded.
    bytes32 public batcherHash;

    // Slot 5
    /// Overhead of the L1 fee before Ecotone.
    uint256 public l1FeeOverhead;

    // Slot 6
    /// Scalar of the L1 fee before Ecotone, times 1e6.
    uint256 public l1FeeScalar;

    // Slot 7
    /// Blob base fee of the L1 origin, in wei.
    uint256 public blobBaseFee;

    // Slot 8
    /// Constant part of the operator fee, in wei.
    uint64 public operatorFeeConstant;
    /// Scalar of the operator fee.
    uint32 public operatorFeeScalar;
    /// Gas per byte of data-availability footprint.
    uint16 public daFootprintGasScalar;

    modifier onlyDepositor() {
        if (msg.sender != DEPOSITOR) revert NotDepositor();
        _;
    }

    /// The only account that may set values.
    function DEPOSITOR_ACCOUNT() external pure returns (address) {
        return DEPOSITOR;
    }

    /// The token that pays gas: the native one, shown as other OP chains show theirs.
    function gasPayingToken() external pure returns (address token, uint8 decimals) {
        return (0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE, 18);
    }

    /// Name of the native token.
    function gasPayingTokenName() external pure returns (string memory) {
        return "DUSK";
    }

    /// Symbol of the native token.
    function gasPayingTokenSymbol() external pure returns (string memory) {
        return "DUSK";
    }

    /// False: DUSK is the native asset of both layers and needs no token contract on L1.
    function isCustomGasToken() external pure returns (bool) {
        return false;
    }

    /// Values of Bedrock to Delta, as ordinary ABI arguments.
    function setL1BlockValues(
        uint64 number_,
        uint64 timestamp_,
        uint256 basefee_,
        bytes32 hash_,
        uint64 sequenceNumber_,
        bytes32 batcherHash_,
        uint256 l1FeeOverhead_,
        uint256 l1FeeScalar_
    ) external onlyDepositor {
        number = number_;
        timestamp = timestamp_;
        basefee = basefee_;
        hash = hash_;
        sequenceNumber = sequenceNumber_;
        batcherHash = batcherHash_;
        l1FeeOverhead = l1FeeOverhead_;
        l1FeeScalar = l1FeeScalar_;
    }

    /// Values of Ecotone to Holocene, packed behind the selector (160 bytes).
    function setL1BlockValuesEcotone() external onlyDepositor {
        _setOrigin();
    }

    /// Values of Isthmus, packed behind the selector (172 bytes).
    function setL1BlockValuesIsthmus() external onlyDepositor {
        _setOrigin();
        assembly {
            // operatorFeeScalar ++ operatorFeeConstant
            sstore(operatorFeeConstant.slot, shr(160, calldataload(164)))
        }
    }

    /// Values of Jovian, packed behind the selector (174 bytes).
    function setL1BlockValuesJovian() external onlyDepositor {
        _setOrigin();
        assembly {
            // The DA scalar comes last in the calldata and stands above the two operator fee values in the slot.
            sstore(
                operatorFeeConstant.slot,
                or(shl(96, shr(240, calldataload(176))), shr(160, calldataload(164)))
            )
        }
    }

    /// The part that all packed forms share. Packing follows the slots, so each word is one load and one store.
    function _setOrigin() private {
        assembly {
            sstore(sequenceNumber.slot, shr(128, calldataload(4))) // baseFeeScalar ++ blobBaseFeeScalar ++ sequenceNumber
            sstore(number.slot, shr(128, calldataload(20))) // timestamp ++ number
            sstore(basefee.slot, calldataload(36))
            sstore(blobBaseFee.slot, calldataload(68))
            sstore(hash.slot, calldataload(100))
            sstore(batcherHash.slot, calldataload(132))
        }
    }
}
