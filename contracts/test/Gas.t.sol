// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModelService} from "../src/ModelService.sol";
import {ProgramPart, Version} from "../src/interfaces/IVersions.sol";
import {Submission} from "../src/libraries/UpdateTypes.sol";
import {FederationFixture} from "./base/FederationFixture.sol";
import {LinearProgram} from "./programs/LinearProgram.sol";

/// @notice Gas of whole transactions, calldata and the 21,000 included; written to snapshots/ and compared in CI.
/// @dev Every call is a transaction of its own here (`isolate = true` in foundry.toml), with cold state.
contract GasTest is FederationFixture {
    function test_round() public {
        // The second round: the first one pays for slots that stay. Its bond is that of the first.
        vm.prank(coordinator);
        federation.deposit{value: BOND}();
        runRound(false);
        runRound(true);
    }

    function test_decision() public {
        LinearProgram program = new LinearProgram(100);
        ModelService service = new ModelService(owner);
        Version memory version;
        version.program = address(program);
        version.integerOnnxDigest = keccak256("integer onnx");
        version.onnxCid = cidOf("onnx");
        version.parts = new ProgramPart[](1);
        version.parts[0] = ProgramPart(address(program), address(program).codehash);
        vm.prank(owner);
        service.register(version);
        vm.snapshotGasLastCall("ModelService", "register, one part");
        service.decide(hex"0a141e3c", 1, 0, type(uint64).max);
        service.decide(hex"0a141e3c", 1, 0, type(uint64).max);
        vm.snapshotGasLastCall("ModelService", "decide, four bytes");
    }

    function runRound(bool record) private {
        uint64 roundId = openRound();
        if (record) vm.snapshotGasLastCall("Federation", "openRound");
        Submission[] memory submissions = honestSubmissions(roundId, 0, MEMBERS);
        submit(roundId, submissions);
        if (record) vm.snapshotGasLastCall("Federation", "submit, 16 updates");
        vm.prank(coordinator);
        federation.propose(roundId, defaultProposal());
        if (record) vm.snapshotGasLastCall("Federation", "propose");
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);
        if (record) vm.snapshotGasLastCall("Federation", "finalizeRound");
    }
}
