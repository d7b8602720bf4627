// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// What the challenger asked.
struct Asked {
    uint64 round;
    uint16 attempt;
    bytes32 hash;
    uint8 levels;
    uint256 price;
    bool answered;
}

/// Attempts that fell.
struct Fallen {
    uint64 round;
    uint16 attempt;
    address by;
    bool hasReward;
}

enum Falsehood {
    None,
    LeafSums,
    NodeSums,
    NodeWeight,
    Commitment,
    EmptyLeaf,
    Model
}
