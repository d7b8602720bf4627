// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Proposal, Round} from "../libraries/RoundLib.sol";
import {Refusal, Rules} from "../libraries/RulesLib.sol";
import {Security} from "../libraries/SecurityLib.sol";
import {Attestation, Submission, Update} from "../libraries/UpdateTypes.sol";
import {IMembership} from "./IMembership.sol";

/// @notice What a federation is created with.
struct FederationParameters {
    /// Sets members and the coordinator; handed over in two steps.
    address owner;
    /// Runs the rounds.
    address coordinator;
    /// Each in its range, see `RulesLib.validate`.
    Rules rules;
    /// Bond, stake, fees and windows; each in its range, see `SecurityLib.validate`.
    Security security;
    /// Whether anyone may join with a stake, which `security` must then ask for.
    bool openMembership;
    /// First members, no one twice; at least the quorum, or any number where membership is open.
    address[] members;
    /// Root of the model that round 1 trains from.
    bytes32 modelRoot;
    /// Binary CIDv1 of that model in the store.
    bytes modelCid;
}

/// @notice Contracts that work for one federation alone.
struct Sidecars {
    /// Hears disputes about its proposals.
    address disputes;
    /// Takes its roll-ups, and hears disputes about them.
    address rollups;
    /// Changes its rules.
    address ruleBook;
    /// Takes updates that members submit themselves.
    address directSubmissions;
}

/// @title A federation: who trains together, by which rules, and what each round came to
/// @notice The owner sets members and the coordinator. The coordinator opens rounds, relays the updates that members
///         sign, and states what they aggregate to. The contract decides which updates count and how much.
///
///         Examples, accuracy, loss, labels and ε are attested by the clients, not proved. What the updates of a round come to is
///         stated under a bond, by the coordinator or, in its place, by anyone; for a while anyone may prove to `Disputes` that it is wrong. Each
///         state of a round has an end that anyone can bring about (table in `RoundLib`).
interface IFederation is IMembership {
    /// @notice A federation exists.
    event FederationCreated(
        address indexed owner,
        address indexed coordinator,
        bytes32 indexed rulesHash,
        Rules rules,
        bytes32 modelRoot,
        bytes modelCid,
        bool openMembership
    );
    /// @notice Other rules are in force for the rounds to come.
    event RulesAdopted(bytes32 indexed rulesHash, Rules rules);
    /// @notice The owner put another coordinator in place.
    event CoordinatorReplaced(address indexed previous, address indexed coordinator);
    /// @notice Somebody else runs the rounds from the next one on: who opened the present one brings it to its end.
    event SuccessorNamed(address indexed successor);
    /// @notice A round is open until its deadline (Unix seconds). Who is sampled follows from the seed, which is
    ///         keccak(abi.encode(chainId, federation, round, baseRoot)).
    event RoundOpened(
        uint64 indexed round, bytes32 indexed baseRoot, bytes32 seed, bytes32 rulesHash, uint64 deadline
    );
    /// @notice An update counts with this weight.
    /// @dev With the round's base and the rules this holds every field of the typed data, so that the signature can
    ///      be checked again from events alone.
    event UpdateAccepted(
        uint64 indexed round,
        address indexed member,
        bytes32 indexed updateRoot,
        uint32 weight,
        Attestation attested,
        uint128 sumSquares,
        uint64 deadline,
        bytes cid,
        bytes signature
    );
    /// @notice An update does not count, and why.
    /// @dev `member` is whom the coordinator named; only for reasons after `BadSignature` is it known that this
    ///      member signed.
    event UpdateRefused(
        uint64 indexed round, address indexed member, Refusal indexed reason, bytes32 updateRoot, bytes cid
    );
    /// @notice What stands behind proposals, and the contract that hears disputes.
    event SecuritySet(Security security, address indexed disputes);
    /// @notice The proposer states what a round came to. Unless it is proved wrong it can become final after `until`
    ///         (Unix seconds). `cid` is the binary CIDv1 of the model.
    event RoundProposed(
        uint64 indexed round,
        bytes32 indexed modelRoot,
        bytes32 indexed aggregateRoot,
        uint16 attempt,
        bytes32 aggregationRoot,
        uint64 totalWeight,
        uint64 until,
        address proposer,
        bytes cid
    );
    /// @notice A phase of questions began, or an update was submitted directly: the present state of the round can be ended only after
    ///         `until`.
    event ChallengeExtended(uint64 indexed round, uint64 until);
    /// @notice A proposal was proved wrong, or data demanded for it are missing.
    event ProposalRejected(uint64 indexed round, address indexed challenger, uint16 attempt);
    /// @notice A round came to a new model: what its proposal number `attempt` states.
    event RoundFinal(
        uint64 indexed round,
        bytes32 indexed modelRoot,
        bytes32 indexed aggregateRoot,
        uint64 totalWeight,
        uint32 accepted,
        uint16 attempt
    );
    /// @notice A round came to nothing; the next one opens over the same base.
    event RoundFailed(uint64 indexed round, address indexed by, uint32 accepted);

