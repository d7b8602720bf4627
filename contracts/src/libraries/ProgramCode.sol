// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IVersions, ProgramPart} from "../interfaces/IVersions.sol";

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
            address account = parts[i].account;
            bytes32 expected = parts[i].codeHash;
            bytes32 actual = account.codehash;
            require(
                actual == expected && actual != 0 && actual != NO_CODE,
                IVersions.CodeHashMismatch(account, expected, actual)
            );
        }
    }
}
