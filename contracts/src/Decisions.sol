// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PullPayments} from "./PullPayments.sol";
import {Versions} from "./Versions.sol";
import {FeeTerms, IDecisions, Lineage} from "./interfaces/IDecisions.sol";
import {Version} from "./interfaces/IVersions.sol";
import {AggregationNode, AggregationTree} from "./libraries/AggregationTree.sol";
import {Commitment, CommitmentTree} from "./libraries/CommitmentTree.sol";
import {Scores} from "./libraries/Scores.sol";

/// @title Decisions
/// @notice See `IDecisions`.
abstract contract Decisions is Versions, IDecisions, PullPayments {
    /// @dev What a version earns. A decision reads two slots and writes one.
    struct Earnings {
        uint96 fee;
        address treasury;
        /// Parts per million of a fee.
        uint32 treasuryPpm;
        /// Updates that share the rest.
        uint32 updates;
        /// Wei for each of them so far.
        uint192 perUpdate;
        /// Wei that have been collected.
        uint256 collected;
    }

    /// Longest input that an event records, in bytes.
    uint256 public constant MAX_RECORDED_INPUT = 4096;
    /// Most of a fee that may go to the treasury when others contributed, in parts per million.
    uint32 public constant MAX_TREASURY_PPM = 500_000;
    /// Bytes of a decision's event beside the input and the scores: four topics, five words, and two lengths.
    uint256 private constant EVENT_BYTES = 11 * 32;
    uint256 private constant PPM = 1_000_000;

    /// @inheritdoc IDecisions
    uint256 public decisionCount;

    mapping(uint256 versionId => Earnings) private _earnings;
    /// Wei collected for an update of a version's round.
    mapping(uint256 versionId => mapping(uint32 position => uint256)) private _collected;

    /// @inheritdoc IDecisions
    function decide(bytes calldata input, uint256 expectedVersion, uint256 maxFee, uint64 deadline)
        external
        payable
        returns (uint256 id, int32[] memory scores)
    {
        Version storage decider = _beginDecisions(1, expectedVersion, maxFee, deadline);
        id = decisionCount + 1;
        decisionCount = id;
        scores = _decide(decider, id, expectedVersion, input);
    }

    /// @inheritdoc IDecisions
    function decideMany(bytes[] calldata inputs, uint256 expectedVersion, uint256 maxFee, uint64 deadline)
        external
        payable
        returns (uint256 firstId, int32[][] memory scores)
    {
        Version storage decider = _beginDecisions(inputs.length, expectedVersion, maxFee, deadline);
        firstId = decisionCount + 1;
        decisionCount = firstId + inputs.length - 1;
        scores = new int32[][](inputs.length);
        for (uint256 i = 0; i < inputs.length; ++i) {
            scores[i] = _decide(decider, firstId + i, expectedVersion, inputs[i]);
        }
    }

    /// @inheritdoc IDecisions
    function collect(uint256 versionId, AggregationNode calldata leaf, Commitment calldata commitment)
        external
        returns (uint256 amount)
    {
        _registered(versionId);
        Origin storage origin = _origin(versionId);
        uint32 position = leaf.position;
        uint32 accepted = origin.accepted;
        // The position is bounded and the way has the tree's height, so that no update has two positions.
        require(
            position < accepted && leaf.path.length == AggregationTree.height(accepted)
                && AggregationTree.isLeaf(leaf.preimage)
                && AggregationTree.commitmentOf(leaf.preimage) == CommitmentTree.leafHash(commitment)
                && AggregationTree.climb(leaf) == origin.aggregationRoot,
            NotAContribution(versionId, position)
        );
        Earnings storage earned = _earnings[versionId];
        amount = earned.perUpdate - _collected[versionId][position];
        require(amount > 0, NothingToCollect(versionId, position));
        earned.collected += amount;
        _collected[versionId][position] = earned.perUpdate;
        _credit(commitment.member, amount);
        emit ShareCollected(versionId, commitment.member, position, amount);
    }

    /// @inheritdoc IDecisions
    function lineage(uint256 decisionId) external view returns (Lineage memory) {
        require(decisionId != 0 && decisionId <= decisionCount, UnknownDecision(decisionId));
        uint256 versionId = _versionOf(decisionId);
        Version storage decider = _registered(versionId);
        Origin storage origin = _origin(versionId);
        return Lineage({
            version: versionId,
            program: decider.program,
            codeHash: decider.parts[0].codeHash,
            federation: decider.federation,
            round: decider.round,
            rulesHash: origin.rulesHash,
            modelRoot: decider.modelRoot,
            aggregationRoot: origin.aggregationRoot,
            integerOnnxDigest: decider.integerOnnxDigest,
            onnxCid: decider.onnxCid
        });
    }

    /// @inheritdoc IDecisions
    function feeTerms(uint256 versionId) external view returns (FeeTerms memory terms) {
        Earnings storage earned = _earnings[versionId];
        return FeeTerms(earned.fee, earned.treasury, earned.treasuryPpm);
    }

    /// @inheritdoc IDecisions
    function earnings(uint256 versionId) external view returns (uint256 perUpdate, uint256 collected) {
        Earnings storage earned = _earnings[versionId];
        return (earned.perUpdate, earned.collected);
    }

    /// @dev The owner's check is with who calls this.
    function _setFee(uint256 versionId, FeeTerms calldata terms) internal {
        _registered(versionId);
        require(terms.amount == 0 || terms.treasury != address(0), InvalidFee("treasury"));
        require(terms.treasuryPpm <= MAX_TREASURY_PPM, InvalidFee("treasuryPpm"));
        Earnings storage earned = _earnings[versionId];
        earned.fee = terms.amount;
        earned.treasury = terms.treasury;
        earned.treasuryPpm = terms.treasuryPpm;
        earned.updates = _origin(versionId).accepted;
        emit FeeSet(versionId, terms.amount, terms.treasury, terms.treasuryPpm);
    }

    /// @dev Checks what the caller expects, takes the fees, and gives the serving version.
    // A deadline is seconds or more; the seconds that a block producer can shift do not matter.
    // slither-disable-next-line timestamp
    function _beginDecisions(uint256 count, uint256 expectedVersion, uint256 maxFee, uint64 deadline)
        private
        returns (Version storage)
    {
        // forge-lint: disable-next-line(block-timestamp)
        require(block.timestamp <= deadline, DeadlinePassed(deadline));
        uint256 current = currentVersion;
        require(expectedVersion == current, VersionMismatch(expectedVersion, current));
        uint256 fee = _earnings[current].fee;
        require(fee <= maxFee, FeeTooHigh(fee, maxFee));
        uint256 wanted = fee * count;
        require(msg.value >= wanted, FeeNotCovered(msg.value, wanted));
        if (msg.value > wanted) _credit(msg.sender, msg.value - wanted);
        if (wanted > 0) _share(_earnings[current], current, wanted);
        return _pinned(current);
    }

    /// @dev Equal shares to the updates; what does not divide is the treasury's, so that nothing is left over.
    function _share(Earnings storage earned, uint256 versionId, uint256 amount) private {
        uint256 updates = earned.updates;
        uint256 perUpdate = 0;
        if (updates > 0) {
            perUpdate = amount * (PPM - earned.treasuryPpm) / PPM / updates;
            // There is less money than 2^192 wei.
            // forge-lint: disable-next-line(unsafe-typecast)
            earned.perUpdate += uint192(perUpdate);
        }
        uint256 rest = amount - perUpdate * updates;
        if (rest > 0) _credit(earned.treasury, rest);
        emit FeePaid(versionId, msg.sender, amount, perUpdate);
    }

    // Decisions taken together are taken all or none: one that reverts may revert the others.
    // slither-disable-next-line calls-loop
    function _decide(Version storage decider, uint256 id, uint256 versionId, bytes calldata input)
        private
        returns (int32[] memory scores)
    {
        scores = _ask(decider, input);
        bytes calldata recorded = input.length <= MAX_RECORDED_INPUT ? input : input[:0];
        uint256 others = EVENT_BYTES + ((recorded.length + 31) & ~uint256(31));
        emit Decision(
            id,
            msg.sender,
            versionId,
            keccak256(input),
            recorded,
            Scores.label(scores),
            Scores.hashOf(scores),
            Scores.recorded(scores, others)
        );
    }
}
