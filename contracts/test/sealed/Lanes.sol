// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Vectors as packed bytes.
library Lanes {
    /// @return packed Elements `first` to `end` − 1, `size` bytes each, big-endian.
    function pack(int256[] memory values, uint256 first, uint256 end, uint256 size)
        internal
        pure
        returns (bytes memory packed)
    {
        packed = new bytes((end - first) * size);
        for (uint256 i = 0; i < packed.length; ++i) {
            packed[i] = bytes1(uint8(uint256(values[first + i / size] >> (8 * (size - 1 - i % size)))));
        }
    }

    function slice(bytes memory data, uint256 first, uint256 end) internal pure returns (bytes memory part) {
        part = new bytes(end - first);
        for (uint256 i = 0; i < part.length; ++i) {
            part[i] = data[first + i];
        }
    }

    /// @return The value mod 2^(8 · size) as a signed integer.
    function signed(int256 value, uint256 size) internal pure returns (int256) {
        int256 modulus = int256(1 << (8 * size));
        int256 rest = value % modulus;
        if (rest < 0) rest += modulus;
        return rest >= modulus / 2 ? rest - modulus : rest;
    }
}
