// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

import {IDecisions} from "./IDecisions.sol";
import {IPromotionGate} from "./IPromotionGate.sol";
import {IVersions, Version} from "./IVersions.sol";

/// @title Versions of a model, the gate they pass, predictions, and the decisions taken with it
/// @notice A service without a gate serves whatever its owner registers. Whether there is one, and its terms, are fixed
///         when the service is created.
interface IModelService is IVersions, IDecisions {
    /// @notice Only the gate may do this.
    error NotGate(address caller);

    /// @notice Registers a version. Without a gate it serves from now on; with one its trial begins, under a bond that is
    ///         sent along. Owner only.
    /// @param version_ Program and lineage.
    /// @return id Number of the version; the first is 1.
    function register(Version calldata version_) external payable returns (uint256 id);

    /// @notice Lets a version serve that has passed the gate. Gate only.
    /// @param versionId Its number.
    function promote(uint256 versionId) external;

    /// @notice Lets a version serve again that has served before. Owner only.
    /// @param versionId Its number.
    function rollback(uint256 versionId) external;

    /// @return Gate that versions must pass, zero without one.
    function gate() external view returns (IPromotionGate);

    /// @return True when versions must pass a gate.
    function gated() external view returns (bool);
}
