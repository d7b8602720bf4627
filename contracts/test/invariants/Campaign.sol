// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestBase} from "../base/TestBase.sol";
import {FuzzSelector} from "./FuzzSelector.sol";

/// @notice Random sequences of a handler's functions, but for those that a test calls itself.
abstract contract Campaign is TestBase {
    address[] private _targets;
    bytes4[] private _excluded;

    /// @param handler What the fuzzer calls.
    /// @param setUp Selector of its set-up.
    /// @param takeOut Selector of what ends a sequence.
    function play(address handler, bytes4 setUp, bytes4 takeOut) internal {
        _targets.push(handler);
        _excluded.push(setUp);
        _excluded.push(takeOut);
    }

    /// @dev Read by forge: only the handler is called.
    function targetContracts() public view returns (address[] memory) {
        return _targets;
    }

    /// @dev Read by forge: these are not for the fuzzer.
    function excludeSelectors() public view returns (FuzzSelector[] memory excluded) {
        excluded = new FuzzSelector[](1);
        excluded[0] = FuzzSelector(_targets[0], _excluded);
    }
}
