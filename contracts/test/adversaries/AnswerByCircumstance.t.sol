// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {InferenceSession} from "../../src/InferenceSession.sol";
import {ModelService} from "../../src/ModelService.sol";
import {ScannedCode} from "../../src/ScannedCode.sol";
import {IInferenceSession, Stage} from "../../src/interfaces/IInferenceSession.sol";
import {GateTerms} from "../../src/interfaces/IPromotionGate.sol";
import {IScannedCode, ProgramPart} from "../../src/interfaces/IScannedCode.sol";
import {Version} from "../../src/interfaces/IVersions.sol";
import {BoundedCall} from "../../src/libraries/BoundedCall.sol";
import {ProgramScanner} from "../../src/libraries/ProgramScanner.sol";
import {TestBase} from "../base/TestBase.sol";
import {WideProgram} from "../programs/LinearProgram.sol";
import {RawProgram} from "../programs/RawProgram.sol";

/// @notice Whoever registers a program wants its scores to depend on the time, the caller, the gas or another's code. What is
///         no function of its input is neither a version nor a stage.
contract AnswerByCircumstanceTest is TestBase {
    uint64 private constant GAS = 1_000_000;
    /// Offset 32, one score, which is below it on the stack.
    bytes private constant ONE_SCORE = hex"60405260205f52600160205260605ff3";
    address private constant ACCOUNT = address(0xACC0);

    ModelService private service;
    InferenceSession private sessions;

    function setUp() public {
        GateTerms memory none;
        service = new ModelService(address(this), none);
        sessions = new InferenceSession();
    }

    /// @dev m-6: everything of the EVM that differs from call to call, alone in a stage that is otherwise lawful.
    function test_noPartReadsWhatIsNoInput() public {
        // ADDRESS, BALANCE, ORIGIN, CALLER, CALLVALUE, GASPRICE, EXTCODESIZE, EXTCODEHASH, BLOCKHASH, COINBASE, TIMESTAMP,
        // NUMBER, PREVRANDAO, GASLIMIT, CHAINID, SELFBALANCE, BASEFEE, BLOBHASH, BLOBBASEFEE, SLOAD, TLOAD, GAS; and what
        // writes or calls: SSTORE, TSTORE, LOG0, CREATE, CALL, CALLCODE, CREATE2, SELFDESTRUCT.
        bytes memory circumstances = hex"303132333433403a3b3f404142434445464748494a545c5a555da0f0f1f2f5ff";
        for (uint256 i = 0; i < circumstances.length; ++i) {
            address part = RawProgram.deploy(abi.encodePacked(circumstances[i], ONE_SCORE));
            refuse(part, abi.encodeWithSelector(ProgramScanner.ForbiddenCode.selector, part, 0));
        }
        // The same with a constant is a program, so that it was the opcode that was refused.
        take(RawProgram.deploy(abi.encodePacked(hex"6007", ONE_SCORE)));
    }

    /// @dev An account that delegates runs what its key's holder chooses, from day to day (EIP-7702).
    function test_noPartDelegates() public {
        address target = RawProgram.deploy(abi.encodePacked(hex"6007", ONE_SCORE));
        vm.etch(ACCOUNT, abi.encodePacked(hex"ef0100", target));
        refuseAsNoCode();
        // Nor anything else that begins so.
        vm.etch(ACCOUNT, hex"ef00");
        refuseAsNoCode();
    }

    /// @dev Native actors of Filecoin and precompiles of Arbitrum have one byte of code; what they run is not it.
    function test_noPartIsNative() public {
        for (uint256 code = 0; code < 256; ++code) {
            vm.etch(ACCOUNT, abi.encodePacked(uint8(code)));
            refuseAsNoCode();
        }
    }

    /// @dev Nor are accounts without code, which could get some later.
    function test_noPartIsEmpty() public {
        address[3] memory empty = [address(0xE0A), address(1), address(4)];
        for (uint256 i = 0; i < 3; ++i) {
            ProgramPart[] memory parts = partsOf(empty[i]);
            bytes memory reason = abi.encodeWithSelector(
                IScannedCode.CodeHashMismatch.selector, empty[i], parts[0].codeHash, parts[0].codeHash
            );
            refuse(empty[i], reason);
        }
    }

    /// @dev A stage may not call what is none of its own parts, though it is another stage's.
    function test_noStageCallsAnothersPart() public {
        address other = RawProgram.deploy(hex"0001");
        address part = RawProgram.deploy(abi.encodePacked(hex"5f5f5f5f73", other, hex"5afa", ONE_SCORE));
        Stage[] memory stages = new Stage[](2);
        stages[0] = Stage(GAS, partsOf(other));
        stages[1] = Stage(GAS, partsOf(part));
        vm.expectRevert(abi.encodeWithSelector(ProgramScanner.ForbiddenCode.selector, part, 4));
        sessions.register(stages);
        stages[1].parts = new ProgramPart[](2);
        stages[1].parts[0] = partsOf(part)[0];
        stages[1].parts[1] = partsOf(other)[0];
        sessions.register(stages);
    }

    /// @dev A scan with other parts is no scan: it allowed calls of those.
    function test_aScanHoldsForItsPartsOnly() public {
        address other = RawProgram.deploy(hex"0001");
        address part = RawProgram.deploy(abi.encodePacked(hex"5f5f5f5f73", other, hex"5afa", ONE_SCORE));
        ProgramPart[] memory both = new ProgramPart[](2);
        both[0] = partsOf(part)[0];
        both[1] = partsOf(other)[0];
        sessions.scanPart(both, 0);
        service.scanPart(both, 0);
        refuse(part, abi.encodeWithSelector(ProgramScanner.ForbiddenCode.selector, part, 4));
    }

    /// @dev A stage that is a sensor of gas has one state for an input, whoever advances it with whatever gas.
    function test_gasIsNoInputOfAStage() public {
        bytes memory burner = new bytes(20_000);
        for (uint256 i = 0; i < burner.length; ++i) {
            burner[i] = 0x5b;
        }
        address part = RawProgram.deploy(burner);
        // The score is 1 if the part ran.
        address entry = RawProgram.deploy(abi.encodePacked(hex"5f5f5f5f73", part, hex"5afa", ONE_SCORE));
        uint64[2] memory limits = [uint64(15_000), 60_000];
        for (uint256 k = 0; k < 2; ++k) {
            Stage[] memory stages = new Stage[](1);
            stages[0].gas = limits[k];
            stages[0].parts = new ProgramPart[](2);
            stages[0].parts[0] = partsOf(entry)[0];
            stages[0].parts[1] = partsOf(part)[0];
            bytes32 program = sessions.register(stages);
            uint256 ended = 0;
            for (uint256 gas = 60_000; gas < 3_000_000; gas += gas / 6) {
                bytes memory call = abi.encodeCall(sessions.start, (program, hex"01"));
                (bool success, bytes memory output) = address(sessions).call{gas: gas}(call);
                if (!success) {
                    vm.assertTrue(output.length == 0 || bytes4(output) == BoundedCall.TooLittleGas.selector);
                    continue;
                }
                ++ended;
                vm.assertEq(int256(sessions.result(abi.decode(output, (uint256)))[0]), int256(k));
            }
            vm.assertTrue(ended > 3);
        }
    }

    /// @dev What a stage returns or reverts with costs no more to copy than was agreed, and scores are read in one form only.
    function test_aStageCannotEndInAnotherForm() public {
        bytes[4] memory codes = [
            // Two MiB of state; a reason of 32 KiB; a score that is no int32; nothing.
            bytes(hex"622000005ff3"),
            bytes(hex"6180005ffd"),
            abi.encodePacked(hex"638000000060405260205f52600160205260605ff3"),
            bytes(hex"5f5ff3")
        ];
        for (uint256 i = 0; i < codes.length; ++i) {
            address entry = RawProgram.deploy(codes[i]);
            Stage[] memory stages = new Stage[](1);
            stages[0] = Stage(20_000_000, partsOf(entry));
            bytes32 program = sessions.register(stages);
            vm.expectRevert(abi.encodeWithSelector(IInferenceSession.StageFailed.selector, entry, 20_000_000));
            sessions.start(program, hex"01");
        }
        vm.assertEq(sessions.sessionCount(), 0);
    }

    function refuseAsNoCode() private {
        refuse(ACCOUNT, abi.encodeWithSelector(ProgramScanner.NoCodeOfItsOwn.selector, ACCOUNT));
    }

    /// @dev As a version's entry, as a part beside a lawful entry, as a stage, and scanned beforehand.
    function refuse(address account, bytes memory reason) private {
        ProgramPart[] memory alone = partsOf(account);
        ProgramPart[] memory beside = besideLawful(account);
        vm.expectRevert(reason);
        service.register(versionOf(alone));
        vm.expectRevert(reason);
        service.register(versionOf(beside));
        ScannedCode[2] memory both = [ScannedCode(service), ScannedCode(sessions)];
        for (uint256 i = 0; i < 2; ++i) {
            vm.expectRevert(reason);
            both[i].scanPart(alone, 0);
        }
        Stage[] memory stages = new Stage[](1);
        stages[0] = Stage(GAS, alone);
        vm.expectRevert(reason);
        sessions.register(stages);
        stages[0].parts = beside;
        vm.expectRevert(reason);
        sessions.register(stages);
    }

    function take(address account) private {
        service.register(versionOf(partsOf(account)));
        Stage[] memory stages = new Stage[](1);
        stages[0] = Stage(GAS, partsOf(account));
        sessions.register(stages);
    }

    function besideLawful(address account) private returns (ProgramPart[] memory parts) {
        parts = new ProgramPart[](2);
        parts[0] = partsOf(address(new WideProgram()))[0];
        parts[1] = partsOf(account)[0];
    }

    function partsOf(address account) private view returns (ProgramPart[] memory parts) {
        parts = new ProgramPart[](1);
        parts[0] = ProgramPart(account, account.codehash);
    }

    function versionOf(ProgramPart[] memory parts) private pure returns (Version memory version) {
        version.program = parts[0].account;
        version.gas = GAS;
        version.integerOnnxDigest = keccak256("integer onnx");
        version.onnxCid = abi.encodePacked(hex"01551220", keccak256("onnx"));
        version.parts = parts;
    }
}
