// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAggregationCourt, VectorNode, VectorPlace} from "../../src/interfaces/IAggregationCourt.sol";
import {CommitmentProof, UpdateNode} from "../../src/interfaces/ICourt.sol";
import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {IRollups, RollupNode} from "../../src/interfaces/IRollups.sol";
import {MerkleSumTree, SumNode} from "../../src/libraries/MerkleSumTree.sol";
import {RecordProof} from "../../src/libraries/RecordTree.sol";
import {Chunk, VectorKind} from "../../src/libraries/VectorTree.sol";
import {CommitmentLeaf} from "../base/CommitmentLeaf.sol";
import {HashTree} from "../base/HashTree.sol";
import {SumTree} from "../base/SumTree.sol";
import {VectorForest} from "../base/VectorForest.sol";
import {GameCoordinators} from "./GameCoordinators.sol";

/// @notice Two honest challengers, and the proofs of every rule: against what is false, and tried against what is true.
abstract contract GameChallengers is GameCoordinators {
    /// @notice A challenger, or the liar's accomplice that wants the reward, proves what is false, or goes on asking.
    function challenge(uint8 who) external watched {
        if (!isProposed() || !isFalse()) return;
        bringDown([challenger, second, stranger, members[HONEST], liar][who % 5]);
    }

    /// @dev Proves what is false, or asks for what is hidden, or rejects what was not answered.
    function bringDown(address by) internal {
        (address where, bytes memory call) = proof();
        if (call.length == 0) {
            (bytes32 hash, bool found) = _hidden();
            if (found) _rejectOrAsk(by, hash);
            return;
        }
        uint16 attempt = round_().attempt;
        commitTo(by, call);
        // Who copies the call has not committed to it.
        if (by != stranger && _show(stranger, where, call)) ++stolenVoices;
        if (_show(by, where, call)) fell(attempt);
        else ++wrongVerdicts;
    }

    function _rejectOrAsk(address by, bytes32 hash) private {
        uint16 attempt = round_().attempt;
        if (disputes.question(roundId, attempt, hash, 1).asker == address(0)) {
            return ask(by, new bytes[](0), hash, 1);
        }
        vm.prank(by);
        try disputes.rejectUnanswered(roundId, hash, 1) {
            fell(attempt);
        } catch {}
    }

    /// @dev What a false statement hides.
    function _hidden() private view returns (bytes32 hash, bool found) {
        if (rollupLie == RollupLie.Hidden) return (court.latest().recordsRoot, true);
        if (lie == Falsehood.Hidden) return (round_().aggregationRoot, true);
    }

    function ask(address by, bytes[] memory path, bytes32 hash, uint8 levels) internal {
        uint256 price = disputes.demandPrice(roundId, levels);
        uint16 attempt = round_().attempt;
        vm.prank(by);
        try disputes.demand{value: price}(roundId, path, hash, levels) {
            happened("asked");
            asked.push(Asked(roundId, attempt, hash, levels, price, by, false));
        } catch {}
    }

    function commitTo(address sender, bytes memory call) internal {
        vm.prank(sender);
        disputes.commit(roundId, keccak256(abi.encode(sender, keccak256(call))));
        vm.roll(block.number + 1);
    }

    function _show(address by, address where, bytes memory call) internal returns (bool success) {
        vm.prank(by);
        (success,) = where.call(call);
    }

    // --- proofs ---

    /// @dev The proof of what is false now; none of what is hidden.
    function proof() internal view returns (address where, bytes memory call) {
        if (rollupLie == RollupLie.Hidden) return (address(court), "");
        if (rollupLie != RollupLie.None) return (address(court), rollupProof(rollupLie, liedAt));
        // Nothing opens below a sum that is wrong.
        if (badAt > 0) return (address(disputes), badUpdate(badAt - 1));
        if (lie == Falsehood.Hidden) return (address(disputes), "");
        return (address(disputes), proofOf(tell(lie, lieSeed), lie, lieSeed));
    }

    function proofOf(Told memory told, Falsehood kind, uint256 seed) internal view returns (bytes memory) {
        uint256 leaf = seed % counted.length;
        if (kind == Falsehood.LeafSums) return _wrongProduct(told, leaf);
        if (kind == Falsehood.NodeSums) return _wrongSum(told);
        if (kind == Falsehood.NodeWeight) {
            return abi.encodeCall(
                IDisputes.proveWrongNode,
                (
                    roundId,
                    placeOf(told, 1, 0),
                    told.levels[0][0].preimage,
                    told.levels[0][1].preimage,
                    bytes32(0)
                )
            );
        }
        if (kind == Falsehood.WrongLeaf) {
            return abi.encodeCall(
                IDisputes.proveWrongLeaf, (roundId, placeOf(told, 0, leaf), _accepted(leaf), bytes32(0))
            );
        }
        if (kind == Falsehood.EmptyLeaf) return _emptyNode(told);
        if (kind == Falsehood.Model) {
            return abi.encodeCall(
                IAggregationCourt.proveWrongMean,
                (
                    roundId,
                    1,
                    VectorForest.open(VectorKind.Model, base, 1),
                    VectorForest.open(VectorKind.Sums, topOf(told).sums, 1),
                    VectorForest.open(VectorKind.Model, told.model, 1),
                    bytes32(0)
                )
            );
        }
        return _malformed(told, kind);
    }

    function _wrongProduct(Told memory told, uint256 leaf) private view returns (bytes memory) {
        uint256 index = indexOf(counted[leaf].member);
        return abi.encodeCall(
            IDisputes.proveWrongProduct,
            (
                roundId,
                placeOf(told, 0, leaf),
                counted[leaf],
                1,
                SumTree.chunkOf(vectorOf(roundId, index), 1),
                SumTree.path(treeOf(index), 1),
                VectorForest.open(VectorKind.Sums, told.levels[0][leaf].sums, 1),
                bytes32(0)
            )
        );
    }

    function _wrongSum(Told memory told) private view returns (bytes memory) {
        Built memory left = told.levels[0][0];
        Built memory right = told.levels[0][1];
        return abi.encodeCall(
            IAggregationCourt.proveWrongSum,
            (
                roundId,
                placeOf(told, 1, 0),
                left.preimage,
                right.preimage,
                1,
                VectorForest.open(VectorKind.Sums, told.levels[1][0].sums, 1),
                VectorForest.open(VectorKind.Sums, left.sums, 1),
                right.preimage.length == 0
                    ? Chunk("", new bytes32[](0))
                    : VectorForest.open(VectorKind.Sums, right.sums, 1),
                bytes32(0)
            )
        );
    }

    /// @dev The lowest node on the way to the last leaf that is empty below one that is not.
    function _emptyNode(Told memory told) private view returns (bytes memory) {
        uint256 level = 0;
        uint256 last = counted.length - 1;
        while (
            level + 1 < told.levels.length && told.levels[level + 1][last >> (level + 1)].preimage.length == 0
        ) ++level;
        return abi.encodeCall(
            IDisputes.proveWrongNode, (roundId, placeOf(told, level, last >> level), "", "", bytes32(0))
        );
    }

    function _malformed(Told memory told, Falsehood kind) private view returns (bytes memory) {
        VectorPlace memory place = VectorPlace(true, placeOf(told, told.levels.length - 1, 0));
        if (kind == Falsehood.MalformedRoot) {
            return abi.encodeCall(
                IAggregationCourt.proveMalformedRoot, (roundId, place, malformedRoot(told.model), bytes32(0))
            );
        }
        VectorNode memory node = VectorNode(1, malformedChunk(told.model), 0, new bytes32[](1));
        node.siblings[0] = keccak256(VectorForest.leafOf(VectorKind.Model, told.model, 0));
        return abi.encodeCall(IAggregationCourt.proveMalformedVector, (roundId, place, node, bytes32(0)));
    }

    function badUpdate(uint256 spot) internal view returns (bytes memory) {
        SumNode[][] memory levels = treeOf(indexOf(counted[spot].member));
        UpdateNode memory node;
        node.preimage = updateTop(levels);
        node.sum = counted[spot].sumSquares;
        return abi.encodeCall(IDisputes.proveBadUpdate, (roundId, _accepted(spot), node, bytes32(0)));
    }

    function _accepted(uint256 index) private view returns (CommitmentProof memory) {
        return CommitmentProof(uint32(index), counted[index], rangePath(index));
    }

    function rollupProof(RollupLie kind, uint32 spot) internal view returns (bytes memory) {
        if (kind == RollupLie.Sequence) return _wrongSequence(uint32(records.length - 1));
        if (kind == RollupLie.Commitment) return _wrongCommitment();
        if (kind == RollupLie.Omission) return _omission(spot);
        if (kind == RollupLie.Submission) {
            return
                abi.encodeCall(IRollups.proveMalformedSubmission, (roundId, _record(spot), JUNK, bytes32(0)));
        }
        if (kind == RollupLie.Malformed) {
            RollupNode memory node = RollupNode(false, 0, spot, JUNK, 0, HashTree.path(recordTree(), spot));
            return abi.encodeCall(IRollups.proveMalformedRollup, (roundId, node, bytes32(0)));
        }
        return abi.encodeCall(IRollups.proveWrongRecord, (roundId, _record(spot), received[spot], bytes32(0)));
    }

    function _wrongSequence(uint32 spot) private view returns (bytes memory) {
        return abi.encodeCall(
            IRollups.proveWrongSequence,
            (roundId, _record(spot > 0 ? spot - 1 : spot), _record(spot), bytes32(0))
        );
    }

    /// @dev Of the last update that counts.
    function _wrongCommitment() private view returns (bytes memory) {
        uint32 spot = uint32(records.length - 1);
        while (spot > 0 && records[spot].reason != 0) --spot;
        uint256 last = counted.length - 1;
        return abi.encodeCall(
            IRollups.proveWrongCommitment,
            (
                roundId,
                _record(spot),
                received[spot],
                CommitmentLeaf.hashOf(counted[last]),
                rangePath(last),
                bytes32(0)
            )
        );
    }

    function _omission(uint32 member) private view returns (bytes memory) {
        uint32 spot = 0;
        while (spot + 1 < records.length && records[spot].member < members[member]) ++spot;
        return abi.encodeCall(
            IRollups.proveOmission,
            (roundId, members[member], _record(spot > 0 ? spot - 1 : spot), _record(spot), bytes32(0))
        );
    }

    function _record(uint32 index) private view returns (RecordProof memory) {
        return RecordProof(index, records[index], HashTree.path(recordTree(), index));
    }

    // --- slander ---

    /// @dev Tries proofs of all rules against what is true.
    /// @return accepted Whether one was.
    function slanderBy(address by, uint256 seed, bool all) internal returns (bool accepted) {
        if (!isProposed() || isFalse()) return false;
        Told memory told = tell(Falsehood.None, 0);
        uint256 first = all ? 1 : seed % 9 + 1;
        for (uint256 k = first; !accepted && k < (all ? 9 : first + 1); ++k) {
            bytes memory call = k == 9 ? badUpdate(seed % counted.length) : proofOf(told, Falsehood(k), seed);
            accepted = _try(by, address(disputes), call);
        }
        if (accepted || records.length == 0) return accepted;
        for (
            uint32 spot = all ? 0 : uint32(seed % records.length);
            !accepted && spot < records.length;
            ++spot
        ) {
            accepted = _try(by, address(court), rollupProof(RollupLie.Reason, spot))
                || _try(by, address(court), _wrongSequence(spot));
            if (!all) break;
        }
        for (uint32 i = 0; !accepted && i < CLIENTS; ++i) {
            if (isWaiting(i)) accepted = _try(by, address(court), _omission(i));
        }
        return accepted || (counted.length > 0 && _try(by, address(court), _wrongCommitment()));
    }

    function _try(address by, address where, bytes memory call) private returns (bool success) {
        uint16 attempt = round_().attempt;
        commitTo(by, call);
        success = _show(by, where, call);
        if (!success) return false;
        ++wrongVerdicts;
        fell(attempt);
    }
}