    /// @notice Only the coordinator may do this.
    error NotCoordinator(address caller);
    /// @notice Only one of the contracts that work for the federation may do this.
    error NotSidecar(address caller);
    /// @notice Members of this federation have no stake: updates come through the coordinator alone.
    error NoStakes();
    /// @notice An update of the member counts already, or waits to.
    error AlreadySubmitted(uint64 roundId, address member);
    /// @notice The member has too little at stake.
    error StakeTooLow(address member);
    /// @notice Wait until the round is final or failed.
    error RoundStillOpen(uint64 roundId);

    /// @notice Makes a new clone a federation. `FederationFactory` calls it in the transaction that makes the clone;
    ///         nobody can call it again.
    /// @param parameters What the federation is created with.
    /// @param sidecars Contracts that work for it.
    function initialize(FederationParameters calldata parameters, Sidecars calldata sidecars) external;

    /// @notice Puts another coordinator in place: from the next round on, or at once if none is live. An open round stays
    ///         with who opened it; if that one vanished, anyone ends the round after its time. Owner only.
    /// @param newCoordinator Address of the new coordinator.
    function replaceCoordinator(address newCoordinator) external;

    /// @notice Puts other rules in force, between rounds. `RuleBook` only, which has checked them.
    /// @param next Rules for the rounds to come.
    function setRules(Rules calldata next) external;

    /// @notice Opens the next round over the current model. Coordinator only.
    /// @return roundId Number of the round; the first is 1.
    function openRound() external returns (uint64 roundId);

    /// @notice Relays signed updates. Each is accepted or refused with a reason, in an event. Coordinator only, and
    ///         `DirectSubmissions`, whose updates wait; their deadlines were kept when they came.
    /// @dev Members must come in ascending address order over all accepted updates of the round, as the aggregate
    ///      sums them; a member lower than the last accepted one reverts the call, the same one again is refused
    ///      as a duplicate, and so is one whose update waits. What was submitted directly has no order.
    /// @param roundId Number of the open round.
    /// @param submissions Signed updates.
    /// @return last Why the last of them was refused; `None` if it was not.
    function submit(uint64 roundId, Submission[] calldata submissions) external returns (Refusal last);

    /// @notice Holds a member's stake for an update that waits, and keeps the round from being failed for a while.
    ///         `DirectSubmissions` only.
    /// @param roundId Number of the open round, not rolled up.
    /// @param member Who signed.
    /// @param until Unix time in seconds before which only the coordinator can fail the round.
    function hold(uint64 roundId, address member, uint64 until) external;

    /// @notice Burns the stake that is asked for of a member whose update waits without its data: it waits no longer.
    ///         `DirectSubmissions` only.
    /// @param roundId Number of the open round.
    /// @param member Who signed.
    function forfeit(uint64 roundId, address member) external;

    /// @notice Takes all updates of a round at once, once it has been open for `openSeconds`, and the coordinator's bond.
    ///         `Rollups` only.
    /// @param roundId Number of the open round.
    /// @param accepted Updates that count.
    /// @param totalWeight Sum of their weights.
    /// @param peaks Peaks of the mountain range over them, the largest first.
    function rollUp(uint64 roundId, uint32 accepted, uint64 totalWeight, bytes32[] calldata peaks)
        external
        payable;

