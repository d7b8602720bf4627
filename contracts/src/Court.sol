// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CommitmentProof, ICourt} from "./interfaces/ICourt.sol";
import {IFederation} from "./interfaces/IFederation.sol";
import {AggregationTree} from "./libraries/AggregationTree.sol";
import {CommitmentTree} from "./libraries/CommitmentTree.sol";
import {UpdatePlace} from "./libraries/MerkleSumTree.sol";
import {Round, RoundState} from "./libraries/RoundLib.sol";

/// @title Court
/// @notice What the contracts that hear proofs against one federation's proposals have in common; see `ICourt`.
abstract contract Court is ICourt {
    /// Federation whose proposals are disputed here.
    IFederation public federation;
    /// Length of the model's vector; here, since it fits into the same slot.
    // slither-disable-next-line uninitialized-state,constable-states
    uint64 public elements;

    /// @dev Checks that this very call was committed to, and returns the round, which must be proposed.
    function _begin(uint64 roundId) internal view returns (Round memory round) {
        round = _proposed(roundId);
        bytes32 digest = keccak256(abi.encode(msg.sender, keccak256(msg.data)));
        require(_isCommitted(roundId, round.attempt, digest), NotCommitted(digest));
    }

    /// @dev Whether the caller committed to a digest in an earlier block, for this attempt.
    function _isCommitted(uint64 roundId, uint16 attempt, bytes32 digest) internal view virtual returns (bool);

    /// @dev The round, which must be proposed.
    function _proposed(uint64 roundId) internal view returns (Round memory round) {
        round = federation.round(roundId);
        require(round.state == RoundState.Proposed, NotProposed(roundId));
    }

    /// @dev Checks that an update was accepted at its index, and returns the hash of its commitment.
    function _requireAccepted(uint32 count, CommitmentProof calldata proof)
        internal
        view
        returns (bytes32 commitment)
    {
        commitment = CommitmentTree.leafHash(proof.commitment);
        _requireAt(count, proof.index, commitment, proof.siblings);
    }

    /// @dev Checks that a hash stands in the mountain range at its index.
    function _requireAt(uint32 count, uint32 index, bytes32 leaf, bytes32[] calldata siblings) internal view {
        require(index < count, NotPartOf("commitments"));
        (uint256 level, uint256 position) = CommitmentTree.locate(count, index);
        require(
            siblings.length == level
                && CommitmentTree.climb(leaf, position, siblings) == federation.commitmentPeak(level),
            NotPartOf("commitments")
        );
    }

    function _placeOf(uint64 roundId, address member) internal view returns (UpdatePlace memory) {
        return UpdatePlace(block.chainid, address(federation), roundId, member, elements);
    }

    /// @dev Checks that these are the children of an inner node of an aggregation tree.
    function _requireChildren(bytes calldata node, bytes calldata left, bytes calldata right) internal pure {
        (bytes32 leftHash, bytes32 rightHash) = AggregationTree.childrenOf(node);
        require(AggregationTree.hashOf(left) == leftHash, NotPartOf("left child"));
        require(AggregationTree.hashOf(right) == rightHash, NotPartOf("right child"));
        // Shorter ones state no weight and no sums: they are malformed themselves, which `proveWrongNode` shows. So is a left
        // child that is empty; a right one may be.
        require(left.length >= AggregationTree.HEAD_BYTES, NotPartOf("left child"));
        require(right.length == 0 || right.length >= AggregationTree.HEAD_BYTES, NotPartOf("right child"));
    }
}
