// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {CommitmentProof, Fraud, ICourt} from "./interfaces/ICourt.sol";
import {IFederation} from "./interfaces/IFederation.sol";
import {CommitmentTree} from "./libraries/CommitmentTree.sol";
import {UpdatePlace} from "./libraries/MerkleSumTree.sol";
import {Round, RoundState} from "./libraries/RoundLib.sol";

/// @title Court
/// @notice What the contracts that hear proofs against one federation's proposals have in common; see `ICourt`.
abstract contract Court is ICourt {
    mapping(bytes32 digest => uint256 blockNumber) private _committedAt;

    /// Federation whose proposals are disputed here.
    IFederation public federation;
    /// Length of the model's vector; here, since it fits into the same slot.
    uint64 public elements;

    /// @inheritdoc ICourt
    // Zero is what a slot holds that was never written.
    // slither-disable-next-line incorrect-equality
    function commit(bytes32 digest) external {
        // The first commitment counts: nobody can push another's into a later block.
        if (_committedAt[digest] == 0) _committedAt[digest] = block.number;
        emit ChallengeCommitted(digest, msg.sender);
    }

    /// @dev Checks that this very call was committed to, and returns the round, which must be proposed.
    function _begin(uint64 roundId) internal view returns (Round memory) {
        bytes32 digest = keccak256(abi.encode(msg.sender, keccak256(msg.data)));
        uint256 committedAt = _committedAt[digest];
        require(committedAt != 0 && committedAt < block.number, NotCommitted(digest));
        return _proposed(roundId);
    }

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
}
