// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestBase} from "../../base/TestBase.sol";
import {Svm} from "./Svm.sol";

/// @notice What every proof about a whole contract starts from: any storage, any time, any caller.
/// @dev Storage is read by its slots, since a view would branch on what it reads. That the slots are those of the contract is proved
///      where they are named (`check_theSlotsAre…`).
abstract contract SymbolicBase is TestBase {
    Svm internal constant svm = Svm(address(uint160(uint256(keccak256("svm cheat code")))));

    /// No account has as much: there are less than 2^88 wei.
    uint256 internal constant MOST_WEI = 1 << 96;
    /// Some 34,000 years.
    uint256 internal constant LATEST = 1 << 39;

    /// @dev Puts a contract's code where its storage can be anything at all.
    function _place(address where, address code) internal {
        vm.etch(where, code.code);
        svm.enableSymbolicStorage(where);
    }

    /// @dev Any time and block, from where sums with a rule's seconds fit their widths.
    function _anyTime() internal {
        uint256 time = svm.createUint(64, "time");
        vm.assume(time > 0 && time < LATEST);
        vm.warp(time);
        uint256 number = svm.createUint(64, "block");
        vm.assume(number > 0 && number < LATEST);
        vm.roll(number);
    }

    function _word(address account, uint256 slot) internal view returns (uint256) {
        return uint256(vm.load(account, bytes32(slot)));
    }

    /// @dev The first word of a mapping's value.
    function _entry(address account, uint256 slot, uint256 key) internal view returns (uint256) {
        return uint256(vm.load(account, keccak256(abi.encode(key, slot))));
    }

    /// @dev Some bits of a word.
    function _bits(uint256 word, uint256 byteOffset, uint256 width) internal pure returns (uint256) {
        return (word >> (8 * byteOffset)) & ((uint256(1) << width) - 1);
    }

    /// @dev Both, without a branch: what is assumed before a call would else multiply the paths through it.
    function _and(bool one, bool other) internal pure returns (bool both) {
        assembly ("memory-safe") {
            both := and(one, other)
        }
    }

    /// @dev One or the other, without a branch.
    function _or(bool one, bool other) internal pure returns (bool either) {
        assembly ("memory-safe") {
            either := or(one, other)
        }
    }

    /// @dev The amount if the condition holds, else 0, without a branch.
    function _where(bool condition, uint256 amount) internal pure returns (uint256 counted) {
        assembly ("memory-safe") {
            counted := mul(condition, amount)
        }
    }

    /// @dev Whether low ≤ value < low + width, without a branch.
    function _within(uint256 value, uint256 low, uint256 width) internal pure returns (bool inside) {
        unchecked {
            inside = value - low < width;
        }
    }
}
