// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

/// @notice What a federation asks of the storage of its rounds' evidence. All zero: nothing.
struct EvidenceRule {
    /// PDPVerifier that the data sets are proved to.
    address verifier;
    /// Epochs, that is blocks, that the last proof may be old when a result is proposed.
    uint64 maxAge;
    /// Whether the pieces must be among those that the present challenge is drawn from. Pieces are from the proving period
    /// on that begins after they were added, so a round must last longer than one.
    bool challenged;
    /// Data sets that pieces may lie in, ascending.
    uint256[] dataSets;
}

/// @notice Where the evidence of a round is stored, as who wants to propose its result says.
struct NamedEvidence {
    /// Number of the round; 0 if nothing was named yet.
    uint64 round;
    /// Proposals that had been made for the round before: what is named counts for the next one alone.
    uint8 attempt;
    /// Data set that the pieces lie in.
    uint256 dataSet;
    /// Numbers of the pieces, ascending.
    uint256[] pieceIds;
    /// keccak-256 of each piece's CID, as the verifier returns it (`abi.encode` of a `PieceCid`).
    bytes32[] cidHashes;
}

/// @title Evidence that must be stored before a result can be proposed
/// @notice An owner can ask that the evidence of each round lies with a provider of Filecoin that proves to hold it. Then the
///         proposer names a data set and pieces, and `Federation.propose` reverts unless the PDP verifier says
///         that the data set is live and was proved not too long ago, and that each piece is live and has the CID that was named.
///         Nothing else depends on it: a round for which no result can be proposed fails at its deadline as any other, and
///         everybody has back what was locked up for it. What the verifier returns is read with bounded gas and bounded
///         memory, and by calls that can change nothing, so a false or broken one can make a proposal revert, and no more.
///
///         What the pieces hold no contract can tell. Whoever audits computes their CIDs from the round's artefacts.
interface IStoredEvidence {
    /// @notice From now on results are proposed under this rule; none if `verifier` is zero.
    event EvidenceRequired(address indexed verifier, uint64 maxAge, bool challenged, uint256[] dataSets);
    /// @notice The evidence for the proposal after `attempt` others lies in these pieces, if the proposal will be the proposer's, in
    ///         place of any that it named for it before; `cids` are their CIDs, in binary.
    event EvidenceNamed(
        uint64 indexed roundId,
        uint8 attempt,
        uint256 indexed dataSet,
        address indexed proposer,
        uint256[] pieceIds,
        bytes[] cids
    );

    /// @notice A part of the rule, or of what is named, is missing or out of range.
    /// @param field Its name.
    error InvalidEvidence(string field);
    /// @notice The federation asks for no stored evidence.
    error NoEvidenceRequired();
    /// @notice The proposer named nothing for the next proposal of this round. Name the pieces first (`nameEvidence`).
    error EvidenceNotNamed(uint64 roundId);
    /// @notice The rule does not list this data set.
    error OtherDataSet(uint256 dataSet);
    /// @notice The data set does not exist, or was deleted.
    error DataSetNotLive(uint256 dataSet);
    /// @notice The data set was last proved in this epoch, which is too long ago or still to come.
    error ProofTooOld(uint256 dataSet, uint256 provenIn);
    /// @notice The piece was never added, or was removed.
    error PieceNotLive(uint256 dataSet, uint256 pieceId);
    /// @notice No proof is asked for of the piece yet: its proving period has not begun.
    error PieceNotChallenged(uint256 dataSet, uint256 pieceId);
    /// @notice The piece has another CID than was named.
    error OtherPiece(uint256 dataSet, uint256 pieceId);
    /// @notice The verifier reverted, took too much gas, or returned what it never would.
    /// @param selector Function that was asked.
    error VerifierUnreadable(address verifier, bytes4 selector);

    /// @notice Sets what is asked of stored evidence, between rounds, or that nothing is. Owner only.
    /// @param rule The rule; nothing is asked for if its verifier is zero, and then all of it must be.
    function requireEvidence(EvidenceRule calldata rule) external;

    /// @notice Names where the evidence for the next proposal of a round is stored, in place of what the caller named for it before.
    ///         Anyone may, before the proposal: it counts for a proposal of the caller's alone.
    /// @param roundId Number of a round for which a result can be proposed.
    /// @param dataSet Data set that the pieces lie in, one that the rule lists.
    /// @param pieceIds Numbers of the pieces, ascending, `MAX_PIECES` at most.
    /// @param cids CID of each piece, in binary.
    function nameEvidence(uint64 roundId, uint256 dataSet, uint256[] calldata pieceIds, bytes[] calldata cids)
        external;

    /// @return Pieces that can be named for a round.
    // A constant's name.
    // slither-disable-next-line naming-convention
    function MAX_PIECES() external view returns (uint256);

    /// @return The rule in force.
    function evidenceRule() external view returns (EvidenceRule memory);

    /// @param proposer Any address.
    /// @return What it named last.
    function namedEvidence(address proposer) external view returns (NamedEvidence memory);

    /// @notice Reverts unless the evidence for the next proposal of a round is stored as the rule asks, or it asks for nothing.
    /// @param roundId Number of a round for which a result can be proposed.
    /// @param proposer Who will propose it.
    function checkEvidence(uint64 roundId, address proposer) external view;
}
