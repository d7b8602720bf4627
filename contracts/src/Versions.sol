// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

import {ScannedCode} from "./ScannedCode.sol";
import {IFederation} from "./interfaces/IFederation.sol";
import {IRuleBook} from "./interfaces/IRuleBook.sol";
import {IVersions, ProgramPart, Version} from "./interfaces/IVersions.sol";
import {BoundedCall} from "./libraries/BoundedCall.sol";
import {ContentId} from "./libraries/ContentId.sol";
import {ProgramCode} from "./libraries/ProgramCode.sol";
import {Round, RoundState} from "./libraries/RoundLib.sol";
import {Scores} from "./libraries/Scores.sol";

/// @title Versions of a model
/// @notice See `IVersions`.
abstract contract Versions is IVersions, ScannedCode {
    using Checkpoints for Checkpoints.Trace208;
    using ProgramCode for ProgramPart[];

    /// @dev What a version's round came to, as the federation said when the version was registered. Kept here, so that
    ///      what is paid out does not depend on what the federation says later.
    struct Origin {
        bytes32 rulesHash;
        bytes32 aggregationRoot;
        /// Updates that count.
        uint32 accepted;
    }

    /// Gas beside what an answer is given, in the chain's own.
    uint256 private immutable _spareGas = BoundedCall.overhead();

    /// @inheritdoc IVersions
    uint256 public currentVersion;
    /// @inheritdoc IVersions
    uint256 public versionCount;

    mapping(uint256 versionId => Version) private _versions;
    mapping(uint256 versionId => Origin) private _origins;
    mapping(uint256 versionId => bool) private _hasServed;
    /// Serving version by the number of the first decision that it can take.
    Checkpoints.Trace208 private _servedFrom;

    /// @inheritdoc IVersions
    function predict(bytes calldata input) external view returns (int32[] memory scores) {
        return _ask(_pinned(currentVersion), input);
    }

    /// @inheritdoc IVersions
    function predictWith(uint256 versionId, bytes calldata input)
        external
        view
        returns (int32[] memory scores)
    {
        return _ask(_pinned(versionId), input);
    }

    /// @inheritdoc IVersions
    function classify(bytes calldata input) external view returns (uint256 label) {
        return Scores.label(_ask(_pinned(currentVersion), input));
    }

    /// @inheritdoc IVersions
    function version(uint256 versionId) external view returns (Version memory) {
        return _registered(versionId);
    }

    /// @dev Checks a version and keeps it; it does not serve yet.
    function _register(Version calldata version_) internal returns (uint256 id) {
        _requireWellFormed(version_);
        _requireProgram(version_.parts);

        id = versionCount + 1;
        versionCount = id;
        _versions[id] = version_;
        if (version_.federation == address(0)) {
            require(version_.round == 0 && version_.modelRoot == 0, LineageWithoutFederation());
        } else {
            _origins[id] = _originOf(version_);
        }
        emit VersionRegistered(
            id,
            version_.program,
            version_.federation,
            version_.gas,
            version_.round,
            version_.modelRoot,
            version_.integerOnnxDigest,
            version_.onnxCid,
            version_.parts
        );
    }

    /// @dev From now on this version serves: decisions from number `nextDecision` on are its own. What pushing a
    ///      checkpoint returns does not matter.
    // slither-disable-next-line unused-return
    function _serve(uint256 versionId, uint256 nextDecision) internal {
        emit VersionServes(versionId, currentVersion);
        currentVersion = versionId;
        _hasServed[versionId] = true;
        // There are fewer than 2^48 decisions, and of versions not more.
        // forge-lint: disable-next-line(unsafe-typecast)
        _servedFrom.push(uint48(nextDecision), uint208(versionId));
    }

    /// @dev The version that took a decision which was recorded.
    function _versionOf(uint256 decisionId) internal view returns (uint256) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return _servedFrom.upperLookupRecent(uint48(decisionId));
    }

    /// @dev A version has passed whatever it must pass if it has served.
    function _requireServed(uint256 versionId) internal view {
        require(_hasServed[versionId], NotPassed(versionId));
    }

    /// @dev A version that has served, once its code is seen to be what was registered.
    function _pinned(uint256 versionId) internal view returns (Version storage served) {
        served = _registered(versionId);
        _requireServed(versionId);
        served.parts.requirePinned();
    }

    /// @dev Asks a version with exactly its gas. What the program reverts with reaches the caller as it is.
    // slither-disable-next-line assembly
    function _ask(Version storage asked, bytes calldata input) internal view returns (int32[] memory) {
        (bool answered, int32[] memory scores, bytes memory reason) =
            Scores.ask(asked.program, asked.gas, _spareGas, input, Scores.MAX);
        if (answered) return scores;
        require(reason.length > 0, NoAnswer(asked.program, asked.gas));
        assembly ("memory-safe") {
            revert(add(reason, 0x20), mload(reason))
        }
    }

    function _registered(uint256 versionId) internal view returns (Version storage) {
        require(versionId != 0 && versionId <= versionCount, UnknownVersion(versionId));
        return _versions[versionId];
    }

    function _origin(uint256 versionId) internal view returns (Origin storage) {
        return _origins[versionId];
    }

    function _requireWellFormed(Version calldata version_) private pure {
        require(version_.program != address(0), InvalidVersion("program"));
        require(version_.gas != 0, InvalidVersion("gas"));
        require(version_.integerOnnxDigest != 0, InvalidVersion("integerOnnxDigest"));
        require(ContentId.isPlausible(version_.onnxCid), InvalidVersion("onnxCid"));
        ProgramPart[] calldata parts = version_.parts;
        require(
            parts.length > 0 && parts.length <= MAX_PARTS && parts[0].account == version_.program,
            InvalidVersion("parts")
        );
    }

    function _originOf(Version calldata version_) private view returns (Origin memory) {
        IFederation federation = IFederation(version_.federation);
        Round memory round = federation.round(version_.round);
        require(
            round.state == RoundState.Final && round.modelRoot == version_.modelRoot,
            RoundNotFinal(version_.federation, version_.round, version_.modelRoot)
        );
        return Origin(
            IRuleBook(federation.ruleBook()).roundRulesHash(version_.round),
            round.aggregationRoot,
            round.accepted
        );
    }
}
