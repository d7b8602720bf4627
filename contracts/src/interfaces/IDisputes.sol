// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {AggregationNode} from "../libraries/AggregationTree.sol";
import {Commitment} from "../libraries/CommitmentTree.sol";
import {SumNode} from "../libraries/MerkleSumTree.sol";
import {Chunk} from "../libraries/VectorTree.sol";
import {IAggregationCourt} from "./IAggregationCourt.sol";
import {CommitmentProof, UpdateNode} from "./ICourt.sol";

/// @title Disputes about the proposals of one federation
/// @notice Every proof opens hashes over values as they were stated, and shows one value that does not follow: a node
///         with its two children at one chunk is enough, whatever the size of the round.
interface IDisputes is IAggregationCourt {
    /// @notice A leaf's sums are not weight · update at one chunk.
    /// @param roundId Number of the round.
    /// @param leaf Leaf of the aggregation tree.
    /// @param commitment The update that the leaf states.
    /// @param index Index of the chunk.
    /// @param values Chunk of the update, packed int32.
    /// @param siblings Nodes beside its path in the update's tree, from the leaf up.
    /// @param sums Chunk of the leaf's sums.
    /// @param salt Any.
    function proveWrongProduct(
        uint64 roundId,
        AggregationNode calldata leaf,
        Commitment calldata commitment,
        uint32 index,
        bytes calldata values,
        SumNode[] calldata siblings,
        Chunk calldata sums,
        bytes32 salt
    ) external;

    /// @notice A node of the aggregation tree has a wrong form, stands where none may (no update lies below), is missing where
    ///         one must be, has a weight that is not its children's, or is a top that states another weight or sums than the
    ///         round.
    /// @param roundId Number of the round.
    /// @param node The node.
    /// @param left Preimage of its left child; ignored for a leaf and for a node that is wrong by itself.
    /// @param right Preimage of its right child, likewise; nothing if that is empty.
    /// @param salt Any.
    function proveWrongNode(
        uint64 roundId,
        AggregationNode calldata node,
        bytes calldata left,
        bytes calldata right,
        bytes32 salt
    ) external;

    /// @notice A leaf of the aggregation tree states another update or weight than was accepted at its place.
    /// @param roundId Number of the round.
    /// @param leaf The leaf.
    /// @param accepted What was accepted; its index is the leaf's position.
    /// @param salt Any.
    function proveWrongLeaf(
        uint64 roundId,
        AggregationNode calldata leaf,
        CommitmentProof calldata accepted,
        bytes32 salt
    ) external;

    /// @notice An update counts whose tree does not follow: a wrong Σd² or sum, form, index, count, padding, or an update
    ///         of another place. Whoever proposes holds the vector and can make its tree, so the lie is the coordinator's,
    ///         whatever the member signed. The round has failed: over such updates nothing true can be proposed.
    /// @param roundId Number of the round.
    /// @param accepted The update.
    /// @param node Node of its tree. If several are wrong, one with none above it: the sums above are added up, not
    ///        stated.
    /// @param salt Any.
    function proveBadUpdate(
        uint64 roundId,
        CommitmentProof calldata accepted,
        UpdateNode calldata node,
        bytes32 salt
    ) external;
}
