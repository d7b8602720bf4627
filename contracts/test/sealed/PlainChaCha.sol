// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice ChaCha20's block, written down a second time from RFC 8439, 2.3, a word at a time.
library PlainChaCha {
    function blockOf(bytes32 key, uint32 counter) internal pure returns (bytes memory stream) {
        uint32[16] memory start;
        (start[0], start[1], start[2], start[3]) = (0x61707865, 0x3320646e, 0x79622d32, 0x6b206574);
        for (uint256 i = 0; i < 8; ++i) {
            start[4 + i] = swapped(uint32(bytes4(key << (32 * i))));
        }
        start[12] = counter;
        uint32[16] memory state;
        for (uint256 i = 0; i < 16; ++i) {
            state[i] = start[i];
        }
        for (uint256 round = 0; round < 10; ++round) {
            for (uint256 i = 0; i < 4; ++i) {
                quarter(state, i, 4 + i, 8 + i, 12 + i);
            }
            for (uint256 i = 0; i < 4; ++i) {
                quarter(state, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
            }
        }
        for (uint256 i = 0; i < 16; ++i) {
            unchecked {
                stream = bytes.concat(stream, bytes4(swapped(state[i] + start[i])));
            }
        }
    }

    function quarter(uint32[16] memory s, uint256 a, uint256 b, uint256 c, uint256 d) private pure {
        unchecked {
            s[a] += s[b];
            s[d] = rotated(s[d] ^ s[a], 16);
            s[c] += s[d];
            s[b] = rotated(s[b] ^ s[c], 12);
            s[a] += s[b];
            s[d] = rotated(s[d] ^ s[a], 8);
            s[c] += s[d];
            s[b] = rotated(s[b] ^ s[c], 7);
        }
    }

    function rotated(uint32 word, uint8 by) private pure returns (uint32) {
        return (word << by) | (word >> (32 - by));
    }

    function swapped(uint32 word) private pure returns (uint32) {
        return (word << 24) | ((word & 0xff00) << 8) | ((word >> 8) & 0xff00) | (word >> 24);
    }
}
