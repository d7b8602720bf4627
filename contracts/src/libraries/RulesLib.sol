// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {ContentId} from "./ContentId.sol";
import {Attestation, Update} from "./UpdateTypes.sol";

/// @notice What a federation demands of a round and of each update.
struct Rules {
    /// Quorum: fewer accepted updates fail the round.
    uint32 minClients;
    /// Fewer examples are refused.
    uint32 minExamples;
    /// Cap: more examples count as this many.
    uint32 maxExamples;
    /// Bound on the sum of squares of an update, fixed point.
    uint128 maxSumSquares;
    /// Parameters of the model.
    uint64 elements;
    /// Fixed point: value · 2^fractionBits.
    uint8 fractionBits;
    /// Seconds from a round's opening to its deadline.
    uint64 roundSeconds;
    /// Least attested validation accuracy, parts per million.
    uint32 minAccuracyPpm;
    /// Greatest attested mean validation loss, millionths.
    uint64 maxLossMicros;
    /// Greatest share of a round's total weight that one update may have, parts per million; 1,000,000: no bound.
    uint32 maxSharePpm;
    /// Least number of distinct labels attested of the training examples; 0: none.
    uint32 minLabels;
    /// Rounds that a member sits out after one in which an update of its was accepted; 0: none.
    uint32 restRounds;
    /// Privacy budget: greatest attested ε, millionths; 0: none need be attested.
    uint64 maxEpsilonMicros;
    /// How the updates make the new model; 0: their weighted mean. Any other is audit-only, and not interpreted here.
    bytes32 aggregator;
}

/// @notice Why an update does not count. Checked in this order, but for `StakeTooLow`, which is the last; the first
///         that applies is given.
enum Refusal {
    None,
    NotMember,
    Duplicate,
    BadSignature,
    WrongRound,
    WrongRules,
    WrongBase,
    WrongShape,
    Expired,
    TooFewExamples,
    NormTooLarge,
    AccuracyTooLow,
    LossTooHigh,
    StakeTooLow,
    TooFewLabels,
    BudgetSpent,
    TooSoon
}

/// @notice What a round expects every update to state.
struct Expectation {
    uint64 round;
    bytes32 rulesHash;
    bytes32 baseRoot;
    uint64 deadline;
}

