// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFederation} from "./interfaces/IFederation.sol";
import {IPDPVerifier, PieceCid} from "./interfaces/IPDPVerifier.sol";
import {EvidenceRule, IStoredEvidence, NamedEvidence} from "./interfaces/IStoredEvidence.sol";
import {ContentId} from "./libraries/ContentId.sol";
import {Round, RoundLib, RoundState} from "./libraries/RoundLib.sol";
import {VerifierReads} from "./libraries/VerifierReads.sol";

/// @title StoredEvidence
/// @notice See `IStoredEvidence`.
abstract contract StoredEvidence is IStoredEvidence {
    using VerifierReads for address;

    /// @inheritdoc IStoredEvidence
    uint256 public constant MAX_PIECES = 16;
    uint256 private constant MAX_DATA_SETS = 16;

    EvidenceRule private _rule;
    /// Of each account apart: so nobody can name something else in front of another's proposal.
    mapping(address proposer => NamedEvidence) private _named;

    /// @inheritdoc IStoredEvidence
    function requireEvidence(EvidenceRule calldata rule) external {
        _requireOwner();
        IFederation federation_ = _federation();
        uint64 latest = federation_.currentRound();
        RoundState state = federation_.round(latest).state;
        require(
            state == RoundState.None || state == RoundState.Final || state == RoundState.Failed,
            IFederation.RoundStillOpen(latest)
        );
        bool isAsked = rule.verifier != address(0);
        uint256 count = rule.dataSets.length;
        require(isAsked ? rule.verifier.code.length > 0 : !rule.challenged, InvalidEvidence("verifier"));
        require((rule.maxAge > 0) == isAsked, InvalidEvidence("maxAge"));
        require((count > 0) == isAsked && count <= MAX_DATA_SETS, InvalidEvidence("dataSets"));
        _requireAscending(rule.dataSets, "dataSets");
        _rule = rule;
        emit EvidenceRequired(rule.verifier, rule.maxAge, rule.challenged, rule.dataSets);
    }

    /// @inheritdoc IStoredEvidence
    function nameEvidence(uint64 roundId, uint256 dataSet, uint256[] calldata pieceIds, bytes[] calldata cids)
        external
    {
        require(_rule.verifier != address(0), NoEvidenceRequired());
        _requireListed(dataSet);
        uint8 attempt = _attemptOf(roundId);
        uint256 count = pieceIds.length;
        require(count > 0 && count <= MAX_PIECES, InvalidEvidence("pieceIds"));
        require(cids.length == count, InvalidEvidence("cids"));
        _requireAscending(pieceIds, "pieceIds");
        bytes32[] memory hashes = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            require(ContentId.isPlausible(cids[i]), InvalidEvidence("cids"));
            hashes[i] = keccak256(abi.encode(PieceCid(cids[i])));
        }
        _named[msg.sender] = NamedEvidence(roundId, attempt, dataSet, pieceIds, hashes);
        emit EvidenceNamed(roundId, attempt, dataSet, msg.sender, pieceIds, cids);
    }

    /// @inheritdoc IStoredEvidence
    function evidenceRule() external view returns (EvidenceRule memory) {
        return _rule;
    }

    /// @inheritdoc IStoredEvidence
    function namedEvidence(address proposer) external view returns (NamedEvidence memory) {
        return _named[proposer];
    }

    /// @inheritdoc IStoredEvidence
    // Of the loop over pieces, of which there are few: each is read with bounded gas.
    // slither-disable-next-line calls-loop,timestamp
    function checkEvidence(uint64 roundId, address proposer) external view {
        address verifier = _rule.verifier;
        if (verifier == address(0)) return;
        NamedEvidence memory named = _named[proposer];
        require(named.round == roundId && named.attempt == _attemptOf(roundId), EvidenceNotNamed(roundId));
        uint256 set = named.dataSet;
        // It may have been named under another rule.
        _requireListed(set);
        require(verifier.isTrue(abi.encodeCall(IPDPVerifier.dataSetLive, (set))), DataSetNotLive(set));
        uint256 provenIn = verifier.word(abi.encodeCall(IPDPVerifier.getDataSetLastProvenEpoch, (set)));
        require(
            provenIn <= block.number && block.number - provenIn <= _rule.maxAge, ProofTooOld(set, provenIn)
        );
        bool challenged = _rule.challenged;
        for (uint256 i = 0; i < named.pieceIds.length; ++i) {
            uint256 piece = named.pieceIds[i];
            require(
                verifier.isTrue(abi.encodeCall(IPDPVerifier.pieceLive, (set, piece))),
                PieceNotLive(set, piece)
            );
            require(
                keccak256(verifier.read(abi.encodeCall(IPDPVerifier.getPieceCid, (set, piece))))
                    == named.cidHashes[i],
                OtherPiece(set, piece)
            );
            require(
                !challenged || verifier.isTrue(abi.encodeCall(IPDPVerifier.pieceChallengable, (set, piece))),
                PieceNotChallenged(set, piece)
            );
        }
    }

    /// @dev Federation whose evidence this is.
    function _federation() internal view virtual returns (IFederation);

    /// @dev Reverts unless the federation's owner calls.
    function _requireOwner() internal view virtual;

    /// @dev Proposals made so far for a round, for which the next one can be made.
    function _attemptOf(uint64 roundId) private view returns (uint8) {
        Round memory round = _federation().round(roundId);
        require(
            round.state == RoundState.Open || round.state == RoundState.Submitted,
            RoundLib.WrongState(roundId, round.state)
        );
        return round.attempt;
    }

    function _requireListed(uint256 dataSet) private view {
        uint256 count = _rule.dataSets.length;
        for (uint256 i = 0; i < count; ++i) {
            if (_rule.dataSets[i] == dataSet) return;
        }
        revert OtherDataSet(dataSet);
    }

    function _requireAscending(uint256[] calldata numbers, string memory field) private pure {
        for (uint256 i = 1; i < numbers.length; ++i) {
            require(numbers[i - 1] < numbers[i], InvalidEvidence(field));
        }
    }
}
