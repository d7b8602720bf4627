// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @notice Where a round stands. `None`: never opened. `Final` and `Failed` are for ever.
enum RoundState {
    None,
    /// Takes updates.
    Open,
    /// A proposal was rejected; another may be made over the same updates.
    Submitted,
    /// What the updates came to is stated, and can be challenged.
    Proposed,
    Final,
    Failed
}

/// @notice A round of federated training, as it is shown; see `KeptRound` and `LatestRound` for what is kept.
struct Round {
    RoundState state;
    /// Unix time in seconds of the opening.
    uint48 openedAt;
    /// Unix time in seconds after which no update is accepted.
    uint48 deadline;
    /// Unix time in seconds after which anyone may end the present state: make a proposed round final, fail an open or submitted
    /// one. If that one was rolled up for the weighted mean, anyone may propose from then on, and fail it `challengeSeconds`
    /// later.
    uint48 until;
    /// Number of the block that it was opened in.
    uint64 openedIn;
    /// Proposals made so far.
    uint8 attempt;
    /// Whether data behind the last proposal were asked for.
    bool asked;
    /// Updates that members submitted themselves and that nobody has dealt with yet.
    uint16 waiting;
    /// Whether the updates were rolled up, not relayed one by one.
    bool rolledUp;
    /// Highest member address accepted so far: updates come in ascending order, as the aggregate sums them.
    address lastMember;
    /// Number of accepted updates.
    uint32 accepted;
    /// W = Σ wᵢ over the accepted updates.
    uint64 totalWeight;
    /// Model root proposed last; the round's result once it is final.
    bytes32 modelRoot;
    /// Root of S = Σ wᵢ·dᵢ proposed last.
    bytes32 aggregateRoot;
    /// Top of the aggregation tree proposed last.
    bytes32 aggregationRoot;
}

/// @notice What is kept of each round; the fields are those of `Round`. Three slots. Times in 40 bits last for 34,000 years.
struct KeptRound {
    RoundState state;
    uint40 openedAt;
    uint40 deadline;
    uint40 until;
    uint48 openedIn;
    uint8 attempt;
    bool asked;
    uint16 waiting;
    bool rolledUp;
    uint32 accepted;
    bytes32 modelRoot;
    bytes32 aggregationRoot;
}

/// @notice What is kept of the latest round alone, in slots that all rounds share: only that one goes on. Of a round with no
///         accepted update, or no proposal, what stands here is another's.
struct LatestRound {
    address lastMember;
    uint64 totalWeight;
    bytes32 aggregateRoot;
}

/// @notice What is stated that the updates of a round come to.
struct Proposal {
    /// Updates that it was computed from: their number, W, and the hash of their mountain range (`CommitmentTree.rangeHash`).
    /// The call reverts if the round holds others.
    uint32 accepted;
    uint64 totalWeight;
    bytes32 range;
    /// Number and hash of a block, one of the latest 256, at which the chain was read that this was computed from. Who did not make
    /// the roll-up itself needs it: it answers for all that the roll-up states, not for the range alone. The hash 0 names none.
    uint64 anchorNumber;
    bytes32 anchorHash;
    /// Top of the aggregation tree.
    bytes32 aggregationRoot;
    /// Root of S = Σ wᵢ·dᵢ.
    bytes32 aggregateRoot;
    /// Root of base + floor(S / W).
    bytes32 modelRoot;
    /// Binary CIDv1 of the new model in the store.
    bytes cid;
}

