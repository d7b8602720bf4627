// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice Where a round stands. `None`: never opened. `Final` and `Failed` are for ever.
enum RoundState {
    None,
    Open,
    Final,
    Failed
}

/// @notice A round of federated training.
struct Round {
    RoundState state;
    /// Unix time in seconds of the opening.
    uint64 openedAt;
    /// Unix time in seconds after which no update is accepted and anyone may fail the round.
    uint64 deadline;
    /// Highest member address accepted so far: updates come in ascending order, as the aggregate sums them.
    address lastMember;
    /// Number of accepted updates.
    uint32 accepted;
    /// W = Σ wᵢ over the accepted updates.
    uint64 totalWeight;
    /// Model root the round trains from.
    bytes32 baseRoot;
    /// Hash chain over the accepted updates; see `RoundLib.chain`.
    bytes32 commitments;
    /// Model root the round came to; zero unless final.
    bytes32 modelRoot;
    /// Root of S = Σ wᵢ·dᵢ; zero unless final.
    bytes32 aggregateRoot;
}

/// @title State machine of a round
/// @notice
/// | from | call     | by             | when                                   | to     |
/// |------|----------|----------------|----------------------------------------|--------|
/// | None | open     | coordinator    | the round before it is not open        | Open   |
/// | Open | accept   | coordinator    | until the deadline, addresses ascending| Open   |
/// | Open | finalize | coordinator    | quorum reached                         | Final  |
/// | Open | fail     | coordinator    | quorum not reached                     | Failed |
/// | Open | fail     | anyone         | after the deadline                     | Failed |
library RoundLib {
    /// @notice The call needs the round to be open.
    /// @param roundId Number of the round.
    /// @param state Where it stands.
    error RoundNotOpen(uint64 roundId, RoundState state);
    /// @notice Members must come in ascending address order over all submissions of a round.
    /// @param previous Member accepted before.
    /// @param member Member that came after it.
    error MembersOutOfOrder(address previous, address member);
    /// @notice Too few accepted updates to finalise.
    /// @param accepted Accepted updates.
    /// @param minClients Quorum.
    error QuorumNotReached(uint32 accepted, uint32 minClients);
    /// @notice A round with its quorum can be failed only after its deadline.
    /// @param accepted Accepted updates.
    /// @param minClients Quorum.
    error QuorumReached(uint32 accepted, uint32 minClients);

    /// @notice None → Open.
    /// @param self Round, never opened.
    /// @param baseRoot Model root to train from.
    /// @param openedAt Unix time in seconds.
    /// @param roundSeconds Seconds until the deadline.
    /// @return deadline Unix time in seconds.
    function open(Round storage self, bytes32 baseRoot, uint64 openedAt, uint64 roundSeconds)
        internal
        returns (uint64 deadline)
    {
        deadline = openedAt + roundSeconds;
        self.state = RoundState.Open;
        self.openedAt = openedAt;
        self.deadline = deadline;
        self.baseRoot = baseRoot;
    }

    /// @notice Reverts unless the round is open.
    /// @param self Round.
    /// @param roundId Its number, for the error.
    function requireOpen(Round storage self, uint64 roundId) internal view {
        RoundState state = self.state;
        require(state == RoundState.Open, RoundNotOpen(roundId, state));
    }

    /// @notice Open → Final.
    /// @param self Open round.
    /// @param minClients Quorum.
    /// @param modelRoot Root of the new model.
    /// @param aggregateRoot Root of the aggregate.
    function finalize(Round storage self, uint32 minClients, bytes32 modelRoot, bytes32 aggregateRoot)
        internal
    {
        uint32 accepted = self.accepted;
        require(accepted >= minClients, QuorumNotReached(accepted, minClients));
        self.state = RoundState.Final;
        self.modelRoot = modelRoot;
        self.aggregateRoot = aggregateRoot;
    }

    /// @notice Open → Failed.
    /// @param self Open round.
    function fail(Round storage self) internal {
        self.state = RoundState.Failed;
    }

    /// @notice One link of the hash chain over accepted updates: c₀ = 0,
    ///         cᵢ = keccak(abi.encode(cᵢ₋₁, member, weight, updateRoot, sumSquares)).
    /// @dev One slot for any number of clients; the values themselves are in the events.
    /// @param previous Chain so far.
    /// @param member Signer.
    /// @param weight Weight the contract gave.
    /// @param updateRoot Root hash of the update.
    /// @param sumSquares Root sum of the update.
    /// @return Chain with the update.
    function chain(bytes32 previous, address member, uint32 weight, bytes32 updateRoot, uint128 sumSquares)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(previous, member, weight, updateRoot, sumSquares));
    }
}
