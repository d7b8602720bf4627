// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {MAX_PEAKS} from "./CommitmentTree.sol";
import {ContentId} from "./ContentId.sol";

/// @notice What the coordinator states of all updates of a round at once.
struct Rollup {
    /// Root of the tree over the records of all updates received; see `RecordTree`.
    bytes32 recordsRoot;
    /// Number of records.
    uint32 records;
    /// Updates that count.
    uint32 accepted;
    /// Sum of their weights.
    uint64 totalWeight;
    /// Unix time in seconds that the updates' own deadlines were held against.
    uint64 judgedAt;
    /// Running hash over the updates that members submitted themselves, as the coordinator knows them
    /// (`IDirectSubmissions.journal`).
    bytes32 journal;
    /// Number and hash of the block at which the coordinator read the chain: that of the opening or a later one, and
    /// one of the latest 256.
    uint64 anchorNumber;
    bytes32 anchorHash;
    /// Peaks of the mountain range over the updates that count, the largest first; see `CommitmentTree`.
    bytes32[] peaks;
    /// Binary CIDv1 of the file that holds the records and what was received.
    bytes cid;
}

/// @notice What the contract keeps of the latest roll-up. Two slots.
struct RollupSummary {
    bytes32 recordsRoot;
    /// Round it belongs to; 0 before the first roll-up.
    uint64 round;
    uint64 judgedAt;
    uint32 records;
    uint32 accepted;
    uint64 totalWeight;
}

/// @title What can be seen of a roll-up without its records
library RollupLib {
    /// @notice The roll-up cannot be that of any updates of this round.
    /// @param field Name of the field of `Rollup`, or of the rule that allows none.
    error InvalidRollup(string field);

    /// @notice Reverts unless a roll-up may follow in a round.
    /// @param self Roll-up.
    /// @param openedAt Unix time in seconds of the round's opening.
    /// @param deadline Unix time in seconds after which no update is accepted.
    /// @param until Unix time in seconds after which anyone may fail the round: the deadline, or later where the data of
    ///        an update that a member submitted itself were waited for.
    /// @param time Unix time in seconds.
    function validate(Rollup calldata self, uint64 openedAt, uint64 deadline, uint64 until, uint256 time)
        internal
        pure
    {
        require(self.accepted <= self.records, InvalidRollup("accepted"));
        require(self.recordsRoot != 0, InvalidRollup("recordsRoot"));
        require(self.records > 0, InvalidRollup("records"));
        // What came after the deadline counts nowhere; what came before it is judged by a time that has been.
        require(
            time <= until && self.judgedAt >= openedAt && self.judgedAt <= time && self.judgedAt <= deadline,
            InvalidRollup("judgedAt")
        );
        require(ContentId.isPlausible(self.cid), InvalidRollup("cid"));
    }

    /// @notice Keeps the peaks by their heights.
    /// @param kept Peaks of the round.
    /// @param accepted Updates that count.
    /// @param peaks One for each bit of their number, the largest first.
    function keepPeaks(bytes32[MAX_PEAKS] storage kept, uint32 accepted, bytes32[] calldata peaks) internal {
        uint256 next = 0;
        for (uint256 level = MAX_PEAKS; level > 0; --level) {
            if ((accepted >> (level - 1)) & 1 == 0) continue;
            require(next < peaks.length, InvalidRollup("peaks"));
            kept[level - 1] = peaks[next];
            ++next;
        }
        require(next == peaks.length, InvalidRollup("peaks"));
    }

    /// @param self Roll-up.
    /// @param roundId Number of its round.
    /// @return What the contract keeps of it.
    function summary(Rollup calldata self, uint64 roundId) internal pure returns (RollupSummary memory) {
        return RollupSummary(
            self.recordsRoot, roundId, self.judgedAt, self.records, self.accepted, self.totalWeight
        );
    }
}
