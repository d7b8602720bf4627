// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Court} from "./Court.sol";
import {IHearing} from "./interfaces/IHearing.sol";
import {MAX_PEAKS} from "./libraries/CommitmentTree.sol";
import {Round} from "./libraries/RoundLib.sol";

/// @title RolledUpCourt
/// @notice What the contracts have in common that hear proofs about rounds whose updates were submitted at once, beside the
///         contract that keeps the commitments to all proofs.
abstract contract RolledUpCourt is Court {
    /// @dev Checks that this very call was committed to, and returns the round, which must be proposed over a roll-up.
    function _beginRound(uint64 roundId) internal view returns (Round memory round) {
        round = _begin(roundId);
        require(round.rolledUp, NotPartOf("roll-up"));
    }

    /// @dev Commitments to all proofs are kept in one place, so that a challenger is counted once.
    function _isCommitted(uint64 roundId, uint16 attempt, bytes32 digest)
        internal
        view
        override
        returns (bool)
    {
        return IHearing(federation.disputes()).isCommitted(roundId, attempt, msg.sender, digest);
    }

    /// @dev Whether a hash is a peak of the range over the updates that count.
    // At most 32 peaks are asked for, of the federation alone.
    // slither-disable-next-line calls-loop,timestamp,incorrect-equality
    function _isPeak(uint32 accepted, bytes32 hash) internal view returns (bool) {
        for (uint256 level = 0; level < MAX_PEAKS; ++level) {
            if ((accepted >> level) & 1 == 1 && hash == federation.commitmentPeak(level)) return true;
        }
        return false;
    }
}
