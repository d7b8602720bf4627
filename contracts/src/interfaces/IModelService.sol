// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IDecisions} from "./IDecisions.sol";
import {IVersions, Version} from "./IVersions.sol";

/// @title Versions of a model, its predictions, and the decisions taken with it
interface IModelService is IVersions, IDecisions {
    /// @notice Registers a version, which serves from now on. Owner only.
    /// @param version_ Program and lineage.
    /// @return id Number of the version; the first is 1.
    function register(Version calldata version_) external returns (uint256 id);
}
