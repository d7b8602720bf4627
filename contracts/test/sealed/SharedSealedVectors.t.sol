// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Division, Groups} from "../../src/libraries/Groups.sol";
import {Rules} from "../../src/libraries/RulesLib.sol";
import {SealedRules, SealedRulesLib} from "../../src/libraries/SealedRulesLib.sol";
import {Enrol, Masked, SealedTypes} from "../../src/libraries/SealedTypes.sol";
import {Shuffle} from "../../src/libraries/Shuffle.sol";
import {SealedCaller} from "./SealedCaller.sol";
import {SealedVectorsFile} from "./SealedVectorsFile.sol";

/// @notice Rules, draw, groups, streams and typed data of sealed rounds are those of the Python package.
contract SharedSealedVectorsTest is SealedVectorsFile {
    SealedCaller private caller = new SealedCaller();

    function test_rules() public view {
        vm.assertEq(SealedRulesLib.hash(sealedRules()), this.word(".sealedRules.digest"));
        uint256 refused = 0;
        for (uint256 i = 0; this.exists(item(".laneBytes", i)); ++i) {
            string memory key = item(".laneBytes", i);
            SealedRules memory sealed_;
            sealed_.groupSize = uint16(this.number(field(key, "groupSize")));
            sealed_.noiseSquares = uint128(this.number(field(key, "noiseSquares")));
            Rules memory rules;
            rules.maxExamples = uint32(this.number(field(key, "maxWeight")));
            rules.maxSharePpm = 1_000_000;
            rules.maxSumSquares = uint128(this.number(field(key, "maxSumSquares")));
            (bool isNarrow, bytes memory result) =
                address(caller).staticcall(abi.encodeCall(caller.laneBytes, (sealed_, rules)));
            if (isNarrow) {
                vm.assertEq(abi.decode(result, (uint256)), this.number(field(key, "laneBytes")));
            } else {
                vm.assertEq(bytes32(bytes4(result)), bytes32(SealedRulesLib.LanesTooWide.selector));
                ++refused;
            }
        }
        vm.assertEq(refused, 2);
    }

    function test_draw() public view {
        uint256 drawn = 0;
        for (uint256 i = 0; this.exists(item(".shuffles", i)); ++i) {
            string memory key = item(".shuffles", i);
            bytes32 seed = this.word(field(key, "seed"));
            int256[] memory places = this.numbers(field(key, "places"));
            for (uint256 index = 0; index < places.length; ++index) {
                vm.assertEq(Shuffle.placeOf(seed, index, places.length), uint256(places[index]));
                ++drawn;
            }
        }
        vm.assertTrue(drawn > 1000);
    }

    function test_groups() public view {
        uint256 shapes = 0;
        for (; this.exists(item(".shapes", shapes)); ++shapes) {
            string memory key = item(".shapes", shapes);
            Division memory division = Groups.divide(
                uint32(this.number(field(key, "count"))), uint16(this.number(field(key, "groupSize")))
            );
            vm.assertEq(uint256(division.groups), this.number(field(key, "groups")));
            vm.assertEq(Groups.height(division), this.number(field(key, "height")));
            int256[] memory first = this.numbers(field(key, "firstPlaces"));
            vm.assertEq(first.length, uint256(division.groups) + 1);
            for (uint256 group = 0; group < first.length; ++group) {
                vm.assertEq(Groups.firstOf(division, group), uint256(first[group]));
            }
        }
        vm.assertTrue(shapes >= 9);
    }

    function test_streams() public view {
        for (uint256 i = 0; i < 3; ++i) {
            string memory key = item(".masks", i);
            bytes32 seed = this.word(field(key, "seed"));
            uint256 size = this.number(field(key, "laneBytes"));
            uint256[10] memory indices = [uint256(0), 1, 5, 8, 17, 63, 64, 62_005, 1_048_575, 1_048_576];
            for (uint256 j = 0; j < indices.length; ++j) {
                (uint256 first, uint256 second) = caller.lanes(seed, indices[j] / 8);
                uint256 offset = indices[j] % 8;
                uint256 lane = (offset < 4 ? first : second) >> (64 * (3 - offset % 4));
                vm.assertEq(
                    lane & ((1 << (8 * size)) - 1),
                    this.number(string.concat(key, ".lanes.", vm.toString(indices[j])))
                );
            }
        }
    }

    function test_typedData() public view {
        string memory key = ".typedData[0].message";
        Enrol memory enrol = Enrol({
            epoch: uint64(this.number(field(key, "epoch"))),
            rulesHash: this.word(field(key, "rulesHash")),
            sealedHash: this.word(field(key, "sealedHash")),
            x25519: this.word(field(key, "x25519")),
            mlkem: this.word(field(key, "mlkem")),
            deadline: uint64(this.number(field(key, "deadline")))
        });
        vm.assertEq(SealedTypes.ENROL_TYPEHASH, this.word(".typedData[0].typeHash"));
        vm.assertEq(caller.enrolHash(enrol), this.word(".typedData[0].structHash"));

        key = ".typedData[1].message";
        // No contract reads it: members check each other's.
        bytes32 typeHash = keccak256("Ready(uint64 epoch,bytes32 rosterRoot,bytes cid)");
        vm.assertEq(typeHash, this.word(".typedData[1].typeHash"));
        bytes memory ready = abi.encode(
            typeHash,
            this.number(field(key, "epoch")),
            this.word(field(key, "rosterRoot")),
            keccak256(this.data(field(key, "cid")))
        );
        vm.assertEq(keccak256(ready), this.word(".typedData[1].structHash"));

        vm.assertEq(SealedTypes.MASKED_TYPEHASH, this.word(".typedData[2].typeHash"));
        Masked memory update = maskedAt(".typedData[2].message");
        vm.assertEq(caller.maskedHash(update), this.word(".typedData[2].structHash"));
    }

    function sealedRules() private view returns (SealedRules memory) {
        string memory key = ".sealedRules";
        return SealedRules({
            groupSize: uint16(this.number(field(key, "groupSize"))),
            epochRounds: uint16(this.number(field(key, "epochRounds"))),
            minRoster: uint32(this.number(field(key, "minRoster"))),
            minGroups: uint16(this.number(field(key, "minGroups"))),
            groupNormPpm: uint32(this.number(field(key, "groupNormPpm"))),
            noiseSquares: uint128(this.number(field(key, "noiseSquares"))),
            enrolSeconds: uint32(this.number(field(key, "enrolSeconds"))),
            keySeconds: uint32(this.number(field(key, "keySeconds"))),
            unmaskSeconds: uint32(this.number(field(key, "unmaskSeconds")))
        });
    }
}
