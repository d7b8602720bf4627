// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Bytes kept as the code of contracts
/// @notice A new contract's code costs 200 gas a byte, a storage slot 690. A STOP before the bytes keeps them from being
///         run. Contracts that CREATE makes cannot be changed afterwards.
library Checkpoint {
    /// Most bytes that one contract holds: code is limited to 24,576 bytes (EIP-170), one of them the STOP.
    uint256 internal constant CHUNK_BYTES = 24_575;

    /// @notice A contract could not be created: there was too little gas.
    error CheckpointFailed();

    /// @notice Keeps bytes in as many contracts as they need.
    /// @param data The bytes.
    /// @return pointers The contracts, in order.
    function write(bytes memory data) internal returns (address[] memory pointers) {
        uint256 chunks = (data.length + CHUNK_BYTES - 1) / CHUNK_BYTES;
        pointers = new address[](chunks);
        for (uint256 i = 0; i < chunks; ++i) {
            uint256 from = i * CHUNK_BYTES;
            uint256 left = data.length - from;
            pointers[i] = _create(data, from, left < CHUNK_BYTES ? left : CHUNK_BYTES);
        }
    }

    /// @notice Puts together what `write` kept.
    /// @param pointers The contracts, in order.
    /// @return data The bytes.
    function read(address[] memory pointers) internal view returns (bytes memory data) {
        uint256 size = 0;
        for (uint256 i = 0; i < pointers.length; ++i) {
            size += pointers[i].code.length - 1;
        }
        data = new bytes(size);
        uint256 to = 0;
        for (uint256 i = 0; i < pointers.length; ++i) {
            address pointer = pointers[i];
            uint256 chunk = pointer.code.length - 1;
            // slither-disable-next-line assembly
            assembly ("memory-safe") {
                extcodecopy(pointer, add(add(data, 0x20), to), 1, chunk)
            }
            to += chunk;
        }
    }

    /// @dev The init code, PUSH2 size DUP1 PUSH1 10 PUSH0 CODECOPY PUSH0 RETURN and the STOP, is written over what lies
    ///      before the chunk, which spares a copy, and then put back.
    function _create(bytes memory data, uint256 from, uint256 size) private returns (address pointer) {
        // slither-disable-next-line assembly
        assembly ("memory-safe") {
            let before := add(data, from)
            let saved := mload(before)
            mstore(before, or(0x61000080600a5f395ff300, shl(64, add(size, 1))))
            pointer := create(0, add(before, 21), add(size, 11))
            mstore(before, saved)
        }
        require(pointer != address(0), CheckpointFailed());
    }
}
