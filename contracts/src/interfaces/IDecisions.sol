// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

import {AggregationNode} from "../libraries/AggregationTree.sol";
import {Commitment} from "../libraries/CommitmentTree.sol";
import {IPullPayments} from "./IPullPayments.sol";

/// @notice What a decision by a version costs, and who is paid.
struct FeeTerms {
    /// Wei for one decision.
    uint96 amount;
    /// Who is owed what the contributors are not; not zero when the amount is not.
    address treasury;
    /// Its share in parts per million, of a version with lineage; without one everything is the treasury's.
    uint32 treasuryPpm;
}

/// @notice Where a decision comes from, as far as the chain knows.
struct Lineage {
    uint256 version;
    /// Entry contract of the program, and keccak-256 of its runtime code.
    address program;
    bytes32 codeHash;
    /// Federation that trained the version, or zero: then all that follows but the digest is zero, too.
    address federation;
    uint64 round;
    /// Rules under which that round was opened.
    bytes32 rulesHash;
    /// Model root of the round.
    bytes32 modelRoot;
    /// Top of the round's aggregation tree: which update of whom counted with which weight, and their sum.
    bytes32 aggregationRoot;
    /// SHA-256 of the integer ONNX model.
    bytes32 integerOnnxDigest;
    /// Binary CIDv1 of the float ONNX model.
    bytes onnxCid;
}

/// @title Decisions on record, their lineage, and the fees they pay to those who contributed
/// @notice A fee is shared equally among the updates that counted in the version's round. It is not shared by
///         examples, which members only attest. Whoever shows that an update counted, by its way to the top of the
///         round's aggregation tree, has its share owed to its member.
interface IDecisions is IPullPayments {
    /// @notice A decision was taken. With the version's program it can be computed again from this event.
    /// @dev `inputHash` is keccak-256 of the input; `input` is empty when it is longer than 4096 bytes. Inputs so
    ///      recorded are public for ever. `label` is the first of the greatest scores, `scoresHash` keccak-256 of the
    ///      scores as words of 32 bytes in a row. `scores` is empty when it, at 32 bytes a score, and the recorded input, in
    ///      whole words, have more than 7840 bytes together: then the event would have more than the 8192 that
    ///      Filecoin's EVM allows. `decide` returns the scores all the same.
    event Decision(
        uint256 indexed id,
        address indexed caller,
        uint256 indexed version,
        bytes32 inputHash,
        bytes input,
        uint32 label,
        bytes32 scoresHash,
        int32[] scores
    );
    /// @notice Later decisions by this version cost this.
    event FeeSet(uint256 indexed version, uint96 amount, address indexed treasury, uint32 treasuryPpm);
    /// @notice Fees were paid: `perUpdate` wei to each update that counted, the rest to the treasury.
    event FeePaid(uint256 indexed version, address indexed payer, uint256 amount, uint256 perUpdate);
    /// @notice A member's share of a version's fees is owed to it.
    event ShareCollected(
        uint256 indexed version, address indexed member, uint32 indexed position, uint256 amount
    );

    /// @notice The decision was wanted earlier (Unix time in seconds).
    error DeadlinePassed(uint64 deadline);
    /// @notice A decision costs more wei than the caller allows.
    error FeeTooHigh(uint256 fee, uint256 maxFee);
    /// @notice The caller sent less wei than its decisions cost.
    error FeeNotCovered(uint256 sent, uint256 wanted);
    /// @notice A field of the fee's terms is out of range.
    /// @param field Name of the field of `FeeTerms`.
    error InvalidFee(string field);
    /// @notice No such decision was recorded.
    error UnknownDecision(uint256 id);
    /// @notice The leaf, its commitment or its way does not lead to the version's aggregation.
    error NotAContribution(uint256 version, uint32 position);
    /// @notice The update's share was collected already, or its version has earned nothing for it.
    error NothingToCollect(uint256 version, uint32 position);

    /// @notice Runs the serving version and records the decision in an event. The input becomes public. What was sent
    ///         beyond the fee is owed to the caller.
    /// @param input Raw uint8 input in the layout of the ONNX model.
    /// @param expectedVersion Version the caller wants to decide; reverts when another serves.
    /// @param maxFee Most wei to pay for it.
    /// @param deadline Unix time in seconds after which it reverts.
    /// @return id Number of the decision; the first is 1.
    /// @return scores Integer outputs of the network.
    function decide(bytes calldata input, uint256 expectedVersion, uint256 maxFee, uint64 deadline)
        external
        payable
        returns (uint256 id, int32[] memory scores);

    /// @notice Takes several decisions, all or none.
    /// @param inputs Raw uint8 inputs in the layout of the ONNX model.
    /// @param expectedVersion Version the caller wants to decide; reverts when another serves.
    /// @param maxFee Most wei to pay for each of them.
    /// @param deadline Unix time in seconds after which it reverts.
    /// @return firstId Number of the first; the others follow it.
    /// @return scores Integer outputs of the network for each.
    function decideMany(bytes[] calldata inputs, uint256 expectedVersion, uint256 maxFee, uint64 deadline)
        external
        payable
        returns (uint256 firstId, int32[][] memory scores);

    /// @notice Sets what later decisions by a version cost. Owner only.
    /// @param versionId Number of a version.
    /// @param terms Amount and shares.
    function setFee(uint256 versionId, FeeTerms calldata terms) external;

    /// @notice Has an update's share of a version's fees owed to the member that signed it. Anyone may, as often as
    ///         fees have come in since.
    /// @param versionId Number of a version with lineage.
    /// @param leaf The update's leaf in the aggregation tree of the version's round, and its way to the top.
    /// @param commitment The commitment that the leaf states.
    /// @return amount Wei.
    function collect(uint256 versionId, AggregationNode calldata leaf, Commitment calldata commitment)
        external
        returns (uint256 amount);

    /// @param decisionId Number of a decision.
    /// @return Version that took it, its code, and the round it came from.
    function lineage(uint256 decisionId) external view returns (Lineage memory);

    /// @param versionId Number of a version.
    /// @return terms What a decision by it costs.
    function feeTerms(uint256 versionId) external view returns (FeeTerms memory terms);

    /// @param versionId Number of a version.
    /// @return perUpdate Wei that it has earned for each update that counted.
    /// @return collected Wei of that which have been collected.
    function earnings(uint256 versionId) external view returns (uint256 perUpdate, uint256 collected);

    /// @return Number of decisions recorded.
    function decisionCount() external view returns (uint256);
}
