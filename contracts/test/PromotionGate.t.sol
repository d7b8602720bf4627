// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {ModelService} from "../src/ModelService.sol";
import {PromotionGate} from "../src/PromotionGate.sol";
import {IModelService} from "../src/interfaces/IModelService.sol";
import {GateTerms, IPromotionGate, Trial, TrialState} from "../src/interfaces/IPromotionGate.sol";
import {IVersions, Version} from "../src/interfaces/IVersions.sol";
import {BoundedCall} from "../src/libraries/BoundedCall.sol";
import {Sample} from "../src/libraries/SampleTree.sol";
import {AccuracyTest, SequentialTest} from "../src/libraries/SequentialTest.sol";
import {GateFixture} from "./base/GateFixture.sol";
import {HeaderForest} from "./base/HeaderForest.sol";
import {Vm} from "./base/Vm.sol";
import {LinearProgram} from "./programs/LinearProgram.sol";

/// @notice The trial of a version from its registration to its end.
contract PromotionGateTest is GateFixture {
    uint32 private constant NONE = type(uint32).max;

    function test_aVersionServesOnceItHasPassed() public {
        vm.assertTrue(service.gated());
        vm.assertEq(gate.service(), address(service));
        uint256 id = register(federatedVersion(address(right)));
        vm.assertEq(service.currentVersion(), 0);
        vm.expectRevert(abi.encodeWithSelector(IVersions.NotPassed.selector, id));
        service.predictWith(id, hex"00000000");
        draw();
        Sample[] memory drawn = next(8);
        vm.expectEmit();
        emit IPromotionGate.TrialEnded(id, TrialState.Passed, 8, 8, 0, 0);
        vm.expectEmit();
        emit IVersions.VersionServes(id, 0);
        vm.prank(stranger);
        gate.runSamples(0, drawn);
        vm.assertEq(service.currentVersion(), id);
        vm.assertEq(gate.pendingTrial(), 0);
        vm.assertEq(gate.owed(owner), GATE_BOND);
        vm.prank(owner);
        gate.withdraw();
        vm.assertEq(gate.burnt(), 0);
        vm.assertEq(address(gate).balance, 0);
        service.predictWith(id, hex"00000000");
    }

    function test_tellsItsTermsAndThresholds() public view {
        vm.assertEq(abi.encode(gate.terms()), abi.encode(defaultGate()));
        vm.assertEq(abi.encode(gate.thresholds()), abi.encode(SequentialTest.thresholds(defaultGate().test)));
    }

    function test_tellsEverySample() public {
        uint256 id = register(federatedVersion(address(right)));
        draw();
        Sample[] memory drawn = next(1);
        uint32 index = uint32(SAMPLES); // the one whose place in the mirror went
        for (uint32 i = 0; i < SAMPLES; ++i) {
            if (keccak256(samples[i].input) == keccak256(drawn[0].input)) index = i;
        }
        vm.expectEmit();
        emit IPromotionGate.SampleAsked(id, index, 0, drawn[0].label, drawn[0].label, NONE);
        gate.runSamples(0, drawn);
        vm.assertEq(gate.samplesRemaining(), SAMPLES - 1);
        Trial memory found = gate.trial(id);
        vm.assertEq(uint256(found.asked), 1);
        vm.assertEq(uint256(found.right), 1);
    }

    function test_aVersionThatFailsNeverServes() public {
        uint256 id = failed(address(wrong));
        vm.assertTrue(gate.trial(id).state == TrialState.Failed);
        vm.assertEq(gate.burnt(), GATE_BOND);
        vm.assertEq(gate.owed(owner), 0);
        vm.assertEq(service.currentVersion(), 0);
        vm.expectRevert(abi.encodeWithSelector(IVersions.NotPassed.selector, id));
        vm.prank(owner);
        service.rollback(id);
    }

    function test_countsEachClass() public {
        uint256 id = failed(address(wrong));
        (uint32 ones, uint32 correct) = gate.classCounts(id, 1);
        vm.assertEq(uint256(correct), 0);
        vm.assertTrue(ones >= 3);
        uint32 zeros;
        (zeros, correct) = gate.classCounts(id, 0);
        vm.assertEq(uint256(zeros), uint256(correct));
        vm.assertEq(uint256(gate.trial(id).right), correct);
        vm.assertEq(uint256(gate.trial(id).asked), uint256(ones) + zeros);
    }

    function test_aTrialTakesAsManyTransactionsAsItLikes() public {
        uint256 id = register(federatedVersion(address(right)));
        draw();
        for (uint256 i = 0; i < 8; ++i) {
            vm.assertEq(service.currentVersion(), 0);
            runNext(1);
        }
        vm.assertEq(service.currentVersion(), id);
        (uint32 asked0,) = gate.classCounts(id, 0);
        (uint32 asked1,) = gate.classCounts(id, 1);
        vm.assertEq(uint256(asked0) + asked1, 8);
    }

    function test_usesNoSampleTwice() public {
        vm.recordLogs();
        passed(address(right));
        failed(address(wrong));
        uint256 used = SAMPLES - gate.samplesRemaining();
        bool[] memory seen = new bool[](SAMPLES);
        uint256 distinct = 0;
        bytes32 topic = IPromotionGate.SampleAsked.selector;
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; ++i) {
            if (logs[i].topics[0] != topic) continue;
            uint256 index = uint256(logs[i].topics[2]);
            vm.assertFalse(seen[index]);
            seen[index] = true;
            ++distinct;
        }
        vm.assertEq(distinct, used);
        vm.assertEq(pool.length, SAMPLES - used);
    }

    function test_comparesWithTheVersionThatServes() public {
        // Any program passes this accuracy test, so that only the comparison is left.
        GateTerms memory terms = defaultGate();
        terms.test = AccuracyTest(10_000, 20_000, 50_000, 50_000);
        use(terms);
        uint256 first = passed(address(right));
        uint256 second = failed(address(poor));
        Trial memory found = gate.trial(second);
        vm.assertEq(found.rival, first);
        vm.assertEq(uint256(found.better), 0);
        vm.assertEq(uint256(found.worse), uint256(found.asked - found.right));
        vm.assertTrue(found.worse > terms.margin);

        // One right answer passes.
        terms.test = AccuracyTest(100, 20_000, 50_000, 50_000);
        terms.margin = 20;
        use(terms);
        passed(address(right));
        // A draw need not hold a sample on which the two differ; one of a few does.
        found.better = 0;
        for (uint256 i = 0; i < 32 && found.better == 0; ++i) {
            passed(address(poor));
            found = gate.trial(passed(address(right)));
            vm.assertEq(uint256(found.worse), 0);
        }
        vm.assertTrue(found.better > 0);
    }

    function test_theOwnerRollsBack() public {
        uint256 first = passed(address(right));
        uint256 second = passed(address(right));
        vm.assertEq(service.currentVersion(), second);
        vm.expectEmit();
        emit IVersions.VersionServes(first, second);
        vm.prank(owner);
        service.rollback(first);
        vm.assertEq(service.currentVersion(), first);
        service.decide(hex"00000000", first, 0, type(uint64).max);
        vm.assertEq(service.lineage(1).version, first);
    }

    function test_onlyTheOwnerRollsBack() public {
        uint256 id = passed(address(right));
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, stranger));
        vm.prank(stranger);
        service.rollback(id);
        vm.expectRevert(abi.encodeWithSelector(IVersions.NotPassed.selector, id + 1));
        vm.prank(owner);
        service.rollback(id + 1);
    }

    function test_onlyTheServiceOpensTrialsAndOnlyTheGatePromotes() public {
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.NotService.selector, owner));
        vm.prank(owner);
        gate.openTrial(1, owner);
        vm.expectRevert(abi.encodeWithSelector(IModelService.NotGate.selector, owner));
        vm.prank(owner);
        service.promote(1);
    }

    function test_withoutAGateTheOwnerDecides() public {
        ModelService open = new ModelService(owner, noGate());
        vm.assertFalse(open.gated());
        vm.assertEq(address(open.gate()), address(0));
        Version memory version = federatedVersion(address(wrong));
        vm.prank(owner);
        uint256 id = open.register{value: 5}(version);
        vm.assertEq(open.currentVersion(), id);
        vm.assertEq(open.owed(owner), 5);
        vm.expectRevert(abi.encodeWithSelector(IModelService.NotGate.selector, owner));
        vm.prank(owner);
        open.promote(1);
    }

    function test_asksForTheBond() public {
        Version memory version = federatedVersion(address(right));
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.BondNotSent.selector, GATE_BOND - 1, GATE_BOND));
        vm.prank(owner);
        service.register{value: GATE_BOND - 1}(version);
        vm.prank(owner);
        service.register{value: 3 * GATE_BOND + 7}(version);
        vm.assertEq(gate.owed(owner), 2 * GATE_BOND + 7);
        vm.assertEq(address(gate).balance, 3 * GATE_BOND + 7);
    }

    function test_holdsOneTrialAtATime() public {
        uint256 id = register(federatedVersion(address(right)));
        Version memory version = federatedVersion(address(half));
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.TrialPending.selector, id));
        vm.prank(owner);
        service.register{value: GATE_BOND}(version);
    }

    function test_aGateHasFewTrialsToLose() public {
        passed(address(right));
        for (uint256 i = 0; i < ATTEMPTS; ++i) {
            vm.assertEq(uint256(gate.trialsLost()), i);
            failed(address(new LinearProgram(int32(-int256(i)))));
            passedUnlessLost();
        }
        Version memory version = federatedVersion(address(right));
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.AttemptsUsedUp.selector, ATTEMPTS));
        vm.prank(owner);
        service.register{value: GATE_BOND}(version);
    }

    function test_tellsWhichTrialItIs() public {
        failed(address(wrong));
        Version memory version = federatedVersion(address(right));
        vm.expectEmit();
        emit IPromotionGate.TrialOpened(2, 0, 2, block.number + gate.SEED_DELAY(), GATE_BOND);
        vm.prank(owner);
        service.register{value: GATE_BOND}(version);
    }

    function test_needsEnoughSamples() public {
        for (uint256 i = 0; i < 7; ++i) {
            Version memory version = standaloneVersion(address(right));
            version.integerOnnxDigest = keccak256(abi.encode(i));
            if (gate.samplesRemaining() < 20) {
                vm.expectRevert(
                    abi.encodeWithSelector(IPromotionGate.SamplesUsedUp.selector, gate.samplesRemaining(), 20)
                );
                vm.prank(owner);
                service.register{value: GATE_BOND}(version);
                return;
            }
            register(version);
            draw();
            runNext(8);
        }
        revert();
    }

    function test_refusesFederationsThatBeganBeforeTheGate() public {
        ModelService late = new ModelService(owner, defaultGate());
        Version memory version = federatedVersion(address(right));
        vm.expectRevert(
            abi.encodeWithSelector(IPromotionGate.FixedAfterTraining.selector, address(federation))
        );
        vm.prank(owner);
        late.register{value: GATE_BOND}(version);
    }

    function test_drawsByABlockThatComesAfter() public {
        uint256 id = register(federatedVersion(address(right)));
        uint256 seedBlock = gate.trial(id).seedBlock;
        vm.assertEq(seedBlock, block.number + 132);
        bytes memory header = HeaderForest.build(seedBlock, randaoOf(seedBlock), "geth");
        uint256[3] memory early = [block.number, seedBlock - 1, seedBlock];
        for (uint256 i = 0; i < 3; ++i) {
            vm.roll(early[i]);
            vm.expectRevert(abi.encodeWithSelector(IPromotionGate.NoSeed.selector, seedBlock));
            gate.draw(header);
            vm.expectRevert(abi.encodeWithSelector(IPromotionGate.TrialNotLapsed.selector, id));
            gate.lapse();
        }
        vm.roll(seedBlock + 256);
        header = headerOf(seedBlock);
        vm.assertEq(gate.randomness(seedBlock, header), randaoOf(seedBlock));
        bytes32 seed = keccak256(abi.encode(randaoOf(seedBlock), address(gate), id));
        vm.expectEmit();
        emit IPromotionGate.TrialDrawn(id, seed, block.timestamp + 3600);
        gate.draw(header);
        vm.assertEq(gate.trial(id).seed, seed);
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.NoSuchTrial.selector, id, TrialState.Drawn));
        gate.draw(header);
    }

    function test_aMissedDrawLapses() public {
        uint256 id = register(federatedVersion(address(right)));
        uint256 seedBlock = gate.trial(id).seedBlock;
        vm.roll(seedBlock + 1);
        bytes memory header = headerOf(seedBlock);
        vm.roll(seedBlock + 257);
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.NoSeed.selector, seedBlock));
        gate.draw(header);
        vm.roll(seedBlock + 8191);
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.TrialNotLapsed.selector, id));
        gate.lapse();
        vm.roll(seedBlock + 8192);
        vm.expectEmit();
        emit IPromotionGate.TrialEnded(id, TrialState.Lapsed, 0, 0, 0, 0);
        vm.prank(stranger);
        gate.lapse();
        vm.assertEq(gate.burnt(), GATE_BOND);
        vm.assertEq(uint256(gate.trialsLost()), 1);
        // What lapsed has not failed.
        register(federatedVersion(address(right)));
    }

    function test_aTrialThatIsNotDecidedLapses() public {
        uint256 id = register(federatedVersion(address(right)));
        draw();
        runNext(7);
        vm.warp(gate.trial(id).until);
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.TrialNotLapsed.selector, id));
        gate.lapse();
        vm.warp(gate.trial(id).until + 1);
        gate.lapse();
        vm.assertTrue(gate.trial(id).state == TrialState.Lapsed);
        vm.assertEq(gate.burnt(), GATE_BOND);
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.TrialNotLapsed.selector, 0));
        gate.lapse();
    }

    function test_asksOnlyInADrawnTrial() public {
        Sample[] memory none = new Sample[](0);
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.NoSuchTrial.selector, 0, TrialState.None));
        gate.runSamples(0, none);
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.NoSuchTrial.selector, 0, TrialState.None));
        gate.draw("");
        uint256 id = register(federatedVersion(address(right)));
        vm.expectRevert(
            abi.encodeWithSelector(IPromotionGate.NoSuchTrial.selector, id, TrialState.Registered)
        );
        gate.runSamples(0, none);
    }

    function test_takesOnlyTheSamplesDrawn() public {
        register(federatedVersion(address(right)));
        draw();
        Sample[] memory drawn = next(1);
        uint32 index;
        for (uint32 i = 0; i < SAMPLES; ++i) {
            if (keccak256(samples[i].input) == keccak256(drawn[0].input)) index = i;
        }
        bytes memory refused = abi.encodeWithSelector(IPromotionGate.WrongSample.selector, index);
        Sample[] memory changed = copy(drawn);
        changed[0].label = 1 - changed[0].label;
        vm.expectRevert(refused);
        gate.runSamples(0, changed);
        changed = copy(drawn);
        changed[0].salt = 0;
        vm.expectRevert(refused);
        gate.runSamples(0, changed);
        changed = copy(drawn);
        changed[0].input = hex"01020304";
        vm.expectRevert(refused);
        gate.runSamples(0, changed);
        changed = copy(drawn);
        changed[0].siblings = new bytes32[](5);
        vm.expectRevert(refused);
        gate.runSamples(0, changed);
        changed[0].siblings = new bytes32[](7);
        vm.expectRevert(refused);
        gate.runSamples(0, changed);
        gate.runSamples(0, drawn);
    }

    function test_revealsNoSampleAfterTheLast() public {
        register(federatedVersion(address(right)));
        draw();
        Sample[] memory drawn = next(10);
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.SamplesLeftOver.selector, 2));
        gate.runSamples(0, drawn);
    }

    function test_runningOutOfGasIsNoAnswer() public {
        uint256 id = register(federatedVersion(address(right)));
        draw();
        Sample[] memory drawn = next(1);
        bytes memory call = abi.encodeCall(gate.runSamples, (0, drawn));
        uint256 most = 400_000;
        uint256 least = 30_000;
        // Whatever gas there is, the sample is answered rightly or not at all.
        for (uint256 gas = least; gas < most; gas += 10_000) {
            (bool success,) = address(gate).call{gas: gas}(call);
            Trial memory found = gate.trial(id);
            vm.assertEq(uint256(found.asked), uint256(found.right));
            vm.assertEq(uint256(found.asked), success ? 1 : 0);
            if (success) return;
        }
        revert();
    }

    function test_saysWhenThereIsTooLittleGas() public {
        register(federatedVersion(address(right)));
        draw();
        (bool success, bytes memory reason) =
            address(gate).call{gas: 130_000}(abi.encodeCall(gate.runSamples, (0, next(1))));
        vm.assertFalse(success);
        vm.assertTrue(bytes4(reason) == BoundedCall.TooLittleGas.selector);
    }

    function test_refusesTermsOutOfRange() public {
        // Seven right answers do not pass.
        GateTerms memory terms = defaultGate();
        terms.maxSamples = 7;
        expectInvalid(terms, "maxSamples");
        terms.maxSamples = uint32(SAMPLES) + 1;
        expectInvalid(terms, "maxSamples");
        terms.maxSamples = 0;
        expectInvalid(terms, "maxSamples");
        terms = defaultGate();
        terms.classes = 1;
        expectInvalid(terms, "classes");
        terms.classes = 65_537;
        expectInvalid(terms, "classes");
        terms = defaultGate();
        terms.attempts = 0;
        expectInvalid(terms, "attempts");
        terms = defaultGate();
        terms.trialSeconds = 0;
        expectInvalid(terms, "trialSeconds");
        terms.trialSeconds = 30 days + 1;
        expectInvalid(terms, "trialSeconds");
        terms = defaultGate();
        terms.test = AccuracyTest(0, 900_000, 1, 1);
        expectInvalid(terms, "failPpm");
        terms.test = AccuracyTest(900_000, 900_000, 1, 1);
        expectInvalid(terms, "passPpm");
        terms.test = AccuracyTest(900_000, 1_000_000, 1, 1);
        expectInvalid(terms, "passPpm");
        terms.test = AccuracyTest(1, 2, 0, 1);
        expectInvalid(terms, "alphaPpm");
        terms.test = AccuracyTest(1, 2, 1_000_000, 1);
        expectInvalid(terms, "alphaPpm");
        terms.test = AccuracyTest(1, 2, 1, 0);
        expectInvalid(terms, "betaPpm");
        terms.test = AccuracyTest(1, 2, 1, 1_000_000);
        expectInvalid(terms, "betaPpm");
        terms = defaultGate();
        terms.samplesRoot = 0;
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.InvalidGate.selector, "samplesRoot"));
        new PromotionGate(terms);
    }

    /// @dev Whatever is registered, asked and withdrawn: the gate holds what it owes, what is at stake, and what is burnt.
    function testFuzz_staysSolvent(uint256 seed) public {
        for (uint256 i = 0; i < 12; ++i) {
            uint256 action = uint256(keccak256(abi.encode(seed, i)));
            uint256 id = gate.pendingTrial();
            if (id == 0) {
                Version memory version =
                    standaloneVersion(address(action % 3 == 0 ? wrong : action % 3 == 1 ? half : right));
                version.integerOnnxDigest = bytes32(action | 1);
                vm.prank(owner);
                try service.register{value: GATE_BOND + action % 5}(version) returns (uint256) {} catch {}
            } else if (gate.trial(id).state == TrialState.Registered) {
                uint256 seedBlock = gate.trial(id).seedBlock;
                vm.roll(seedBlock + (action % 4 == 0 ? 8192 : 1));
                try gate.draw(action % 4 == 0 ? bytes("") : headerOf(seedBlock)) {} catch {}
                try gate.lapse() {} catch {}
            } else if (action % 5 == 0) {
                vm.warp(block.timestamp + 4000);
                gate.lapse();
            } else {
                runUntilOver();
            }
            if (action % 7 == 0) {
                vm.prank(owner);
                try gate.withdraw() returns (uint256) {} catch {}
            }
            id = gate.pendingTrial();
            vm.assertEq(
                address(gate).balance, gate.owed(owner) + gate.burnt() + (id == 0 ? 0 : gate.trial(id).bond)
            );
        }
    }

    function passedUnlessLost() private {
        if (gate.trialsLost() < ATTEMPTS) passed(address(right));
    }

    function copy(Sample[] memory given) private pure returns (Sample[] memory) {
        return abi.decode(abi.encode(given), (Sample[]));
    }

    function expectInvalid(GateTerms memory terms, string memory field) private {
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.InvalidGate.selector, field));
        new ModelService(owner, terms);
    }
}
