// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IScannedCode, ProgramPart} from "./interfaces/IScannedCode.sol";
import {ProgramCode} from "./libraries/ProgramCode.sol";
import {ProgramScanner} from "./libraries/ProgramScanner.sol";

/// @title Code that was scanned
/// @notice See `IScannedCode`.
abstract contract ScannedCode is IScannedCode {
    using ProgramCode for ProgramPart[];

    /// Most parts of a program or stage: their list must fit an event of 8 KiB, which Filecoin's EVM allows, and one data
    /// contract.
    uint256 public constant MAX_PARTS = 100;

    /// Code that was scanned, together with the parts that it may call.
    mapping(bytes32 scan => bool) private _scanned;

    /// @inheritdoc IScannedCode
    function scanPart(ProgramPart[] calldata parts, uint256 index) external {
        ProgramCode.requirePinned(parts[index]);
        address[] memory accounts = ProgramCode.accounts(parts);
        ProgramScanner.requireAllowed(parts[index].account, accounts);
        _scanned[_scanOf(parts[index].codeHash, accounts)] = true;
    }

    /// @dev Reverts unless every part has the code it is pinned to, and that is a program's.
    function _requireProgram(ProgramPart[] calldata parts) internal view {
        parts.requirePinned();
        address[] memory accounts = ProgramCode.accounts(parts);
        for (uint256 i = 0; i < parts.length; ++i) {
            if (!_scanned[_scanOf(parts[i].codeHash, accounts)]) {
                ProgramScanner.requireAllowed(accounts[i], accounts);
            }
        }
    }

    function _scanOf(bytes32 codeHash, address[] memory accounts) private pure returns (bytes32) {
        return keccak256(abi.encode(codeHash, accounts));
    }
}
