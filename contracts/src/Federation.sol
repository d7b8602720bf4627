// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {FactoryMade} from "./FactoryMade.sol";
import {Membership} from "./Membership.sol";
import {FederationParameters, IFederation, Sidecars} from "./interfaces/IFederation.sol";
import {IHearing} from "./interfaces/IHearing.sol";
import {IRuleBook} from "./interfaces/IRuleBook.sol";
import {Commitment, CommitmentTree, MAX_PEAKS} from "./libraries/CommitmentTree.sol";
import {ContentId} from "./libraries/ContentId.sol";
import {Circumstances, JudgeLib} from "./libraries/JudgeLib.sol";
import {RollupLib} from "./libraries/RollupLib.sol";
import {KeptRound, LatestRound, Proposal, Round, RoundLib, RoundState} from "./libraries/RoundLib.sol";
import {Expectation, Refusal, Rules, RulesLib} from "./libraries/RulesLib.sol";
import {Security} from "./libraries/SecurityLib.sol";
import {Tally, TallyLib} from "./libraries/TallyLib.sol";
import {Submission, Update, UpdateTypes} from "./libraries/UpdateTypes.sol";

/// @title Federation
/// @notice Rules, members and rounds of one federation; see `IFederation`.
/// @dev Deployed once and cloned by `FederationFactory`. Nothing is immutable but the name and version of the typed
///      data, which all clones share; the domain's address is that of the clone.
contract Federation is IFederation, Membership, FactoryMade, EIP712 {
    using RoundLib for KeptRound;
    using RulesLib for Rules;
    using TallyLib for Tally;

    /// @inheritdoc IFederation
    address public coordinator;
    /// @inheritdoc IFederation
    uint64 public currentRound;
    /// Whether `_successor` runs the rounds from the next one on.
    bool private _hasSuccessor;
    /// @inheritdoc IFederation
    bytes32 public modelRoot;
    /// @inheritdoc IFederation
    bytes32 public rulesHash;
    /// @inheritdoc IFederation
    mapping(address member => uint64 roundId) public lastAccepted;
    /// @inheritdoc IFederation
    address public disputes;
    /// @inheritdoc IFederation
    address public rollups;
    /// @inheritdoc IFederation
    address public ruleBook;
    /// @inheritdoc IFederation
    address public directSubmissions;

    Rules private _rules;
    Security private _security;
    address private _successor;
    mapping(uint64 roundId => KeptRound) private _rounds;
    LatestRound private _latest;
    /// Peaks over the updates of the latest round: the only one that can be disputed.
    bytes32[MAX_PEAKS] private _peaks;

    /// @notice Makes what clones run. Its deployer is their factory; itself it belongs to nobody.
    constructor() Ownable(address(this)) EIP712("FedVM", "1") {}

    /// @inheritdoc IFederation
    function initialize(FederationParameters calldata parameters, Sidecars calldata sidecars) external {
        _requireNew(coordinator);
        require(parameters.owner != address(0), OwnableInvalidOwner(address(0)));
        _requireValid(parameters.coordinator != address(0), "coordinator");
        _requireValid(parameters.modelRoot != 0, "modelRoot");
        _requireValid(ContentId.isPlausible(parameters.modelCid), "modelCid");
        // In memory, where one encoder serves all of their uses.
        Rules memory first = parameters.rules;
        Security memory security_ = parameters.security;
        IRuleBook(sidecars.ruleBook).check(first, security_);
        bool open = parameters.openMembership;
        _requireValid(!open || security_.stake > 0, "stake");

        _transferOwnership(parameters.owner);
        modelRoot = parameters.modelRoot;
        _adopt(first);
        _security = security_;
        openMembership = open;
        disputes = sidecars.disputes;
        rollups = sidecars.rollups;
        ruleBook = sidecars.ruleBook;
        directSubmissions = sidecars.directSubmissions;
        emit FederationCreated(
            parameters.owner,
            parameters.coordinator,
            rulesHash,
            first,
            parameters.modelRoot,
            parameters.modelCid,
            open
        );
        emit SecuritySet(security_, sidecars.disputes);
        _install(parameters.coordinator);
        _addMembers(parameters.members);
        if (!open) _requireQuorumOf(parameters.members.length);
    }

    /// @inheritdoc IFederation
    // slither-disable-next-line missing-zero-check
    function replaceCoordinator(address newCoordinator) external onlyOwner {
        _requireValid(newCoordinator != address(0), "coordinator");
        if (!_isLive(currentRound)) {
            _install(newCoordinator);
            return;
        }
        // A round stays with who opened it: nobody answers for another's statements.
        _successor = newCoordinator;
        _hasSuccessor = true;
        emit SuccessorNamed(newCoordinator);
    }

    /// @inheritdoc IFederation
    function setRules(Rules memory next) external {
        _requireFrom(ruleBook);
        _requireBetweenRounds();
        emit RulesAdopted(_adopt(next), next);
    }

    /// @inheritdoc IFederation
    function openRound() external returns (uint64 roundId) {
        _requireBetweenRounds();
        if (_hasSuccessor) _install(_successor);
        _requireCoordinator();
        roundId = currentRound + 1;
        currentRound = roundId;
        bytes32 baseRoot = modelRoot;
        uint64 deadline = _rounds[roundId].open(_now(), _rules.roundSeconds);
        bytes32 seed = keccak256(abi.encode(block.chainid, address(this), roundId, baseRoot));
        emit RoundOpened(roundId, baseRoot, seed, rulesHash, deadline);
    }

    /// @inheritdoc IFederation
    function submit(uint64 roundId, Submission[] calldata submissions) external returns (Refusal last) {
        bool isDirect = msg.sender == directSubmissions;
        if (!isDirect) _requireCoordinator();
        KeptRound storage current = _rounds[roundId];
        current.requireState(roundId, RoundState.Open);
        current.requireRelayed(roundId);
        Rules memory inForce = _rules;
        Circumstances memory around = Circumstances(
            inForce,
            inForce.maxWeight(),
            Expectation(roundId, rulesHash, modelRoot, current.deadline),
            isDirect ? current.openedAt : _now(),
            false,
            false,
            false,
            false,
            false
        );
        if (isDirect) current.waiting -= 1; // one at a time
        Tally memory tally = TallyLib.load(current, _latest, _peaks);
        tally.stake = _security.stake;
        tally.isDirect = isDirect;
        for (uint256 i = 0; i < submissions.length; ++i) {
            last = _consider(submissions[i], around, tally);
        }
        tally.save(current, _latest, _peaks);
    }

    /// @inheritdoc IFederation
    function hold(uint64 roundId, address member, uint64 until) external {
        KeptRound storage current = _openForDirect(roundId);
        current.requireRelayed(roundId);
        uint256 least = _security.stake;
        require(least > 0, NoStakes());
        require(!_isHeld(member, roundId), AlreadySubmitted(roundId, member));
        require(stakeOf(member) >= least, StakeTooLow(member));
        _holdStake(member, roundId);
        current.waiting += 1;
        _extend(current, roundId, until);
    }

    /// @inheritdoc IFederation
    function forfeit(uint64 roundId, address member) external {
        KeptRound storage current = _openForDirect(roundId);
        current.waiting -= 1;
        _burnStake(member, _security.stake);
    }

    /// @inheritdoc IFederation
    function rollUp(uint64 roundId, uint32 accepted, uint64 totalWeight, bytes32[] calldata peaks)
        external
        payable
    {
        _requireFrom(rollups);
        // Who rests is kept for each member, which a roll-up does not write.
        require(_rules.restRounds == 0, RollupLib.InvalidRollup("restRounds"));
        KeptRound storage current = _rounds[roundId];
        current.rollUp(_latest, roundId, accepted, totalWeight);
        _requireOpened(current);
        RollupLib.keepPeaks(_peaks, accepted, peaks);
        _lockBond(coordinator, _security.bond);
    }

    /// @inheritdoc IFederation
    // What is called is the factory's own code, which calls nobody.
    // slither-disable-next-line timestamp
    function propose(uint64 roundId, Proposal calldata proposal) external payable {
        KeptRound storage current = _rounds[roundId];
        // forge-lint: disable-next-line(block-timestamp)
        if (block.timestamp <= current.until || !_isForAll(current)) _requireCoordinator();
        _requireValid(
            proposal.aggregationRoot != 0 && proposal.aggregateRoot != 0 && proposal.modelRoot != 0, "roots"
        );
        _requireValid(ContentId.isPlausible(proposal.cid), "cid");
        IRuleBook(ruleBook).checkEvidence(roundId, msg.sender);
        uint64 until = _now() + _security.challengeSeconds;
        current.propose(_latest, roundId, _rules.minClients, proposal, until);
        _requireOpened(current);
        RoundLib.requirePremise(
            proposal.range == CommitmentTree.rangeHash(_peaks, proposal.accepted), "range"
        );
        // Under the one that came with the roll-up, if it is the caller's; else that one is free: who proposes over another's
        // roll-up answers for it.
        _lockBond(msg.sender, _security.bond);
        emit RoundProposed(
            roundId,
            proposal.modelRoot,
            proposal.aggregateRoot,
            current.attempt,
            proposal.aggregationRoot,
            proposal.totalWeight,
            until,
            msg.sender,
            proposal.cid
        );
    }

    /// @inheritdoc IFederation
    // What is called is the factory's own code, which calls nobody.
    // slither-disable-next-line reentrancy-events
    function finalizeRound(uint64 roundId) external {
        KeptRound storage current = _rounds[roundId];
        current.requireState(roundId, RoundState.Proposed);
        RoundLib.requirePast(current.until);
        current.state = RoundState.Final;
        bytes32 newModelRoot = current.modelRoot;
        modelRoot = newModelRoot;
        address holder = _releaseBond();
        if (current.asked) IHearing(disputes).conclude(roundId, current.attempt, holder);
        emit RoundFinal(
            roundId,
            newModelRoot,
            _latest.aggregateRoot,
            _latest.totalWeight,
            current.accepted,
            current.attempt
        );
    }

    /// @inheritdoc IFederation
    function extendChallenge(uint64 roundId, uint64 until) external {
        bool isDirect = msg.sender == directSubmissions;
        if (!isDirect) _requireFrom(disputes);
        KeptRound storage current = _rounds[roundId];
        current.requireState(roundId, isDirect ? RoundState.Open : RoundState.Proposed);
        if (!isDirect) current.asked = true;
        _extend(current, roundId, until);
    }

    /// @inheritdoc IFederation
    function rejectProposal(uint64 roundId, address challenger, bool isLast) external {
        _requireFrom(disputes);
        KeptRound storage current = _rounds[roundId];
        current.requireState(roundId, RoundState.Proposed);
        emit ProposalRejected(roundId, challenger, current.attempt);
        _slashBond();
        if (current.reject(_now() + _rules.roundSeconds, isLast)) {
            _tellFailed(roundId, challenger, current.accepted);
        }
    }

    /// @inheritdoc IFederation
    function payShare(address challenger, uint256 amount) external {
        _requireFrom(disputes);
        _credit(challenger, amount);
    }

    /// @inheritdoc IFederation
    // slither-disable-next-line timestamp
    function failRound(uint64 roundId) external {
        KeptRound storage current = _rounds[roundId];
        RoundState state = current.state;
        require(
            state == RoundState.Open || state == RoundState.Submitted, RoundLib.WrongState(roundId, state)
        );
        uint32 accepted = current.accepted;
        uint256 until = current.until;
        // Else a round that anyone may propose from then on could be failed in front of the proposal.
        if (_isForAll(current)) until += _security.challengeSeconds;
        // A deadline is minutes or more; the seconds that a block producer can shift do not matter.
        // forge-lint: disable-next-line(block-timestamp)
        if (block.timestamp <= until) {
            _requireCoordinator();
            uint32 minClients = _rules.minClients;
            require(accepted < minClients, RoundLib.QuorumReached(accepted, minClients));
        }
        current.state = RoundState.Failed;
        // After a rejection there is none.
        if (current.rolledUp) _releaseBond();
        _tellFailed(roundId, msg.sender, accepted);
    }

    /// @inheritdoc IFederation
    function rules() external view returns (Rules memory) {
        return _rules;
    }

    /// @inheritdoc IFederation
    function aggregator() external view returns (bytes32) {
        return _rules.aggregator;
    }

    /// @inheritdoc IFederation
    function security() external view returns (Security memory) {
        return _security;
    }

    /// @inheritdoc IFederation
    function commitmentPeak(uint256 level) external view returns (bytes32) {
        return _peaks[level];
    }

    /// @inheritdoc IFederation
    function round(uint64 roundId) external view returns (Round memory) {
        return _rounds[roundId].shown(_latest);
    }

    /// @inheritdoc IFederation
    function hashUpdate(Update calldata update) public view returns (bytes32) {
        return _hashTypedDataV4(UpdateTypes.structHash(update));
    }

    /// @dev Puts rules in force, and returns their hash.
    function _adopt(Rules memory next) private returns (bytes32 digest) {
        digest = next.hash();
        _rules = next;
        rulesHash = digest;
    }

    /// @dev Accepts one submission into the tally, or refuses it. The time decides only what is past a deadline.
    // slither-disable-next-line timestamp,incorrect-equality
    function _consider(Submission calldata submission, Circumstances memory around, Tally memory tally)
        private
        returns (Refusal reason)
    {
        address member = submission.member;
        Update calldata update = submission.update;
        uint64 roundId = around.expected.round;
        uint32 rest = around.rules.restRounds;
        around.isMember = isMember(member);
        if (!tally.isDirect) {
            require(member >= tally.lastMember, RoundLib.MembersOutOfOrder(tally.lastMember, member));
            around.isDuplicate = member == tally.lastMember || (tally.stake > 0 && _isHeld(member, roundId));
        }
        // Of who is no member it does not matter what was signed.
        around.isSigned = around.isMember && _isSigned(submission, roundId);
        around.rests = rest > 0 && _rests(member, rest, roundId);
        around.hasStake = tally.stake == 0 || stakeOf(member) >= tally.stake;
        uint32 weight;
        (reason, weight) = JudgeLib.judge(update, around);
        if (reason != Refusal.None) {
            emit UpdateRefused(roundId, member, reason, update.updateRoot, update.cid);
            return reason;
        }

        if (tally.stake > 0) _holdStake(member, roundId);
        Commitment memory commitment = Commitment(member, weight, update.updateRoot, update.sumSquares);
        CommitmentTree.append(tally.peaks, tally.accepted, CommitmentTree.leafHash(commitment));
        if (rest > 0) lastAccepted[member] = roundId;
        if (!tally.isDirect) tally.lastMember = member;
        tally.accepted += 1;
        tally.totalWeight += weight;
        _emitAccepted(submission, weight);
    }

    /// @dev Apart from `_consider` because of the stack's depth. An accepted update states the round itself.
    function _emitAccepted(Submission calldata submission, uint32 weight) private {
        Update calldata update = submission.update;
        emit UpdateAccepted(
            update.round,
            submission.member,
            update.updateRoot,
            weight,
            UpdateTypes.attested(update),
            update.sumSquares,
            update.deadline,
            update.cid,
            submission.signature
        );
    }

    /// @dev Whether a member must still sit out. A round that failed asks for no rest, as its updates came to nothing.
    // The number of a round is no time.
    // slither-disable-next-line timestamp
    function _rests(address member, uint32 rest, uint64 roundId) private view returns (bool) {
        uint64 last = lastAccepted[member];
        return last > 0 && roundId - last <= rest && _rounds[last].state != RoundState.Failed;
    }

    /// @dev Whether the stated member signed, itself or by its key. Of the loop over updates, those that members did not sign
    ///      themselves ask the rule book, the factory's own code, which never reverts here. The number
    ///      of a round is no time.
    // slither-disable-next-line calls-loop,timestamp
    function _isSigned(Submission calldata submission, uint64 roundId) private view returns (bool) {
        // Why a recovery failed does not matter: it gives the zero address, which is never a member.
        // slither-disable-next-line unused-return
        (address signer,,) = ECDSA.tryRecoverCalldata(hashUpdate(submission.update), submission.signature);
        if (signer == submission.member) return true;
        return signer != address(0) && IRuleBook(ruleBook).keyOf(submission.member, roundId) == signer;
    }

    function _install(address next) private {
        emit CoordinatorReplaced(coordinator, next);
        coordinator = next;
        _hasSuccessor = false;
    }

    /// @dev An open round, for `DirectSubmissions` alone.
    function _openForDirect(uint64 roundId) private view returns (KeptRound storage current) {
        _requireFrom(directSubmissions);
        current = _rounds[roundId];
        current.requireState(roundId, RoundState.Open);
    }

    function _tellFailed(uint64 roundId, address by, uint32 accepted) private {
        emit RoundFailed(roundId, by, accepted);
    }

    /// @dev Puts off when a round's present state can be ended.
    function _extend(KeptRound storage current, uint64 roundId, uint64 until) private {
        if (until <= current.until) return;
        current.last(until);
        emit ChallengeExtended(roundId, until);
    }

    function _isLive(uint64 roundId) internal view override returns (bool) {
        return _rounds[roundId].isLive();
    }

    function _rolledUpRound() internal view override returns (uint64) {
        uint64 latest = currentRound;
        return _rounds[latest].rolledUp ? latest : 0;
    }

    function _latestRound() internal view override returns (uint64) {
        return currentRound;
    }

    function _requireBetweenRounds() internal view override {
        uint64 latest = currentRound;
        require(!_isLive(latest), RoundStillOpen(latest));
    }

    function _requireRoomFor(uint256 count) internal view override {
        _rules.validateMemberLimit(count);
    }

    function _requireQuorumOf(uint256 count) internal view override {
        _rules.validateQuorum(count);
    }

    // Of the loop over new members: the rule book is the factory's own code, which never reverts here.
    // slither-disable-next-line calls-loop
    function _requireNoKey(address account) internal view override {
        require(IRuleBook(ruleBook).appointedBy(account) == address(0), KeyOfMember(account));
    }

    function _minimumStake() internal view override returns (uint256) {
        return _security.stake;
    }

    /// @dev Whether anyone may propose once the coordinator's time is over: what was rolled up needs nothing more of it. But only
    ///      the weighted mean can be disputed; under other rules a false model would cost nobody a bond.
    function _isForAll(KeptRound storage current) private view returns (bool) {
        return current.rolledUp && _rules.aggregator == 0;
    }

    /// @dev Members have had the time that they are promised to submit themselves, this second not included.
    function _requireOpened(KeptRound storage current) private view {
        RoundLib.requirePast(current.openedAt + _security.openSeconds - 1);
    }

    function _requireValid(bool valid, string memory parameter) private pure {
        require(valid, InvalidParameter(parameter));
    }

    function _requireFrom(address sidecar) private view {
        require(msg.sender == sidecar, NotSidecar(msg.sender));
    }

    function _requireCoordinator() private view {
        require(msg.sender == coordinator, NotCoordinator(msg.sender));
    }
}
