// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {MerkleSumTree} from "./MerkleSumTree.sol";
import {Phases} from "./Phases.sol";
import {PostingCost} from "./PostingCost.sol";

/// @notice What stands behind a proposal, how long it can be challenged, and how long new rules are announced. Fixed
///         when a federation is created.
struct Security {
    /// Seconds in which a proposal can be challenged before it may become final, and in which anyone may propose, after the
    /// coordinator's time, before the round may be failed.
    uint64 challengeSeconds;
    /// Seconds to answer what is asked in a phase, and again to go on from the answers; see `IHearing`.
    uint64 answerSeconds;
    /// Wei that a proposal costs which is proved wrong.
    uint128 bond;
    /// Wei that a member must have at stake to sign; 0 asks for none.
    uint128 stake;
    /// Wei that the first units asked in a phase cost; see `IHearing`.
    uint128 demandFee;
    /// Wei a chunk that the demand for the vector of a member costs which submitted directly: the most that posting it is paid,
    /// and no more than that cost; the rest comes back.
    uint128 postFee;
    /// Seconds from the announcement of other rules to when they can be adopted.
    uint64 noticeSeconds;
    /// Seconds from a round's opening in which nothing can be proposed or rolled up, so that members whom the coordinator
    /// ignores can submit themselves; 0: none.
    uint64 openSeconds;
}

/// @title Ranges of `Security`
library SecurityLib {
    /// Longest window: every deadline must come.
    uint64 internal constant MAX_SECONDS = 30 days;
    /// Shortest window to challenge or answer in: two blocks of the slowest chain, so that a window never lies within one.
    uint64 internal constant MIN_SECONDS = 60;

    /// @notice A field is out of its range.
    /// @param field Name of the field of `Security`.
    error InvalidSecurity(string field);
    /// @notice Where members have stakes they submit directly, and lose them if they cannot post their vector in
    ///         `answerSeconds`. One of the model's size takes as many as `needed`: ask for so many, or for no stakes; then
    ///         nobody submits directly.
    error AnswerSecondsTooShort(uint64 answerSeconds, uint256 needed);

    /// @notice Reverts unless every field is in its range.
    /// @param security Fields to check.
    /// @param elements Length of the model's vector.
    function validate(Security memory security, uint64 elements) internal pure {
        require(
            security.challengeSeconds >= MIN_SECONDS && security.challengeSeconds <= MAX_SECONDS,
            InvalidSecurity("challengeSeconds")
        );
        require(
            security.answerSeconds >= MIN_SECONDS && security.answerSeconds <= MAX_SECONDS,
            InvalidSecurity("answerSeconds")
        );
        require(
            security.noticeSeconds > 0 && security.noticeSeconds <= MAX_SECONDS,
            InvalidSecurity("noticeSeconds")
        );
        require(security.openSeconds <= MAX_SECONDS, InvalidSecurity("openSeconds"));
        uint256 needed = PostingCost.secondsFor(MerkleSumTree.chunkCount(elements));
        require(
            security.stake == 0 || needed <= security.answerSeconds,
            AnswerSecondsTooShort(security.answerSeconds, needed)
        );
        // A proposal is settled in time, however many questions are asked and whoever takes part.
        uint256 phases = Phases.count(type(uint32).max, elements);
        require(2 * phases * security.answerSeconds <= MAX_SECONDS, InvalidSecurity("answerSeconds"));
        // Without a bond a lie costs nothing, and finding it pays nothing.
        require(security.bond > 0 && security.bond <= type(uint88).max, InvalidSecurity("bond"));
        // Without a price questions have no bound; twice nothing is nothing.
        require(
            security.demandFee > 0 && security.demandFee <= type(uint96).max, InvalidSecurity("demandFee")
        );
        // Whoever drives the price up, or asks more than can be answered, pays the bond before the price doubles once.
        require(security.bond <= security.demandFee * Phases.UNITS_A_DOUBLING, InvalidSecurity("demandFee"));
    }

    /// @notice How a lost bond is divided: a part to who brought the proposal down, as much for all challengers together,
    ///         and the rest, half or more, is burnt.
    /// @param bond Wei.
    /// @return Wei of a part.
    function rewardOf(uint256 bond) internal pure returns (uint256) {
        return bond / 4;
    }
}
