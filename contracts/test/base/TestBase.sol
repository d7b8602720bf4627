// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Vm} from "./Vm.sol";

/// @notice What every test here starts from: forge's cheatcodes at their well-known address.
abstract contract TestBase {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    /// @dev Folds any number into a range, so that fuzzing wastes no run.
    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        require(low <= high);
        uint256 width = high - low + 1;
        return width == 0 ? value : low + value % width;
    }
}
