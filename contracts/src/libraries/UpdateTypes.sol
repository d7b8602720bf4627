// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

/// @notice What a client signs (EIP-712) about the update it trained in a round.
/// @dev The order of the fields is the order of the typed data; see `UpdateTypes.UPDATE_TYPEHASH`.
struct Update {
    /// Round the update belongs to.
    uint64 round;
    /// Hash of the rules the client agreed to.
    bytes32 rulesHash;
    /// Model root of the round's base.
    bytes32 baseRoot;
    /// Root hash of the update's Merkle sum tree.
    bytes32 updateRoot;
    /// Σd², the root sum of that tree, in fixed point (scaled by 2^(2·fractionBits)).
    uint128 sumSquares;
    /// Number of parameters.
    uint64 elements;
    /// Fixed point: value · 2^fractionBits.
    uint8 fractionBits;
    /// Training examples, attested by the client.
    uint32 examples;
    /// Validation accuracy of the trained model in parts per million, attested by the client.
    uint32 accuracyPpm;
    /// Mean validation loss of the trained model in millionths, attested by the client.
    uint64 lossMicros;
    /// Distinct labels among the training examples, attested by the client.
    uint32 labels;
    /// ε of differential privacy that the member has spent in this federation, this update included, in millionths;
    /// attested by the client, 0 if it makes no such claim.
    uint64 epsilonMicros;
    /// Unix time in seconds after which the signature no longer counts.
    uint64 deadline;
    /// Binary CIDv1 of the update in the store.
    bytes cid;
}

/// @notice What a client says of an update, which nobody proves; the fields of `Update`.
struct Attestation {
    uint32 examples;
    uint32 accuracyPpm;
    uint64 lossMicros;
    uint32 labels;
    uint64 epsilonMicros;
}

/// @notice An update as the coordinator relays it.
struct Submission {
    /// Member who is said to have signed.
    address member;
    /// Signed statement.
    Update update;
    /// ECDSA signature r ‖ s ‖ v of 65 bytes, s in the lower half of the order.
    bytes signature;
}

/// @title EIP-712 encoding of an update
/// @notice Source: EIP-712, `encodeType`, `encodeData` and `hashStruct`.
library UpdateTypes {
    /// keccak-256 of the type's encoding.
    bytes32 internal constant UPDATE_TYPEHASH = keccak256(
        "Update(uint64 round,bytes32 rulesHash,bytes32 baseRoot,bytes32 updateRoot,uint128 sumSquares,uint64 elements,uint8 fractionBits,uint32 examples,uint32 accuracyPpm,uint64 lossMicros,uint32 labels,uint64 epsilonMicros,uint64 deadline,bytes cid)"
    );

    /// @param update Signed statement.
    /// @return What it says that is not proved.
    function attested(Update calldata update) internal pure returns (Attestation memory) {
        return Attestation(
            update.examples, update.accuracyPpm, update.lossMicros, update.labels, update.epsilonMicros
        );
    }

    /// @param update Signed statement.
    /// @return digest `hashStruct(update)`, still without the domain.
    // The words of the struct as they come are those that EIP-712 hashes, all but the last. That each fits its type is
    // checked where it is read, and the event of an accepted update reads them all.
    // slither-disable-next-line assembly
    function structHash(Update calldata update) internal pure returns (bytes32 digest) {
        bytes32 typehash = UPDATE_TYPEHASH;
        bytes32 cidHash = keccak256(update.cid);
        assembly ("memory-safe") {
            let encoded := mload(0x40)
            mstore(encoded, typehash)
            calldatacopy(add(encoded, 32), update, 416)
            mstore(add(encoded, 448), cidHash)
            digest := keccak256(encoded, 480)
        }
    }
}
