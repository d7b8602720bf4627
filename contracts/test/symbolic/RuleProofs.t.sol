// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Phases} from "../../src/libraries/Phases.sol";
import {PostingCost} from "../../src/libraries/PostingCost.sol";
import {Rules, RulesLib} from "../../src/libraries/RulesLib.sol";
import {Scores} from "../../src/libraries/Scores.sol";
import {Security, SecurityLib} from "../../src/libraries/SecurityLib.sol";
import {TestBase} from "../base/TestBase.sol";

/// @notice Weights, widths, prices and windows, as arithmetic (`make prove`).
contract RuleProofs is TestBase {
    using RulesLib for Rules;

    function validate(Rules memory rules) external pure {
        rules.validate();
    }

    function validateMemberLimit(Rules memory rules, uint256 count) external pure {
        rules.validateMemberLimit(count);
    }

    function validateQuorum(Rules memory rules, uint256 count) external pure {
        rules.validateQuorum(count);
    }

    function validateSecurity(Security memory security, uint64 elements) external pure {
        SecurityLib.validate(security, elements);
    }

    function otherThanZero(bytes calldata data) external pure returns (uint256) {
        return PostingCost.otherThanZero(data);
    }

    /// @notice Rules that pass have every figure in its range, and cap a weight between the least and the most examples.
    function check_validRulesAreInRange(Rules memory rules) external view {
        try this.validate(rules) {
            assert(rules.minClients > 0 && rules.minExamples > 0 && rules.maxExamples >= rules.minExamples);
            assert(rules.maxSumSquares > 0 && rules.elements > 0 && rules.elements <= 1 << 38);
            assert(rules.fractionBits <= 30 && rules.roundSeconds > 0 && rules.roundSeconds <= 365 days);
            assert(
                rules.minAccuracyPpm <= 1_000_000 && rules.maxSharePpm <= 1_000_000 && rules.maxLossMicros > 0
            );
            uint32 cap = rules.maxWeight();
            assert(cap >= rules.minExamples && cap <= rules.maxExamples);
        } catch {}
    }

    /// @notice A weight is the examples, or the cap where there are more.
    function check_aWeightIsTheExamplesCapped(uint32 examples, uint32 cap) external pure {
        uint32 weight = RulesLib.weight(examples, cap);
        assert(weight <= examples && weight <= cap && (weight == examples || weight == cap));
    }

    /// @notice As many members as pass, each at its cap, weigh less than 2^32 together.
    function check_theAggregateHasRoom(Rules memory rules, uint32 count) external view {
        vm.assume(rules.maxSharePpm == 1_000_000);
        try this.validateMemberLimit(rules, count) {
            assert(uint256(count) * rules.maxExamples < 1 << 32);
        } catch {
            assert(uint256(count) * rules.maxExamples >= 1 << 32);
        }
    }

    /// @notice A quorum passes exactly if there are so many members.
    function check_aQuorumCanBeReached(Rules memory rules, uint256 count) external view {
        try this.validateQuorum(rules, count) {
            assert(count >= rules.minClients);
        } catch {
            assert(count < rules.minClients);
        }
    }

    /// @notice Security that passes has a bond and prices in their widths, windows in their ranges, and lets nobody drive a price up for
    ///         less than the bond.
    function check_validSecurityIsInRange(Security memory security, uint8 which) external view {
        uint64[4] memory lengths = [uint64(1), 65, 1 << 20, 1 << 38];
        vm.assume(which < 4);
        for (uint256 i = 0; i < 4; ++i) {
            if (i != which) continue;
            try this.validateSecurity(security, lengths[i]) {
                assert(security.bond > 0 && security.bond <= type(uint88).max);
                assert(security.demandFee > 0 && security.demandFee <= type(uint96).max);
                assert(security.bond <= uint256(security.demandFee) * 256);
                assert(security.challengeSeconds >= 60 && security.challengeSeconds <= 30 days);
                assert(security.answerSeconds >= 60 && security.answerSeconds <= 30 days);
                assert(security.noticeSeconds > 0 && security.noticeSeconds <= 30 days);
                assert(security.openSeconds <= 30 days);
            } catch {}
        }
    }

    /// @notice A proposal of a federation whose security passes is settled within 60 days, whatever is asked: W + 2·A·k.
    /// @dev Rounds of any size; vectors of 1, 65, 2^20 and 2^38 elements.
    function check_aProposalIsSettledInTime(Security memory security, uint8 which, uint8 power)
        external
        view
    {
        uint64[4] memory lengths = [uint64(1), 65, 1 << 20, 1 << 38];
        vm.assume(which < 4 && power < 32);
        for (uint256 i = 0; i < 4; ++i) {
            if (i != which) continue;
            try this.validateSecurity(security, lengths[i]) {
                for (uint256 k = 0; k < 32; ++k) {
                    if (k != power) continue;
                    uint256 phases = Phases.count(uint256(1) << k, lengths[i]);
                    assert(security.challengeSeconds + 2 * phases * security.answerSeconds <= 60 days);
                }
            } catch {}
        }
    }

    /// @notice Of a lost bond at least half is left when the reward and all shares are paid.
    function check_halfOfALostBondIsBurnt(uint88 bond) external pure {
        uint256 part = SecurityLib.rewardOf(bond);
        assert(bond - 2 * part >= 2 * part && 2 * (bond - 2 * part) >= bond);
    }

    /// @notice Phases suffice for both walks, and there is none too many: six levels each, rounded up.
    /// @dev Up to 2^10 updates and 2^14 elements.
    function check_phasesAreAsManyAsTheWalksNeed(uint256 leaves, uint64 elements) external pure {
        vm.assume(leaves > 0 && leaves <= 1 << 10 && elements > 0 && elements <= 1 << 14);
        uint256 phases = Phases.count(leaves, elements);
        uint256 above = 0;
        while ((uint256(1) << above) < leaves) ++above;
        uint256 chunks = (uint256(elements) + 63) / 64;
        uint256 below = 0;
        while ((uint256(1) << below) < chunks) ++below;
        uint256 first = (above + 6) / 6;
        uint256 second = (below + 7) / 6;
        assert(phases == first + second);
        assert(6 * first >= above + 1 && 6 * first < above + 7);
        assert(6 * second >= below + 2 && 6 * second < below + 8);
    }

    /// @notice A question counts for the preimages of its lowest level: twice as many for each level more.
    function check_unitsDoubleWithEachLevel(uint8 levels) external pure {
        vm.assume(levels > 0 && levels < Phases.LEVELS);
        assert(Phases.units(levels + 1) == 2 * Phases.units(levels) && Phases.units(1) == 1);
    }

    /// @notice Bytes of a call that are not zero are counted exactly.
    /// @dev Data of 33 bytes: a whole word, and one that is not.
    function check_bytesOtherThanZeroAreCounted(bytes32 word, bytes1 beyond) external view {
        uint256 count = 0;
        for (uint256 i = 0; i < 32; ++i) {
            count += _one(uint8(word[i]));
        }
        assert(this.otherThanZero(abi.encodePacked(word, beyond)) == count + _one(uint8(beyond)));
    }

    /// @notice Scores are read from one encoding alone, the ABI's, and as they are.
    /// @dev Two scores.
    function check_scoresHaveOneEncoding(bytes32[4] memory words) external pure {
        bytes memory output = abi.encodePacked(words[0], words[1], words[2], words[3]);
        (bool valid, int32[] memory scores) = Scores.decode(output);
        bool canonical =
            uint256(words[0]) == 32 && uint256(words[1]) == 2 && _isInt32(words[2]) && _isInt32(words[3]);
        assert(valid == canonical);
        if (!valid) return;
        assert(
            scores.length == 2 && scores[0] == int256(uint256(words[2]))
                && scores[1] == int256(uint256(words[3]))
        );
    }

    /// @notice A label is the first among the greatest scores.
    /// @dev Four scores.
    function check_aLabelIsTheFirstAmongTheGreatest(int32[4] memory given) external pure {
        int32[] memory scores = new int32[](4);
        for (uint256 i = 0; i < 4; ++i) {
            scores[i] = given[i];
        }
        uint256 best = Scores.label(scores);
        for (uint256 i = 0; i < 4; ++i) {
            assert(scores[i] <= scores[best]);
            assert(i >= best || scores[i] < scores[best]);
        }
    }

    function _isInt32(bytes32 word) private pure returns (bool) {
        int256 value = int256(uint256(word));
        return value >= type(int32).min && value <= type(int32).max;
    }

    /// @dev 1 for every byte but 0, without a branch.
    function _one(uint8 value) private pure returns (uint256 one) {
        assembly ("memory-safe") {
            one := iszero(iszero(value))
        }
    }
}
