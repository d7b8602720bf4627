// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

import {ContentId} from "./ContentId.sol";
import {Submission, Update} from "./UpdateTypes.sol";

/// @title A received update as bytes
/// @notice 0x0e ‖ signature:65 ‖ the fields of `Update` in their order, each in its width, the CID last. Every such
///         string with 1 to 64 bytes of CID is a submission, so that nothing of that length cannot be judged.
library SubmissionCode {
    /// First byte.
    uint8 internal constant KIND = 0x0e;
    /// Bytes of a signature.
    uint256 internal constant SIGNATURE_BYTES = 65;
    /// Bytes before the CID.
    uint256 internal constant HEAD_BYTES = 231;

    /// @param submission What was received.
    /// @return keccak-256 of its bytes.
    function hash(Submission calldata submission) internal pure returns (bytes32) {
        Update calldata update = submission.update;
        // Three parts, since one encoding of all fields is too deep for the stack.
        return keccak256(
            bytes.concat(
                abi.encodePacked(
                    KIND,
                    submission.signature,
                    update.round,
                    update.rulesHash,
                    update.baseRoot,
                    update.updateRoot
                ),
                abi.encodePacked(
                    update.sumSquares,
                    update.elements,
                    update.fractionBits,
                    update.examples,
                    update.accuracyPpm
                ),
                abi.encodePacked(
                    update.lossMicros, update.labels, update.epsilonMicros, update.deadline, update.cid
                )
            )
        );
    }

    /// @param submission What was received.
    /// @return True when signature and CID have lengths that the bytes allow.
    function isPlausible(Submission calldata submission) internal pure returns (bool) {
        return submission.signature.length == SIGNATURE_BYTES && ContentId.isPlausible(submission.update.cid);
    }

    /// @param preimage Bytes as stated.
    /// @return True when they are those of some submission.
    function isWellFormed(bytes calldata preimage) internal pure returns (bool) {
        return preimage.length > HEAD_BYTES && preimage.length <= HEAD_BYTES + ContentId.MAX_BYTES
            && uint8(preimage[0]) == KIND;
    }
}
