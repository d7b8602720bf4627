// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AggregationNode} from "../libraries/AggregationTree.sol";
import {Commitment} from "../libraries/CommitmentTree.sol";
import {SumNode} from "../libraries/MerkleSumTree.sol";
import {Security} from "../libraries/SecurityLib.sol";
import {Chunk} from "../libraries/VectorTree.sol";
import {CommitmentProof, UpdateNode} from "./ICourt.sol";
import {IFederation} from "./IFederation.sol";
import {IHearing} from "./IHearing.sol";

/// @notice Whose vector a proof speaks of: the model's, or the sums of a node of the aggregation tree.
struct VectorPlace {
    bool isModel;
    /// Ignored for the model.
    AggregationNode holder;
}

/// @notice A node of a vector's tree as stated; its level follows from the number of siblings.
struct VectorNode {
    uint32 position;
    /// Preimage of its hash, well-formed or not; or nothing.
    bytes preimage;
    /// Its hash, if no preimage is given.
    bytes32 hash;
    bytes32[] siblings;
}

/// @title Disputes about the proposals of one federation
/// @notice Every proof opens hashes over values as they were stated, and shows one value that does not follow: a node
///         with its two children at one chunk is enough, whatever the size of the round.
interface IDisputes is IHearing {
    /// @notice The rules name another aggregator than the weighted mean: the new model is recomputed by audits only.
    error AuditOnly();
    /// @notice Makes a new clone the court of one federation. `FederationFactory` calls it in the transaction that
    ///         makes the clone; nobody can call it again.
    /// @param federation Federation whose proposals are disputed here.
    /// @param elements Length of the model's vector.
    /// @param security Its security, which has been checked.
    function initialize(IFederation federation, uint64 elements, Security calldata security) external;

    /// @notice The new model is wrong at one chunk: 0 ≤ S − (model − base) · W < W does not hold for some element. Only
    ///         where the rules name the weighted mean.
    /// @param roundId Number of the round.
    /// @param index Index of the chunk.
    /// @param base Chunk of the base model.
    /// @param sums Chunk of the aggregate.
    /// @param model Chunk of the new model.
    /// @param salt Any.
    function proveWrongMean(
        uint64 roundId,
        uint32 index,
        Chunk calldata base,
        Chunk calldata sums,
        Chunk calldata model,
        bytes32 salt
    ) external;

    /// @notice A node's sums are wrong at one chunk.
    /// @param roundId Number of the round.
    /// @param node Inner node of the aggregation tree.
    /// @param left Preimage of its left child.
    /// @param right Preimage of its right child; nothing if that is empty.
    /// @param index Index of the chunk.
    /// @param sums Chunk of the node's sums.
    /// @param leftSums Chunk of the left child's sums.
    /// @param rightSums Chunk of the right child's sums; ignored if that is empty.
    /// @param salt Any.
    function proveWrongSum(
        uint64 roundId,
        AggregationNode calldata node,
        bytes calldata left,
        bytes calldata right,
        uint32 index,
        Chunk calldata sums,
        Chunk calldata leftSums,
        Chunk calldata rightSums,
        bytes32 salt
    ) external;

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

    /// @notice A node of a vector's tree has a wrong form, index or count, or is padding that is not 0.
    /// @param roundId Number of the round.
    /// @param place Whose vector.
    /// @param node The node.
    /// @param salt Any.
    function proveMalformedVector(
        uint64 roundId,
        VectorPlace calldata place,
        VectorNode calldata node,
        bytes32 salt
    ) external;

    /// @notice The root of a vector is the hash of something else than kind, number of elements and top.
    /// @param roundId Number of the round.
    /// @param place Whose vector.
    /// @param preimage Preimage of the root.
    /// @param salt Any.
    function proveMalformedRoot(
        uint64 roundId,
        VectorPlace calldata place,
        bytes calldata preimage,
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
