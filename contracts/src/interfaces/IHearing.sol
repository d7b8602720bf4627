// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {ICourt} from "./ICourt.sol";
import {IPullPayments} from "./IPullPayments.sol";

/// @notice The answer to one question.
struct Answer {
    /// What was asked for.
    bytes32 hash;
    uint8 levels;
    /// Preimages of the hash and of what lies below it in its tree, breadth first. The children of a node follow in
    /// their order; what has the hash 0, and what lies below the last level, is left out.
    bytes[] preimages;
}

/// @notice What is kept of one attempt: a proposal, from when it is made until it is final or has fallen. One slot.
struct Hearing {
    /// Unix time in seconds after which questions belong to the next phase; 0 before the first.
    uint64 closes;
    /// Wei paid for questions.
    uint104 fees;
    /// Units asked in the present phase.
    uint16 units;
    /// Questions without an answer.
    uint24 open;
    /// Accounts that committed to a proof, or asked.
    uint24 challengers;
    /// Phases so far.
    uint8 phase;
}

/// @notice A question. One slot.
struct Question {
    address asker;
    /// Unix time in seconds until which it can be answered.
    uint64 due;
    /// Its price is `demandFee` · 2^(levels − 1 + exponent).
    uint8 exponent;
    bool answered;
}

/// @title The hearing that each proposal of one federation has
/// @notice A proof must have been committed to in an earlier block by the same sender (`commit`), so that it cannot be
///         copied from the pool of pending transactions.
///
///         What cannot be opened, because its preimage is withheld, can be asked for (`demand`); what is then not answered
///         in time is a proof. Every hash that preimages link to a stated root is part of the statement. Questions come
///         in phases, as many as `Phases` counts. Those of the first are asked within `challengeSeconds` of the proposal.
///         The first question of a phase moves the end of the window, once, by 2 · `answerSeconds`: within the first half
///         of them all questions of the phase must be answered, within both the questions of the next phase can be asked.
///         So a proposal stands for at most `challengeSeconds` + 2 · `answerSeconds` · phases.
///
///         What is paid for questions comes back when the proposal falls. When it is final half is burnt, and half goes
///         to who made the proposal. Of the bond of a proposal that fell half is burnt, a quarter goes to who brought it
///         down, and a quarter is shared by all that committed to a proof of the attempt or asked in it.
interface IHearing is ICourt, IPullPayments {
    /// @notice Someone will show a proof whose digest this is.
    event ChallengeCommitted(
        uint64 indexed round, bytes32 indexed digest, address indexed challenger, uint16 attempt
    );
    /// @notice The preimages of `levels` levels below and with `hash` are wanted until `due` (Unix seconds).
    event DataDemanded(
        uint64 indexed round,
        bytes32 indexed hash,
        address indexed challenger,
        uint16 attempt,
        uint8 levels,
        uint64 due
    );
    /// @notice A question was answered; its preimages came in `DataGiven` before.
    event DataAnswered(uint64 indexed round, bytes32 indexed hash, uint16 attempt, uint8 levels);
    /// @notice A preimage that was asked for.
    /// @dev One event for each, since those of Filecoin hold at most 8 KiB.
    event DataGiven(uint64 indexed round, bytes preimage);
    /// @notice What was paid for a question went back to who asked it.
    event DemandReclaimed(uint64 indexed round, bytes32 indexed hash, uint16 attempt, address challenger);
    /// @notice A proposal became final: of what was paid for questions half went to who made it, the rest was burnt.
    event FeesSettled(
        uint64 indexed round, uint16 attempt, address indexed holder, uint256 paid, uint256 burnt
    );
    /// @notice A challenger took what it has of a lost bond: its share, and the reward if it brought the proposal down.
    event ShareClaimed(uint64 indexed round, address indexed challenger, uint16 attempt, uint256 amount);

    /// @notice A question costs more than was sent.
    error WrongFee(uint256 sent, uint256 fee);
    /// @notice A question opens 1 to 6 levels.
    error WrongLevels(uint8 levels);
    /// @notice This was asked in this attempt already.
    error AlreadyDemanded(bytes32 hash, uint8 levels);
    /// @notice This was not asked, or is answered already.
    error NotDemanded(bytes32 hash, uint8 levels);
    /// @notice There is time to answer until then.
    error AnswerNotDue(uint64 due);
    /// @notice The time to answer is over.
    error AnswerTooLate(uint64 due);
    /// @notice The time to ask is over: no phase is left, or the proposal can be made final.
    error TooLateToAsk(uint64 roundId);
    /// @notice The proposal stands, or is final.
    error NotFallen(uint64 roundId, uint16 attempt);
    /// @notice A proposal with questions that were not answered cannot become final.
    error Unanswered(uint64 roundId, uint256 open);
    /// @notice The caller is no challenger of this attempt, or has its share.
    error NoShare(address account);
    /// @notice The caller may not do this.
    error NotAuthorised(address caller);

