// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Circumstances} from "../../src/libraries/JudgeLib.sol";
import {Refusal} from "../../src/libraries/RulesLib.sol";
import {Update} from "../../src/libraries/UpdateTypes.sol";
import {TestBase} from "../base/TestBase.sol";
import {PlainJudge} from "../harness/PlainJudge.sol";

/// @notice The judge, for every update and all circumstances (`make prove`). CIDs of 0, 1, 64 and 65 bytes: only their length is judged.
/// @custom:halmos --default-bytes-lengths 0,1,64,65
contract JudgeProofs is TestBase, PlainJudge {
    /// @notice The judge says what the list in the order of docs/protocol.md says, reason and weight.
    function check_theJudgeIsThePlainOne(Update calldata update, Circumstances calldata around)
        external
        view
    {
        (Refusal reason, uint32 weight) = this.judge(update, around);
        (Refusal restatedReason, uint32 restatedWeight) = this.restated(update, around);
        assert(reason == restatedReason && weight == restatedWeight);
    }

    /// @notice What is refused weighs nothing; what counts weighs no more than the cap, nor than its examples.
    function check_aWeightStaysBelowItsCap(Update calldata update, Circumstances calldata around)
        external
        view
    {
        (Refusal reason, uint32 weight) = this.judge(update, around);
        if (reason != Refusal.None) assert(weight == 0);
        else assert(weight <= around.maxWeight && weight <= update.examples);
    }

    /// @notice Nothing counts that is not a member's, signed, the first in its round, rested and staked.
    function check_onlyASigningMemberCounts(Update calldata update, Circumstances calldata around)
        external
        view
    {
        (Refusal reason,) = this.judge(update, around);
        if (reason != Refusal.None) return;
        assert(around.isMember && around.isSigned && !around.isDuplicate && !around.rests && around.hasStake);
    }

    /// @notice Nothing counts that was made for another round, base or rules, or comes late.
    function check_onlyAnUpdateOfThisRoundCounts(Update calldata update, Circumstances calldata around)
        external
        view
    {
        (Refusal reason,) = this.judge(update, around);
        if (reason != Refusal.None) return;
        assert(update.round == around.expected.round && update.rulesHash == around.expected.rulesHash);
        assert(update.baseRoot == around.expected.baseRoot && update.elements == around.rules.elements);
        assert(around.time <= update.deadline && around.time <= around.expected.deadline);
    }

    /// @notice Nothing counts beyond the bounds of the rules: norm, examples, loss, accuracy, labels, privacy.
    function check_onlyAnUpdateWithinTheRulesCounts(Update calldata update, Circumstances calldata around)
        external
        view
    {
        (Refusal reason,) = this.judge(update, around);
        if (reason != Refusal.None) return;
        assert(update.sumSquares <= around.rules.maxSumSquares && update.examples >= around.rules.minExamples);
        assert(update.lossMicros <= around.rules.maxLossMicros && update.labels >= around.rules.minLabels);
        assert(update.accuracyPpm >= around.rules.minAccuracyPpm && update.accuracyPpm <= 1_000_000);
        uint64 budget = around.rules.maxEpsilonMicros;
        assert(budget == 0 || update.epsilonMicros > 0 && update.epsilonMicros <= budget);
    }
}
