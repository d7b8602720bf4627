// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title The stream that masks are read from
/// @notice Source: RFC 8439, 2.3, with a nonce of zeros.
library ChaCha20 {
    /// @notice One block of 64 bytes as eight integers: bytes 8m to 8m + 7, read little-endian, are the m-th.
    /// @dev The four words of a row of the state lie in one word of 256 bits, 64 bits apart, the first the most significant,
    ///      so that a step works on four columns at once. Sums are let run over into the free half: the 40 additions to a
    ///      word make it less than 2^38. What is rotated is cut to 32 bits first: times 2^32 + 1 it stands in its 64 bits
    ///      twice, and a shift to the right then rotates it.
    /// @param key Key.
    /// @param counter Number of the block, below 2^32.
    /// @return first Integers 0 to 3, 64 bits each, the first the most significant.
    /// @return second Integers 4 to 7.
    // Every stack slot counts in a loop that runs ten times a block.
    // slither-disable-start assembly,too-many-digits
    function lanes(bytes32 key, uint256 counter) internal pure returns (uint256 first, uint256 second) {
        assembly ("memory-safe") {
            // Four words in the lower 128 bits, moved 64 bits apart.
            function spread(words) -> row {
                row := or(words, shl(64, words))
                row := and(row, 0x0000000000000000ffffffffffffffff0000000000000000ffffffffffffffff)
                row := or(row, shl(32, row))
                row := and(row, 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff)
            }
            // Two words each make an integer, the first its lower half; both in the upper 128 bits.
            function gather(row) -> pair {
                row := or(row, shl(96, row))
                pair := or(
                    and(row, 0xffffffffffffffff000000000000000000000000000000000000000000000000),
                    shl(64, and(row, 0xffffffffffffffff0000000000000000))
                )
            }

            // The key's words are little-endian.
            key := or(
                and(shr(8, key), 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff),
                shl(8, and(key, 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff))
            )
            key := or(
                and(shr(16, key), 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff),
                shl(16, and(key, 0x0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff0000ffff))
            )

            let low := 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff
            // Modulo 2^256 − 1 a product with 2^n is a rotation by n bits, of every word but that of ones alone: there are none,
            // as the lanes leave free bits between them.
            let all := not(0)
            // "expand 32-byte k"
            let a := 0x0000000061707865000000003320646e0000000079622d32000000006b206574
            let upper := spread(shr(128, key))
            let lower := spread(and(key, 0xffffffffffffffffffffffffffffffff))
            let b := upper
            let c := lower
            let d := shl(192, counter)
            for { let rounds := 10 } rounds { rounds := sub(rounds, 1) } {
                // The columns.
                a := add(a, b)
                d := and(shr(16, mul(and(xor(d, a), low), 0x100000001)), low)
                c := add(c, d)
                b := and(shr(20, mul(and(xor(b, c), low), 0x100000001)), low)
                a := add(a, b)
                d := and(shr(24, mul(and(xor(d, a), low), 0x100000001)), low)
                c := add(c, d)
                // The diagonals become columns.
                b := and(shr(25, mul(and(xor(b, c), low), 0x100000001)), low)
                b := mulmod(b, 0x10000000000000000, all)
                c := mulmod(c, 0x100000000000000000000000000000000, all)
                d := mulmod(d, 0x1000000000000000000000000000000000000000000000000, all)
                a := add(a, b)
                d := and(shr(16, mul(and(xor(d, a), low), 0x100000001)), low)
                c := add(c, d)
                b := and(shr(20, mul(and(xor(b, c), low), 0x100000001)), low)
                a := add(a, b)
                d := and(shr(24, mul(and(xor(d, a), low), 0x100000001)), low)
                c := add(c, d)
                // And diagonals again.
                b := and(shr(25, mul(and(xor(b, c), low), 0x100000001)), low)
                b := mulmod(b, 0x1000000000000000000000000000000000000000000000000, all)
                c := mulmod(c, 0x100000000000000000000000000000000, all)
                d := mulmod(d, 0x10000000000000000, all)
            }
            a := and(add(a, 0x0000000061707865000000003320646e0000000079622d32000000006b206574), low)
            b := and(add(b, upper), low)
            c := and(add(c, lower), low)
            d := and(add(d, shl(192, counter)), low)
            first := or(gather(a), shr(128, gather(b)))
            second := or(gather(c), shr(128, gather(d)))
        }
    }
    // slither-disable-end assembly,too-many-digits
}
