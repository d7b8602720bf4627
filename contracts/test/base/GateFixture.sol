// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Federation} from "../../src/Federation.sol";
import {ModelService} from "../../src/ModelService.sol";
import {PromotionGate} from "../../src/PromotionGate.sol";
import {GateTerms, TrialState} from "../../src/interfaces/IPromotionGate.sol";
import {Version} from "../../src/interfaces/IVersions.sol";
import {Rules} from "../../src/libraries/RulesLib.sol";
import {Sample} from "../../src/libraries/SampleTree.sol";
import {Security} from "../../src/libraries/SecurityLib.sol";
import {AccuracyTest} from "../../src/libraries/SequentialTest.sol";
import {LinearProgram} from "../programs/LinearProgram.sol";
import {HashTree} from "./HashTree.sol";
import {HeaderForest} from "./HeaderForest.sol";
import {SampleForest} from "./SampleForest.sol";
import {ServiceFixture} from "./ServiceFixture.sol";

/// @notice A gated service, older than its federation, and programs that get all, some or few samples right.
/// @dev A sample's input is four equal bytes; the true label is 1 below 25 and else 0: `right` gets all right, `wrong`
///      none that is 1, `half` those below 10 too, and `poor` those below 2. Eight right answers in a row pass, three wrong
///      ones fail.
abstract contract GateFixture is ServiceFixture {
    uint256 internal constant SAMPLES = 60;
    uint32 internal constant ATTEMPTS = 3;
    uint96 internal constant GATE_BOND = 0.25 ether;

    ModelService internal service;
    PromotionGate internal gate;
    LinearProgram internal right;
    LinearProgram internal wrong;
    LinearProgram internal half;
    LinearProgram internal poor;
    Sample[] internal samples;
    bytes32[][] internal levels;
    uint32[] internal pool;

    function setUp() public virtual override {
        for (uint256 i = 0; i < sampleCount(); ++i) {
            samples.push(sampleOf(i));
        }
        levels = SampleForest.build(samples);
        use(defaultGate());
        right = new LinearProgram(100);
        wrong = new LinearProgram(0);
        half = new LinearProgram(40);
        poor = new LinearProgram(8);
        vm.deal(owner, 100 ether);
        super.setUp();
    }

    /// @dev A new service, which is older than the federation all the same.
    function use(GateTerms memory terms) internal {
        uint256 time = block.timestamp;
        vm.warp(1_700_000_000);
        service = new ModelService(owner, terms);
        gate = PromotionGate(address(service.gate()));
        vm.warp(time);
        delete pool;
        for (uint256 i = 0; i < sampleCount(); ++i) {
            pool.push(uint32(i));
        }
    }

    function defaultGate() internal view virtual returns (GateTerms memory) {
        return GateTerms({
            samplesRoot: SampleForest.rootOf(levels, sampleCount()),
            samples: uint32(sampleCount()),
            classes: 2,
            test: AccuracyTest(600_000, 900_000, 50_000, 50_000),
            maxSamples: 20,
            margin: 1,
            attempts: ATTEMPTS,
            trialSeconds: 3600,
            bond: GATE_BOND
        });
    }

    function sampleCount() internal pure virtual returns (uint256) {
        return SAMPLES;
    }

    /// @dev Two of three have label 1.
    function sampleOf(uint256 i) internal pure virtual returns (Sample memory sample) {
        uint8 value = uint8(i % 3 == 0 ? 30 + i : i % 25);
        sample.salt = keccak256(abi.encode("salt", i));
        sample.label = value < 25 ? 1 : 0;
        sample.input = abi.encodePacked(value, value, value, value);
    }

    function register(Version memory version) internal returns (uint256 id) {
        vm.prank(owner);
        return service.register{value: GATE_BOND}(version);
    }

    function passed(address program) internal returns (uint256 id) {
        return tried(program, TrialState.Passed);
    }

    function failed(address program) internal returns (uint256 id) {
        return tried(program, TrialState.Failed);
    }

    function tried(address program, TrialState outcome) internal returns (uint256 id) {
        id = register(federatedVersion(program));
        draw();
        runUntilOver();
        vm.assertTrue(gate.trial(id).state == outcome);
    }

    function runUntilOver() internal {
        while (gate.pendingTrial() != 0) {
            runNext(1);
        }
    }

    function runNext(uint256 count) internal {
        uint32 asked = gate.trial(gate.pendingTrial()).asked;
        gate.runSamples(asked, next(count));
    }

    function draw() internal {
        uint256 seedBlock = gate.trial(gate.pendingTrial()).seedBlock;
        vm.roll(seedBlock + 1);
        gate.draw(headerOf(seedBlock));
    }

    /// @dev The header of a block of the last 256, which from now on has its hash.
    function headerOf(uint256 number) internal returns (bytes memory header) {
        header = HeaderForest.build(number, randaoOf(number), "geth");
        vm.setBlockhash(number, keccak256(header));
    }

    function randaoOf(uint256 number) internal pure returns (bytes32) {
        return keccak256(abi.encode("randao", number));
    }

    /// @dev The next samples of the pending trial, in the order of the draw. A mirror of the contract's pool, with the
    ///      whole list in place of what was moved.
    function next(uint256 count) internal returns (Sample[] memory drawn) {
        uint256 id = gate.pendingTrial();
        bytes32 seed = gate.trial(id).seed;
        uint256 asked = gate.trial(id).asked;
        drawn = new Sample[](count);
        for (uint256 i = 0; i < count; ++i) {
            uint256 place = uint256(keccak256(abi.encode(seed, uint32(asked + i)))) % pool.length;
            uint32 index = pool[place];
            pool[place] = pool[pool.length - 1];
            pool.pop();
            drawn[i] = samples[index];
            drawn[i].siblings = HashTree.path(levels, index);
        }
    }
}
