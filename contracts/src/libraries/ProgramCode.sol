// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IScannedCode, ProgramPart} from "../interfaces/IScannedCode.sol";

/// @title Pinned code of a program
/// @notice The code of a program is the function it computes. On Filecoin's EVM, SELFDESTRUCT and CREATE2 can put
///         other code at an address, so that the hashes are checked at registration and again before serving.
library ProgramCode {
    /// EXTCODEHASH of an account without code.
    bytes32 private constant NO_CODE = keccak256("");

    /// @notice Reverts unless every part has the code it is pinned to.
    /// @param parts Parts with their hashes.
    function requirePinned(ProgramPart[] memory parts) internal view {
        for (uint256 i = 0; i < parts.length; ++i) {
            requirePinned(parts[i]);
        }
    }

    /// @notice Reverts unless a part has the code it is pinned to.
    /// @param part Part with its hash.
    function requirePinned(ProgramPart memory part) internal view {
        bytes32 actual = part.account.codehash;
        require(
            actual == part.codeHash && actual != 0 && actual != NO_CODE,
            IScannedCode.CodeHashMismatch(part.account, part.codeHash, actual)
        );
    }

    /// @notice A program by its code alone, wherever it lies and whatever it is called.
    /// @param parts Parts with their hashes.
    /// @return keccak-256 of the hashes in a row.
    function hashOf(ProgramPart[] memory parts) internal pure returns (bytes32) {
        bytes32[] memory hashes = new bytes32[](parts.length);
        for (uint256 i = 0; i < parts.length; ++i) {
            hashes[i] = parts[i].codeHash;
        }
        return keccak256(abi.encodePacked(hashes));
    }

    /// @param parts Parts of a program.
    /// @return found Their addresses, in order.
    function accounts(ProgramPart[] calldata parts) internal pure returns (address[] memory found) {
        found = new address[](parts.length);
        for (uint256 i = 0; i < parts.length; ++i) {
            found[i] = parts[i].account;
        }
    }
}
