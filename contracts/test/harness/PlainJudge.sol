// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Circumstances, JudgeLib} from "../../src/libraries/JudgeLib.sol";
import {Refusal, Rules} from "../../src/libraries/RulesLib.sol";
import {Update} from "../../src/libraries/UpdateTypes.sol";

/// @notice The judge said again, as a list in the order of docs/protocol.md; and the library's, for which calldata arguments
///         need an external call.
contract PlainJudge {
    function judge(Update calldata update, Circumstances calldata around)
        external
        pure
        returns (Refusal reason, uint32 weight)
    {
        return JudgeLib.judge(update, around);
    }

    function restated(Update calldata update, Circumstances calldata around)
        external
        pure
        returns (Refusal reason, uint32 weight)
    {
        Rules calldata rules = around.rules;
        bool[16] memory holds;
        holds[0] = around.isMember;
        holds[1] = !around.isDuplicate;
        holds[2] = around.isSigned;
        holds[3] = update.round == around.expected.round;
        holds[4] = update.rulesHash == around.expected.rulesHash;
        holds[5] = update.baseRoot == around.expected.baseRoot;
        holds[6] = update.elements == rules.elements && update.fractionBits == rules.fractionBits
            && update.cid.length >= 1 && update.cid.length <= 64;
        holds[7] = around.time <= update.deadline && around.time <= around.expected.deadline;
        holds[8] = update.examples >= rules.minExamples;
        holds[9] = update.sumSquares <= rules.maxSumSquares;
        holds[10] = update.accuracyPpm >= rules.minAccuracyPpm && update.accuracyPpm <= 1_000_000;
        holds[11] = update.lossMicros <= rules.maxLossMicros;
        holds[12] = update.labels >= rules.minLabels;
        holds[13] = rules.maxEpsilonMicros == 0
            || (update.epsilonMicros > 0 && update.epsilonMicros <= rules.maxEpsilonMicros);
        holds[14] = !around.rests;
        holds[15] = around.hasStake;
        Refusal[16] memory reasons = order();
        for (uint256 i = 0; i < 16; ++i) {
            if (!holds[i]) return (reasons[i], 0);
        }
        return (Refusal.None, update.examples > around.maxWeight ? around.maxWeight : update.examples);
    }

    function order() public pure returns (Refusal[16] memory) {
        return [
            Refusal.NotMember,
            Refusal.Duplicate,
            Refusal.BadSignature,
            Refusal.WrongRound,
            Refusal.WrongRules,
            Refusal.WrongBase,
            Refusal.WrongShape,
            Refusal.Expired,
            Refusal.TooFewExamples,
            Refusal.NormTooLarge,
            Refusal.AccuracyTooLow,
            Refusal.LossTooHigh,
            Refusal.TooFewLabels,
            Refusal.BudgetSpent,
            Refusal.TooSoon,
            Refusal.StakeTooLow
        ];
    }
}