    /// @notice States what the accepted updates of a round come to, under a bond taken from what is owed to the caller
    ///         and what is sent along; the coordinator's first over its roll-up stands under that one's bond. Needs the
    ///         quorum, and a round that has been open for `openSeconds`. Reverts with `OtherPremises` where the chain is not
    ///         what it was computed from. Coordinator only; after its time (`Round.until`) anyone, if the updates were rolled up
    ///         and the rules name the weighted mean. Who proposes over another's roll-up answers for that, too, whose
    ///         bond is set free.
    /// @param roundId Number of an open round, or of one whose last proposal was rejected.
    /// @param proposal Roots of the aggregation, the aggregate and the new model, and the model's address.
    function propose(uint64 roundId, Proposal calldata proposal) external payable;

    /// @notice Makes a proposal final that was not proved wrong in time. Anyone may.
    /// @param roundId Number of the proposed round.
    function finalizeRound(uint64 roundId) external;

    /// @notice Gives time to answer. `Disputes` only, for a proposed round, once for each phase of questions, and
    ///         `DirectSubmissions`, for an open one.
    /// @param roundId Number of the round.
    /// @param until Unix time in seconds before which its state cannot be ended.
    function extendChallenge(uint64 roundId, uint64 until) external;

    /// @notice Rejects the proposal and takes its bond. `Disputes` only, which says later what of it the challengers have.
    /// @param roundId Number of the proposed round.
    /// @param challenger Who proved it wrong.
    /// @param isLast Whether nothing true can be proposed over what was accepted: then the round has failed.
    function rejectProposal(uint64 roundId, address challenger, bool isLast) external;

    /// @notice Owes a challenger what it has of a lost bond. `Disputes` only.
    /// @param challenger Who claimed it.
    /// @param amount Wei.
    function payShare(address challenger, uint256 amount) external;

    /// @notice Gives a round up: by the coordinator while it has no quorum, by anyone after its deadline or, if a
    ///         proposal was rejected, a round's length after that; `challengeSeconds` later still where anyone may propose.
    /// @param roundId Number of the open or submitted round.
    function failRound(uint64 roundId) external;

    /// @param member Any address.
    /// @return Last round in which an update of its was accepted while the rules set `restRounds`; 0 if none was.
    function lastAccepted(address member) external view returns (uint64);

    /// @return How the updates make the new model; 0 for their weighted mean, which alone can be disputed.
    function aggregator() external view returns (bytes32);

    /// @return Address that runs the rounds.
    function coordinator() external view returns (address);

    /// @return Rules in force.
    function rules() external view returns (Rules memory);

    /// @return keccak-256 of the rules' ABI encoding.
    function rulesHash() external view returns (bytes32);

    /// @return Bond, stake, fees and windows.
    function security() external view returns (Security memory);

    /// @return Contract that hears disputes.
    function disputes() external view returns (address);

    /// @return Contract that takes roll-ups and hears disputes about them.
    function rollups() external view returns (address);

    /// @return Contract that changes the rules.
    function ruleBook() external view returns (address);

    /// @return Contract that takes updates which members submit themselves.
    function directSubmissions() external view returns (address);

    /// @notice A peak of the mountain range over the latest round's accepted updates; see `CommitmentTree`.
    /// @param level Height of the peak; its bit must be set in the number of accepted updates.
    /// @return Hash of the peak.
    function commitmentPeak(uint256 level) external view returns (bytes32);

    /// @return Root of the current model: that of the last final round, or the initial one.
    function modelRoot() external view returns (bytes32);

    /// @return Number of the latest round, 0 before the first.
    function currentRound() external view returns (uint64);

    /// @param roundId Number of a round.
    /// @return The round; state `None` if it was never opened. `lastMember`, `totalWeight` and `aggregateRoot` are kept while it
    ///         is neither final nor failed, and 0 afterwards: `RoundFinal` tells of the last two.
    function round(uint64 roundId) external view returns (Round memory);

    /// @param update Statement to sign.
    /// @return EIP-712 digest that a member signs.
    function hashUpdate(Update calldata update) external view returns (bytes32);
}