    /// @notice Announces a proof against the pending proposal. A later one of the same account takes its place.
    /// @param roundId Number of the proposed round.
    /// @param digest keccak(abi.encode(sender, keccak(calldata of the call to come))). The salt at the end of that
    ///        call keeps others from guessing it.
    function commit(uint64 roundId, bytes32 digest) external;

    /// @notice Asks for the preimage of a hash, and of what lies below it in its tree. What is sent too much is owed to
    ///         the caller.
    /// @param roundId Number of the proposed round.
    /// @param path Preimages from a root of the proposal or the roll-up down to one that holds the hash; none for a root.
    /// @param hash A hash that the proposal leads to.
    /// @param levels Levels to open, 1 to 6, the hash's own included.
    function demand(uint64 roundId, bytes[] calldata path, bytes32 hash, uint8 levels) external payable;

    /// @notice Answers questions until they are due. Anyone may. What is answered already is passed over.
    /// @param roundId Number of the proposed round.
    /// @param answers One for each question; each preimage at most `MAX_PREIMAGE_BYTES`.
    function answerMany(uint64 roundId, Answer[] calldata answers) external;

    /// @notice Brings the proposal down for a question that was not answered in time. Anyone may.
    /// @param roundId Number of the proposed round.
    /// @param hash What was asked for.
    /// @param levels Levels that were asked for.
    function rejectUnanswered(uint64 roundId, bytes32 hash, uint8 levels) external;

    /// @notice Pays back a question about a proposal that fell. Anyone may.
    /// @param roundId Number of the round.
    /// @param attempt Number of the proposal.
    /// @param hash What was asked for.
    /// @param levels Levels that were asked for.
    function reclaim(uint64 roundId, uint16 attempt, bytes32 hash, uint8 levels) external;

    /// @notice Takes what the caller has of the bond of a proposal that fell: its share as a challenger, and the reward if it
    ///         brought the proposal down. The federation owes it afterwards.
    /// @param roundId Number of the round.
    /// @param attempt Number of the proposal.
    function claimShare(uint64 roundId, uint16 attempt) external;

    /// @notice Divides what was paid for questions about a proposal that becomes final. Federation only.
    /// @param roundId Number of the round.
    /// @param attempt Number of the proposal.
    /// @param holder Who made the proposal.
    function conclude(uint64 roundId, uint16 attempt, address holder) external;

    /// @notice Brings a proposal down that rests on a wrong roll-up. `Rollups` only.
    /// @param roundId Number of the proposed round.
    /// @param attempt Number of the proposal.
    /// @param challenger Who proved it.
    function rejectRollup(uint64 roundId, uint16 attempt, address challenger) external;

    /// @param roundId Number of a round.
    /// @param attempt Number of a proposal.
    /// @param sender Any account.
    /// @param digest Digest of a call.
    /// @return True when the sender's last commitment in this attempt is to this digest, in an earlier block.
    function isCommitted(uint64 roundId, uint16 attempt, address sender, bytes32 digest)
        external
        view
        returns (bool);

    /// @param roundId Number of a round.
    /// @param attempt Number of a proposal.
    /// @return What is kept of it.
    function hearing(uint64 roundId, uint16 attempt) external view returns (Hearing memory);

    /// @param roundId Number of a round.
    /// @param attempt Number of a proposal.
    /// @param hash What may have been asked for.
    /// @param levels Levels that may have been asked for.
    /// @return The question; all 0 if it was not asked.
    function question(uint64 roundId, uint16 attempt, bytes32 hash, uint8 levels)
        external
        view
        returns (Question memory);

    /// @param roundId Number of the proposed round.
    /// @param levels Levels to open, 1 to 6.
    /// @return Wei that a question in the present block costs.
    function demandPrice(uint64 roundId, uint8 levels) external view returns (uint256);

    /// @return Wei of fees burnt so far, which stay here, out of everyone's reach.
    function burntFees() external view returns (uint256);
}
