// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {ERC165} from "@openzeppelin/contracts/utils/introspection/ERC165.sol";

import {IERC7992Verifier, ModelCommitment} from "./IERC7992.sol";
import {VersionRegistry} from "./VersionRegistry.sol";

/// @title Inferences of compiled models for those who speak ERC-7992
/// @notice Where others prove that a model was run, here the contract runs it, so there is nothing to prove: the proof is
///         empty. `infer` runs the model on an input and remembers the answer under the input's commitment; `verifyInference`
///         holds what anyone says of it against that. The output is `abi.encode(int32[] scores)`.
/// @dev An inference can be verified without being remembered, too, which costs no storage: the proof is then what opens the
///      commitment, `abi.encode(bytes32 salt, bytes input)`, and the model is run in that call.
///
///      Whoever wants an inference to count once has a salt that is used once, and remembers the commitment.
contract ExecutionVerifier is IERC7992Verifier, ERC165 {
    /// Separates what is hashed here from all else that is.
    bytes32 private constant DOMAIN = keccak256("FedVM ERC-7992 input v1");

    /// @inheritdoc IERC7992Verifier
    address public immutable registry;

    /// keccak-256 of the output, 0 where nothing was computed.
    mapping(uint256 modelId => mapping(bytes32 inputCommitment => bytes32)) private _computed;

    /// @notice The model was run on an input, which is public in this transaction.
    event InferenceComputed(uint256 indexed modelId, bytes32 indexed inputCommitment, bytes output);

    /// @notice `infer` has not run this model on an input of this commitment, and no proof opens it.
    error NotComputed(uint256 modelId, bytes32 inputCommitment);

    /// @param registry_ Knows the models and the service that runs them.
    constructor(VersionRegistry registry_) {
        registry = address(registry_);
    }

    /// @notice Runs a model on an input and remembers what it gives. Anyone may, as often as they like.
    /// @param modelId The model's number in the registry.
    /// @param input Raw uint8 input in the layout of the ONNX model.
    /// @param salt Anything; makes the commitment one of its own.
    /// @return inputCommitment What commits to the input.
    /// @return output The scores, ABI-encoded.
    function infer(uint256 modelId, bytes calldata input, bytes32 salt)
        external
        returns (bytes32 inputCommitment, bytes memory output)
    {
        inputCommitment = commitmentTo(keccak256(input), salt);
        output = _run(_versionOf(modelId), input);
        _computed[modelId][inputCommitment] = keccak256(output);
        emit InferenceComputed(modelId, inputCommitment, output);
    }

    /// @inheritdoc IERC7992Verifier
    /// @dev `proof` is empty, or opens the commitment.
    function verifyInference(
        uint256 modelId,
        bytes32 inputCommitment,
        bytes calldata output,
        bytes calldata proof
    ) external {
        uint256 version = _versionOf(modelId);
        bytes32 computed;
        if (proof.length == 0) {
            computed = _computed[modelId][inputCommitment];
            require(computed != 0, NotComputed(modelId, inputCommitment));
        } else {
            (bytes32 salt, bytes memory input) = abi.decode(proof, (bytes32, bytes));
            require(commitmentTo(keccak256(input), salt) == inputCommitment, InputCommitmentMismatch());
            computed = keccak256(_run(version, input));
        }
        require(keccak256(output) == computed, OutputMismatch());
        emit InferenceVerified(modelId, inputCommitment, output, msg.sender);
    }

    /// @inheritdoc IERC7992Verifier
    // Whose the model is, and whether it is deprecated, does not matter here.
    // slither-disable-next-line unused-return
    function proofSystemOf(uint256 modelId) external view returns (bytes4) {
        (ModelCommitment memory commitment,,) = VersionRegistry(registry).getModel(modelId);
        return commitment.proofSystemId;
    }

    /// @notice What commits to an input at this verifier. Where a salt is random, it says nothing of the input before it
    ///         is opened.
    /// @param inputHash keccak-256 of the input.
    /// @param salt Anything.
    /// @return The commitment.
    function commitmentTo(bytes32 inputHash, bytes32 salt) public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN, block.chainid, address(this), inputHash, salt));
    }

    /// @inheritdoc ERC165
    function supportsInterface(bytes4 interfaceId) public view override returns (bool) {
        return interfaceId == type(IERC7992Verifier).interfaceId || super.supportsInterface(interfaceId);
    }

    /// @dev The service's version that a model is; the registry lets no commitment in but that of a version. Whose the
    ///      model is does not matter.
    // slither-disable-next-line unused-return
    function _versionOf(uint256 modelId) private view returns (uint256) {
        (ModelCommitment memory commitment, bool deprecated,) = VersionRegistry(registry).getModel(modelId);
        require(!deprecated, VerificationRefused_ModelDeprecated(modelId));
        return uint256(commitment.vkHash);
    }

    /// @dev The service gives the program exactly its gas, and reverts if its code is no longer what was registered.
    function _run(uint256 version, bytes memory input) private view returns (bytes memory) {
        return abi.encode(VersionRegistry(registry).service().predictWith(version, input));
    }
}
