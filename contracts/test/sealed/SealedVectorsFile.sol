// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Masked} from "../../src/libraries/SealedTypes.sol";
import {TestBase} from "../base/TestBase.sol";

/// @notice tests/protocol/sealed_vectors.json, which the Python tests read too, and its fields.
/// @dev The file is the code of an account, and each field is read in a call of its own, whose memory is given back: there is
///      half a megabyte of it, and every cheatcode takes it whole.
abstract contract SealedVectorsFile is TestBase {
    address private constant FILE = address(uint160(uint256(keccak256("sealed_vectors.json"))));

    function setUp() public {
        vm.etch(FILE, bytes(vm.readFile("../tests/protocol/sealed_vectors.json")));
    }

    function exists(string memory key) external view returns (bool) {
        return vm.keyExistsJson(string(FILE.code), key);
    }

    function number(string memory key) external view returns (uint256) {
        return vm.parseJsonUint(string(FILE.code), key);
    }

    function numbers(string memory key) external view returns (int256[] memory) {
        return vm.parseJsonIntArray(string(FILE.code), key);
    }

    function word(string memory key) external view returns (bytes32) {
        return vm.parseJsonBytes32(string(FILE.code), key);
    }

    function words(string memory key) external view returns (bytes32[] memory) {
        return vm.parseJsonBytes32Array(string(FILE.code), key);
    }

    function account(string memory key) external view returns (address) {
        return vm.parseJsonAddress(string(FILE.code), key);
    }

    function data(string memory key) external view returns (bytes memory) {
        return vm.parseJsonBytes(string(FILE.code), key);
    }

    function item(string memory list, uint256 index) internal pure returns (string memory) {
        return string.concat(list, "[", vm.toString(index), "]");
    }

    function field(string memory key, string memory name) internal pure returns (string memory) {
        return string.concat(key, ".", name);
    }

    function maskedAt(string memory key) internal view returns (Masked memory) {
        return Masked({
            round: uint64(this.number(field(key, "round"))),
            rulesHash: this.word(field(key, "rulesHash")),
            baseRoot: this.word(field(key, "baseRoot")),
            epochRoot: this.word(field(key, "epochRoot")),
            maskedRoot: this.word(field(key, "maskedRoot")),
            seedsRoot: this.word(field(key, "seedsRoot")),
            examples: uint32(this.number(field(key, "examples"))),
            accuracyPpm: uint32(this.number(field(key, "accuracyPpm"))),
            lossMicros: uint64(this.number(field(key, "lossMicros"))),
            labels: uint32(this.number(field(key, "labels"))),
            epsilonMicros: uint64(this.number(field(key, "epsilonMicros"))),
            deadline: uint64(this.number(field(key, "deadline"))),
            cid: this.data(field(key, "cid"))
        });
    }
}
