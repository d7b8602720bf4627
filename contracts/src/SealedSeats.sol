// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Court} from "./Court.sol";
import {IEpochs} from "./interfaces/IEpochs.sol";
import {ISealedRounds, Seat} from "./interfaces/ISealedRounds.sol";
import {Round} from "./libraries/RoundLib.sol";
import {SealedTrees} from "./libraries/SealedTrees.sol";
import {SealedTypes} from "./libraries/SealedTypes.sol";

/// @title SealedSeats
/// @notice What the contracts have in common that hear proofs in a sealed federation: who sat where, and what it submitted.
abstract contract SealedSeats is Court {
    /// @dev Checks that a record stands in the round's range.
    function _requireSeat(Round memory round, Seat calldata seat) internal view {
        _requireAt(round.accepted, seat.index, SealedTrees.recordLeaf(seat.record), seat.siblings);
    }

    /// @dev Checks that a submission is the one that its record names.
    function _requireSubmission(Seat calldata seat) internal pure {
        require(SealedTypes.isNamedBy(seat.submission, seat.record.submission), NotPartOf("submission"));
    }

    /// @dev What a sealed federation has in the place of direct submissions.
    function _epochs() internal view returns (IEpochs) {
        return IEpochs(federation.directSubmissions());
    }

    /// @dev What a sealed federation has in the place of roll-ups.
    // slither-disable-next-line calls-loop
    function _rounds() internal view returns (ISealedRounds) {
        return ISealedRounds(federation.rollups());
    }
}
