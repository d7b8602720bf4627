// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Expectation, Refusal, Rules, RulesLib} from "./RulesLib.sol";
import {Update} from "./UpdateTypes.sol";

/// @notice What a judgement depends on besides the update itself.
struct Circumstances {
    Rules rules;
    /// `RulesLib.maxWeight` of the rules.
    uint32 maxWeight;
    /// What the round expects an update to state.
    Expectation expected;
    /// Unix time in seconds that deadlines are held against.
    uint64 time;
    /// Whether the update is said to be that of a member.
    bool isMember;
    /// Whether an update of the member counts in the round already, or waits to.
    bool isDuplicate;
    /// Whether the member signed the update, itself or by its key.
    bool isSigned;
    /// Whether the member must sit this round out.
    bool rests;
    /// Whether the member has at stake what is asked for.
    bool hasStake;
}

/// @title The judge of an update
/// @notice Whether an update counts, and how much: for those that the coordinator relays (`Federation`), those that members
///         submit themselves (`DirectSubmissions`), and the records of a roll-up (`Rollups`). Each finds out the circumstances
///         in its own way; what follows from them is written here alone.
library JudgeLib {
    /// @param update What the member signed.
    /// @param around Everything else.
    /// @return reason The first reason to refuse the update, in the order that `Refusal` states, or `None`.
    /// @return weight Its weight; 0 if it is refused.
    function judge(Update calldata update, Circumstances memory around)
        internal
        pure
        returns (Refusal reason, uint32 weight)
    {
        if (!around.isMember) return (Refusal.NotMember, 0);
        if (around.isDuplicate) return (Refusal.Duplicate, 0);
        if (!around.isSigned) return (Refusal.BadSignature, 0);
        reason = RulesLib.refusal(around.rules, update, around.expected, around.time);
        if (reason != Refusal.None) return (reason, 0);
        if (around.rests) return (Refusal.TooSoon, 0);
        if (!around.hasStake) return (Refusal.StakeTooLow, 0);
        weight = RulesLib.weight(update.examples, around.maxWeight);
    }
}
