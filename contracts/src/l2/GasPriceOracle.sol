// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {DEPOSITOR, L1_BLOCK} from "../lib/Constants.sol";
import {FastLz} from "../lib/FastLz.sol";
import {L1Block} from "./L1Block.sol";

/// Estimates the parts of a transaction's cost that go beyond L2 gas: the L1 data fee and the operator fee.
///
/// The formulas are those that execution charges, fork by fork. The four flags of slot 0 are set at genesis, or by
/// the depositor in the block in which the fork becomes active.
contract GasPriceOracle {
    /// Decimals of the fee scalars.
    uint256 public constant DECIMALS = 6;

    /// Version of this implementation.
    string public constant version = "1.0.0";

    /// What a signature adds to an unsigned transaction, in bytes that hardly compress.
    uint256 private constant SIGNATURE_BYTES = 68;

    // Fjord's estimate of the size in a batch, from the FastLZ length. All times 1e6.
    int256 private constant SIZE_INTERCEPT = -42_585_600;
    uint256 private constant SIZE_PER_BYTE = 836_500;
    uint256 private constant SIZE_MINIMUM = 100_000_000;

    // Slot 0, from its lowest byte
    /// Ecotone is active.
    bool public isEcotone;
    /// Fjord is active.
    bool public isFjord;
    /// Isthmus is active.
    bool public isIsthmus;
    /// Jovian is active.
    bool public isJovian;

    modifier onlyDepositor() {
        require(msg.sender == DEPOSITOR, "GasPriceOracle: only the depositor account can activate a fork");
        _;
    }

    /// Switches to the formula of Ecotone.
    function setEcotone() external onlyDepositor {
        require(!isEcotone, "GasPriceOracle: Ecotone already active");
        isEcotone = true;
    }

    /// Switches to the formula of Fjord.
    function setFjord() external onlyDepositor {
        require(isEcotone, "GasPriceOracle: Fjord can only be activated after Ecotone");
        require(!isFjord, "GasPriceOracle: Fjord already active");
        isFjord = true;
    }

    /// Switches on the operator fee.
    function setIsthmus() external onlyDepositor {
        require(isFjord, "GasPriceOracle: Isthmus can only be activated after Fjord");
        require(!isIsthmus, "GasPriceOracle: Isthmus already active");
        isIsthmus = true;
    }

    /// Switches to Jovian's operator fee.
    function setJovian() external onlyDepositor {
        require(isIsthmus, "GasPriceOracle: Jovian can only be activated after Isthmus");
        require(!isJovian, "GasPriceOracle: Jovian already active");
        isJovian = true;
    }

    /// The L1 fee, in wei, of an RLP-encoded transaction without its signature.
    function getL1Fee(bytes calldata data) external view returns (uint256) {
        if (isFjord) return _fjordFee(FastLz.compressedLength(data) + SIGNATURE_BYTES);
        uint256 gas = _calldataGas(data);
        if (isEcotone) return gas * _feePerByte() / (16 * 10 ** DECIMALS);
        L1Block l1 = L1Block(L1_BLOCK);
        return (gas + l1.l1FeeOverhead()) * l1.basefee() * l1.l1FeeScalar() / 10 ** DECIMALS;
    }

    /// An upper bound, in wei, of the L1 fee of any transaction that has `unsignedTxSize` bytes without its signature.
    function getL1FeeUpperBound(uint256 unsignedTxSize) external view returns (uint256) {
        require(isFjord, "GasPriceOracle: getL1FeeUpperBound only supports Fjord");
        uint256 size = unsignedTxSize + SIGNATURE_BYTES;
        // The worst case of FastLZ.
        return _fjordFee(size + size / 255 + 16);
    }

    /// The L1 gas of an unsigned transaction, at 16 gas a byte. Since Fjord only of historical meaning.
    function getL1GasUsed(bytes calldata data) external view returns (uint256) {
        if (isFjord) return _estimatedSize(FastLz.compressedLength(data) + SIGNATURE_BYTES) * 16 / 10 ** DECIMALS;
        uint256 gas = _calldataGas(data);
        if (isEcotone) return gas;
        return gas + L1Block(L1_BLOCK).l1FeeOverhead();
    }

    /// The operator fee, in wei, of a transaction that uses `gasUsed` gas. Saturates, as execution does.
    function getOperatorFee(uint256 gasUsed) external view returns (uint256) {
        if (!isIsthmus) return 0;
        L1Block l1 = L1Block(L1_BLOCK);
        uint256 product = _saturatingMul(gasUsed, l1.operatorFeeScalar());
        product = isJovian ? _saturatingMul(product, 100) : product / 10 ** DECIMALS;
        uint256 constantPart = l1.operatorFeeConstant();
        unchecked {
            uint256 sum = product + constantPart;
            return sum < product ? type(uint256).max : sum;
        }
    }

    /// The base fee of this L2 block, in wei.
    function gasPrice() external view returns (uint256) {
        return block.basefee;
    }

    /// The base fee of this L2 block, in wei.
    function baseFee() external view returns (uint256) {
        return block.basefee;
    }

    /// Overhead of the L1 fee before Ecotone.
    function overhead() external view returns (uint256) {
        require(!isEcotone, "GasPriceOracle: overhead() is deprecated");
        return L1Block(L1_BLOCK).l1FeeOverhead();
    }

    /// Scalar of the L1 fee before Ecotone.
    function scalar() external view returns (uint256) {
        require(!isEcotone, "GasPriceOracle: scalar() is deprecated");
        return L1Block(L1_BLOCK).l1FeeScalar();
    }

    /// Base fee of the L1 origin, in wei.
    function l1BaseFee() public view returns (uint256) {
        return L1Block(L1_BLOCK).basefee();
    }

    /// Blob base fee of the L1 origin, in wei.
    function blobBaseFee() public view returns (uint256) {
        return L1Block(L1_BLOCK).blobBaseFee();
    }

    /// Scalar of the L1 base fee.
    function baseFeeScalar() public view returns (uint32) {
        return L1Block(L1_BLOCK).baseFeeScalar();
    }

    /// Scalar of the L1 blob base fee.
    function blobBaseFeeScalar() public view returns (uint32) {
        return L1Block(L1_BLOCK).blobBaseFeeScalar();
    }

    /// Decimals of the fee scalars.
    function decimals() external pure returns (uint256) {
        return DECIMALS;
    }

    /// Weighted price of a byte on L1, times 1e6.
    function _feePerByte() private view returns (uint256) {
        return uint256(baseFeeScalar()) * 16 * l1BaseFee() + uint256(blobBaseFeeScalar()) * blobBaseFee();
    }

    function _fjordFee(uint256 compressedLength) private view returns (uint256) {
        return _estimatedSize(compressedLength) * _feePerByte() / 10 ** (DECIMALS * 2);
    }

    function _estimatedSize(uint256 compressedLength) private pure returns (uint256) {
        int256 size = SIZE_INTERCEPT + int256(SIZE_PER_BYTE * compressedLength);
        return size < int256(SIZE_MINIMUM) ? SIZE_MINIMUM : uint256(size);
    }

    /// Gas of `data` and a signature as Ethereum calldata: 4 for a zero byte, 16 for another.
    function _calldataGas(bytes calldata data) private pure returns (uint256 gas) {
        gas = (data.length + SIGNATURE_BYTES) * 16;
        for (uint256 i = 0; i < data.length; ++i) {
            if (data[i] == 0) gas -= 12;
        }
    }

    function _saturatingMul(uint256 a, uint256 b) private pure returns (uint256) {
        unchecked {
            uint256 product = a * b;
            return b != 0 && product / b != a ? type(uint256).max : product;
        }
    }
}
