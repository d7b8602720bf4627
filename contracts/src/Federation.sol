// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";

import {IFederation} from "./interfaces/IFederation.sol";
import {ContentId} from "./libraries/ContentId.sol";
import {MerkleSumTree, UpdatePlace} from "./libraries/MerkleSumTree.sol";
import {Round, RoundLib, RoundState} from "./libraries/RoundLib.sol";
import {Expectation, Refusal, Rules, RulesLib} from "./libraries/RulesLib.sol";
import {Submission, Update, UpdateTypes} from "./libraries/UpdateTypes.sol";

/// @title Federation
/// @notice Rules, members and rounds of one federation; see `IFederation`.
contract Federation is IFederation, Ownable2Step, EIP712 {
    using EnumerableSet for EnumerableSet.AddressSet;
    using RoundLib for Round;
    using RulesLib for Rules;

    /// What a batch adds to a round: read once, written once.
    struct Tally {
        address lastMember;
        uint32 accepted;
        uint64 totalWeight;
        bytes32 commitments;
    }

    /// @inheritdoc IFederation
    address public coordinator;
    /// @inheritdoc IFederation
    uint64 public currentRound;
    /// @inheritdoc IFederation
    bytes32 public modelRoot;
    /// @inheritdoc IFederation
    // In storage beside the rules, since minimal clones share their code.
    // slither-disable-next-line immutable-states
    bytes32 public rulesHash;

    Rules private _rules;
    EnumerableSet.AddressSet private _members;
    mapping(uint64 roundId => Round) private _rounds;

    modifier onlyCoordinator() {
        require(msg.sender == coordinator, NotCoordinator(msg.sender));
        _;
    }

    /// @param owner_ Sets members and the coordinator; handed over in two steps.
    /// @param coordinator_ Runs the rounds.
    /// @param rules_ Rules; each in its range, see `RulesLib.validate`.
    /// @param members_ First members, no one twice, at least the quorum.
    /// @param modelRoot_ Root of the model that round 1 trains from.
    /// @param modelCid Binary CIDv1 of that model in the store.
    constructor(
        address owner_,
        address coordinator_,
        Rules memory rules_,
        address[] memory members_,
        bytes32 modelRoot_,
        bytes memory modelCid
    ) Ownable(owner_) EIP712("FedVM", "1") {
        require(coordinator_ != address(0), InvalidParameter("coordinator"));
        require(modelRoot_ != 0, InvalidParameter("modelRoot"));
        require(modelCid.length > 0 && modelCid.length <= ContentId.MAX_BYTES, InvalidParameter("modelCid"));
        rules_.validate();
        rules_.validateMemberCount(members_.length);

        coordinator = coordinator_;
        modelRoot = modelRoot_;
        _rules = rules_;
        rulesHash = rules_.hash();
        emit FederationCreated(owner_, coordinator_, rulesHash, rules_, modelRoot_, modelCid);
        emit CoordinatorReplaced(address(0), coordinator_);
        for (uint256 i = 0; i < members_.length; ++i) {
            _addMember(members_[i]);
        }
    }

    /// @inheritdoc IFederation
    function addMember(address member) external onlyOwner {
        _requireBetweenRounds();
        _addMember(member);
        _rules.validateMemberCount(_members.length());
    }

    /// @inheritdoc IFederation
    function removeMember(address member) external onlyOwner {
        _requireBetweenRounds();
        require(_members.remove(member), UnknownMember(member));
        _rules.validateMemberCount(_members.length());
        emit MemberRemoved(member);
    }

    /// @inheritdoc IFederation
    function replaceCoordinator(address newCoordinator) external onlyOwner {
        require(newCoordinator != address(0), InvalidParameter("coordinator"));
        emit CoordinatorReplaced(coordinator, newCoordinator);
        coordinator = newCoordinator;
    }

    /// @inheritdoc IFederation
    function openRound() external onlyCoordinator returns (uint64 roundId) {
        _requireBetweenRounds();
        roundId = currentRound + 1;
        currentRound = roundId;
        bytes32 baseRoot = modelRoot;
        // Unix time fits 64 bits for longer than there will be blocks.
        // forge-lint: disable-next-line(unsafe-typecast)
        uint64 deadline = _rounds[roundId].open(baseRoot, uint64(block.timestamp), _rules.roundSeconds);
        emit RoundOpened(roundId, baseRoot, _seed(roundId, baseRoot), rulesHash, deadline);
    }

    /// @inheritdoc IFederation
    function submit(uint64 roundId, Submission[] calldata submissions) external onlyCoordinator {
        Round storage current = _rounds[roundId];
        current.requireOpen(roundId);
        Rules memory rules_ = _rules;
        Expectation memory expected = Expectation(roundId, rulesHash, current.baseRoot, current.deadline);
        Tally memory tally =
            Tally(current.lastMember, current.accepted, current.totalWeight, current.commitments);

        for (uint256 i = 0; i < submissions.length; ++i) {
            _consider(submissions[i], rules_, expected, tally);
        }

        current.lastMember = tally.lastMember;
        current.accepted = tally.accepted;
        current.totalWeight = tally.totalWeight;
        current.commitments = tally.commitments;
    }

    /// @inheritdoc IFederation
    function finalizeRound(uint64 roundId, bytes32 newModelRoot, bytes32 aggregateRoot, bytes calldata cid)
        external
        onlyCoordinator
    {
        Round storage current = _rounds[roundId];
        current.requireOpen(roundId);
        require(newModelRoot != 0, InvalidParameter("newModelRoot"));
        require(aggregateRoot != 0, InvalidParameter("aggregateRoot"));
        require(ContentId.isPlausible(cid), InvalidParameter("cid"));
        current.finalize(_rules.minClients, newModelRoot, aggregateRoot);
        modelRoot = newModelRoot;
        emit RoundFinal(roundId, newModelRoot, aggregateRoot, current.totalWeight, current.accepted, cid);
    }

    /// @inheritdoc IFederation
    // slither-disable-next-line timestamp
    function failRound(uint64 roundId) external {
        Round storage current = _rounds[roundId];
        current.requireOpen(roundId);
        uint32 accepted = current.accepted;
        // A deadline is minutes or more; the seconds that a block producer can shift do not matter.
        // forge-lint: disable-next-line(block-timestamp)
        if (block.timestamp <= current.deadline) {
            require(msg.sender == coordinator, NotCoordinator(msg.sender));
            uint32 minClients = _rules.minClients;
            require(accepted < minClients, RoundLib.QuorumReached(accepted, minClients));
        }
        current.fail();
        emit RoundFailed(roundId, msg.sender, accepted);
    }

    /// @inheritdoc IFederation
    function rules() external view returns (Rules memory) {
        return _rules;
    }

    /// @inheritdoc IFederation
    function round(uint64 roundId) external view returns (Round memory) {
        return _rounds[roundId];
    }

    /// @inheritdoc IFederation
    function roundSeed(uint64 roundId) external view returns (bytes32) {
        Round storage opened = _rounds[roundId];
        require(opened.state != RoundState.None, UnknownRound(roundId));
        return _seed(roundId, opened.baseRoot);
    }

    /// @inheritdoc IFederation
    function updateContext(uint64 roundId, address member) external view returns (bytes32) {
        return
            MerkleSumTree.context(UpdatePlace(block.chainid, address(this), roundId, member, _rules.elements));
    }

    /// @inheritdoc IFederation
    function isMember(address account) external view returns (bool) {
        return _members.contains(account);
    }

    /// @inheritdoc IFederation
    function memberCount() external view returns (uint256) {
        return _members.length();
    }

    /// @inheritdoc IFederation
    function members() external view returns (address[] memory) {
        return _members.values();
    }

    /// @inheritdoc IFederation
    function hashUpdate(Update calldata update) public view returns (bytes32) {
        return _hashTypedDataV4(UpdateTypes.structHash(update));
    }

    /// @dev Accepts one submission into the tally, or refuses it. The time decides only what is past a deadline.
    // slither-disable-next-line timestamp
    function _consider(
        Submission calldata submission,
        Rules memory rules_,
        Expectation memory expected,
        Tally memory tally
    ) private {
        address member = submission.member;
        Update calldata update = submission.update;
        require(member >= tally.lastMember, RoundLib.MembersOutOfOrder(tally.lastMember, member));

        Refusal reason = _refusalOfSigner(submission, tally.lastMember);
        if (reason == Refusal.None) reason = rules_.refusal(update, expected, block.timestamp);
        if (reason != Refusal.None) {
            emit UpdateRefused(expected.round, member, reason, update.updateRoot, update.cid);
            return;
        }

        uint32 weight = rules_.weight(update.examples);
        tally.lastMember = member;
        tally.accepted += 1;
        tally.totalWeight += weight;
        tally.commitments =
            RoundLib.chain(tally.commitments, member, weight, update.updateRoot, update.sumSquares);
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
            update.examples,
            update.sumSquares,
            update.accuracyPpm,
            update.lossMicros,
            update.deadline,
            update.cid,
            submission.signature
        );
    }

    /// @dev Whether the stated member may and did sign, and for the first time.
    function _refusalOfSigner(Submission calldata submission, address lastMember)
        private
        view
        returns (Refusal)
    {
        address member = submission.member;
        if (!_members.contains(member)) return Refusal.NotMember;
        if (member == lastMember) return Refusal.Duplicate;
        // Why a recovery failed does not matter: it gives the zero address, which is never a member.
        // slither-disable-next-line unused-return
        (address signer,,) = ECDSA.tryRecoverCalldata(hashUpdate(submission.update), submission.signature);
        return signer == member ? Refusal.None : Refusal.BadSignature;
    }

    function _addMember(address member) private {
        require(member != address(0), InvalidParameter("member"));
        require(_members.add(member), AlreadyMember(member));
        emit MemberAdded(member);
    }

    function _requireBetweenRounds() private view {
        uint64 latest = currentRound;
        require(_rounds[latest].state != RoundState.Open, RoundStillOpen(latest));
    }

    function _seed(uint64 roundId, bytes32 baseRoot) private view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), roundId, baseRoot));
    }
}
