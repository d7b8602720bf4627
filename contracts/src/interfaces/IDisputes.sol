// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AggregationNode} from "../libraries/AggregationTree.sol";
import {Commitment} from "../libraries/CommitmentTree.sol";
import {SumNode} from "../libraries/MerkleSumTree.sol";
import {Chunk} from "../libraries/VectorTree.sol";
import {CommitmentProof, ICourt, UpdateNode} from "./ICourt.sol";
import {IFederation} from "./IFederation.sol";
import {IPullPayments} from "./IPullPayments.sol";

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
///         with its two children at one chunk is enough, whatever the size of the round. What cannot be opened,
///         because its preimage is withheld, can be demanded (`demand`); what is then not answered in time is a proof.
interface IDisputes is ICourt, IPullPayments {
    /// @notice The preimage of `hash` is wanted before `due` (Unix seconds).
    event DataDemanded(
        uint64 indexed round, bytes32 indexed hash, address indexed challenger, uint16 attempt, uint64 due
    );
    /// @notice A demand was answered.
    event DataAnswered(uint64 indexed round, bytes32 indexed hash, uint16 attempt, bytes preimage);
    /// @notice A demand whose proposal is gone was paid back.
    event DemandReclaimed(uint64 indexed round, bytes32 indexed hash, uint16 attempt, address challenger);

    /// @notice The rules name another aggregator than the weighted mean: the new model is recomputed by audits only.
    error AuditOnly();
    /// @notice The fee of a demand is exactly this.
    error WrongFee(uint256 sent, uint256 fee);
    /// @notice Was demanded already.
    error AlreadyDemanded(bytes32 hash);
    /// @notice Was not demanded, or answered already.
    error NotDemanded(bytes32 hash);
    /// @notice There is time to answer until then.
    error AnswerNotDue(uint64 due);
    /// @notice The proposal that the demand is about still stands.
    error StillProposed(uint64 roundId, uint16 attempt);

    /// @notice Makes a new clone the court of one federation. `FederationFactory` calls it in the transaction that
    ///         makes the clone; nobody can call it again.
    /// @param federation Federation whose proposals are disputed here.
    /// @param elements Length of the model's vector.
    /// @param answerSeconds Seconds to answer a demand for data.
    /// @param demandFee Wei that such a demand costs.
    function initialize(IFederation federation, uint64 elements, uint64 answerSeconds, uint256 demandFee)
        external;

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

    /// @notice Demands the preimage of a hash, for the fee of `Security`. Extends the challenge window until the answer
    ///         is due, and by the same time again.
    /// @param roundId Number of the proposed round.
    /// @param hash A root of the proposal, or a hash within an answer given before.
    /// @param parent That answer; nothing for a root.
    function demand(uint64 roundId, bytes32 hash, bytes calldata parent) external payable;

    /// @notice Answers a demand. Anyone may; the fee goes to the coordinator.
    /// @param roundId Number of the proposed round.
    /// @param preimage What was demanded, at most `MAX_PREIMAGE_BYTES`.
    function answer(uint64 roundId, bytes calldata preimage) external;

    /// @notice Rejects the proposal for a demand that was not answered in time; the demander is its challenger. Anyone
    ///         may.
    /// @param roundId Number of the proposed round.
    /// @param hash What was demanded.
    function rejectUnanswered(uint64 roundId, bytes32 hash) external;

    /// @notice Pays back an unanswered demand about a proposal that no longer stands. Anyone may.
    /// @param roundId Number of the round.
    /// @param attempt Number of the proposal.
    /// @param hash What was demanded.
    function reclaim(uint64 roundId, uint16 attempt, bytes32 hash) external;
}
