// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {AggregationNode} from "../libraries/AggregationTree.sol";
import {Security} from "../libraries/SecurityLib.sol";
import {Chunk} from "../libraries/VectorTree.sol";
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

/// @title What the aggregation of open and of sealed rounds has in common, and disputes about it
/// @notice Every proof opens hashes over values as they were stated, and shows one value that does not follow: a node
///         with its two children at one chunk is enough, whatever the size of the round.
interface IAggregationCourt is IHearing {
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
}
