// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {AggregationNode} from "../libraries/AggregationTree.sol";
import {NormNode, NormProof} from "../libraries/NormTree.sol";
import {GroupShape} from "../libraries/SealedShape.sol";
import {Chunk} from "../libraries/VectorTree.sol";
import {ICourt} from "./ICourt.sol";
import {IFederation} from "./IFederation.sol";
import {Seat} from "./ISealedRounds.sol";

/// @notice A chunk of a group's sum in its three trees: as its members' leaves add up, as read with signs, and with its squares.
struct Reading {
    uint32 index;
    Chunk sums;
    Chunk signed;
    bytes squaresValues;
    NormNode[] squaresSiblings;
}

/// @notice One block of eight lanes of a leaf, and all that it follows from.
struct LaneProof {
    /// Leaf of the aggregation tree that belongs to the record.
    AggregationNode leaf;
    /// Index of the chunk, and which of its eight blocks.
    uint32 index;
    uint8 blockNumber;
    /// Chunk of the masked vector.
    Chunk masked;
    /// Chunk of the leaf's vector.
    Chunk sums;
    /// The member's own seed and those it shares with ready members that are not included, in the order of their places.
    bytes32[] seeds;
    /// Hashes beside the paths from the commitments to them up to the member's `seedsRoot`; see `MerklePath.lead`.
    bytes32[] seedSiblings;
}

/// @notice A node of one of a member's two trees as stated; its level follows from the number of siblings.
struct SubmittedNode {
    /// Whether it lies in the tree of seed commitments, not in that of the masked vector.
    bool isOfSeeds;
    uint32 position;
    /// Preimage of its hash, well-formed or not; or nothing.
    bytes preimage;
    /// Its hash, if no preimage is given.
    bytes32 hash;
    bytes32[] siblings;
}

/// @title Disputes about how masked updates become the sums of groups
/// @notice From what a member submitted to the top of the aggregation tree. A lie shown here ends the round.
interface ISealedCourt is ICourt {
    /// @notice Makes a new clone the court of one federation. `FederationFactory` calls it in the transaction that
    ///         makes the clone; nobody can call it again.
    /// @param federation Federation whose rounds are sealed.
    /// @param elements Length of the model's vector.
    function initialize(IFederation federation, uint64 elements) external;

    /// @notice A node of a member's masked vector, or of its seed commitments, has not the form of its place.
    /// @param roundId Number of the round.
    /// @param shape Bitmaps of the round.
    /// @param seat Record and submission.
    /// @param node The node.
    /// @param salt Any.
    function proveMalformedSubmission(
        uint64 roundId,
        GroupShape calldata shape,
        Seat calldata seat,
        SubmittedNode calldata node,
        bytes32 salt
    ) external;

    /// @notice A leaf of the aggregation does not hold what the masked update comes to without the masks that were revealed, in
    ///         one block of eight lanes.
    /// @param roundId Number of the round.
    /// @param shape Bitmaps of the round.
    /// @param seat Record and submission.
    /// @param proof The block, and all that it follows from.
    /// @param salt Any.
    function proveWrongLane(
        uint64 roundId,
        GroupShape calldata shape,
        Seat calldata seat,
        LaneProof calldata proof,
        bytes32 salt
    ) external;

    /// @notice One chunk of a group's sum is not that of its child, read with signs, or not that whose squares are stated.
    /// @param roundId Number of the round.
    /// @param group Node of the group.
    /// @param child Preimage of its child.
    /// @param norm Preimage of the root of its squares.
    /// @param reading The chunk in all three trees.
    /// @param salt Any.
    function proveWrongReading(
        uint64 roundId,
        AggregationNode calldata group,
        bytes calldata child,
        bytes calldata norm,
        Reading calldata reading,
        bytes32 salt
    ) external;

    /// @notice A group counts whose squares are beyond its bound, or whose root of squares has not its form.
    /// @param roundId Number of the round.
    /// @param shape Bitmaps of the round.
    /// @param group Node of the group.
    /// @param norm Preimage of the root of its squares.
    /// @param salt Any.
    function proveWrongNorm(
        uint64 roundId,
        GroupShape calldata shape,
        AggregationNode calldata group,
        bytes calldata norm,
        bytes32 salt
    ) external;

    /// @notice A node of the tree of a group's squares has a wrong form, or a wrong sum.
    /// @param roundId Number of the round.
    /// @param group Node of the group.
    /// @param norm Preimage of the root of its squares.
    /// @param node The node.
    /// @param salt Any.
    function proveWrongSquares(
        uint64 roundId,
        AggregationNode calldata group,
        bytes calldata norm,
        NormProof calldata node,
        bytes32 salt
    ) external;

    /// @notice A node of the aggregation tree has a wrong form, stands where none may, is missing where one must be, has a
    ///         weight that is not its children's, or is a top that states another weight or sums than the round.
    /// @param roundId Number of the round.
    /// @param shape Bitmaps of the round.
    /// @param node The node.
    /// @param left Preimage of its left child, or of a group node's only one; ignored for a leaf and for a node that is
    ///        wrong by itself.
    /// @param right Preimage of its right child, likewise; nothing if that is empty.
    /// @param salt Any.
    function proveWrongNode(
        uint64 roundId,
        GroupShape calldata shape,
        AggregationNode calldata node,
        bytes calldata left,
        bytes calldata right,
        bytes32 salt
    ) external;

    /// @notice A leaf of the aggregation tree states another record or weight than stands at its place.
    /// @param roundId Number of the round.
    /// @param shape Bitmaps of the round.
    /// @param leaf The leaf.
    /// @param seat Record; its submission is ignored.
    /// @param salt Any.
    function proveWrongLeaf(
        uint64 roundId,
        GroupShape calldata shape,
        AggregationNode calldata leaf,
        Seat calldata seat,
        bytes32 salt
    ) external;
}
