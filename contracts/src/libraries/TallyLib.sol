// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MAX_PEAKS} from "./CommitmentTree.sol";
import {KeptRound, LatestRound} from "./RoundLib.sol";

/// What a batch adds to a round, read once and written once, and how it came.
struct Tally {
    address lastMember;
    uint32 accepted;
    uint64 totalWeight;
    bytes32[MAX_PEAKS] peaks;
    /// Wei that a member must have at stake.
    uint256 stake;
    /// Submitted by the member itself: in time then, and in no order.
    bool isDirect;
}

/// @title TallyLib
/// @notice A round's updates, added up in memory.
library TallyLib {
    /// @notice What a round has so far. `peaks` are those over the updates of the latest round.
    function load(KeptRound storage current, LatestRound storage latest, bytes32[MAX_PEAKS] storage peaks)
        internal
        view
        returns (Tally memory tally)
    {
        tally.accepted = current.accepted;
        // Before the first update there stand the last round's.
        if (tally.accepted == 0) return tally;
        tally.lastMember = latest.lastMember;
        tally.totalWeight = latest.totalWeight;
        for (uint256 level = 0; (tally.accepted >> level) > 0; ++level) {
            if ((tally.accepted >> level) & 1 == 1) tally.peaks[level] = peaks[level];
        }
    }

    /// @notice Writes what `load` gave and a batch has added to.
    function save(
        Tally memory tally,
        KeptRound storage current,
        LatestRound storage latest,
        bytes32[MAX_PEAKS] storage peaks
    ) internal {
        uint32 before = current.accepted;
        if (tally.accepted == before) return;
        current.accepted = tally.accepted;
        latest.lastMember = tally.lastMember;
        latest.totalWeight = tally.totalWeight;
        for (uint256 level = 0; (tally.accepted >> level) > 0; ++level) {
            // A peak stands unchanged when the counts agree from its bit up.
            bool changed = before >> level != tally.accepted >> level;
            if (changed && (tally.accepted >> level) & 1 == 1) peaks[level] = tally.peaks[level];
        }
    }
}
