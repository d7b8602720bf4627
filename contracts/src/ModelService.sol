// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";

import {IFederation} from "./interfaces/IFederation.sol";
import {IModelService, ProgramPart, Version} from "./interfaces/IModelService.sol";
import {IProgram} from "./interfaces/IProgram.sol";
import {ContentId} from "./libraries/ContentId.sol";
import {ProgramCode} from "./libraries/ProgramCode.sol";
import {Round, RoundState} from "./libraries/RoundLib.sol";

/// @title ModelService
/// @notice Versions of a model, its predictions, and the decisions taken with it; see `IModelService`.
contract ModelService is IModelService, Ownable2Step {
    using ProgramCode for ProgramPart[];

    /// Longest input that an event records, in bytes.
    uint256 public constant MAX_RECORDED_INPUT = 4096;
    /// Most parts of a program: their list must fit an event of 8 KiB, which Filecoin's EVM allows.
    uint256 public constant MAX_PARTS = 100;

    /// @inheritdoc IModelService
    uint256 public currentVersion;
    /// @inheritdoc IModelService
    uint256 public decisionCount;

    mapping(uint256 versionId => Version) private _versions;

    /// @param owner_ Registers versions; handed over in two steps.
    constructor(address owner_) Ownable(owner_) {}

    /// @inheritdoc IModelService
    function register(Version calldata version_) external onlyOwner returns (uint256 id) {
        _requireWellFormed(version_);
        _requireLineage(version_);
        version_.parts.requirePinned();

        id = currentVersion + 1;
        currentVersion = id;
        _versions[id] = version_;
        emit VersionRegistered(
            id,
            version_.program,
            version_.federation,
            version_.round,
            version_.modelRoot,
            version_.integerOnnxDigest,
            version_.onnxCid,
            version_.parts
        );
    }

    /// @inheritdoc IModelService
    function decide(bytes calldata input, uint256 expectedVersion)
        external
        returns (uint256 id, int32[] memory scores)
    {
        uint256 current = currentVersion;
        require(expectedVersion == current, VersionMismatch(expectedVersion, current));
        scores = _pinnedProgram(current).predict(input);
        id = decisionCount + 1;
        decisionCount = id;
        bytes calldata recorded = input.length <= MAX_RECORDED_INPUT ? input : input[:0];
        emit Decision(id, msg.sender, current, keccak256(input), recorded, scores);
    }

    /// @inheritdoc IModelService
    function predict(bytes calldata input) external view returns (int32[] memory scores) {
        return _pinnedProgram(currentVersion).predict(input);
    }

    /// @inheritdoc IModelService
    function predictWith(uint256 versionId, bytes calldata input)
        external
        view
        returns (int32[] memory scores)
    {
        return _pinnedProgram(versionId).predict(input);
    }

    /// @inheritdoc IModelService
    function classify(bytes calldata input) external view returns (uint256 label) {
        return _pinnedProgram(currentVersion).classify(input);
    }

    /// @inheritdoc IModelService
    function version(uint256 versionId) external view returns (Version memory) {
        return _registered(versionId);
    }

    /// @dev A version's program, once its code is seen to be what was registered. What the program reverts with
    ///      reaches the caller as it is.
    function _pinnedProgram(uint256 versionId) private view returns (IProgram) {
        Version storage served = _registered(versionId);
        served.parts.requirePinned();
        return IProgram(served.program);
    }

    function _registered(uint256 versionId) private view returns (Version storage) {
        require(versionId != 0 && versionId <= currentVersion, UnknownVersion(versionId));
        return _versions[versionId];
    }

    function _requireWellFormed(Version calldata version_) private pure {
        require(version_.program != address(0), InvalidVersion("program"));
        require(version_.integerOnnxDigest != 0, InvalidVersion("integerOnnxDigest"));
        require(ContentId.isPlausible(version_.onnxCid), InvalidVersion("onnxCid"));
        ProgramPart[] calldata parts = version_.parts;
        require(
            parts.length > 0 && parts.length <= MAX_PARTS && parts[0].account == version_.program,
            InvalidVersion("parts")
        );
    }

    function _requireLineage(Version calldata version_) private view {
        address federation = version_.federation;
        if (federation == address(0)) {
            require(version_.round == 0 && version_.modelRoot == 0, LineageWithoutFederation());
            return;
        }
        Round memory origin = IFederation(federation).round(version_.round);
        require(
            origin.state == RoundState.Final && origin.modelRoot == version_.modelRoot,
            RoundNotFinal(federation, version_.round, version_.modelRoot)
        );
    }
}
