// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {GateTerms, IPromotionGate, TrialState} from "../../src/interfaces/IPromotionGate.sol";
import {Sample} from "../../src/libraries/SampleTree.sol";
import {GateFixture} from "../base/GateFixture.sol";

/// @notice A stranger wants a good version's trial to run out of time, so that its bond is burnt and an attempt is lost: whenever
///         it sees a batch of samples among the pending transactions, it asks the first of them right before.
contract LetATrialRunOutTest is GateFixture {
    uint256 private constant BATCH = 8;
    uint256 private constant BLOCKS = 5;

    function defaultGate() internal view override returns (GateTerms memory terms) {
        terms = super.defaultGate();
        terms.trialSeconds = 12 * uint32(BLOCKS);
    }

    function test_aSampleAskedInFrontOfABatchDoesNotStopTheBatch() public {
        uint256 id = register(federatedVersion(address(right)));
        draw();
        // As many right answers as pass.
        Sample[] memory drawn = next(BATCH);
        for (uint32 i = 0; i < BLOCKS && gate.pendingTrial() == id; ++i) {
            gate.runSamples(i, from(drawn, i, 1));
            // The registrant sends all that is left. It does not see what comes in front.
            try gate.runSamples(i, from(drawn, i, BATCH - i)) {} catch {}
            vm.warp(block.timestamp + 12);
        }
        if (gate.pendingTrial() == id) {
            vm.warp(gate.trial(id).until + 1);
            gate.lapse();
        }
        vm.assertTrue(gate.trial(id).state == TrialState.Passed);
        vm.assertEq(gate.burnt(), 0);
        vm.assertEq(gate.owed(owner), GATE_BOND);
    }

    /// @dev However many of a batch come in front of it, the batch does what is left, each sample once.
    function test_anyPartAskedInFrontChangesNothing(uint256 begun, uint256 infront, uint256 end) public {
        begun = bound(begun, 0, BATCH - 2);
        end = bound(end, begun + 1, BATCH - 1);
        infront = bound(infront, 0, BATCH - 1 - begun);
        uint256 id = register(federatedVersion(address(right)));
        draw();
        Sample[] memory drawn = next(BATCH);
        // All numbers are below BATCH.
        // forge-lint: disable-start(unsafe-typecast)
        uint32 first = uint32(begun);
        gate.runSamples(0, from(drawn, 0, begun));
        gate.runSamples(first, from(drawn, begun, infront));
        gate.runSamples(first, from(drawn, begun, end - begun));
        uint32 asked = uint32(begun + infront > end ? begun + infront : end);
        // forge-lint: disable-end(unsafe-typecast)
        vm.assertEq(uint256(gate.trial(id).asked), asked);
        vm.assertEq(uint256(gate.trial(id).right), asked);
        vm.assertEq(uint256(gate.samplesRemaining()), SAMPLES - asked);
        gate.runSamples(0, drawn);
        vm.assertTrue(gate.trial(id).state == TrialState.Passed);
        vm.assertEq(uint256(gate.trial(id).asked), BATCH);
    }

    /// @dev A batch that came too late says so, and leaves the next trial alone.
    function test_aTrialDecidedInFrontStaysDecided() public {
        uint256 id = register(federatedVersion(address(right)));
        draw();
        Sample[] memory drawn = next(BATCH);
        gate.runSamples(0, drawn);
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.NoSuchTrial.selector, 0, TrialState.None));
        gate.runSamples(0, drawn);
        vm.assertTrue(gate.trial(id).state == TrialState.Passed);
        vm.assertEq(gate.owed(owner), GATE_BOND);
        register(federatedVersion(address(half)));
        draw();
        vm.assertTrue(isRefused(0, drawn));
    }

    function test_noSampleIsLeftOut() public {
        register(federatedVersion(address(right)));
        draw();
        Sample[] memory drawn = next(BATCH);
        gate.runSamples(0, from(drawn, 0, 2));
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.SamplesMissing.selector, 3, 2));
        gate.runSamples(3, from(drawn, 3, 1));
        // Another sample in its place is none.
        vm.assertTrue(isRefused(2, from(drawn, 3, 1)));
        vm.assertFalse(isRefused(2, from(drawn, 2, 1)));
    }

    /// @dev Whether these are not the samples that were drawn.
    function isRefused(uint32 first, Sample[] memory given) private returns (bool) {
        try gate.runSamples(first, given) {
            return false;
        } catch (bytes memory reason) {
            return bytes4(reason) == IPromotionGate.WrongSample.selector;
        }
    }

    function from(Sample[] memory all, uint256 first, uint256 count)
        private
        pure
        returns (Sample[] memory part)
    {
        part = new Sample[](count);
        for (uint256 i = 0; i < count; ++i) {
            part[i] = all[first + i];
        }
    }
}
