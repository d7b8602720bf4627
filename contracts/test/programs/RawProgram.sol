// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Contracts of given runtime code, for what Solidity does not write.
library RawProgram {
    function deploy(bytes memory code) internal returns (address account) {
        // Copies all that follows these eleven bytes, and returns it.
        bytes memory creation = abi.encodePacked(hex"600b380380600b5f395ff3", code);
        assembly ("memory-safe") {
            account := create(0, add(creation, 0x20), mload(creation))
        }
        require(account != address(0) && keccak256(account.code) == keccak256(code));
    }
}
