// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ProgramPart, Version} from "../../src/interfaces/IVersions.sol";
import {DisputeFixture} from "./DisputeFixture.sol";

/// @notice A final round of three members with a true aggregation, and versions that come from it.
abstract contract ServiceFixture is DisputeFixture {
    uint64 internal constant ANSWER_GAS = 50_000;

    function setUp() public virtual override {
        super.setUp();
        begin();
        Lie memory honest;
        proposeWith(honest);
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);
    }

    function federatedVersion(address program) internal view returns (Version memory version) {
        version = standaloneVersion(program);
        version.federation = address(federation);
        version.round = roundId;
        version.modelRoot = federation.round(roundId).modelRoot;
    }

    function standaloneVersion(address program) internal view returns (Version memory version) {
        version.program = program;
        version.gas = ANSWER_GAS;
        version.integerOnnxDigest = keccak256("integer onnx");
        version.onnxCid = cidOf("onnx");
        version.parts = new ProgramPart[](1);
        version.parts[0] = ProgramPart(program, program.codehash);
    }
}
