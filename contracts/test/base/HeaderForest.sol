// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Headers of blocks in RLP, built apart from the library that reads them.
library HeaderForest {
    /// @dev All items to the base fee and the withdrawals (EIP-4895), as long as a mainnet header's.
    function build(uint256 number, bytes32 randao, bytes memory extra) internal pure returns (bytes memory) {
        bytes memory roots = abi.encodePacked(word("parent"), word("ommers"), uint8(0x94), bytes20("builder"));
        roots = abi.encodePacked(roots, word("state"), word("transactions"), word("receipts"));
        bytes memory bloom = abi.encodePacked(hex"b90100", new bytes(256));
        bytes memory numbers = abi.encodePacked(
            uint8(0x80), item(number), item(36_000_000), item(21_000), item(1_700_000_000 + number)
        );
        bytes memory rest = abi.encodePacked(
            uint8(0xa0), randao, uint8(0x88), bytes8(0), item(1_000_000_007), word("withdrawals")
        );
        bytes memory body = abi.encodePacked(roots, bloom, numbers, short(extra), rest);
        return abi.encodePacked(uint8(0xf9), uint16(body.length), body);
    }

    function word(bytes memory what) private pure returns (bytes memory) {
        return abi.encodePacked(uint8(0xa0), keccak256(what));
    }

    function item(uint256 value) private pure returns (bytes memory) {
        bytes memory digits = "";
        for (; value > 0; value >>= 8) {
            digits = abi.encodePacked(uint8(value), digits);
        }
        return short(digits);
    }

    /// @dev At most 55 bytes.
    function short(bytes memory value) private pure returns (bytes memory) {
        if (value.length == 1 && uint8(value[0]) < 0x80) return value;
        return abi.encodePacked(uint8(0x80 + value.length), value);
    }
}
