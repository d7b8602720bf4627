// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

/// @title Sets of places as bits
/// @notice Place p is bit p mod 8, the least significant first, of byte floor(p / 8); n places take ceil(n / 8) bytes, whose
///         spare bits are 0. Bits beyond the bytes are read as 0.
library Bitmaps {
    /// @param bitmap Bytes as stated.
    /// @param places Number of places.
    /// @return True when they are a set of these places: of the right length, and the spare bits 0.
    function isSetOf(bytes calldata bitmap, uint256 places) internal pure returns (bool) {
        if (bitmap.length != (places + 7) / 8) return false;
        return places % 8 == 0 || uint8(bitmap[bitmap.length - 1]) >> (places % 8) == 0;
    }

    /// @param bitmap Set.
    /// @param place Any place.
    /// @return Whether it is in the set.
    function has(bytes calldata bitmap, uint256 place) internal pure returns (bool) {
        if (place >> 3 >= bitmap.length) return false;
        return (_word(bitmap, place >> 3) >> (248 + (place & 7))) & 1 == 1;
    }

    /// @param bitmap Set.
    /// @param first First of eight places, a multiple of 8.
    /// @return Which of them are in the set, the first the least significant bit.
    function octet(bytes calldata bitmap, uint256 first) internal pure returns (uint256) {
        return first >> 3 >= bitmap.length ? 0 : _word(bitmap, first >> 3) >> 248;
    }

    /// @param bitmap Set of places.
    /// @param place One of these places.
    /// @return joined The set with it.
    function with(bytes calldata bitmap, uint256 place) internal pure returns (bytes memory joined) {
        joined = bitmap;
        // Below 8.
        // forge-lint: disable-next-line(unsafe-typecast)
        joined[place / 8] |= bytes1(uint8(1) << uint8(place % 8));
    }

    /// @dev A roll-up counts twice a group. The ones of a word are sums of ever wider neighbours, of which a product adds the
    ///      last sixteen. Source: H. S. Warren, "Hacker's Delight", 5-1.
    /// @param bitmap Set.
    /// @param first First place that counts.
    /// @param end First place after it that does not.
    /// @return total How many places from `first` to `end` − 1 are in the set.
    // Solidity reads no word that may reach past the end.
    // slither-disable-next-line assembly
    function count(bytes calldata bitmap, uint256 first, uint256 end) internal pure returns (uint256 total) {
        assembly ("memory-safe") {
            let places := shl(3, bitmap.length)
            if gt(end, places) { end := places }
            // A window of 256 places begins with the byte of the first, so that a group seldom takes two; the bits of that byte
            // below the first place do not count.
            let skipped := and(first, 7)
            let window := not(shl(248, not(shl(skipped, not(0)))))
            for { let start := sub(first, skipped) } lt(start, end) { start := add(start, 256) } {
                let word := and(calldataload(add(bitmap.offset, shr(3, start))), window)
                let rest := sub(end, start)
                if lt(rest, 256) {
                    // Whole bytes from the left, then low bits of the next.
                    let whole := and(rest, 0xf8)
                    let low := shl(sub(248, whole), not(shl(and(rest, 7), not(0))))
                    word := and(word, or(not(shr(whole, not(0))), low))
                }
                word := sub(
                    word,
                    and(shr(1, word), 0x5555555555555555555555555555555555555555555555555555555555555555)
                )
                let twos := 0x3333333333333333333333333333333333333333333333333333333333333333
                word := add(and(word, twos), and(shr(2, word), twos))
                word := and(
                    add(word, shr(4, word)),
                    0x0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f
                )
                let bytes_ := 0x00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff00ff
                word := add(and(word, bytes_), and(shr(8, word), bytes_))
                word := mul(word, 0x0001000100010001000100010001000100010001000100010001000100010001)
                total := add(total, shr(240, word))
                window := not(0)
            }
        }
    }

    /// @param bitmap Set.
    /// @param other Another.
    /// @return True when both have the same length and every place of the first is in the other.
    function isWithin(bytes calldata bitmap, bytes calldata other) internal pure returns (bool) {
        if (bitmap.length != other.length) return false;
        for (uint256 offset = 0; offset < bitmap.length; offset += 32) {
            uint256 alone = _word(bitmap, offset) & ~_word(other, offset);
            uint256 rest = bitmap.length - offset;
            if (rest < 32) alone >>= 256 - 8 * rest;
            if (alone != 0) return false;
        }
        return true;
    }

    /// @dev The 32 bytes from an offset on. Behind the end lies anything.
    // Solidity reads no word that may reach past the end.
    // slither-disable-next-line assembly
    function _word(bytes calldata bitmap, uint256 offset) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(add(bitmap.offset, offset))
        }
    }
}
