// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

/// @notice A content identifier in Filecoin's contracts.
struct PieceCid {
    /// Its binary form; of a piece that of version 2, which states the piece's size too (FRC-0069).
    bytes data;
}

/// @title What is read of Filecoin's PDPVerifier
/// @notice The contract that providers of Filecoin prove to, again and again, that they hold the pieces of a data set: Proof of Data
///         Possession. These are the functions of the contract that is deployed (FilOzone/pdp, `src/PDPVerifier.sol`) by which
///         one can tell whether a piece is still there. An epoch is a block's number.
interface IPDPVerifier {
    /// @param setId Number of a data set.
    /// @return Whether it exists and nobody has deleted it.
    function dataSetLive(uint256 setId) external view returns (bool);

    /// @param setId Number of a data set.
    /// @param pieceId Number of a piece in it.
    /// @return Whether the piece was added, and not removed, and the data set is live.
    function pieceLive(uint256 setId, uint256 pieceId) external view returns (bool);

    /// @notice May revert where no proof was asked for yet.
    /// @param setId Number of a data set.
    /// @param pieceId Number of a piece in it.
    /// @return Whether the piece is live, and among those that the present challenge is drawn from: a piece is from the
    ///         proving period on that begins after it was added.
    function pieceChallengable(uint256 setId, uint256 pieceId) external view returns (bool);

    /// @param setId Number of a live data set.
    /// @param pieceId Number of a piece in it.
    /// @return CID of the piece; empty if it was removed.
    function getPieceCid(uint256 setId, uint256 pieceId) external view returns (PieceCid memory);

    /// @param setId Number of a live data set.
    /// @return Epoch in which the provider proved last that it holds the data set; before the first proof the one in which it
    ///         was created.
    function getDataSetLastProvenEpoch(uint256 setId) external view returns (uint256);
}
