// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {LaneBlock} from "../../src/libraries/Unmasking.sol";
import {TestBase} from "../base/TestBase.sol";
import {Lanes} from "./Lanes.sol";
import {PlainChaCha} from "./PlainChaCha.sol";
import {PlainMasks} from "./PlainMasks.sol";
import {SealedCaller} from "./SealedCaller.sol";

/// @notice Streams of masks, their removal, and the reading of a group's sum: against plain twins.
contract SealedMasksTest is TestBase {
    SealedCaller private caller = new SealedCaller();

    /// @dev RFC 8439, A.1, test vectors 1 to 4: those with a nonce of zeros.
    /// @dev A key that anybody finds within seconds, since in the first double round each column depends on 64 of its bits: in
    ///      the middle of it the words to be rotated are all ones.
    function test_isTheRfcsBlockWhereAWordIsAllOnes() public view {
        bytes32 key = 0x20bf5a9f68452301694523016a45230150f5f217c663c8a82017d61636a007f6;
        bytes memory expected = PlainChaCha.blockOf(key, 0);
        vm.assertEq(bytes8(bytes32(expected)), bytes8(0x6d2517879226ad4e));
        requireBlock(key, 0, expected);
    }

    function test_isTheRfcsBlock() public view {
        requireBlock(
            0,
            0,
            hex"76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
        );
        requireBlock(
            0,
            1,
            hex"9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
        );
        requireBlock(
            bytes32(uint256(1)),
            1,
            hex"3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0"
        );
        requireBlock(
            bytes32(uint256(0xff) << 240),
            2,
            hex"72d54dfbf12ec44b362692df94137f328fea8da73990265ec1bbbea1ae9af0ca13b25aa26cb4a648cb9b9d1be65b2c0924a66c54d545ec1b7374f4872e99f096"
        );
    }

    function testFuzz_agreesWithAPlainBlock(bytes32 key, uint32 counter) public view {
        requireBlock(key, counter, PlainChaCha.blockOf(key, counter));
    }

    function testFuzz_follows(uint256 seed, uint8 size, uint8 length, uint8 number, uint8 others, uint8 own)
        public
        view
    {
        LaneBlock memory self =
            LaneBlock(uint32(seed) >> 3, uint8(bound(number, 0, 7)), uint8(bound(size, 1, 6)));
        uint256 count = bound(others, 1, 6);
        requireFollows(self, bound(length, 1, 64), seed, count, bound(own, 0, count - 1));
    }

    /// @dev The largest group: 255 lanes of six bytes.
    function test_followsInTheLargestGroup() public view {
        LaneBlock memory self = LaneBlock(type(uint32).max >> 3, 7, 6);
        requireFollows(self, 64, 1, 255, 0);
        requireFollows(self, 64, 1, 255, 100);
        requireFollows(self, 64, 1, 255, 254);
    }

    function test_everySeedAndSideCounts() public view {
        LaneBlock memory self = LaneBlock(3, 2, 5);
        bytes32[] memory seeds = randomSeeds(7, 5);
        bytes memory masked = randomLanes(7, 64, 5);
        bytes memory unmasked = PlainMasks.unmask(self, masked, seeds, 2);
        for (uint256 own = 0; own <= seeds.length; ++own) {
            vm.assertTrue(caller.follows(self, masked, unmasked, seeds, own) == (own == 2));
        }
        for (uint256 i = 0; i < seeds.length; ++i) {
            seeds[i] ^= bytes32(uint256(1));
            vm.assertFalse(caller.follows(self, masked, unmasked, seeds, 2));
            seeds[i] ^= bytes32(uint256(1));
        }
        vm.assertFalse(caller.follows(self, masked, unmasked, new bytes32[](0), 2));
        vm.assertFalse(caller.follows(LaneBlock(4, 2, 5), masked, unmasked, seeds, 2));
        vm.assertFalse(caller.follows(LaneBlock(3, 1, 5), masked, unmasked, seeds, 2));
        vm.assertFalse(caller.follows(LaneBlock(3, 2, 4), masked, unmasked, seeds, 2));
    }

    function test_aLaneLiesBelowItsModulus() public view {
        LaneBlock memory self = LaneBlock(0, 0, 2);
        bytes32[] memory seeds = randomSeeds(9, 1);
        bytes memory masked = randomLanes(9, 8, 2);
        bytes memory unmasked = PlainMasks.unmask(self, masked, seeds, 0);
        for (uint256 i = 0; i < 8; ++i) {
            // Equal mod 2^16, and yet another int64.
            for (uint256 j = 0; j < 6; ++j) {
                unmasked[8 * i + j] = 0x01;
                vm.assertFalse(caller.follows(self, masked, unmasked, seeds, 0));
                unmasked[8 * i + j] = 0x00;
            }
        }
    }

    function testFuzz_reads(uint256 seed, uint8 size, uint8 length) public view {
        uint256 laneBytes = bound(size, 1, 6);
        int256[] memory lanes = new int256[](bound(length, 1, 64));
        int256[] memory sums = new int256[](lanes.length);
        for (uint256 i = 0; i < lanes.length; ++i) {
            // Sums of lanes, and what only a liar states.
            lanes[i] = int64(int256(uint256(keccak256(abi.encode(seed, i)))));
            sums[i] = Lanes.signed(lanes[i], laneBytes);
        }
        bytes memory stated = Lanes.pack(lanes, 0, lanes.length, 8);
        bytes memory read = Lanes.pack(sums, 0, sums.length, 8);
        vm.assertTrue(caller.reads(laneBytes, stated, read));
        uint256 wrong = bound(seed, 0, read.length - 1);
        read[wrong] ^= 0x80;
        vm.assertFalse(caller.reads(laneBytes, stated, read));
    }

    function test_readsTheEdges() public view {
        int256[6] memory lanes = [int256(0), 127, 128, 255, 256 + 128, 254 * 256 + 127];
        int256[6] memory sums = [int256(0), 127, -128, -1, -128, 127];
        for (uint256 i = 0; i < lanes.length; ++i) {
            bytes memory stated = abi.encodePacked(int64(lanes[i]));
            vm.assertTrue(caller.reads(1, stated, abi.encodePacked(int64(sums[i]))));
            vm.assertFalse(caller.reads(1, stated, abi.encodePacked(int64(sums[i] + 256))));
        }
    }

    function requireFollows(LaneBlock memory self, uint256 lanes, uint256 seed, uint256 count, uint256 own)
        private
        view
    {
        bytes32[] memory seeds = randomSeeds(seed, count);
        bytes memory masked = randomLanes(seed, lanes, self.laneBytes);
        bytes memory unmasked = PlainMasks.unmask(self, masked, seeds, own);
        vm.assertTrue(caller.follows(self, masked, unmasked, seeds, own));
        for (uint256 lane = 0; lane < lanes; ++lane) {
            bool isInBlock = lane / 8 == self.number;
            if (!isInBlock && lane % 8 != 0 && lane % 8 != 7) continue;
            unmasked[8 * lane + 7] ^= 0x01;
            vm.assertTrue(caller.follows(self, masked, unmasked, seeds, own) != isInBlock);
            unmasked[8 * lane + 7] ^= 0x01;
        }
    }

    function randomSeeds(uint256 seed, uint256 count) private pure returns (bytes32[] memory seeds) {
        seeds = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            seeds[i] = keccak256(abi.encode("seed", seed, i));
        }
    }

    function randomLanes(uint256 seed, uint256 lanes, uint256 size) private pure returns (bytes memory data) {
        data = new bytes(lanes * size);
        for (uint256 i = 0; i < data.length; ++i) {
            data[i] = bytes1(keccak256(abi.encode("lane", seed, i)));
        }
    }

    function requireBlock(bytes32 key, uint256 counter, bytes memory expected) private view {
        (uint256 left, uint256 right) = caller.lanes(key, counter);
        bytes memory stream = abi.encode(left, right);
        for (uint256 i = 0; i < 64; ++i) {
            vm.assertEq(uint256(uint8(stream[i])), uint256(uint8(expected[(i & ~uint256(7)) + 7 - (i & 7)])));
        }
    }
}
