// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {ModelService} from "../src/ModelService.sol";
import {IProgram} from "../src/interfaces/IProgram.sol";
import {IScannedCode} from "../src/interfaces/IScannedCode.sol";
import {IVersions, ProgramPart, Version} from "../src/interfaces/IVersions.sol";
import {FederationFixture} from "./base/FederationFixture.sol";
import {LinearProgram, PureProgram} from "./programs/LinearProgram.sol";

/// @notice Versions with and without lineage, pinned code, and predictions.
contract ModelServiceTest is FederationFixture {
    ModelService private service;
    LinearProgram private program;
    LinearProgram private part;
    uint64 private roundId;

    function setUp() public override {
        super.setUp();
        service = new ModelService(owner, noGate());
        program = new LinearProgram(100);
        part = new LinearProgram(200);
        roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, MEMBERS));
        conclude(roundId);
    }

    function test_registersAVersionOfAFinalRound() public {
        Version memory version = federatedVersion();
        vm.expectEmit();
        emit IVersions.VersionRegistered(
            1,
            address(program),
            address(federation),
            50_000,
            roundId,
            NEXT_ROOT,
            version.integerOnnxDigest,
            version.onnxCid,
            version.parts
        );
        vm.assertEq(register(version), 1);
        vm.assertEq(service.currentVersion(), 1);
        vm.assertEq(abi.encode(service.version(1)), abi.encode(version));
    }

    function test_registersAVersionWithoutLineage() public {
        Version memory version = standaloneVersion(address(program));
        register(version);
        vm.assertEq(service.version(1).federation, address(0));
        vm.assertEq(service.version(1).modelRoot, bytes32(0));
    }

    function test_registersAsManyPartsAsAnEventHolds() public {
        Version memory version = standaloneVersion(address(program));
        version.parts = new ProgramPart[](service.MAX_PARTS());
        for (uint256 i = 0; i < version.parts.length; ++i) {
            version.parts[i] = pinned(address(program));
        }
        register(version);
        vm.assertEq(service.version(1).parts.length, 100);

        version.parts = new ProgramPart[](service.MAX_PARTS() + 1);
        version.parts[0] = pinned(address(program));
        expectInvalid(version, "parts");
    }

    function test_onlyTheOwnerRegisters() public {
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, stranger));
        vm.prank(stranger);
        service.register(federatedVersion());
    }

    function test_refusesFieldsThatAreEmpty() public {
        Version memory version = federatedVersion();
        version.program = address(0);
        expectInvalid(version, "program");
        version = federatedVersion();
        version.gas = 0;
        expectInvalid(version, "gas");
        version = federatedVersion();
        version.integerOnnxDigest = 0;
        expectInvalid(version, "integerOnnxDigest");
        version = federatedVersion();
        version.onnxCid = "";
        expectInvalid(version, "onnxCid");
        version.onnxCid = new bytes(65);
        expectInvalid(version, "onnxCid");
        version = federatedVersion();
        version.parts = new ProgramPart[](0);
        expectInvalid(version, "parts");
        version = federatedVersion();
        version.program = address(part);
        expectInvalid(version, "parts");
    }

    function test_refusesLineageWithoutFederation() public {
        Version memory version = standaloneVersion(address(program));
        version.round = 1;
        expectRefused(version, abi.encodeWithSelector(IVersions.LineageWithoutFederation.selector));
        version.round = 0;
        version.modelRoot = NEXT_ROOT;
        expectRefused(version, abi.encodeWithSelector(IVersions.LineageWithoutFederation.selector));
    }

    function test_refusesRoundsThatAreNotFinal() public {
        Version memory version = federatedVersion();
        version.round = openRound();
        expectNotFinal(version);
        vm.prank(coordinator);
        federation.failRound(version.round);
        expectNotFinal(version);
        version.round = 0;
        expectNotFinal(version);
    }

    function test_refusesAnotherModelRoot() public {
        Version memory version = federatedVersion();
        version.modelRoot = INITIAL_ROOT;
        expectNotFinal(version);
    }

    function test_refusesCodeThatIsNotWhatItShouldBe() public {
        Version memory version = federatedVersion();
        version.parts[1].codeHash = address(program).codehash;
        expectRefused(version, mismatch(version.parts[1]));
    }

    function test_refusesPartsWithoutCode() public {
        Version memory version = federatedVersion();
        version.parts[1] = ProgramPart(address(0xE0A), 0);
        expectRefused(version, mismatch(version.parts[1]));
        // An account that exists but has no code.
        version.parts[1] = ProgramPart(members[0], keccak256(""));
        payable(members[0]).transfer(1);
        vm.assertEq(members[0].codehash, keccak256(""));
        expectRefused(version, mismatch(version.parts[1]));
    }

    function test_predictsWithTheServingVersion() public {
        register(federatedVersion());
        int32[] memory scores = service.predict(hex"0a141e3c");
        vm.assertEq(scores.length, 2);
        vm.assertEq(int256(scores[0]), 20);
        vm.assertEq(int256(scores[1]), -20);
        vm.assertEq(service.classify(hex"0a141e3c"), 0);
        vm.assertEq(service.classify(hex"00000001"), 1);
    }

    function test_predictsWithAnOlderVersion() public {
        register(federatedVersion());
        register(standaloneVersion(address(part)));
        vm.assertEq(int256(service.predict(hex"0a141e3c")[0]), -80);
        vm.assertEq(int256(service.predictWith(2, hex"0a141e3c")[0]), -80);
        vm.assertEq(int256(service.predictWith(1, hex"0a141e3c")[0]), 20);
    }

    function test_refusesUnknownVersions() public {
        bytes memory unknown = abi.encodeWithSelector(IVersions.UnknownVersion.selector, 0);
        vm.expectRevert(unknown);
        service.predict(hex"0a141e3c");
        vm.expectRevert(unknown);
        service.classify(hex"0a141e3c");
        vm.expectRevert(unknown);
        service.decide(hex"0a141e3c", 0, 0, type(uint64).max);
        register(federatedVersion());
        vm.expectRevert(abi.encodeWithSelector(IVersions.UnknownVersion.selector, 2));
        service.predictWith(2, hex"0a141e3c");
        vm.expectRevert(abi.encodeWithSelector(IVersions.UnknownVersion.selector, 2));
        service.version(2);
    }

    function test_passesOnWhatTheProgramRevertsWith() public {
        register(federatedVersion());
        bytes memory reason = abi.encodeWithSelector(PureProgram.WrongInputLength.selector, 3, 4);
        vm.expectRevert(reason);
        service.predict(hex"0a141e");
        vm.expectRevert(reason);
        service.classify(hex"0a141e");
        vm.expectRevert(reason);
        service.predictWith(1, hex"0a141e");
        vm.expectRevert(reason);
        service.decide(hex"0a141e", 1, 0, type(uint64).max);
    }

    function test_doesNotServeCodeThatChanged() public {
        register(federatedVersion());
        Version memory version = service.version(1);
        vm.etch(address(part), address(program).code);
        bytes memory changed = mismatch(version.parts[1]);
        vm.expectRevert(changed);
        service.predict(hex"0a141e3c");
        vm.expectRevert(changed);
        service.predictWith(1, hex"0a141e3c");
        vm.expectRevert(changed);
        service.classify(hex"0a141e3c");
        vm.expectRevert(changed);
        service.decide(hex"0a141e3c", 1, 0, type(uint64).max);
    }

    function testFuzz_servesWhatTheProgramComputes(bytes4 input) public {
        register(federatedVersion());
        vm.assertEq(
            abi.encode(service.predict(abi.encodePacked(input))),
            abi.encode(IProgram(address(program)).predict(abi.encodePacked(input)))
        );
        vm.assertEq(
            service.classify(abi.encodePacked(input)),
            IProgram(address(program)).classify(abi.encodePacked(input))
        );
    }

    function federatedVersion() private view returns (Version memory version) {
        version = standaloneVersion(address(program));
        version.federation = address(federation);
        version.round = roundId;
        version.modelRoot = NEXT_ROOT;
        version.parts = new ProgramPart[](2);
        version.parts[0] = pinned(address(program));
        version.parts[1] = pinned(address(part));
    }

    function standaloneVersion(address entry) private view returns (Version memory version) {
        version.program = entry;
        version.gas = 50_000;
        version.integerOnnxDigest = keccak256("integer onnx");
        version.onnxCid = cidOf("onnx");
        version.parts = new ProgramPart[](1);
        version.parts[0] = pinned(entry);
    }

    function pinned(address account) private view returns (ProgramPart memory) {
        return ProgramPart(account, account.codehash);
    }

    function mismatch(ProgramPart memory expected) private view returns (bytes memory) {
        return abi.encodeWithSelector(
            IScannedCode.CodeHashMismatch.selector,
            expected.account,
            expected.codeHash,
            expected.account.codehash
        );
    }

    function register(Version memory version) private returns (uint256 id) {
        vm.prank(owner);
        return service.register(version);
    }

    function expectRefused(Version memory version, bytes memory reason) private {
        vm.expectRevert(reason);
        register(version);
    }

    function expectInvalid(Version memory version, string memory field) private {
        expectRefused(version, abi.encodeWithSelector(IVersions.InvalidVersion.selector, field));
    }

    function expectNotFinal(Version memory version) private {
        expectRefused(
            version,
            abi.encodeWithSelector(
                IVersions.RoundNotFinal.selector, version.federation, version.round, version.modelRoot
            )
        );
    }
}
