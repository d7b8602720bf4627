// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModelService} from "../src/ModelService.sol";
import {GateTerms, IPromotionGate} from "../src/interfaces/IPromotionGate.sol";
import {IScannedCode} from "../src/interfaces/IScannedCode.sol";
import {IVersions, ProgramPart} from "../src/interfaces/IVersions.sol";
import {ProgramScanner} from "../src/libraries/ProgramScanner.sol";
import {Pool, SamplePool} from "../src/libraries/SamplePool.sol";
import {Sample, SampleTree} from "../src/libraries/SampleTree.sol";
import {AccuracyTest, SequentialTest, Thresholds} from "../src/libraries/SequentialTest.sol";
import {GateFixture} from "./base/GateFixture.sol";
import {TestBase} from "./base/TestBase.sol";
import {FICKLE_KINDS, FickleProgram} from "./programs/LinearProgram.sol";

/// @notice Which code is a program.
contract ProgramScannerTest is TestBase {
    ModelService private service;
    address private constant CODE = address(0xC0DE);
    address private constant PART = address(0x9A27);

    function setUp() public {
        GateTerms memory none;
        service = new ModelService(address(this), none);
        vm.etch(PART, hex"0000");
    }

    function test_allowsTheOpcodesOfPrograms() public {
        bytes memory allowed =
            hex"000102030405060708090a0b101112131415161718191a1b1c1d35363738393d3e50515253565b5e5ff3fdfe57";
        for (uint256 opcode = 0; opcode < 256; ++opcode) {
            bool expected = opcode >= 0x5f && opcode < 0xa0;
            for (uint256 i = 0; i < allowed.length; ++i) {
                if (uint8(allowed[i]) == opcode) expected = true;
            }
            // A first byte that makes it no data, then enough for every PUSH.
            bytes memory code = abi.encodePacked(uint8(0x5b), uint8(opcode), new bytes(32));
            vm.etch(CODE, code);
            if (!expected) expectForbidden(1);
            service.scanPart(parts(), 0);
        }
    }

    function test_skipsWhatIsPushed() public {
        for (uint256 width = 1; width <= 32; ++width) {
            bytes memory code = new bytes(width + 2);
            code[0] = bytes1(uint8(0x5f + width));
            for (uint256 i = 1; i <= width; ++i) {
                code[i] = 0xff;
            }
            vm.etch(CODE, code);
            service.scanPart(parts(), 0);
            // SELFDESTRUCT after what is pushed.
            code[width + 1] = 0xff;
            vm.etch(CODE, code);
            expectForbidden(width + 1);
            service.scanPart(parts(), 0);
        }
    }

    function test_refusesAPushThatIsCutOff() public {
        for (uint256 width = 1; width <= 32; ++width) {
            vm.etch(CODE, abi.encodePacked(uint8(0x5b), uint8(0x5f + width), new bytes(width - 1)));
            expectForbidden(1);
            service.scanPart(parts(), 0);
        }
    }

    function test_callsAndReadsItsOwnPartsOnly() public {
        allow(abi.encodePacked(hex"73", PART, hex"5afa50"));
        allow(abi.encodePacked(hex"73", PART, hex"5af4"));
        allow(abi.encodePacked(hex"73", PART, hex"3c"));
        allow(abi.encodePacked(hex"73", PART));
        allow(abi.encodePacked(hex"73", CODE, hex"5afa"));
        allow(abi.encodePacked(hex"73", address(1)));
        // Another address, GAS without a call, a call without GAS, and an address from elsewhere.
        forbid(abi.encodePacked(hex"73", address(1), hex"5afa"), 1);
        forbid(abi.encodePacked(hex"73", address(1), hex"3c"), 1);
        forbid(abi.encodePacked(hex"73", PART, hex"5a50"), 1);
        forbid(abi.encodePacked(hex"73", PART, hex"5a"), 1);
        forbid(abi.encodePacked(hex"73", PART, hex"5af1"), 1);
        forbid(abi.encodePacked(hex"73", PART, hex"fa"), 22);
        forbid(abi.encodePacked(hex"73", PART, hex"505afa"), 23);
        forbid(abi.encodePacked(hex"73", PART, hex"503c"), 23);
        forbid(hex"5afa", 1);
    }

    function test_takesCodeThatBeginsWithStopForData() public {
        vm.etch(CODE, hex"00ff");
        service.scanPart(parts(), 0);
    }

    function test_scansOnlyWhatIsPinned() public {
        vm.etch(CODE, hex"5b");
        ProgramPart[] memory changed = parts();
        changed[0].codeHash = keccak256(hex"5c");
        vm.expectRevert(
            abi.encodeWithSelector(
                IScannedCode.CodeHashMismatch.selector, CODE, changed[0].codeHash, CODE.codehash
            )
        );
        service.scanPart(changed, 0);
    }

    function allow(bytes memory code) private {
        vm.etch(CODE, abi.encodePacked(hex"5b", code));
        service.scanPart(parts(), 0);
    }

    function forbid(bytes memory code, uint256 position) private {
        vm.etch(CODE, abi.encodePacked(hex"5b", code));
        expectForbidden(position);
        service.scanPart(parts(), 0);
    }

    function expectForbidden(uint256 position) private {
        vm.expectRevert(abi.encodeWithSelector(ProgramScanner.ForbiddenCode.selector, CODE, position));
    }

    function parts() private view returns (ProgramPart[] memory made) {
        made = new ProgramPart[](2);
        made[0] = ProgramPart(CODE, CODE.codehash);
        made[1] = ProgramPart(PART, PART.codehash);
    }
}

