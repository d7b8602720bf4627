// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Commitment} from "../libraries/CommitmentTree.sol";
import {SumNode} from "../libraries/MerkleSumTree.sol";

/// @notice What was found wrong.
enum Fraud {
    /// An element of the model is not base + floor(S / W).
    WrongMean,
    /// An element of a node's sums is not the sum of its children's.
    WrongSum,
    /// An element of a leaf's sums is not weight · update.
    WrongProduct,
    /// A node of the aggregation tree has a wrong form, place, weight or top.
    WrongNode,
    /// A leaf of the aggregation tree states another update or weight than was accepted.
    WrongLeaf,
    /// A node of a vector's tree has a wrong form or place.
    MalformedVector,
    /// An update counts whose tree does not follow: the coordinator could have made the tree of the vector it holds.
    BadUpdate,
    /// Data that were demanded did not come.
    MissingData,
    /// A record of a roll-up states another reason or weight than the rules give, or of something that is no update.
    WrongRecord,
    /// A record of a roll-up does not follow from the one before it, or the totals not from the last.
    WrongSequence,
    /// The mountain range of a roll-up holds another update than its records.
    WrongCommitment,
    /// A node of a roll-up's trees has not the form of its place.
    MalformedRollup,
    /// A roll-up leaves out an update that its member submitted itself.
    Omission
}

/// @notice An accepted update and the way to its peak.
struct CommitmentProof {
    uint32 index;
    Commitment commitment;
    bytes32[] siblings;
}

/// @notice A node of an update's sum tree as stated; its level follows from the number of siblings.
struct UpdateNode {
    uint32 position;
    /// Preimage of its hash, well-formed or not; or nothing.
    bytes preimage;
    /// Its hash, if no preimage is given.
    bytes32 hash;
    /// Sum that the node above (or, at the top, the signature) states for it.
    uint128 sum;
    SumNode[] siblings;
}

/// @title A contract that hears proofs against the pending proposal of one federation
/// @notice A proof must have been committed to in the hearing of the proposal; see `IHearing`.
interface ICourt {
    /// @notice A proof was accepted.
    event FraudProved(uint64 indexed round, address indexed challenger, Fraud indexed fraud, uint16 attempt);

    /// @notice The proof was not committed to by its sender in an earlier block.
    error NotCommitted(bytes32 digest);
    /// @notice No proposal of this round can be disputed now.
    error NotProposed(uint64 roundId);
    /// @notice An opening does not lead to what the proposal or the contract holds.
    /// @param what The opening.
    error NotPartOf(string what);
    /// @notice Everything that the proof opens follows.
    error NoFraud();
}
