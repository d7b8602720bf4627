// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Rules} from "../../../src/libraries/RulesLib.sol";
import {Security} from "../../../src/libraries/SecurityLib.sol";

/// @notice Stands for every contract that a federation asks: with any storage it gives any answer, or refuses. It calls nobody, as
///         the factory's own do not.
contract AnySidecar {
    mapping(address key => address member) public appointedBy;
    mapping(uint64 roundId => mapping(address member => address key)) private _keys;
    bool private _refuses;

    function keyOf(address member, uint64 roundId) external view returns (address) {
        return _keys[roundId][member];
    }

    function conclude(uint64, uint16, address) external view {
        require(!_refuses);
    }

    function check(Rules calldata, Security calldata) external view {
        require(!_refuses);
    }
}