/// @notice The library's function over calldata.
contract SampleTreeCaller {
    function rootOf(uint32 count, uint32 index, Sample calldata sample) external pure returns (bytes32) {
        return SampleTree.rootOf(count, index, sample);
    }
}

/// @notice Ways of samples to their root.
contract SampleTreeTest is TestBase {
    SampleTreeCaller private caller = new SampleTreeCaller();

    function test_waysHaveTheHeightOfTheTree() public view {
        uint32[7] memory counts = [uint32(1), 2, 3, 4, 5, 8, 9];
        uint8[7] memory heights = [0, 1, 2, 2, 3, 3, 4];
        for (uint256 i = 0; i < counts.length; ++i) {
            for (uint256 height = 0; height <= 6; ++height) {
                Sample memory sample = Sample(bytes32(0), 1, hex"0102", new bytes32[](height));
                bool leads = caller.rootOf(counts[i], 0, sample) != 0;
                vm.assertTrue(leads == (height == heights[i]));
            }
        }
    }
}

/// @notice The test's integers, and draws from the pool.
contract GateArithmeticTest is TestBase {
    Pool private pool;

    /// @dev Values of Python's `decimal` with 50 digits.
    function test_computesLogarithms() public pure {
        vm.assertEq(SequentialTest.lnMicros(1, 1), 0);
        vm.assertEq(SequentialTest.lnMicros(2, 1), 693_147);
        vm.assertEq(SequentialTest.lnMicros(3, 2), 405_465);
        vm.assertEq(SequentialTest.lnMicros(1_000_000, 999_999), 1);
        vm.assertEq(SequentialTest.lnMicros(1_000_000, 1), 13_815_510);
        vm.assertEq(SequentialTest.lnMicros(930_000, 800_000), 150_572);
    }

    function test_roundsAgainstTheVersion() public pure {
        Thresholds memory test = SequentialTest.thresholds(AccuracyTest(800_000, 930_000, 10_000, 50_000));
        vm.assertEq(test.gain, 150_572);
        vm.assertEq(test.loss, 1_049_823);
        vm.assertEq(test.passAt, 4_605_171);
        vm.assertEq(test.failAt, 2_995_733);
    }

    function testFuzz_logarithmsAdd(uint256 a, uint256 b, uint256 c) public pure {
        c = bound(c, 1, 1_000_000);
        b = bound(b, c, 1_000_000);
        a = bound(a, b, 1_000_000);
        uint256 whole = SequentialTest.lnMicros(a, c);
        uint256 sum = uint256(SequentialTest.lnMicros(a, b)) + SequentialTest.lnMicros(b, c);
        vm.assertLe(sum, whole);
        vm.assertLe(whole, sum + 1);
    }

    function testFuzz_drawsEveryIndexOnce(uint256 seed, uint256 count) public {
        count = bound(count, 1, 40);
        pool.remaining = uint32(count);
        bool[] memory seen = new bool[](count);
        for (uint256 i = 0; i < count; ++i) {
            uint32 index = SamplePool.draw(pool, uint256(keccak256(abi.encode(seed, i))));
            vm.assertFalse(seen[index]);
            seen[index] = true;
        }
        vm.assertEq(pool.remaining, 0);
    }
}

/// @notice Programs that give no answer: failing is an answer, and a wrong one.
contract FickleProgramTest is GateFixture {
    uint32 private constant NONE = type(uint32).max;

    /// @dev The first byte says how to misbehave. One label is what stands for no answer.
    function sampleOf(uint256 i) internal pure override returns (Sample memory sample) {
        sample.salt = bytes32(i);
        sample.label = i % FICKLE_KINDS == 13 ? NONE : 0;
        sample.input = abi.encodePacked(uint8(i % FICKLE_KINDS), uint8(i), uint16(0));
    }

    function defaultGate() internal view override returns (GateTerms memory terms) {
        terms = super.defaultGate();
        terms.test = AccuracyTest(1, 2, 1, 1);
        terms.maxSamples = uint32(SAMPLES);
    }

    function test_noAnswerIsWrong() public {
        uint256 id = register(federatedVersion(address(new FickleProgram())));
        draw();
        uint256 correct = 0;
        for (uint32 i = 0; i < SAMPLES && gate.pendingTrial() != 0; ++i) {
            Sample[] memory drawn = next(1);
            uint8 kind = uint8(drawn[0].input[0]);
            bool answers = kind < 2;
            if (answers) ++correct;
            vm.expectEmit();
            emit IPromotionGate.SampleAsked(
                id, uint8(drawn[0].input[1]), i, drawn[0].label, answers ? 0 : NONE, NONE
            );
            gate.runSamples(i, drawn);
            vm.assertEq(uint256(gate.trial(id).right), correct);
        }
        vm.assertTrue(gate.trial(id).asked > correct);
    }
}
