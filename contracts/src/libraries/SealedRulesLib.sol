// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {ContentId} from "./ContentId.sol";
import {Expectation, Refusal, Rules, RulesLib} from "./RulesLib.sol";
import {Masked, SealedTypes} from "./SealedTypes.sol";
import {Security, SecurityLib} from "./SecurityLib.sol";

/// @notice What makes the rounds of a federation sealed. Fixed when it is created.
struct SealedRules {
    /// Least members of a group; its greatest is below twice as many.
    uint16 groupSize;
    /// Rounds of an epoch.
    uint16 epochRounds;
    /// Fewer enrolled members fail an epoch.
    uint32 minRoster;
    /// Fewer counting groups fail a round.
    uint16 minGroups;
    /// Bound on the norm of a group's sum, in millionths of the sum of its members' bounds.
    uint32 groupNormPpm;
    /// Sum of squares that the noise of one update may add, fixed point; 0: no noise.
    uint128 noiseSquares;
    /// Seconds in which members enrol.
    uint32 enrolSeconds;
    /// Seconds after the draw in which keys are exchanged.
    uint32 keySeconds;
    /// Seconds after the close in which seeds are given.
    uint32 unmaskSeconds;
}

/// @title The rules of sealed rounds, as arithmetic
library SealedRulesLib {
    /// Smaller groups hide nobody.
    uint16 internal constant MIN_GROUP_SIZE = 8;
    /// Members of a group are numbered by a byte, from 1 on.
    uint16 internal constant MAX_GROUP_SIZE = 128;
    /// Places are drawn among as many.
    uint32 internal constant MAX_ROSTER = 65_535;
    /// Sums of lanes stay within an int64.
    uint256 internal constant MAX_LANE_BYTES = 6;
    /// A stream has 2^32 blocks of eight lanes.
    uint64 internal constant MAX_ELEMENTS = uint64(1) << 35;

    uint256 private constant PPM_SQUARED = 1e12;

    /// @notice A rule of sealed rounds is out of its range.
    /// @param rule Name of the field of `SealedRules`.
    error InvalidSealedRule(string rule);
    /// @notice The sum of a group could need more than six bytes an element.
    /// @param largest Greatest absolute value of a sum. Lower the group size, the weight cap or the bounds on norm and noise.
    error LanesTooWide(uint256 largest);

    /// @notice Reverts unless every rule is in its range and the other rules allow sealed rounds.
    /// @param self Rules of sealed rounds.
    /// @param rules Rules of the federation, valid by themselves.
    /// @param security Security of the federation, valid by itself.
    function validate(SealedRules memory self, Rules memory rules, Security memory security) internal pure {
        require(
            self.groupSize >= MIN_GROUP_SIZE && self.groupSize <= MAX_GROUP_SIZE,
            InvalidSealedRule("groupSize")
        );
        require(self.epochRounds > 0, InvalidSealedRule("epochRounds"));
        require(self.minGroups > 0, InvalidSealedRule("minGroups"));
        require(
            self.minRoster >= uint256(self.groupSize) * self.minGroups && self.minRoster <= MAX_ROSTER,
            InvalidSealedRule("minRoster")
        );
        require(self.groupNormPpm > 0 && self.groupNormPpm <= RulesLib.PPM, InvalidSealedRule("groupNormPpm"));
        require(self.noiseSquares < uint128(1) << 94, InvalidSealedRule("noiseSquares"));
        _requireSeconds(self.enrolSeconds, "enrolSeconds");
        _requireSeconds(self.keySeconds, "keySeconds");
        _requireSeconds(self.unmaskSeconds, "unmaskSeconds");
        validateRules(self, rules, security);
    }

    /// @notice Reverts unless rules of the federation allow sealed rounds; for rules that come later, too.
    /// @param self Rules of sealed rounds, valid by themselves.
    /// @param rules Rules of the federation, valid by themselves.
    /// @param security Security of the federation, valid by itself.
    function validateRules(SealedRules memory self, Rules memory rules, Security memory security)
        internal
        pure
    {
        require(rules.maxSumSquares < uint128(1) << 62, RulesLib.InvalidRule("maxSumSquares"));
        require(rules.elements <= MAX_ELEMENTS, RulesLib.InvalidRule("elements"));
        require(
            uint256(security.openSeconds) + self.unmaskSeconds <= rules.roundSeconds,
            InvalidSealedRule("unmaskSeconds")
        );
        laneBytes(self, rules);
    }

    /// @param self Rules of sealed rounds.
    /// @return keccak-256 of their ABI encoding, which members sign.
    function hash(SealedRules memory self) internal pure returns (bytes32) {
        return keccak256(abi.encode(self));
    }

    /// @notice Bytes of a lane: the least in which the sum of the largest group has its sign. Reverts if six are too few.
    /// @param self Rules of sealed rounds, valid by themselves.
    /// @param rules Rules in force.
    /// @return size Bytes, 1 to 6.
    function laneBytes(SealedRules memory self, Rules memory rules) internal pure returns (uint256 size) {
        uint256 one =
            RulesLib.maxWeight(rules) * Math.sqrt(rules.maxSumSquares) + Math.sqrt(self.noiseSquares);
        uint256 largest = (2 * uint256(self.groupSize) - 1) * one;
        size = 1;
        while (largest >> (8 * size - 1) > 0) ++size;
        require(size <= MAX_LANE_BYTES, LanesTooWide(largest));
    }

    /// @notice Whether the sum of a group is within its bound:
    ///         squares ≤ W² · maxSumSquares · (groupNormPpm / 10^6)² + noiseSquares · included.
    /// @param self Rules of sealed rounds.
    /// @param maxSumSquares Bound on the sum of squares of an update.
    /// @param squares Stated sum of squares of the group's sum, whatever it is.
    /// @param weight W, the group's weight.
    /// @param included Included members of the group.
    /// @return True when it is.
    function isWithinNorm(
        SealedRules memory self,
        uint128 maxSumSquares,
        uint256 squares,
        uint64 weight,
        uint256 included
    ) internal pure returns (bool) {
        if (squares > type(uint256).max / PPM_SQUARED) return false;
        // 128, 62 and 40 bits; 94, 8 and 40.
        uint256 limit = uint256(weight) ** 2 * maxSumSquares * uint256(self.groupNormPpm) ** 2;
        return squares * PPM_SQUARED <= limit + self.noiseSquares * included * PPM_SQUARED;
    }

    /// @notice Measures what a member signed against the rules, in the order of `RulesLib.refusal`. Who signed is not looked at
    ///         here. Norms are bounded by group, and another epoch is another base to train from.
    /// @param rules Rules in force.
    /// @param update Signed statement.
    /// @param expected What the round expects it to state.
    /// @param epochRoot Epoch that the round expects it to state.
    /// @param time Unix time in seconds.
    /// @return First reason to refuse the update, or `Refusal.None`.
    function refusal(
        Rules memory rules,
        Masked calldata update,
        Expectation memory expected,
        bytes32 epochRoot,
        uint256 time
    ) internal pure returns (Refusal) {
        if (update.round != expected.round) return Refusal.WrongRound;
        if (update.rulesHash != expected.rulesHash) return Refusal.WrongRules;
        if (update.baseRoot != expected.baseRoot || update.epochRoot != epochRoot) return Refusal.WrongBase;
        if (!ContentId.isPlausible(update.cid)) return Refusal.WrongShape;
        if (time > update.deadline || time > expected.deadline) return Refusal.Expired;
        return RulesLib.attestedRefusal(rules, SealedTypes.attested(update));
    }

    function _requireSeconds(uint32 value, string memory rule) private pure {
        require(value >= SecurityLib.MIN_SECONDS && value <= SecurityLib.MAX_SECONDS, InvalidSealedRule(rule));
    }
}
