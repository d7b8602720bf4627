// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {TestBase} from "./TestBase.sol";

/// @notice tests/protocol/vectors.json, which the Python tests read too, and its fields.
abstract contract VectorsFile is TestBase {
    string internal vectors;

    function setUp() public {
        vectors = vm.readFile("../tests/protocol/vectors.json");
    }

    function element(string memory key, string memory list, uint256 index)
        internal
        pure
        returns (string memory)
    {
        return string.concat(key, list, "[", vm.toString(index), "]");
    }

    function number(string memory key, string memory field) internal view returns (uint256) {
        return vm.parseJsonUint(vectors, string.concat(key, field));
    }

    function word(string memory key, string memory field) internal view returns (bytes32) {
        return vm.parseJsonBytes32(vectors, string.concat(key, field));
    }
}
