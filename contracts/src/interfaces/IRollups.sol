// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {RecordProof} from "../libraries/RecordTree.sol";
import {Rollup, RollupSummary} from "../libraries/RollupLib.sol";
import {Submission} from "../libraries/UpdateTypes.sol";
import {ICourt} from "./ICourt.sol";
import {IFederation} from "./IFederation.sol";

/// @notice A node of one of a roll-up's two trees as stated; its level follows from the number of siblings.
struct RollupNode {
    /// Whether it lies in the mountain range over the updates that count, not in the tree over the records.
    bool isOfRange;
    /// Height of its peak, in the mountain range.
    uint8 peak;
    uint32 position;
    /// Preimage of its hash, well-formed or not; or nothing.
    bytes preimage;
    /// Its hash, if no preimage is given.
    bytes32 hash;
    bytes32[] siblings;
}

/// @title Roll-ups of one federation, and disputes about them
/// @notice The coordinator states in a roll-up which updates a round received, which count, how much, and in which
///         order. The contract checks nothing of that but the form; everything that does not follow has a proof here,
///         whose size is that of a path in the roll-up's trees. Proofs are heard while a proposal over the roll-up
///         stands: its bond is lost, and the round has failed, as no other proposal could be better founded.
///
///         Every record must be that of an update received: who signed it is recovered with ECDSA from the signature
///         alone, so that no member's contract can change its mind about it afterwards.
interface IRollups is ICourt {
    /// @notice All updates of a round at once, as the coordinator states them; see `Rollup`. `cid` is the binary CIDv1 of
    ///         the file that says which they are.
    event RollupSubmitted(
        uint64 indexed round,
        bytes32 indexed recordsRoot,
        uint32 records,
        uint32 accepted,
        uint64 totalWeight,
        uint64 judgedAt,
        bytes32[] peaks,
        bytes cid
    );

    /// @notice Makes a new clone the court of one federation. `FederationFactory` calls it in the transaction that
    ///         makes the clone; nobody can call it again.
    /// @param federation Federation whose roll-ups are disputed here.
    /// @param elements Length of the model's vector.
    function initialize(IFederation federation, uint64 elements) external;

    /// @notice States all updates of a round at once, instead of relaying them: once, between `openSeconds` and the
    ///         deadline, in a round that took none, under the bond, which is taken as in `propose`. Coordinator only. Reverts
    ///         with `OtherPremises` where the chain is not what it was computed from.
    /// @param roundId Number of the open round.
    /// @param rollup Roots, totals and address of the records.
    function submit(uint64 roundId, Rollup calldata rollup) external payable;

    /// @return The latest roll-up, of the round it names; 0 when there was none.
    function latest() external view returns (RollupSummary memory);

    /// @return Records of the latest roll-up.
    function recordCount() external view returns (uint32);

    /// @param hash Any hash.
    /// @return True when the latest roll-up states it: as the root of its records, or as a peak of its mountain range.
    function isStated(bytes32 hash) external view returns (bool);

    /// @notice A record states another reason to refuse its update, or another weight, than the rules give.
    /// @param roundId Number of the round.
    /// @param proof The record.
    /// @param submission What was received, whose hash the record states.
    /// @param salt Any.
    function proveWrongRecord(
        uint64 roundId,
        RecordProof calldata proof,
        Submission calldata submission,
        bytes32 salt
    ) external;

    /// @notice A record states the hash of something that is no update, or 0.
    /// @param roundId Number of the round.
    /// @param proof The record.
    /// @param preimage What that hash is of; ignored if it is 0.
    /// @param salt Any.
    function proveMalformedSubmission(
        uint64 roundId,
        RecordProof calldata proof,
        bytes calldata preimage,
        bytes32 salt
    ) external;

    /// @notice A record does not follow from the one before it: its member is not above that one's, its running totals
    ///         are not that one's and its own. The first follows from zeros. Or the last one's totals are not those of
    ///         the roll-up.
    /// @param roundId Number of the round.
    /// @param before The record before; ignored for the first.
    /// @param proof The record.
    /// @param salt Any.
    function proveWrongSequence(
        uint64 roundId,
        RecordProof calldata before,
        RecordProof calldata proof,
        bytes32 salt
    ) external;

    /// @notice The mountain range holds something else at the place of an update that counts.
    /// @param roundId Number of the round.
    /// @param proof The update's record.
    /// @param submission What was received.
    /// @param leaf Hash that the range holds at index `accepted` − 1 of that record.
    /// @param siblings Hashes beside the way from there to its peak.
    /// @param salt Any.
    function proveWrongCommitment(
        uint64 roundId,
        RecordProof calldata proof,
        Submission calldata submission,
        bytes32 leaf,
        bytes32[] calldata siblings,
        bytes32 salt
    ) external;

    /// @notice A node of the records' tree or of the mountain range has not the form of its place, is padding that is
    ///         not 0, or is 0 and no padding.
    /// @param roundId Number of the round.
    /// @param node The node.
    /// @param salt Any.
    function proveMalformedRollup(uint64 roundId, RollupNode calldata node, bytes32 salt) external;

    /// @notice An update waits that its member submitted itself, and no record of the member counts or is of that update.
    /// @param roundId Number of the round.
    /// @param member Who submitted it.
    /// @param before The record before; ignored unless `proof` is of a higher member and not the first.
    /// @param proof The member's record; or, where there is none, the first of a higher member, or the last of all.
    /// @param salt Any.
    function proveOmission(
        uint64 roundId,
        address member,
        RecordProof calldata before,
        RecordProof calldata proof,
        bytes32 salt
    ) external;
}
