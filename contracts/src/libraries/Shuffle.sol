// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Draw of the places of a roster
/// @notice Swap-or-not: in each of 90 rounds the place x and its mirror image, pivot − x mod n, change places if a bit says
///         so that both share. One place costs no more than its own 90 rounds.
///         Source: V. T. Hoang, B. Morris, P. Rogaway, "An Enciphering Scheme Based on a Card Shuffle", 2012; the layout of
///         the bits is that of Ethereum's consensus specification.
library Shuffle {
    /// @param seed Seed of the draw.
    /// @param index Index in the roster, below `size`.
    /// @param size Members of the roster, below 2^40.
    /// @return place Place of the member.
    // 180 short hashes in scratch memory.
    // slither-disable-next-line assembly
    function placeOf(bytes32 seed, uint256 index, uint256 size) internal pure returns (uint256 place) {
        place = index;
        assembly ("memory-safe") {
            mstore(0, seed)
            for { let round := 0 } lt(round, 90) { round := add(round, 1) } {
                // seed ‖ round:u8 ‖ bits / 256:u32, of which the pivot takes the first 33 bytes.
                let tail := shl(248, round)
                mstore(32, tail)
                let flip := mod(add(mod(keccak256(0, 33), size), sub(size, place)), size)
                let bit := place
                if gt(flip, place) { bit := flip }
                mstore(32, or(tail, shl(216, shr(8, bit))))
                // Byte (bit mod 256) / 8 from the left, its bit (bit mod 8) from the right.
                let source := byte(shr(3, and(bit, 255)), keccak256(0, 37))
                if and(shr(and(bit, 7), source), 1) { place := flip }
            }
        }
    }
}
