// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

import {ContentId} from "./ContentId.sol";
import {SubmissionCode} from "./SubmissionCode.sol";
import {Attestation} from "./UpdateTypes.sol";

/// @notice What a member signs (EIP-712) to take part in an epoch.
struct Enrol {
    /// Number of the epoch.
    uint64 epoch;
    /// Hash of the rules the member agreed to.
    bytes32 rulesHash;
    /// Hash of the rules of sealed rounds.
    bytes32 sealedHash;
    /// X25519 public key for this epoch.
    bytes32 x25519;
    /// keccak-256 of the ML-KEM-768 public key for this epoch.
    bytes32 mlkem;
    /// Unix time in seconds after which the signature no longer counts.
    uint64 deadline;
}

/// @notice What a member signs about the masked update of a round.
/// @dev The order of the fields is the order of the typed data; see `SealedTypes.MASKED_TYPEHASH`.
struct Masked {
    /// Round the update belongs to.
    uint64 round;
    /// Hash of the rules the member agreed to.
    bytes32 rulesHash;
    /// Model root of the round's base.
    bytes32 baseRoot;
    /// Root of the epoch: roster, draw and ready members.
    bytes32 epochRoot;
    /// Top of the tree over the masked vector.
    bytes32 maskedRoot;
    /// Top of the tree over the commitments to its seeds.
    bytes32 seedsRoot;
    /// Training examples, attested by the member.
    uint32 examples;
    /// Validation accuracy in parts per million, attested by the member.
    uint32 accuracyPpm;
    /// Mean validation loss in millionths, attested by the member.
    uint64 lossMicros;
    /// Distinct labels among the training examples, attested by the member.
    uint32 labels;
    /// ε of differential privacy spent so far in millionths, attested by the member.
    uint64 epsilonMicros;
    /// Unix time in seconds after which the signature no longer counts.
    uint64 deadline;
    /// Binary CIDv1 of the masked vector and its deposit.
    bytes cid;
}

/// @notice A masked update as it was received.
struct MaskedSubmission {
    /// Member who is said to have signed.
    address member;
    /// Signed statement.
    Masked update;
    /// ECDSA signature r ‖ s ‖ v of 65 bytes, s in the lower half of the order.
    bytes signature;
}

/// @title What members sign in sealed rounds
/// @notice Struct hashes still without the domain. Source: EIP-712, `encodeType`, `encodeData` and `hashStruct`.
library SealedTypes {
    /// keccak-256 of the type by which a member takes part in an epoch.
    bytes32 internal constant ENROL_TYPEHASH = keccak256(
        "Enrol(uint64 epoch,bytes32 rulesHash,bytes32 sealedHash,bytes32 x25519,bytes32 mlkem,uint64 deadline)"
    );
    /// keccak-256 of the type of a masked update.
    bytes32 internal constant MASKED_TYPEHASH = keccak256(
        "Masked(uint64 round,bytes32 rulesHash,bytes32 baseRoot,bytes32 epochRoot,bytes32 maskedRoot,bytes32 seedsRoot,uint32 examples,uint32 accuracyPpm,uint64 lossMicros,uint32 labels,uint64 epsilonMicros,uint64 deadline,bytes cid)"
    );

    /// First byte of a submission.
    uint8 internal constant KIND = 0x3b;
    /// Bytes of a submission before the CID.
    uint256 internal constant HEAD_BYTES = 290;

    /// @dev Kind, signature, member, round and five hashes come before it ends.
    uint256 private constant SEEDS_ROOT_END = 254;

    /// @param update Signed statement.
    /// @return What it says that is not proved.
    function attested(Masked calldata update) internal pure returns (Attestation memory) {
        return Attestation(
            update.examples, update.accuracyPpm, update.lossMicros, update.labels, update.epsilonMicros
        );
    }

    /// @param enrol Signed statement.
    /// @return `hashStruct(enrol)`.
    function structHash(Enrol calldata enrol) internal pure returns (bytes32) {
        return keccak256(abi.encode(ENROL_TYPEHASH, enrol));
    }

    /// @param update Signed statement.
    /// @return `hashStruct(update)`.
    function structHash(Masked calldata update) internal pure returns (bytes32) {
        // Two parts, since one encoding of all fields is too deep for the stack.
        return keccak256(
            bytes.concat(
                abi.encode(
                    MASKED_TYPEHASH,
                    update.round,
                    update.rulesHash,
                    update.baseRoot,
                    update.epochRoot,
                    update.maskedRoot,
                    update.seedsRoot
                ),
                abi.encode(
                    update.examples,
                    update.accuracyPpm,
                    update.lossMicros,
                    update.labels,
                    update.epsilonMicros,
                    update.deadline,
                    keccak256(update.cid)
                )
            )
        );
    }

    /// @notice Hash of a submission as bytes: 0x3b ‖ signature:65 ‖ member:20 ‖ the fields of `Masked` in their order, each
    ///         in its width, the CID last.
    /// @param submission What was received; plausible, or its bytes are none of a submission.
    /// @return keccak-256 of its bytes.
    function submissionHash(MaskedSubmission calldata submission) internal pure returns (bytes32) {
        Masked calldata update = submission.update;
        return keccak256(
            bytes.concat(
                abi.encodePacked(KIND, submission.signature, submission.member),
                abi.encodePacked(
                    update.round,
                    update.rulesHash,
                    update.baseRoot,
                    update.epochRoot,
                    update.maskedRoot,
                    update.seedsRoot
                ),
                abi.encodePacked(
                    update.examples,
                    update.accuracyPpm,
                    update.lossMicros,
                    update.labels,
                    update.epsilonMicros,
                    update.deadline,
                    update.cid
                )
            )
        );
    }

    /// @param submission What was received.
    /// @return True when signature and CID have lengths that the bytes allow.
    function isPlausible(MaskedSubmission calldata submission) internal pure returns (bool) {
        return submission.signature.length == SubmissionCode.SIGNATURE_BYTES
            && ContentId.isPlausible(submission.update.cid);
    }

    /// @param submission What is said to have been received.
    /// @param hash Hash of a submission.
    /// @return True when it is that one.
    function isNamedBy(MaskedSubmission calldata submission, bytes32 hash) internal pure returns (bool) {
        return isPlausible(submission) && submissionHash(submission) == hash;
    }

    /// @param preimage Bytes as stated.
    /// @return True when they are those of some submission.
    function isSubmission(bytes calldata preimage) internal pure returns (bool) {
        return preimage.length > HEAD_BYTES && preimage.length <= HEAD_BYTES + ContentId.MAX_BYTES
            && uint8(preimage[0]) == KIND;
    }

    /// @param submission Preimage of a submission.
    /// @return Top of the tree over the commitments to its seeds; 0 if it is too short to state one.
    function seedsRootOf(bytes calldata submission) internal pure returns (bytes32) {
        return submission.length < SEEDS_ROOT_END
            ? bytes32(0)
            : bytes32(submission[SEEDS_ROOT_END - 32:SEEDS_ROOT_END]);
    }
}
