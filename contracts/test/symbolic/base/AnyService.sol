// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ProgramPart, Version} from "../../../src/interfaces/IVersions.sol";

/// @notice Stands for the service of a gate: with any storage it gives any answer. It calls nobody.
contract AnyService {
    uint256 public currentVersion;
    address private _program;
    bytes32 private _codeHash;
    uint64 private _gas;
    /// How often a version was promoted, and which one last.
    uint256 public promotions;
    uint256 public promoted;

    /// @dev Of one part, without a federation.
    function version(uint256) external view returns (Version memory registered) {
        registered.program = _program;
        registered.gas = _gas;
        registered.parts = new ProgramPart[](1);
        registered.parts[0] = ProgramPart(_program, _codeHash);
    }

    function promote(uint256 versionId) external {
        promoted = versionId;
        ++promotions;
    }
}
