// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

/// @notice What a model is, in hashes. Source of the fields: ERC-7992, a draft of 2025-11-11.
struct ModelCommitment {
    /// Weights and architecture.
    bytes32 modelHash;
    /// What computes it: a circuit, or a program's code.
    bytes32 circuitHash;
    /// What a verifier needs to know to verify.
    bytes32 vkHash;
    /// The first four bytes of keccak-256 of the proof system's name and version, in lower case with hyphens.
    bytes4 proofSystemId;
    /// Where more is said of it; may be empty.
    string uri;
}

/// @notice The error that the draft calls as it calls an event of the registry. Solidity allows no such pair in one
///         contract, so it stands here.
library ERC7992Errors {
    /// @notice The model is deprecated already.
    error ModelDeprecated(uint256 modelId);
}

/// @title Models by what commits to them
/// @notice The registry of ERC-7992 (draft, eips.ethereum.org/EIPS/eip-7992), where it is called `IERCZKMLRegistry`.
interface IERC7992Registry {
    /// @notice A model got a number.
    event ModelRegistered(uint256 indexed modelId, address indexed owner, ModelCommitment commitment);
    /// @notice A model's commitment was replaced.
    event ModelUpdated(uint256 indexed modelId, ModelCommitment oldCommitment, ModelCommitment newCommitment);
    /// @notice No inference of the model is verified from now on.
    event ModelDeprecated(uint256 indexed modelId);

    /// @notice No model has this number.
    error ModelNotFound(uint256 modelId);
    /// @notice Only the model's owner may do this.
    error NotModelOwner(uint256 modelId, address caller);

    /// @notice Registers a model.
    /// @param commitment What it is.
    /// @return modelId Its number, which no other model has.
    function registerModel(ModelCommitment calldata commitment) external returns (uint256 modelId);

    /// @notice Replaces a model's commitment. Its owner only.
    /// @param modelId Its number.
    /// @param newCommitment What it is from now on.
    function updateModel(uint256 modelId, ModelCommitment calldata newCommitment) external;

    /// @notice Ends a model for good. Its owner only.
    /// @param modelId Its number.
    function deprecateModel(uint256 modelId) external;

    /// @param modelId A model's number.
    /// @return commitment What it is.
    /// @return deprecated True when its inferences are verified no longer.
    /// @return owner Who may update and deprecate it.
    function getModel(uint256 modelId)
        external
        view
        returns (ModelCommitment memory commitment, bool deprecated, address owner);
}

/// @title Inferences, verified
/// @notice The verifier of ERC-7992 (draft, eips.ethereum.org/EIPS/eip-7992), where it is called `IERCZKMLVerifier`.
interface IERC7992Verifier {
    /// @notice The model gives this output for the input that was committed to.
    event InferenceVerified(
        uint256 indexed modelId, bytes32 indexed inputCommitment, bytes output, address indexed caller
    );

    /// @notice The proof proves nothing.
    error InvalidProof();
    /// @notice The proof is one of another model.
    error ModelMismatch();
    /// @notice The input is not the one that was committed to.
    error InputCommitmentMismatch();
    /// @notice The model gives another output.
    error OutputMismatch();
    /// @notice The model's proofs are of a system that is not known here.
    error UnsupportedProofSystem(bytes4 proofSystemId);
    /// @notice The model is deprecated.
    error VerificationRefused_ModelDeprecated(uint256 modelId);

    /// @notice Reverts unless the model gives this output for this input.
    /// @param modelId The model's number in the registry.
    /// @param inputCommitment What commits to the input.
    /// @param output What the model is said to give, ABI-encoded.
    /// @param proof That it does.
    function verifyInference(
        uint256 modelId,
        bytes32 inputCommitment,
        bytes calldata output,
        bytes calldata proof
    ) external;

    /// @param modelId A model's number.
    /// @return The system of its proofs.
    function proofSystemOf(uint256 modelId) external view returns (bytes4);

    /// @return registryAddress The registry that knows the models.
    function registry() external view returns (address registryAddress);
}
