// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FactoryMade} from "./FactoryMade.sol";
import {RolledUpCourt} from "./RolledUpCourt.sol";
import {Fraud} from "./interfaces/ICourt.sol";
import {DirectState, DirectUpdate, IDirectSubmissions} from "./interfaces/IDirectSubmissions.sol";
import {IFederation} from "./interfaces/IFederation.sol";
import {IHearing} from "./interfaces/IHearing.sol";
import {IRollups, RollupNode} from "./interfaces/IRollups.sol";
import {Commitment, CommitmentTree} from "./libraries/CommitmentTree.sol";
import {Circumstances, JudgeLib} from "./libraries/JudgeLib.sol";
import {MemberSignature} from "./libraries/MemberSignature.sol";
import {MerklePath} from "./libraries/MerklePath.sol";
import {Record, RecordProof, RecordTree} from "./libraries/RecordTree.sol";
import {Rollup, RollupLib, RollupSummary} from "./libraries/RollupLib.sol";
import {Round, RoundLib} from "./libraries/RoundLib.sol";
import {Expectation, Refusal, Rules, RulesLib} from "./libraries/RulesLib.sol";
import {SubmissionCode} from "./libraries/SubmissionCode.sol";
import {Submission} from "./libraries/UpdateTypes.sol";

/// @title Rollups
/// @notice The roll-ups of one federation, and fraud proofs about them; see `IRollups`.
/// @dev Deployed once and cloned by `FederationFactory`.
contract Rollups is IRollups, RolledUpCourt, FactoryMade {
    using RollupLib for Rollup;
    using RulesLib for Rules;

    RollupSummary private _latest;

    /// @inheritdoc IRollups
    function initialize(IFederation federation_, uint64 elements_) external {
        _requireNew(address(federation));
        federation = federation_;
        elements = elements_;
    }

    /// @inheritdoc IRollups
    // What is called back is the federation, which calls nobody.
    // slither-disable-next-line reentrancy-benign,reentrancy-events
    function submit(uint64 roundId, Rollup calldata rollup) external payable {
        require(msg.sender == federation.coordinator(), IFederation.NotCoordinator(msg.sender));
        federation.rollUp{value: msg.value}(roundId, rollup.accepted, rollup.totalWeight, rollup.peaks);
        Round memory round = federation.round(roundId);
        bytes32 journal = IDirectSubmissions(federation.directSubmissions()).journal(roundId);
        require(rollup.journal == journal, RoundLib.OtherPremises("journal"));
        // Of a block to come, and of one too long ago, the hash is 0.
        require(
            rollup.anchorNumber >= round.openedIn && rollup.anchorHash != 0
                && blockhash(rollup.anchorNumber) == rollup.anchorHash,
            RoundLib.OtherPremises("anchor")
        );
        rollup.validate(round.openedAt, round.deadline, round.until, block.timestamp);
        _latest = rollup.summary(roundId);
        emit RollupSubmitted(
            roundId,
            rollup.recordsRoot,
            rollup.records,
            rollup.accepted,
            rollup.totalWeight,
            rollup.judgedAt,
            rollup.peaks,
            rollup.cid
        );
    }

    /// @inheritdoc IRollups
    function latest() external view returns (RollupSummary memory) {
        return _latest;
    }

    /// @inheritdoc IRollups
    function recordCount() external view returns (uint32) {
        return _latest.records;
    }

    /// @inheritdoc IRollups
    function isStated(bytes32 hash) external view returns (bool) {
        return hash == _latest.recordsRoot || _isPeak(_latest.accepted, hash);
    }

    /// @inheritdoc IRollups
    function proveWrongRecord(
        uint64 roundId,
        RecordProof calldata proof,
        Submission calldata submission,
        bytes32
    ) external {
        (Round memory round, RollupSummary memory rollup) = _open(roundId);
        Record calldata record = proof.record;
        _requireRecord(rollup, proof);
        _requireSubmission(record, submission);
        (Refusal reason, uint32 weight) =
            JudgeLib.judge(submission.update, _circumstances(roundId, round, rollup, record, submission));
        require(record.reason != uint8(reason) || record.weight != weight, NoFraud());
        _fail(roundId, round.attempt, Fraud.WrongRecord);
    }

    /// @inheritdoc IRollups
    function proveMalformedSubmission(
        uint64 roundId,
        RecordProof calldata proof,
        bytes calldata preimage,
        bytes32
    ) external {
        (Round memory round, RollupSummary memory rollup) = _open(roundId);
        _requireRecord(rollup, proof);
        bytes32 submission = proof.record.submission;
        // Of 0 nobody knows the preimage, and nobody can demand it.
        if (submission != 0) {
            require(keccak256(preimage) == submission, NotPartOf("submission"));
            require(!SubmissionCode.isWellFormed(preimage), NoFraud());
        }
        _fail(roundId, round.attempt, Fraud.WrongRecord);
    }

    /// @inheritdoc IRollups
    function proveWrongSequence(
        uint64 roundId,
        RecordProof calldata before,
        RecordProof calldata proof,
        bytes32
    ) external {
        (Round memory round, RollupSummary memory rollup) = _open(roundId);
        _requireRecord(rollup, proof);
        // All zeros, which is what the first record follows from.
        // slither-disable-next-line uninitialized-local
        Record memory previous;
        if (proof.index > 0) {
            require(before.index == proof.index - 1, NotPartOf("record before"));
            _requireRecord(rollup, before);
            previous = before.record;
        }
        Record calldata record = proof.record;
        bool follows = RecordTree.follows(previous, record);
        if (proof.index == rollup.records - 1) {
            follows = follows && record.accepted == rollup.accepted && record.total == rollup.totalWeight;
        }
        require(!follows, NoFraud());
        _fail(roundId, round.attempt, Fraud.WrongSequence);
    }

    /// @inheritdoc IRollups
    function proveWrongCommitment(
        uint64 roundId,
        RecordProof calldata proof,
        Submission calldata submission,
        bytes32 leaf,
        bytes32[] calldata siblings,
        bytes32
    ) external {
        (Round memory round, RollupSummary memory rollup) = _open(roundId);
        Record calldata record = proof.record;
        _requireRecord(rollup, proof);
        _requireSubmission(record, submission);
        // One that counts for nothing has no place in the range; that its totals say so is a wrong sequence.
        require(record.reason == uint8(Refusal.None) && record.accepted > 0, NotPartOf("commitments"));
        _requireAt(rollup.accepted, record.accepted - 1, leaf, siblings);
        Commitment memory commitment = Commitment(
            record.member, record.weight, submission.update.updateRoot, submission.update.sumSquares
        );
        require(leaf != CommitmentTree.leafHash(commitment), NoFraud());
        _fail(roundId, round.attempt, Fraud.WrongCommitment);
    }

    /// @inheritdoc IRollups
    function proveMalformedRollup(uint64 roundId, RollupNode calldata node, bytes32) external {
        (Round memory round, RollupSummary memory rollup) = _open(roundId);
        uint256 depth = node.siblings.length;
        uint256 height = node.isOfRange ? node.peak : MerklePath.height(rollup.records);
        require(depth <= height && node.position >> depth == 0, NotPartOf("roll-up"));
        bytes32 hash = node.preimage.length == 0 ? node.hash : keccak256(node.preimage);
        bytes32 root = rollup.recordsRoot;
        if (node.isOfRange) {
            require((rollup.accepted >> height) & 1 == 1, NotPartOf("roll-up"));
            root = federation.commitmentPeak(height);
        }
        uint8 kind = node.isOfRange ? CommitmentTree.NODE : RecordTree.NODE;
        require(MerklePath.climb(kind, hash, node.position, node.siblings) == root, NotPartOf("roll-up"));
        bool wellFormed = depth < height
            ? node.preimage.length == 0 ? hash != 0 : _isNode(kind, node.preimage)
            : node.isOfRange || _isRecordOrPadding(rollup.records, node);
        require(!wellFormed, NoFraud());
        _fail(roundId, round.attempt, Fraud.MalformedRollup);
    }

    /// @inheritdoc IRollups
    function proveOmission(
        uint64 roundId,
        address member,
        RecordProof calldata before,
        RecordProof calldata proof,
        bytes32
    ) external {
        (Round memory round, RollupSummary memory rollup) = _open(roundId);
        DirectUpdate memory direct =
            IDirectSubmissions(federation.directSubmissions()).directUpdate(roundId, member);
        require(direct.state == DirectState.Waiting, NotPartOf("direct submissions"));
        _requireRecord(rollup, proof);
        Record calldata record = proof.record;
        if (record.member == member) {
            // What else the member signed may count instead; nothing else excuses that it does not.
            require(record.reason != uint8(Refusal.None) && record.submission != direct.submission, NoFraud());
        } else if (record.member > member) {
            // The first at or above the place where it should be.
            if (proof.index > 0) {
                require(before.index == proof.index - 1, NotPartOf("record before"));
                _requireRecord(rollup, before);
                require(before.record.member < member, NotPartOf("records around the member"));
            }
        } else {
            require(proof.index == rollup.records - 1, NotPartOf("records around the member"));
        }
        _fail(roundId, round.attempt, Fraud.Omission);
    }

    /// @dev Checks that this very call was committed to, and returns the round, which must be proposed, and its roll-up.
    function _open(uint64 roundId) private view returns (Round memory round, RollupSummary memory rollup) {
        round = _begin(roundId);
        require(round.rolledUp, NotPartOf("roll-up"));
        rollup = _latest;
    }

    function _fail(uint64 roundId, uint16 attempt, Fraud fraud) private {
        emit FraudProved(roundId, msg.sender, fraud, attempt);
        IHearing(federation.disputes()).rejectRollup(roundId, attempt, msg.sender);
    }

    function _requireRecord(RollupSummary memory rollup, RecordProof calldata proof) private pure {
        require(RecordTree.holds(rollup.records, proof, rollup.recordsRoot), NotPartOf("records"));
    }

    function _requireSubmission(Record calldata record, Submission calldata submission) private pure {
        require(
            submission.member == record.member && SubmissionCode.isPlausible(submission)
                && SubmissionCode.hash(submission) == record.submission,
            NotPartOf("submission")
        );
    }

    /// @dev What an update is judged by. The rules stand still during a round; who leaves in it, or changes its stake, may have been
    ///      seen as it was before or after: then the record is believed. Where rules ask members to rest nothing is rolled up.
    function _circumstances(
        uint64 roundId,
        Round memory round,
        RollupSummary memory rollup,
        Record calldata record,
        Submission calldata submission
    ) private view returns (Circumstances memory around) {
        Rules memory rules = federation.rules();
        around.rules = rules;
        around.maxWeight = rules.maxWeight();
        around.expected = Expectation(roundId, federation.rulesHash(), federation.modelRoot(), round.deadline);
        around.time = rollup.judgedAt;
        bool hasLeft = record.reason == uint8(Refusal.NotMember) && !federation.isMember(record.member);
        around.isMember = !hasLeft && _wasMember(roundId, record.member);
        around.isSigned = MemberSignature.isSigned(federation, roundId, submission);
        around.hasStake = _hadStake(round, record);
    }

    /// @dev Whether a member had the stake when its update was judged. Of a stake that changed within the round, nobody
    ///      can tell what the coordinator saw: then the record is believed.
    function _hadStake(Round memory round, Record calldata record) private view returns (bool) {
        uint128 least = federation.security().stake;
        if (least == 0) return true;
        if (federation.stakeChangedAt(record.member) >= round.openedAt) {
            return record.reason != uint8(Refusal.StakeTooLow);
        }
        return federation.stakeOf(record.member) >= least;
    }

    /// @dev Whether an account was a member when the round was opened: nobody joins during one.
    function _wasMember(uint64 roundId, address account) private view returns (bool) {
        return federation.isMember(account) || federation.leftIn(account) == roundId;
    }

    function _isNode(uint8 kind, bytes calldata preimage) private pure returns (bool) {
        return preimage.length == RecordTree.NODE_BYTES && uint8(preimage[0]) == kind;
    }

    /// @dev Of a leaf of the records' tree.
    function _isRecordOrPadding(uint32 records, RollupNode calldata node) private pure returns (bool) {
        if (node.position >= records) return node.preimage.length == 0 && node.hash == 0;
        if (node.preimage.length == 0) return node.hash != 0;
        return node.preimage.length == RecordTree.LEAF_BYTES && uint8(node.preimage[0]) == RecordTree.LEAF;
    }
}
