// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Court} from "./Court.sol";
import {PullPayments} from "./PullPayments.sol";
import {Fraud} from "./interfaces/ICourt.sol";
import {IDisputes} from "./interfaces/IDisputes.sol";
import {IRollups} from "./interfaces/IRollups.sol";
import {MAX_PEAKS} from "./libraries/CommitmentTree.sol";
import {Preimage} from "./libraries/Preimage.sol";
import {RollupSummary} from "./libraries/RollupLib.sol";
import {Round, RoundState} from "./libraries/RoundLib.sol";

/// @title Demands for the data behind a proposal
/// @notice A proposal states three hashes, a roll-up some more. Whoever knows what they should be the hash of can walk down from them to
///         the place where the coordinator's tree differs, asking for one preimage after the other; `IDisputes`.
/// @dev Demands never block: they move the end of the challenge window, and each hash can be demanded once.
abstract contract DataDemands is IDisputes, PullPayments, Court {
    /// @dev Who wants a preimage, and until when.
    struct Demand {
        address challenger;
        uint64 due;
        bool answered;
    }

    /// Longest preimage of any well-formed node or leaf: an update's leaf has 313 bytes, an aggregate's 521.
    uint256 public constant MAX_PREIMAGE_BYTES = 521;

    /// Seconds to answer a demand.
    uint32 public answerSeconds;
    /// Wei that a demand costs.
    uint256 public demandFee;

    mapping(bytes32 proposal => mapping(bytes32 hash => Demand)) private _demands;

    /// @inheritdoc IDisputes
    // A demand holds a time beside what is compared here.
    // slither-disable-next-line timestamp
    function demand(uint64 roundId, bytes32 hash, bytes calldata parent) external payable {
        require(msg.value == demandFee, WrongFee(msg.value, demandFee));
        Round memory round = _proposed(roundId);
        mapping(bytes32 => Demand) storage demands = _demands[_key(roundId, round.attempt)];
        if (parent.length == 0) {
            require(
                hash == round.aggregationRoot || hash == round.aggregateRoot || hash == round.modelRoot
                    || (round.rolledUp && _isOfRollup(hash)),
                NotPartOf("proposal")
            );
        } else {
            require(demands[keccak256(parent)].answered, NotPartOf("answers"));
            require(Preimage.holds(parent, hash), NotPartOf("parent"));
        }
        require(demands[hash].challenger == address(0), AlreadyDemanded(hash));
        // Unix time fits 64 bits for longer than there will be blocks.
        // forge-lint: disable-next-line(unsafe-typecast)
        uint64 due = uint64(block.timestamp) + answerSeconds;
        demands[hash] = Demand(msg.sender, due, false);
        emit DataDemanded(roundId, hash, msg.sender, round.attempt, due);
        federation.extendChallenge(roundId, due + answerSeconds);
    }

    /// @inheritdoc IDisputes
    function answer(uint64 roundId, bytes calldata preimage) external {
        // Proofs take no preimage for one that is not given: nothing is no answer.
        require(preimage.length > 0 && preimage.length <= MAX_PREIMAGE_BYTES, NotPartOf("answers"));
        Round memory round = _proposed(roundId);
        bytes32 hash = keccak256(preimage);
        Demand storage wanted = _open(roundId, round.attempt, hash);
        wanted.answered = true;
        _credit(federation.coordinator(), demandFee);
        emit DataAnswered(roundId, hash, round.attempt, preimage);
    }

    /// @inheritdoc IDisputes
    // slither-disable-next-line timestamp
    function rejectUnanswered(uint64 roundId, bytes32 hash) external {
        Round memory round = _proposed(roundId);
        Demand storage wanted = _open(roundId, round.attempt, hash);
        // The seconds that a block producer can shift do not matter.
        // forge-lint: disable-next-line(block-timestamp)
        require(block.timestamp > wanted.due, AnswerNotDue(wanted.due));
        address challenger = _refund(roundId, round.attempt, hash);
        emit FraudProved(roundId, challenger, Fraud.MissingData, round.attempt);
        federation.rejectProposal(roundId, challenger, false);
    }

    /// @inheritdoc IDisputes
    function reclaim(uint64 roundId, uint16 attempt, bytes32 hash) external {
        Round memory round = federation.round(roundId);
        require(
            round.state != RoundState.Proposed || round.attempt != attempt, StillProposed(roundId, attempt)
        );
        address challenger = _refund(roundId, attempt, hash);
        emit DemandReclaimed(roundId, hash, attempt, challenger);
    }

    /// @dev Whether a hash is a root that the coordinator stated in the latest roll-up. At most 32 peaks are asked for, of
    ///      the federation alone.
    // slither-disable-next-line calls-loop
    function _isOfRollup(bytes32 hash) private view returns (bool) {
        RollupSummary memory rollup = IRollups(federation.rollups()).latest();
        if (hash == rollup.recordsRoot) return true;
        for (uint256 level = 0; level < MAX_PEAKS; ++level) {
            if ((rollup.accepted >> level) & 1 == 1 && hash == federation.commitmentPeak(level)) return true;
        }
        return false;
    }

    function _refund(uint64 roundId, uint16 attempt, bytes32 hash) private returns (address challenger) {
        challenger = _open(roundId, attempt, hash).challenger;
        delete _demands[_key(roundId, attempt)][hash];
        _credit(challenger, demandFee);
    }

    // A demand holds a time beside what is compared here.
    // slither-disable-next-line timestamp
    function _open(uint64 roundId, uint16 attempt, bytes32 hash)
        private
        view
        returns (Demand storage wanted)
    {
        wanted = _demands[_key(roundId, attempt)][hash];
        require(wanted.challenger != address(0) && !wanted.answered, NotDemanded(hash));
    }

    function _key(uint64 roundId, uint16 attempt) private pure returns (bytes32) {
        return bytes32((uint256(roundId) << 16) | attempt);
    }
}
