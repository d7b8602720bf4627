// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Headers of past blocks
/// @notice PREVRANDAO of a past block cannot be read by an opcode. Its header can be shown: the chain knows its hash.
library BlockHeader {
    /// Blocks after which no hash is known: EIP-2935 keeps as many, BLOCKHASH 256.
    uint256 internal constant WINDOW = 8191;
    /// The contract of EIP-2935, which answers a block's number with its hash, on chains that have it.
    address internal constant HISTORY = 0x0000F90827F1C53a10cb7A02335B175320002935;
    /// Items of a header before PREVRANDAO: parent, ommers, beneficiary, three roots, bloom, difficulty, number, two gas
    /// figures, time, extra data (EIP-4399).
    uint256 private constant BEFORE_RANDAO = 13;

    /// @param number Number of a block.
    /// @return found Its hash; zero when the chain does not know it, or too little gas was left to ask.
    // A chain without the contract answers with nothing.
    // slither-disable-next-line low-level-calls
    function hashOf(uint256 number) internal view returns (bytes32 found) {
        found = blockhash(number);
        if (found != 0 || number >= block.number) return found;
        (bool success, bytes memory output) = HISTORY.staticcall(abi.encode(number));
        if (success && output.length == 32) found = abi.decode(output, (bytes32));
    }

    /// @notice Reads PREVRANDAO from a header. It is for headers whose hash was compared; of other bytes it gives anything.
    /// @param header The block's header in RLP (Yellow Paper, appendix B).
    /// @return The beacon's value; zero where there is none of 32 bytes.
    function prevRandao(bytes calldata header) internal pure returns (bytes32) {
        if (header.length == 0 || uint8(header[0]) < 0xf8) return 0;
        uint256 position = uint8(header[0]) - 0xf7 + 1;
        for (uint256 i = 0; i < BEFORE_RANDAO && position < header.length; ++i) {
            position += _width(header, position);
        }
        if (position + 33 > header.length || uint8(header[position]) != 0xa0) return 0;
        return bytes32(header[position + 1:position + 33]);
    }

    /// @dev Bytes of the string at a position, its prefix included.
    function _width(bytes calldata header, uint256 position) private pure returns (uint256) {
        uint256 prefix = uint8(header[position]);
        if (prefix < 0x80) return 1;
        if (prefix < 0xb8) return prefix - 0x7f;
        // A string of more than 55 bytes: the prefix tells how many bytes of length follow; of a bloom it is two.
        uint256 bytesOfLength = prefix - 0xb7;
        uint256 length = 0;
        for (uint256 i = 1; i <= bytesOfLength && position + i < header.length; ++i) {
            length = length << 8 | uint8(header[position + i]);
        }
        return 1 + bytesOfLength + length;
    }
}
