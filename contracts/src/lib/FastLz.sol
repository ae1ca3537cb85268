// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

/// The length that a byte string has after FastLZ (level 1) compression.
///
/// From the Fjord fork on, the L1 fee of a transaction is an estimate from this length, so the result must be the
/// one that every execution client computes: the match finder (a table of 8192 last positions, keyed by a hash of
/// three bytes), its limits at the end of the input and the cost of runs are fixed by consensus. Nothing is
/// compressed here; only the length is counted.
library FastLz {
    /// Bytes of the position table: 8192 entries of four bytes, and the rest of the word that the last entry touches.
    uint256 private constant TABLE_BYTES = 0x8020;

    /// The compressed length of `data`, in bytes.
    function compressedLength(bytes calldata data) internal pure returns (uint256 size) {
        uint256 input;
        assembly ("memory-safe") {
            input := data.offset
        }
        uint256 table = _zeroedTable();
        uint256 length = data.length;
        uint256 anchor; // everything before it is already counted

        // The last 13 bytes always go out as they are.
        uint256 limit = length < 13 ? 0 : length - 13;
        uint256 position = 2;
        while (position < limit) {
            uint256 candidate;
            (position, candidate) = _nextMatch(input, table, position, limit);
            if (position >= limit) break;

            // The search stands one past the place that matched.
            unchecked {
                position -= 1;
                if (position > anchor) size += _literals(position - anchor);
                uint256 matched = _matchLength(input + candidate + 3, input + position + 3, limit + 6 - position);
                size += _copy(matched);
                position += matched;
                _remember(input, table, position);
                _remember(input, table, position + 1);
                position += 2;
            }
            anchor = position;
        }
        size += _literals(length - anchor);
    }

    /// Memory for the table, cleared: reading calldata past its end gives zeros.
    function _zeroedTable() private pure returns (uint256 table) {
        assembly ("memory-safe") {
            table := mload(0x40)
            mstore(0x40, add(table, TABLE_BYTES))
            calldatacopy(table, calldatasize(), TABLE_BYTES)
        }
    }

    /// Walks from `position` to the next place whose three bytes were seen at `candidate`, less than 8192 bytes
    /// before. `next` is one past that place, or `limit` when there is none.
    function _nextMatch(uint256 input, uint256 table, uint256 position, uint256 limit)
        private
        pure
        returns (uint256 next, uint256 candidate)
    {
        assembly ("memory-safe") {
            next := position
            // The three bytes at `next` as a little-endian number; each step shifts one out and one in.
            let word := calldataload(add(input, next))
            let sequence := or(shl(8, byte(0, word)), shl(16, byte(1, word)))
            for {} 1 {} {
                word := calldataload(add(input, next))
                sequence := or(shr(8, sequence), shl(16, byte(2, word)))
                let entry := add(table, and(shr(17, mul(sequence, 2654435769)), 0x7ffc))
                let stored := mload(entry)
                candidate := shr(224, stored)
                mstore(entry, xor(stored, shl(224, xor(candidate, next))))
                if iszero(lt(next, limit)) { break }
                next := add(next, 1)
                // A place counts if it is near and its three bytes are the same. `next` is one ahead.
                if iszero(shr(232, xor(word, calldataload(add(input, candidate))))) {
                    if lt(sub(next, candidate), 8193) { break }
                }
            }
        }
    }

    /// How far two places of the input agree, counting the first byte that differs, at most `bound`.
    function _matchLength(uint256 a, uint256 b, uint256 bound) private pure returns (uint256 matched) {
        assembly ("memory-safe") {
            for {} lt(matched, bound) {} {
                let same := eq(byte(0, calldataload(add(a, matched))), byte(0, calldataload(add(b, matched))))
                matched := add(matched, 1)
                if iszero(same) { break }
            }
        }
    }

    /// Stores `position` as the newest place of the three bytes found there.
    function _remember(uint256 input, uint256 table, uint256 position) private pure {
        assembly ("memory-safe") {
            let word := calldataload(add(input, position))
            let sequence := or(byte(0, word), or(shl(8, byte(1, word)), shl(16, byte(2, word))))
            let entry := add(table, and(shr(17, mul(sequence, 2654435769)), 0x7ffc))
            word := mload(entry)
            mstore(entry, xor(word, shl(224, xor(shr(224, word), position))))
        }
    }

    /// Bytes written for a run of literals: one opcode for every 32 bytes begun.
    function _literals(uint256 run) private pure returns (uint256) {
        unchecked {
            return run + (run + 31) / 32;
        }
    }

    /// Bytes written for a copy: two or three, and three more for every 262 bytes before its last part.
    function _copy(uint256 matched) private pure returns (uint256) {
        unchecked {
            uint256 rest = matched - 1;
            return 3 * (rest / 262) + (rest % 262 >= 6 ? 3 : 2);
        }
    }
}