/// @title The rules of a federation, as arithmetic
library RulesLib {
    /// One part in a million, as a whole.
    uint32 internal constant PPM = 1_000_000;
    /// An int32 keeps its sign and at least one integer bit.
    uint8 internal constant MAX_FRACTION_BITS = 30;
    /// Longest round. A round whose coordinator vanished can be failed after its deadline, so a deadline must come.
    uint64 internal constant MAX_ROUND_SECONDS = 365 days;
    /// The tree numbers its chunks of 64 elements by uint32.
    uint64 internal constant MAX_ELEMENTS = 64 * (uint64(1) << 32);
    /// Σ wᵢ·dᵢ must fit an int64 for int32 dᵢ: (n · cap) · 2^31 < 2^63.
    uint256 internal constant TOTAL_WEIGHT_LIMIT = 1 << 32;

    /// @notice A rule is out of its range.
    /// @param rule Name of the field of `Rules`.
    error InvalidRule(string rule);
    /// @notice So many members at so high a cap could overflow the 64-bit aggregate.
    /// @param memberCount Members.
    /// @param maxWeight Greatest weight of one member; memberCount · maxWeight must stay below 2^32.
    error AggregateCouldOverflow(uint256 memberCount, uint32 maxWeight);
    /// @notice Fewer members than the quorum: no round could ever become final.
    /// @param memberCount Members.
    /// @param minClients Quorum.
    error QuorumUnreachable(uint256 memberCount, uint32 minClients);

    /// @notice Reverts unless every rule is in its range.
    /// @param rules Rules to check.
    function validate(Rules memory rules) internal pure {
        require(rules.minClients > 0, InvalidRule("minClients"));
        // A weight of zero would let a round of nothing divide by zero.
        require(rules.minExamples > 0, InvalidRule("minExamples"));
        require(rules.maxExamples >= rules.minExamples, InvalidRule("maxExamples"));
        require(rules.maxSumSquares > 0, InvalidRule("maxSumSquares"));
        require(rules.elements > 0 && rules.elements <= MAX_ELEMENTS, InvalidRule("elements"));
        require(rules.fractionBits <= MAX_FRACTION_BITS, InvalidRule("fractionBits"));
        require(
            rules.roundSeconds > 0 && rules.roundSeconds <= MAX_ROUND_SECONDS, InvalidRule("roundSeconds")
        );
        require(rules.minAccuracyPpm <= PPM, InvalidRule("minAccuracyPpm"));
        require(rules.maxLossMicros > 0, InvalidRule("maxLossMicros"));
        // No greater share than the whole, and none so small that even the least update could exceed it, which are
        // those below 1 / minClients.
        require(rules.maxSharePpm <= PPM && maxWeight(rules) >= rules.minExamples, InvalidRule("maxSharePpm"));
    }

    /// @notice Reverts when so many members could overflow the aggregate.
    /// @param rules Rules in force.
    /// @param memberCount Number of members.
    function validateMemberLimit(Rules memory rules, uint256 memberCount) internal pure {
        require(
            memberCount * maxWeight(rules) < TOTAL_WEIGHT_LIMIT,
            AggregateCouldOverflow(memberCount, maxWeight(rules))
        );
    }

    /// @notice Reverts when so few members cannot reach the quorum.
    /// @param rules Rules in force.
    /// @param memberCount Number of members.
    function validateQuorum(Rules memory rules, uint256 memberCount) internal pure {
        require(memberCount >= rules.minClients, QuorumUnreachable(memberCount, rules.minClients));
    }

    /// @param rules Rules.
    /// @return keccak-256 of their ABI encoding, the hash that clients sign.
    function hash(Rules memory rules) internal pure returns (bytes32) {
        return keccak256(abi.encode(rules));
    }

    /// @notice The greatest weight of one update: `maxExamples`, or less so that it stays within `maxSharePpm`.
    /// @dev A round that counts has n ≥ minClients updates of weight ≥ m = minExamples, so all but one of them weigh
    ///      R ≥ (minClients − 1)·m together. A weight w ≤ floor(s·(minClients − 1)·m / (10^6 − s)) then has
    ///      w·(10^6 − s) ≤ s·R, which is w / (w + R) ≤ s / 10^6. It depends on the rules alone, not on who takes part.
    /// @param rules Rules in force.
    /// @return Cap on the weight of an update.
    function maxWeight(Rules memory rules) internal pure returns (uint32) {
        uint256 share = rules.maxSharePpm;
        if (share >= PPM) return rules.maxExamples;
        uint256 others = (uint256(rules.minClients) - 1) * rules.minExamples;
        uint256 within = share * others / (PPM - share);
        // The smaller of the two fits, since the other does.
        // forge-lint: disable-next-line(unsafe-typecast)
        return within < rules.maxExamples ? uint32(within) : rules.maxExamples;
    }

    /// @param examples Examples a client attests.
    /// @param cap `maxWeight` of the rules in force.
    /// @return Weight of its update: the examples, capped.
    function weight(uint32 examples, uint32 cap) internal pure returns (uint32) {
        return examples < cap ? examples : cap;
    }

    /// @notice Measures what a client signed against the rules. Who signed is not looked at here.
    /// @param rules Rules in force.
    /// @param update Signed statement.
    /// @param expected What the round expects it to state.
    /// @param time Unix time in seconds.
    /// @return First reason to refuse the update, or `Refusal.None`.
    function refusal(Rules memory rules, Update calldata update, Expectation memory expected, uint256 time)
        internal
        pure
        returns (Refusal)
    {
        if (update.round != expected.round) return Refusal.WrongRound;
        if (update.rulesHash != expected.rulesHash) return Refusal.WrongRules;
        if (update.baseRoot != expected.baseRoot) return Refusal.WrongBase;
        if (
            update.elements != rules.elements || update.fractionBits != rules.fractionBits
                || !ContentId.isPlausible(update.cid)
        ) return Refusal.WrongShape;
        if (time > update.deadline || time > expected.deadline) return Refusal.Expired;
        if (update.examples < rules.minExamples) return Refusal.TooFewExamples;
        if (update.sumSquares > rules.maxSumSquares) return Refusal.NormTooLarge;
        // An accuracy over 1 is no accuracy.
        if (update.accuracyPpm < rules.minAccuracyPpm || update.accuracyPpm > PPM) {
            return Refusal.AccuracyTooLow;
        }
        if (update.lossMicros > rules.maxLossMicros) return Refusal.LossTooHigh;
        if (update.labels < rules.minLabels) return Refusal.TooFewLabels;
        // An ε of 0 is none at all.
        if (
            rules.maxEpsilonMicros > 0
                && (update.epsilonMicros == 0 || update.epsilonMicros > rules.maxEpsilonMicros)
        ) return Refusal.BudgetSpent;
        return Refusal.None;
    }

    /// @notice Measures what nobody proves of a statement against the rules, in the order of `refusal`.
    /// @dev That function holds the norm against its bound between the first of these and the next, and says so again since
    ///      what is compiled into `Federation` has no room for the call. A test holds the two to each other.
    /// @param rules Rules in force.
    /// @param stated What the client says.
    /// @return First reason to refuse it, or `Refusal.None`.
    function attestedRefusal(Rules memory rules, Attestation memory stated) internal pure returns (Refusal) {
        if (stated.examples < rules.minExamples) return Refusal.TooFewExamples;
        if (stated.accuracyPpm < rules.minAccuracyPpm || stated.accuracyPpm > PPM) {
            return Refusal.AccuracyTooLow;
        }
        if (stated.lossMicros > rules.maxLossMicros) return Refusal.LossTooHigh;
        if (stated.labels < rules.minLabels) return Refusal.TooFewLabels;
        if (
            rules.maxEpsilonMicros > 0
                && (stated.epsilonMicros == 0 || stated.epsilonMicros > rules.maxEpsilonMicros)
        ) return Refusal.BudgetSpent;
        return Refusal.None;
    }
}
