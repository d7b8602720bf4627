// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev Functions of a contract, as forge reads them.
struct FuzzSelector {
    address addr;
    bytes4[] selectors;
}
