// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {GateTerms, TrialState} from "../../src/interfaces/IPromotionGate.sol";
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
        for (uint256 i = 0; i < BLOCKS && gate.pendingTrial() == id; ++i) {
            gate.runSamples(from(drawn, i, 1));
            // The registrant sends all that is left. It does not see what comes in front.
            try gate.runSamples(from(drawn, i, BATCH - i)) {} catch {}
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
