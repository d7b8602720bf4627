// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IERC5313} from "@openzeppelin/contracts/interfaces/IERC5313.sol";
import {ERC165} from "@openzeppelin/contracts/utils/introspection/ERC165.sol";

import {IModelService} from "../interfaces/IModelService.sol";
import {ProgramPart, Version} from "../interfaces/IVersions.sol";
import {ERC7992Errors, IERC7992Registry, ModelCommitment} from "./IERC7992.sol";

/// @title The versions of a ModelService as the models of an ERC-7992 registry
/// @notice A model here is a version of one service. Its commitment follows from the version (`commitmentOf`), and nobody
///         can register another. A change of the model is a new version, thus a new `modelId`: `updateModel` may
///         change the `uri` alone. The owner of all models is whoever owns the service at the time.
/// @dev What the fields hold: `modelHash` the SHA-256 of the integer ONNX model, `circuitHash` keccak-256 of the code hashes of
///      the program's parts in a row, `vkHash` the version's number, by which the service answers (there is no key).
contract VersionRegistry is IERC7992Registry, ERC165 {
    /// Name of the "proof system": the EVM runs the model.
    string public constant PROOF_SYSTEM = "evm-execution-v1";
    /// Its identifier, as the draft derives it.
    bytes4 public constant PROOF_SYSTEM_ID = bytes4(keccak256(bytes(PROOF_SYSTEM)));

    struct Model {
        /// Number of a version of the service; 0 where there is no model.
        uint256 version;
        string uri;
        bool deprecated;
    }

    /// The service whose versions are registered here.
    IModelService public immutable service;
    /// Number of models registered; the first is 1.
    uint256 public modelCount;
    /// Model of a version, 0 where it has none.
    mapping(uint256 version => uint256 modelId) public modelOf;

    mapping(uint256 modelId => Model) private _models;

    /// @notice A field of the commitment is not what follows from the version.
    /// @param field Name of the field of `ModelCommitment`.
    error WrongCommitment(string field);
    /// @notice The version is registered already, as this model.
    error AlreadyRegistered(uint256 version, uint256 modelId);
    /// @notice Only the service's owner may do this.
    error NotServiceOwner(address caller);

    /// @param service_ The service, which has an `owner()`.
    constructor(IModelService service_) {
        service = service_;
    }

    /// @inheritdoc IERC7992Registry
    /// @dev The service's owner only. `commitmentOf` says what the commitment of a version is.
    function registerModel(ModelCommitment calldata commitment) external returns (uint256 modelId) {
        require(msg.sender == _owner(), NotServiceOwner(msg.sender));
        uint256 version = uint256(commitment.vkHash);
        _requireOf(version, commitment);
        require(modelOf[version] == 0, AlreadyRegistered(version, modelOf[version]));

        modelId = ++modelCount;
        modelOf[version] = modelId;
        _models[modelId] = Model({version: version, uri: commitment.uri, deprecated: false});
        emit ModelRegistered(modelId, msg.sender, commitment);
    }

    /// @inheritdoc IERC7992Registry
    /// @dev Changes the `uri`; all other fields must be as they are.
    function updateModel(uint256 modelId, ModelCommitment calldata newCommitment) external {
        Model storage model = _owned(modelId);
        require(uint256(newCommitment.vkHash) == model.version, WrongCommitment("vkHash"));
        _requireOf(model.version, newCommitment);

        ModelCommitment memory old = commitmentOf(model.version);
        old.uri = model.uri;
        model.uri = newCommitment.uri;
        emit ModelUpdated(modelId, old, newCommitment);
    }

    /// @inheritdoc IERC7992Registry
    function deprecateModel(uint256 modelId) external {
        Model storage model = _owned(modelId);
        require(!model.deprecated, ERC7992Errors.ModelDeprecated(modelId));
        model.deprecated = true;
        emit ModelDeprecated(modelId);
    }

    /// @inheritdoc IERC7992Registry
    function getModel(uint256 modelId)
        external
        view
        returns (ModelCommitment memory commitment, bool deprecated, address owner)
    {
        Model storage model = _known(modelId);
        commitment = commitmentOf(model.version);
        commitment.uri = model.uri;
        return (commitment, model.deprecated, _owner());
    }

    /// @param version Number of a version of the service, whether it is registered here or not.
    /// @return commitment What it commits to, without a `uri`.
    function commitmentOf(uint256 version) public view returns (ModelCommitment memory commitment) {
        Version memory served = service.version(version);
        commitment.modelHash = served.integerOnnxDigest;
        commitment.circuitHash = _codeHashOf(served.parts);
        commitment.vkHash = bytes32(version);
        commitment.proofSystemId = PROOF_SYSTEM_ID;
    }

    /// @inheritdoc ERC165
    function supportsInterface(bytes4 interfaceId) public view override returns (bool) {
        return interfaceId == type(IERC7992Registry).interfaceId || super.supportsInterface(interfaceId);
    }

    function _requireOf(uint256 version, ModelCommitment calldata commitment) private view {
        ModelCommitment memory expected = commitmentOf(version);
        require(commitment.modelHash == expected.modelHash, WrongCommitment("modelHash"));
        require(commitment.circuitHash == expected.circuitHash, WrongCommitment("circuitHash"));
        require(commitment.proofSystemId == PROOF_SYSTEM_ID, WrongCommitment("proofSystemId"));
    }

    function _owned(uint256 modelId) private view returns (Model storage model) {
        model = _known(modelId);
        require(msg.sender == _owner(), NotModelOwner(modelId, msg.sender));
    }

    function _known(uint256 modelId) private view returns (Model storage model) {
        model = _models[modelId];
        require(model.version != 0, ModelNotFound(modelId));
    }

    function _owner() private view returns (address) {
        return IERC5313(address(service)).owner();
    }

    function _codeHashOf(ProgramPart[] memory parts) private pure returns (bytes32) {
        bytes32[] memory hashes = new bytes32[](parts.length);
        for (uint256 i = 0; i < parts.length; ++i) {
            hashes[i] = parts[i].codeHash;
        }
        return keccak256(abi.encodePacked(hashes));
    }
}