/// @title State machine of a round
/// @notice
/// | from      | call            | by           | when                                          | to                  |
/// |-----------|-----------------|--------------|-----------------------------------------------|---------------------|
/// | None      | open            | coordinator  | the round before it is over                   | Open                |
/// | Open      | accept          | coordinator  | until the deadline, addresses ascending       | Open                |
/// | Open      | rollUp          | coordinator  | between `openSeconds` and the deadline, once, no update so far, under the bond | Open |
/// | Open      | hold            | anyone       | until the deadline, not rolled up, with a stake | Open              |
/// | Open      | include         | coordinator  | an update waits, submitted directly           | Open                |
/// | Open      | forfeit         | anyone       | its vector was demanded and did not come      | Open                |
/// | Open      | propose         | coordinator  | after `openSeconds`, quorum reached, nothing waits or rolled up | Proposed |
/// | Open      | fail            | coordinator  | quorum not reached                            | Failed              |
/// | Open      | propose         | anyone       | after `until`, rolled up for the weighted mean, quorum reached | Proposed |
/// | Open      | fail            | anyone       | after `until`; where anyone may propose, `challengeSeconds` later | Failed |
/// | Open      | extend          | `DirectSubmissions` | a vector was demanded                  | Open                |
/// | Proposed  | extend          | `Disputes`   | the first question of a phase                 | Proposed            |
/// | Proposed  | reject          | `Disputes`   | proved wrong, or demanded data are missing    | Submitted or Failed |
/// | Proposed  | finalize        | anyone       | after the window, every question answered     | Final               |
/// | Submitted | propose         | coordinator  |                                               | Proposed            |
/// | Submitted | propose         | anyone       | after `until`, a round's length after the rejection, rolled up for the weighted mean | Proposed |
/// | Submitted | fail            | anyone       | after `until`; where anyone may propose, `challengeSeconds` later | Failed |
///
/// `until` is the round's deadline at first, or later where vectors of members are awaited. `challengeSeconds` are what an honest
/// party has by these rules to read what is public, recompute it and get a transaction into a block; so who wants a round
/// to fail cannot be faster than who proposes what it came to.
///
/// Reject leads to Failed when the attempts are used up, or when what was proved wrong is not the proposal but what it was
/// made over: the roll-up, or an update that counts. Every other call reverts; `test/RoundTransitions.t.sol` holds the table
/// as data.
library RoundLib {
    /// Proposals of one round. Each that is rejected costs a bond, so this bounds time, not harm.
    uint8 internal constant MAX_ATTEMPTS = 8;

    /// @notice The call needs the round to be in another state.
    /// @param roundId Number of the round.
    /// @param state Where it stands.
    error WrongState(uint64 roundId, RoundState state);
    /// @notice The updates of this round were rolled up.
    error RolledUp(uint64 roundId);
    /// @notice Updates of this round were accepted one by one.
    error NotEmpty(uint64 roundId);
    /// @notice Members must come in ascending address order over all submissions of a round.
    /// @param previous Member accepted before.
    /// @param member Member that came after it.
    error MembersOutOfOrder(address previous, address member);
    /// @notice Too few updates count to propose a result.
    /// @param counted Updates that count.
    /// @param minClients Quorum.
    error QuorumNotReached(uint32 counted, uint32 minClients);
    /// @notice A round with its quorum can be failed only after its deadline.
    /// @param accepted Accepted updates.
    /// @param minClients Quorum.
    error QuorumReached(uint32 accepted, uint32 minClients);
    /// @notice Updates that members submitted themselves must be included, or given up, before a proposal.
    /// @param roundId Number of the round.
    /// @param waiting How many there are.
    error UpdatesWaiting(uint64 roundId, uint16 waiting);
    /// @notice A statement was computed from something else than what the chain holds now.
    /// @param what What is another.
    error OtherPremises(string what);
    /// @notice Wait until the present state has lasted long enough.
    /// @param until Unix time in seconds after which the call is possible.
    error TooEarly(uint64 until);

    /// @notice None → Open.
    /// @param self Round, never opened.
    /// @param openedAt Unix time in seconds.
    /// @param roundSeconds Seconds until the deadline.
    /// @return deadline Unix time in seconds.
    // `RulesLib` bounds what is added to a time.
    // forge-lint: disable-start(unsafe-typecast)
    function open(KeptRound storage self, uint64 openedAt, uint64 roundSeconds)
        internal
        returns (uint64 deadline)
    {
        deadline = openedAt + roundSeconds;
        self.state = RoundState.Open;
        self.openedAt = uint40(openedAt);
        self.deadline = uint40(deadline);
        self.until = uint40(deadline);
        self.openedIn = uint48(block.number);
    }

    /// @notice Sets when the present state can be ended.
    /// @param self Round.
    /// @param until Unix time in seconds.
    function last(KeptRound storage self, uint64 until) internal {
        self.until = uint40(until);
    }

    // forge-lint: disable-end(unsafe-typecast)

    /// @notice Reverts unless the round is in the given state.
    /// @param self Round.
    /// @param roundId Its number, for the error.
    /// @param wanted State it must be in.
    function requireState(KeptRound storage self, uint64 roundId, RoundState wanted) internal view {
        RoundState state = self.state;
        require(state == wanted, WrongState(roundId, state));
    }

    /// @notice Reverts unless a time is past. A deadline is minutes or more; the seconds that a block producer can shift do
    ///         not matter.
    /// @param until Unix time in seconds.
    // slither-disable-next-line timestamp
    function requirePast(uint64 until) internal view {
        // forge-lint: disable-next-line(block-timestamp)
        require(block.timestamp > until, TooEarly(until));
    }

    /// @notice Reverts unless the chain holds what a statement was computed from.
    /// @param holds Whether it does.
    /// @param what What was compared, for the error.
    function requirePremise(bool holds, string memory what) internal pure {
        require(holds, OtherPremises(what));
    }

    /// @notice Reverts if the round was rolled up.
    /// @param self Round.
    /// @param roundId Its number, for the error.
    function requireRelayed(KeptRound storage self, uint64 roundId) internal view {
        require(!self.rolledUp, RolledUp(roundId));
    }

    /// @notice Takes all updates of an open round at once.
    /// @param self Round.
    /// @param latest What is kept of the latest round, which it is.
    /// @param roundId Its number, for the errors.
    /// @param accepted Updates that count.
    /// @param totalWeight Sum of their weights.
    function rollUp(
        KeptRound storage self,
        LatestRound storage latest,
        uint64 roundId,
        uint32 accepted,
        uint64 totalWeight
    ) internal {
        requireState(self, roundId, RoundState.Open);
        requireRelayed(self, roundId);
        require(self.accepted == 0, NotEmpty(roundId));
        self.rolledUp = true;
        self.accepted = accepted;
        latest.lastMember = address(0);
        latest.totalWeight = totalWeight;
    }

    /// @param self Round.
    /// @return True while the round is neither final nor failed.
    function isLive(KeptRound storage self) internal view returns (bool) {
        RoundState state = self.state;
        return state == RoundState.Open || state == RoundState.Submitted || state == RoundState.Proposed;
    }

    /// @notice Open or Submitted → Proposed.
    /// @param self Round.
    /// @param latest What is kept of the latest round, which it is.
    /// @param roundId Its number, for the errors.
    /// @param minClients Quorum.
    /// @param proposal What the updates come to.
    /// @param until Unix time in seconds, end of the challenge window.
    function propose(
        KeptRound storage self,
        LatestRound storage latest,
        uint64 roundId,
        uint32 minClients,
        Proposal calldata proposal,
        uint64 until
    ) internal {
        RoundState state = self.state;
        require(state == RoundState.Open || state == RoundState.Submitted, WrongState(roundId, state));
        // In a roll-up an update that is left out can be proved.
        require(self.waiting == 0 || self.rolledUp, UpdatesWaiting(roundId, self.waiting));
        require(self.accepted >= minClients, QuorumNotReached(self.accepted, minClients));
        requirePremise(proposal.accepted == self.accepted, "accepted");
        requirePremise(proposal.totalWeight == latest.totalWeight, "totalWeight");
        requirePremise(
            proposal.anchorHash == 0 || blockhash(proposal.anchorNumber) == proposal.anchorHash, "anchor"
        );
        self.state = RoundState.Proposed;
        last(self, until);
        self.attempt += 1;
        self.asked = false;
        self.modelRoot = proposal.modelRoot;
        latest.aggregateRoot = proposal.aggregateRoot;
        self.aggregationRoot = proposal.aggregationRoot;
    }

    /// @notice Proposed → Submitted, or Failed when no proposal could follow.
    /// @param self Proposed round.
    /// @param until Unix time in seconds after which anyone may fail the round.
    /// @param isLast Whether no other proposal may follow.
    /// @return True when the round failed.
    function reject(KeptRound storage self, uint64 until, bool isLast) internal returns (bool) {
        bool over = isLast || self.attempt >= MAX_ATTEMPTS;
        self.state = over ? RoundState.Failed : RoundState.Submitted;
        last(self, until);
        return over;
    }

    /// @param self Round.
    /// @param latest What is kept of the latest round: this one, if it is live.
    /// @return round The round as it is shown.
    function shown(KeptRound storage self, LatestRound storage latest)
        internal
        view
        returns (Round memory round)
    {
        round.state = self.state;
        round.openedAt = self.openedAt;
        round.deadline = self.deadline;
        round.until = self.until;
        round.openedIn = self.openedIn;
        round.attempt = self.attempt;
        round.asked = self.asked;
        round.waiting = self.waiting;
        round.rolledUp = self.rolledUp;
        round.accepted = self.accepted;
        round.modelRoot = self.modelRoot;
        round.aggregationRoot = self.aggregationRoot;
        if (!isLive(self)) return round;
        if (round.accepted > 0) {
            (round.lastMember, round.totalWeight) = (latest.lastMember, latest.totalWeight);
        }
        if (round.attempt > 0) round.aggregateRoot = latest.aggregateRoot;
    }
}
