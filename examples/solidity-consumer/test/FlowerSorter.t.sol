// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {FeeTerms, IDecisions} from "@fedvm/contracts/src/interfaces/IDecisions.sol";
import {IModelService} from "@fedvm/contracts/src/interfaces/IModelService.sol";
import {IProgram} from "@fedvm/contracts/src/interfaces/IProgram.sol";
import {GateTerms} from "@fedvm/contracts/src/interfaces/IPromotionGate.sol";
import {IVersions, ProgramPart, Version} from "@fedvm/contracts/src/interfaces/IVersions.sol";

import {FlowerSorter} from "../src/FlowerSorter.sol";

/// @notice The cheatcodes that are used. Source: the Foundry book's cheatcode reference.
interface Vm {
    function readFile(string calldata path) external view returns (string memory);
    function readFileBinary(string calldata path) external view returns (bytes memory);
    function parseJsonBytes(string calldata json, string calldata key) external pure returns (bytes memory);
    function parseJsonBytesArray(string calldata json, string calldata key)
        external
        pure
        returns (bytes[] memory);
    function parseJsonIntArray(string calldata json, string calldata key)
        external
        pure
        returns (int256[] memory);
    function parseJsonUint(string calldata json, string calldata key) external pure returns (uint256);
    function parseJsonUintArray(string calldata json, string calldata key)
        external
        pure
        returns (uint256[] memory);
    function toString(uint256 value) external pure returns (string memory);
    function expectRevert(bytes calldata data) external;
    function expectEmit() external;
    function deal(address account, uint256 balance) external;
    function assertEq(uint256 left, uint256 right) external pure;
    function assertEq(int256 left, int256 right) external pure;
}

/// @notice The sorter on the program that `fedvm compile` wrote, behind the ModelService that FedVM ships.
contract FlowerSorterTest {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    string private expected;
    bytes[] private flowers;
    uint256[] private species;
    IProgram private program;
    IModelService private service;
    FlowerSorter private sorter;

    error WrongInputLength(uint256 expected, uint256 actual);

    function setUp() public {
        expected = vm.readFile("program/expected.json");
        flowers = vm.parseJsonBytesArray(expected, ".inputs");
        species = vm.parseJsonUintArray(expected, ".labels");
        program = IProgram(created(creationCode(vm.readFileBinary("program/entry.bin"))));
        string memory artifact = vm.readFile("../../src/fedvm/chain/artifacts/ModelService.json");
        GateTerms memory noGate;
        service = IModelService(
            created(bytes.concat(vm.parseJsonBytes(artifact, ".bytecode"), abi.encode(address(this), noGate)))
        );
        service.register(version());
        sorter = new FlowerSorter(program, service);
    }

    /// Every answer is that of ONNX Runtime on the same integers, score by score.
    function test_looksAsOnnxRuntimeDoes() public view {
        require(flowers.length == 30, "no flowers");
        for (uint256 i = 0; i < flowers.length; ++i) {
            (uint256 label, int32[] memory scores) = sorter.look(flowers[i]);
            int256[] memory wanted =
                vm.parseJsonIntArray(expected, string.concat(".scores[", vm.toString(i), "]"));
            vm.assertEq(label, species[i]);
            vm.assertEq(scores.length, wanted.length);
            for (uint256 j = 0; j < scores.length; ++j) {
                vm.assertEq(scores[j], wanted[j]);
            }
        }
    }

    function test_sortsOnRecord() public {
        for (uint256 i = 0; i < flowers.length; ++i) {
            vm.expectEmit();
            emit FlowerSorter.Sorted(i + 1, species[i]);
            sorter.sort(flowers[i], 1);
        }
        vm.assertEq(service.decisionCount(), 30);
        vm.assertEq(sorter.sorted(0) + sorter.sorted(1) + sorter.sorted(2), 30);
        vm.assertEq(uint160(service.lineage(30).program), uint160(address(program)));
    }

    function test_paysTheFeeToTheWei() public {
        service.setFee(1, FeeTerms({amount: 1000, treasury: address(0xFEE), treasuryPpm: 0}));
        vm.deal(address(this), 5000);
        vm.expectRevert(abi.encodeWithSelector(FlowerSorter.WrongFee.selector, 0, 1000));
        sorter.sort(flowers[0], 1);
        vm.expectRevert(abi.encodeWithSelector(FlowerSorter.WrongFee.selector, 1001, 1000));
        sorter.sort{value: 1001}(flowers[0], 1);
        sorter.sort{value: 1000}(flowers[0], 1);
        vm.assertEq(address(service).balance, 1000);
        vm.assertEq(address(sorter).balance, 0);
    }

    function test_refusesBytesThatAreNoFlower() public {
        bytes memory flower = bytes.concat(flowers[0], hex"00");
        bytes memory reason =
            abi.encodeWithSelector(WrongInputLength.selector, flowers[0].length, flower.length);
        vm.expectRevert(reason);
        sorter.look(flower);
        vm.expectRevert(reason);
        sorter.sort(flower, 1);
        vm.assertEq(service.decisionCount(), 0);
    }

    function test_noticesThatAnotherVersionServes() public {
        service.register(version());
        vm.expectRevert(abi.encodeWithSelector(IVersions.VersionMismatch.selector, 1, 2));
        sorter.sort(flowers[0], 1);
    }

    /// A version without a federation: nobody trained this model together.
    function version() private view returns (Version memory made) {
        string memory manifest = vm.readFile("program/manifest.json");
        made.program = address(program);
        made.gas = uint64(vm.parseJsonUint(manifest, ".gas.evm") + 10_000);
        made.integerOnnxDigest = sha256(vm.readFileBinary("program/model.int.onnx"));
        made.onnxCid = bytes.concat(hex"01551220", sha256(vm.readFileBinary("model.onnx")));
        made.parts = new ProgramPart[](1);
        made.parts[0] = ProgramPart({account: address(program), codeHash: address(program).codehash});
    }

    /// Code that returns `runtime`: PUSH2 length, DUP1, PUSH1 10, PUSH0, CODECOPY, PUSH0, RETURN.
    function creationCode(bytes memory runtime) private pure returns (bytes memory) {
        return abi.encodePacked(hex"61", uint16(runtime.length), hex"80600a5f395ff3", runtime);
    }

    function created(bytes memory code) private returns (address made) {
        assembly ("memory-safe") {
            made := create(0, add(code, 32), mload(code))
        }
        require(made != address(0), "not created");
    }
}
