// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Rules} from "../libraries/RulesLib.sol";

/// @title What the kind of a federation's rounds asks of its rules
/// @notice Implemented by what stands in the place of `DirectSubmissions`: sealed rounds cannot be held under all rules.
interface IRuleLimits {
    /// @notice Reverts unless rounds can be held under these rules.
    /// @param rules Rules that are valid by themselves.
    function requireAllowed(Rules calldata rules) external view;
}
