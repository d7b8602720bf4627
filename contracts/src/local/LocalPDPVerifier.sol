// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPDPVerifier, PieceCid} from "../interfaces/IPDPVerifier.sol";

/// @title LocalPDPVerifier
/// @notice Stands in for Filecoin's PDPVerifier on local chains, in tests and rehearsals: it takes data sets, pieces and proving periods as
///         that contract does, answers as it answers, and takes the provider's word where that one checks proofs. For
///         nothing that has value.
/// @dev Modelled on FilOzone/pdp, `src/PDPVerifier.sol`. Left out: proofs, fees and deposits, listeners, another provider, the
///      delay of challenges, and cleaning up after a deletion.
contract LocalPDPVerifier is IPDPVerifier {
    /// @dev One provider's data set.
    struct DataSet {
        address provider;
        bool deleted;
        uint256 lastProvenEpoch;
        uint256 nextChallengeEpoch;
        uint256 livePieces;
        uint256 nextPieceId;
        /// Pieces below this one are challenged.
        uint256 challengedBelow;
        uint256[] removals;
        mapping(uint256 pieceId => PieceCid) cids;
    }

    uint256 private _dataSets;
    mapping(uint256 setId => DataSet) private _sets;

    /// @notice A provider has a new data set.
    event DataSetCreated(uint256 indexed setId, address indexed storageProvider);
    /// @notice A provider has added pieces.
    event PiecesAdded(uint256 indexed setId, uint256[] pieceIds, PieceCid[] pieceCids);

    /// @notice The data set does not exist, or was deleted.
    error DataSetNotLive();
    /// @notice The data set is another provider's.
    error NotTheProvider(address caller);
    /// @notice What is stated does not fit the data set.
    /// @param what What.
    error Unfitting(string what);

    /// @notice Creates a data set, whose number is one more than the last one's. The caller is its provider.
    /// @return setId Its number; the first is 1.
    function createDataSet(address, bytes calldata) external returns (uint256 setId) {
        setId = ++_dataSets;
        _sets[setId].provider = msg.sender;
        _sets[setId].lastProvenEpoch = block.number;
        emit DataSetCreated(setId, msg.sender);
    }

    /// @notice Adds pieces, which are challenged from the next proving period on. Provider only.
    /// @param setId Number of the data set.
    /// @param pieceData CIDs of the pieces.
    /// @return firstAdded Number of the first.
    function addPieces(uint256 setId, address, PieceCid[] calldata pieceData, bytes calldata)
        external
        returns (uint256 firstAdded)
    {
        DataSet storage set = _own(setId);
        require(pieceData.length > 0, Unfitting("pieces"));
        firstAdded = set.nextPieceId;
        uint256[] memory ids = new uint256[](pieceData.length);
        for (uint256 i = 0; i < pieceData.length; ++i) {
            require(pieceData[i].data.length > 0, Unfitting("piece"));
            ids[i] = firstAdded + i;
            set.cids[ids[i]] = pieceData[i];
        }
        set.nextPieceId = firstAdded + ids.length;
        set.livePieces += ids.length;
        emit PiecesAdded(setId, ids, pieceData);
    }

    /// @notice Has pieces removed when the next proving period begins. Provider only.
    /// @param setId Number of the data set.
    /// @param pieceIds Numbers of the pieces.
    function schedulePieceDeletions(uint256 setId, uint256[] calldata pieceIds, bytes calldata) external {
        DataSet storage set = _own(setId);
        for (uint256 i = 0; i < pieceIds.length; ++i) {
            require(pieceLive(setId, pieceIds[i]), Unfitting("piece"));
            set.removals.push(pieceIds[i]);
        }
    }

    /// @notice Begins a proving period: removes what was to be removed, and challenges what was added. Provider only.
    /// @param setId Number of the data set.
    /// @param challengeEpoch Epoch from which the next proof counts.
    function nextProvingPeriod(uint256 setId, uint256 challengeEpoch, bytes calldata) external {
        DataSet storage set = _own(setId);
        require(set.livePieces > 0, Unfitting("pieces"));
        require(challengeEpoch >= block.number, Unfitting("challengeEpoch"));
        for (uint256 i = 0; i < set.removals.length; ++i) {
            if (set.cids[set.removals[i]].data.length == 0) continue;
            delete set.cids[set.removals[i]];
            --set.livePieces;
        }
        delete set.removals;
        set.challengedBelow = set.nextPieceId;
        set.nextChallengeEpoch = challengeEpoch;
        if (set.livePieces > 0) return;
        set.lastProvenEpoch = block.number;
        set.nextChallengeEpoch = 0;
    }

    /// @notice In place of `provePossession`, without the proofs. Provider only.
    /// @param setId Number of the data set.
    function prove(uint256 setId) external {
        DataSet storage set = _own(setId);
        require(set.nextChallengeEpoch > 0 && block.number >= set.nextChallengeEpoch, Unfitting("epoch"));
        set.lastProvenEpoch = block.number;
    }

    /// @notice Deletes a data set. Provider only.
    /// @param setId Number of the data set.
    function deleteDataSet(uint256 setId, bytes calldata) external {
        _own(setId).deleted = true;
    }

    /// @inheritdoc IPDPVerifier
    function pieceChallengable(uint256 setId, uint256 pieceId) external view returns (bool) {
        uint256 below = _sets[setId].challengedBelow;
        require(below > 0, Unfitting("challenge range"));
        return pieceLive(setId, pieceId) && pieceId < below;
    }

    /// @inheritdoc IPDPVerifier
    function getPieceCid(uint256 setId, uint256 pieceId) external view returns (PieceCid memory) {
        require(dataSetLive(setId), DataSetNotLive());
        return _sets[setId].cids[pieceId];
    }

    /// @inheritdoc IPDPVerifier
    function getDataSetLastProvenEpoch(uint256 setId) external view returns (uint256) {
        require(dataSetLive(setId), DataSetNotLive());
        return _sets[setId].lastProvenEpoch;
    }

    /// @inheritdoc IPDPVerifier
    function dataSetLive(uint256 setId) public view returns (bool) {
        return _sets[setId].provider != address(0) && !_sets[setId].deleted;
    }

    /// @inheritdoc IPDPVerifier
    function pieceLive(uint256 setId, uint256 pieceId) public view returns (bool) {
        return dataSetLive(setId) && _sets[setId].cids[pieceId].data.length > 0;
    }

    function _own(uint256 setId) private view returns (DataSet storage set) {
        require(dataSetLive(setId), DataSetNotLive());
        set = _sets[setId];
        require(msg.sender == set.provider, NotTheProvider(msg.sender));
    }
}
