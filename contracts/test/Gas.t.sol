// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModelService} from "../src/ModelService.sol";
import {GateTerms, IPromotionGate} from "../src/interfaces/IPromotionGate.sol";
import {ProgramPart, Version} from "../src/interfaces/IVersions.sol";
import {Sample} from "../src/libraries/SampleTree.sol";
import {AccuracyTest} from "../src/libraries/SequentialTest.sol";
import {Submission} from "../src/libraries/UpdateTypes.sol";
import {FederationFixture} from "./base/FederationFixture.sol";
import {HashTree} from "./base/HashTree.sol";
import {HeaderForest} from "./base/HeaderForest.sol";
import {SampleForest} from "./base/SampleForest.sol";
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
        ModelService service = new ModelService(owner, noGate());
        Version memory version = versionOf(address(program));
        vm.prank(owner);
        service.register(version);
        vm.snapshotGasLastCall("ModelService", "register, one part");
        service.decide(hex"0a141e3c", 1, 0, type(uint64).max);
        service.decide(hex"0a141e3c", 1, 0, type(uint64).max);
        vm.snapshotGasLastCall("ModelService", "decide, four bytes");
    }

    function test_trial() public {
        Sample[] memory samples = new Sample[](8);
        for (uint256 i = 0; i < samples.length; ++i) {
            samples[i] = Sample(bytes32(i), 1, abi.encodePacked(uint32(i)), new bytes32[](0));
        }
        bytes32[][] memory levels = SampleForest.build(samples);
        GateTerms memory terms = GateTerms({
            samplesRoot: SampleForest.rootOf(levels, 8),
            samples: 8,
            classes: 2,
            test: AccuracyTest(600_000, 900_000, 50_000, 50_000),
            maxSamples: 8,
            margin: 0,
            attempts: 1,
            trialSeconds: 60,
            bond: 0
        });
        ModelService service = new ModelService(owner, terms);
        IPromotionGate gate = service.gate();
        Version memory version = versionOf(address(new LinearProgram(100)));
        vm.prank(owner);
        service.register(version);
        vm.snapshotGasLastCall("PromotionGate", "register, one part");
        uint256 seedBlock = gate.trial(1).seedBlock;
        vm.roll(seedBlock + 1);
        bytes memory header = HeaderForest.build(seedBlock, "randao", "geth");
        vm.setBlockhash(seedBlock, keccak256(header));
        gate.draw(header);
        vm.snapshotGasLastCall("PromotionGate", "draw");
        uint256[8] memory pool = [uint256(0), 1, 2, 3, 4, 5, 6, 7];
        Sample[] memory one = new Sample[](1);
        for (uint32 asked = 0; asked < 8; ++asked) {
            uint256 place = uint256(keccak256(abi.encode(gate.trial(1).seed, uint256(asked)))) % (8 - asked);
            one[0] = samples[pool[place]];
            one[0].siblings = HashTree.path(levels, pool[place]);
            pool[place] = pool[7 - asked];
            gate.runSamples(asked, one);
            if (asked == 1) vm.snapshotGasLastCall("PromotionGate", "runSamples, one of four bytes");
        }
        vm.snapshotGasLastCall("PromotionGate", "runSamples, the last one");
        vm.assertEq(service.currentVersion(), 1);
    }

    function versionOf(address program) private view returns (Version memory version) {
        version.program = program;
        version.gas = 20_000;
        version.integerOnnxDigest = keccak256("integer onnx");
        version.onnxCid = cidOf("onnx");
        version.parts = new ProgramPart[](1);
        version.parts[0] = ProgramPart(program, program.codehash);
    }

    function runRound(bool record) private {
        uint64 roundId = openRound();
        if (record) vm.snapshotGasLastCall("Federation", "openRound");
        Submission[] memory submissions = honestSubmissions(roundId, 0, MEMBERS);
        submit(roundId, submissions);
        if (record) vm.snapshotGasLastCall("Federation", "submit, 16 updates");
        propose(roundId, 0);
        if (record) vm.snapshotGasLastCall("Federation", "propose");
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);
        if (record) vm.snapshotGasLastCall("Federation", "finalizeRound");
    }
}
