// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {GroupShape} from "../libraries/SealedShape.sol";
import {IAggregationCourt} from "./IAggregationCourt.sol";
import {Seat} from "./ISealedRounds.sol";

/// @title Disputes about the proposals of one sealed federation
/// @notice What does not depend on the shape of the tree is in `IAggregationCourt`, what was submitted in `ISealedRounds`.
interface ISealedDisputes is IAggregationCourt {
    /// @notice A seed was not revealed: its mask cancels, and nobody but the two that share it knows it.
    error NotRevealed(uint256 place);
    /// @notice So many levels would reach commitments to seeds. Ask for each that is revealed by itself (`demandSeed`).
    error TooManyLevels(uint8 levels);

    /// @notice Asks for a seed that was revealed: the preimage of its commitment. Works as `demand`.
    /// @param roundId Number of the round.
    /// @param shape Bitmaps of the round.
    /// @param seat Record and submission of the member whose commitment it is.
    /// @param place Place of the member that it is shared with, or its own.
    /// @param commitment The commitment.
    /// @param siblings Hashes beside its path, from there up.
    function demandSeed(
        uint64 roundId,
        GroupShape calldata shape,
        Seat calldata seat,
        uint32 place,
        bytes32 commitment,
        bytes32[] calldata siblings
    ) external payable;

    /// @notice The round took updates that are not sealed.
    /// @param roundId Number of the round.
    /// @param salt Any.
    function proveNotSealed(uint64 roundId, bytes32 salt) external;
}
