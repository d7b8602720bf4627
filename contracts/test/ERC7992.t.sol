// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC165} from "@openzeppelin/contracts/utils/introspection/IERC165.sol";

import {ModelService} from "../src/ModelService.sol";
import {ExecutionVerifier} from "../src/adapters/ExecutionVerifier.sol";
import {
    ERC7992Errors,
    IERC7992Registry,
    IERC7992Verifier,
    ModelCommitment
} from "../src/adapters/IERC7992.sol";
import {VersionRegistry} from "../src/adapters/VersionRegistry.sol";
import {GateTerms} from "../src/interfaces/IPromotionGate.sol";
import {IVersions, ProgramPart, Version} from "../src/interfaces/IVersions.sol";
import {TestBase} from "./base/TestBase.sol";
import {LinearProgram, PureProgram} from "./programs/LinearProgram.sol";

/// @notice Versions of a service as ERC-7992's models, and what verifying an inference of theirs says.
contract ERC7992Test is TestBase {
    bytes private constant INPUT = hex"01020304";
    bytes32 private constant SALT = keccak256("salt");
    address private constant STRANGER = address(0xBAD);

    ModelService private service;
    VersionRegistry private registry;
    ExecutionVerifier private verifier;
    uint256 private modelId;

    function setUp() public {
        GateTerms memory noGate;
        service = new ModelService(address(this), noGate);
        serve(new LinearProgram(100), "first");
        serve(new LinearProgram(200), "second");
        registry = new VersionRegistry(service);
        verifier = new ExecutionVerifier(registry);
        // The second version is the first model: the numbers differ.
        modelId = registry.registerModel(commitment(2, "ipfs://model"));
    }

    /// The identifiers that follow from the draft's own signatures.
    function test_saysWhatItIs() public view {
        bytes4 registryId = bytes4(keccak256("registerModel((bytes32,bytes32,bytes32,bytes4,string))"))
            ^ bytes4(keccak256("updateModel(uint256,(bytes32,bytes32,bytes32,bytes4,string))"))
            ^ bytes4(keccak256("deprecateModel(uint256)")) ^ bytes4(keccak256("getModel(uint256)"));
        bytes4 verifierId = bytes4(keccak256("verifyInference(uint256,bytes32,bytes,bytes)"))
            ^ bytes4(keccak256("proofSystemOf(uint256)")) ^ bytes4(keccak256("registry()"));
        vm.assertTrue(registry.supportsInterface(registryId));
        vm.assertTrue(verifier.supportsInterface(verifierId));
        vm.assertFalse(registry.supportsInterface(verifierId));
        vm.assertFalse(verifier.supportsInterface(registryId));
        vm.assertTrue(registry.supportsInterface(type(IERC165).interfaceId));
        vm.assertTrue(verifier.supportsInterface(type(IERC165).interfaceId));
        vm.assertFalse(registry.supportsInterface(0xffffffff));
        vm.assertFalse(verifier.supportsInterface(0xffffffff));
        vm.assertEq(verifier.registry(), address(registry));
        vm.assertEq(bytes32(verifier.proofSystemOf(modelId)), bytes32(bytes4(keccak256("evm-execution-v1"))));
    }

    function test_commitsToTheVersion() public view {
        Version memory version = service.version(2);
        (ModelCommitment memory found, bool deprecated, address owner) = registry.getModel(modelId);
        vm.assertEq(modelId, 1);
        vm.assertEq(found.modelHash, version.integerOnnxDigest);
        vm.assertEq(found.circuitHash, keccak256(bytes.concat(version.parts[0].codeHash)));
        vm.assertEq(uint256(found.vkHash), 2);
        vm.assertEq(bytes(found.uri), "ipfs://model");
        vm.assertFalse(deprecated);
        vm.assertEq(owner, address(this));
    }

    function test_registersEachVersionOnce() public {
        ModelCommitment memory first = commitment(1, "");
        vm.expectEmit();
        emit IERC7992Registry.ModelRegistered(2, address(this), first);
        vm.assertEq(registry.registerModel(first), 2);
        vm.assertEq(registry.modelCount(), 2);
        vm.assertEq(registry.modelOf(1), 2);
        vm.assertEq(registry.modelOf(2), 1);
        ModelCommitment memory again = commitment(2, "ipfs://other");
        vm.expectRevert(abi.encodeWithSelector(VersionRegistry.AlreadyRegistered.selector, 2, 1));
        registry.registerModel(again);
    }

    function test_refusesCommitmentsToAnythingElse() public {
        ModelCommitment memory wrong = commitment(1, "");
        wrong.modelHash ^= bytes32(uint256(1));
        refused(wrong, "modelHash");
        wrong = commitment(1, "");
        wrong.circuitHash ^= bytes32(uint256(1));
        refused(wrong, "circuitHash");
        wrong = commitment(1, "");
        wrong.proofSystemId = bytes4(keccak256("groth16-bn254-v1"));
        refused(wrong, "proofSystemId");
        wrong = commitment(1, "");
        wrong.vkHash = bytes32(uint256(2));
        refused(wrong, "modelHash");
        wrong.vkHash = bytes32(uint256(3));
        vm.expectRevert(abi.encodeWithSelector(IVersions.UnknownVersion.selector, 3));
        registry.registerModel(wrong);
    }

    function test_onlyTheOwnerOfTheServiceRegisters() public {
        ModelCommitment memory first = commitment(1, "");
        vm.expectRevert(abi.encodeWithSelector(VersionRegistry.NotServiceOwner.selector, STRANGER));
        vm.prank(STRANGER);
        registry.registerModel(first);
    }

    function test_theModelsGoWithTheService() public {
        service.transferOwnership(STRANGER);
        vm.prank(STRANGER);
        service.acceptOwnership();
        vm.expectRevert(
            abi.encodeWithSelector(IERC7992Registry.NotModelOwner.selector, modelId, address(this))
        );
        registry.deprecateModel(modelId);
        vm.prank(STRANGER);
        registry.deprecateModel(modelId);
        (, bool deprecated, address owner) = registry.getModel(modelId);
        vm.assertTrue(deprecated);
        vm.assertEq(owner, STRANGER);
    }

    function test_changesTheUriAlone() public {
        ModelCommitment memory old = commitment(2, "ipfs://model");
        ModelCommitment memory changed = commitment(2, "ipfs://moved");
        vm.expectRevert(abi.encodeWithSelector(IERC7992Registry.NotModelOwner.selector, modelId, STRANGER));
        vm.prank(STRANGER);
        registry.updateModel(modelId, changed);
        vm.expectEmit();
        emit IERC7992Registry.ModelUpdated(modelId, old, changed);
        registry.updateModel(modelId, changed);
        (ModelCommitment memory found,,) = registry.getModel(modelId);
        vm.assertEq(bytes(found.uri), "ipfs://moved");

        ModelCommitment memory other = commitment(1, "");
        vm.expectRevert(abi.encodeWithSelector(VersionRegistry.WrongCommitment.selector, "vkHash"));
        registry.updateModel(modelId, other);
        changed.modelHash = 0;
        vm.expectRevert(abi.encodeWithSelector(VersionRegistry.WrongCommitment.selector, "modelHash"));
        registry.updateModel(modelId, changed);
    }

    function test_knowsNoOtherModel() public {
        ModelCommitment memory first = commitment(1, "");
        bytes memory reason = abi.encodeWithSelector(IERC7992Registry.ModelNotFound.selector, 2);
        vm.expectRevert(reason);
        registry.getModel(2);
        vm.expectRevert(reason);
        registry.updateModel(2, first);
        vm.expectRevert(reason);
        registry.deprecateModel(2);
        vm.expectRevert(reason);
        verifier.proofSystemOf(2);
        vm.expectRevert(reason);
        verifier.infer(2, INPUT, SALT);
        vm.expectRevert(reason);
        verifier.verifyInference(2, 0, "", "");
    }

    function test_verifiesWhatItComputed() public {
        (bytes32 committed, bytes memory output) = verifier.infer(modelId, INPUT, SALT);
        vm.assertEq(output, scores(10 - 200));
        vm.assertEq(committed, verifier.commitmentTo(keccak256(INPUT), SALT));
        vm.expectEmit();
        emit IERC7992Verifier.InferenceVerified(modelId, committed, output, STRANGER);
        vm.prank(STRANGER);
        verifier.verifyInference(modelId, committed, output, "");

        vm.expectRevert(abi.encodeWithSelector(IERC7992Verifier.OutputMismatch.selector));
        verifier.verifyInference(modelId, committed, scores(10 - 201), "");
        vm.expectRevert(abi.encodeWithSelector(IERC7992Verifier.OutputMismatch.selector));
        verifier.verifyInference(modelId, committed, bytes.concat(output, hex"00"), "");
        vm.expectRevert(abi.encodeWithSelector(IERC7992Verifier.OutputMismatch.selector));
        verifier.verifyInference(modelId, committed, "", "");
    }

    function test_verifiesNothingThatItDidNotCompute() public {
        verifier.infer(modelId, INPUT, SALT);
        uint256 other = registry.registerModel(commitment(1, ""));
        bytes32 committed = verifier.commitmentTo(keccak256(INPUT), SALT);
        vm.expectRevert(abi.encodeWithSelector(ExecutionVerifier.NotComputed.selector, other, committed));
        verifier.verifyInference(other, committed, scores(10 - 100), "");
        bytes32 salted = verifier.commitmentTo(keccak256(INPUT), 0);
        vm.expectRevert(abi.encodeWithSelector(ExecutionVerifier.NotComputed.selector, modelId, salted));
        verifier.verifyInference(modelId, salted, scores(10 - 200), "");
    }

    function test_verifiesAnOpeningByRunningTheModel() public {
        bytes32 committed = verifier.commitmentTo(keccak256(INPUT), SALT);
        bytes memory opening = abi.encode(SALT, INPUT);
        verifier.verifyInference(modelId, committed, scores(10 - 200), opening);
        vm.expectRevert(abi.encodeWithSelector(IERC7992Verifier.OutputMismatch.selector));
        verifier.verifyInference(modelId, committed, scores(10 - 100), opening);
        vm.expectRevert(abi.encodeWithSelector(IERC7992Verifier.InputCommitmentMismatch.selector));
        verifier.verifyInference(modelId, committed, scores(10 - 200), abi.encode(bytes32(0), INPUT));
        vm.expectRevert(abi.encodeWithSelector(IERC7992Verifier.InputCommitmentMismatch.selector));
        verifier.verifyInference(modelId, committed, scores(10 - 200), abi.encode(SALT, hex"01020305"));
        // An opening is not remembered.
        vm.expectRevert(abi.encodeWithSelector(ExecutionVerifier.NotComputed.selector, modelId, committed));
        verifier.verifyInference(modelId, committed, scores(10 - 200), "");
        // Bytes that open nothing.
        vm.expectRevert("");
        verifier.verifyInference(modelId, committed, scores(10 - 200), hex"01");
    }

    /// Whole transactions, with a program of some hundred gas.
    function test_costs() public {
        (bytes32 committed, bytes memory output) = verifier.infer(modelId, INPUT, SALT);
        vm.snapshotGasLastCall("ExecutionVerifier", "infer");
        verifier.verifyInference(modelId, committed, output, "");
        vm.snapshotGasLastCall("ExecutionVerifier", "verify, empty proof");
        verifier.verifyInference(modelId, committed, output, abi.encode(SALT, INPUT));
        vm.snapshotGasLastCall("ExecutionVerifier", "verify, by running the model");
    }

    function test_handsOnWhatTheProgramSaysOfAWrongInput() public {
        bytes memory reason = abi.encodeWithSelector(PureProgram.WrongInputLength.selector, 3, 4);
        vm.expectRevert(reason);
        verifier.infer(modelId, hex"010203", SALT);
        bytes32 committed = verifier.commitmentTo(keccak256(hex"010203"), SALT);
        vm.expectRevert(reason);
        verifier.verifyInference(modelId, committed, "", abi.encode(SALT, hex"010203"));
    }

    function test_refusesADeprecatedModel() public {
        (bytes32 committed, bytes memory output) = verifier.infer(modelId, INPUT, SALT);
        vm.expectEmit();
        emit IERC7992Registry.ModelDeprecated(modelId);
        registry.deprecateModel(modelId);
        bytes memory reason =
            abi.encodeWithSelector(IERC7992Verifier.VerificationRefused_ModelDeprecated.selector, modelId);
        vm.expectRevert(reason);
        verifier.verifyInference(modelId, committed, output, "");
        vm.expectRevert(reason);
        verifier.infer(modelId, INPUT, SALT);
        vm.expectRevert(abi.encodeWithSelector(ERC7992Errors.ModelDeprecated.selector, modelId));
        registry.deprecateModel(modelId);
    }

    function test_commitmentsAreOfOneChainAndOneVerifier() public {
        bytes32 committed = verifier.commitmentTo(keccak256(INPUT), SALT);
        vm.assertTrue(committed != new ExecutionVerifier(registry).commitmentTo(keccak256(INPUT), SALT));
        vm.chainId(314);
        vm.assertTrue(committed != verifier.commitmentTo(keccak256(INPUT), SALT));
    }

    function testFuzz_theOutputIsTheServicesOwn(uint32 input, bytes32 salt) public {
        bytes memory bytes_ = abi.encodePacked(input);
        (bytes32 committed, bytes memory output) = verifier.infer(modelId, bytes_, salt);
        vm.assertEq(output, abi.encode(service.predictWith(2, bytes_)));
        verifier.verifyInference(modelId, committed, output, "");
        verifier.verifyInference(modelId, committed, output, abi.encode(salt, bytes_));
    }

    function refused(ModelCommitment memory wrong, string memory field) private {
        vm.expectRevert(abi.encodeWithSelector(VersionRegistry.WrongCommitment.selector, field));
        registry.registerModel(wrong);
    }

    function commitment(uint256 version, string memory uri)
        private
        view
        returns (ModelCommitment memory made)
    {
        made = registry.commitmentOf(version);
        made.uri = uri;
    }

    function scores(int32 first) private pure returns (bytes memory) {
        int32[] memory both = new int32[](2);
        (both[0], both[1]) = (first, -first);
        return abi.encode(both);
    }

    function serve(LinearProgram program, string memory name) private {
        Version memory version;
        version.program = address(program);
        version.gas = 50_000;
        version.integerOnnxDigest = keccak256(bytes(name));
        version.onnxCid = bytes.concat(hex"01551220", sha256(bytes(name)));
        version.parts = new ProgramPart[](1);
        version.parts[0] = ProgramPart(address(program), address(program).codehash);
        service.register(version);
    }
}
