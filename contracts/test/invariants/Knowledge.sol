// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Answer} from "../../src/interfaces/IHearing.sol";
import {VectorKind} from "../../src/libraries/VectorTree.sol";
import {VectorForest} from "../base/VectorForest.sol";

/// @notice Preimages that a coordinator knows.
struct Known {
    bytes32[] hashes;
    bytes[] preimages;
    uint256 length;
}

/// @notice What a coordinator can show of a proposal, and its answers to questions.
library Knowledge {
    /// @param most Most preimages.
    function nothing(uint256 most) internal pure returns (Known memory known) {
        known.hashes = new bytes32[](most);
        known.preimages = new bytes[](most);
    }

    function know(Known memory self, bytes memory preimage) internal pure {
        self.hashes[self.length] = keccak256(preimage);
        self.preimages[self.length++] = preimage;
    }

    /// @dev A vector of two chunks.
    function knowVector(Known memory self, VectorKind kind, int256[] memory values) internal pure {
        bytes memory left = VectorForest.leafOf(kind, values, 0);
        bytes memory right = VectorForest.leafOf(kind, values, 1);
        uint8 first = VectorForest.first(kind);
        bytes memory top = abi.encodePacked(first + 1, keccak256(left), keccak256(right));
        know(self, abi.encodePacked(first + 2, uint64(values.length), keccak256(top)));
        know(self, top);
        know(self, left);
        know(self, right);
    }

    /// @dev The inner nodes of a tree.
    function knowTree(Known memory self, uint8 kind, bytes32[][] memory levels) internal pure {
        for (uint256 level = 1; level < levels.length; ++level) {
            for (uint256 i = 0; i < levels[level].length; ++i) {
                know(self, abi.encodePacked(kind, levels[level - 1][2 * i], levels[level - 1][2 * i + 1]));
            }
        }
    }

    function preimageOf(Known memory self, bytes32 hash) internal pure returns (bytes memory) {
        for (uint256 i = 0; i < self.length; ++i) {
            if (self.hashes[i] == hash) return self.preimages[i];
        }
        return "";
    }

    /// @dev The whole tree below a hash, so many levels of it.
    function answer(Known memory self, bytes32 hash, uint8 levels)
        internal
        pure
        returns (Answer memory given)
    {
        bytes32[] memory queue = new bytes32[](128);
        queue[0] = hash;
        uint256 length = 1;
        uint256 next = 0;
        for (uint256 level = 1; level < levels; ++level) {
            for (uint256 end = length; next < end; ++next) {
                (bytes32 left, bytes32 right) = childrenOf(preimageOf(self, queue[next]));
                if (left != 0) queue[length++] = left;
                if (right != 0) queue[length++] = right;
            }
        }
        given = Answer(hash, levels, new bytes[](length));
        for (uint256 i = 0; i < length; ++i) {
            given.preimages[i] = preimageOf(self, queue[i]);
        }
    }

    /// @dev What lies below a preimage in its own tree, as docs/protocol.md and docs/sealed.md have it.
    function childrenOf(bytes memory preimage) internal pure returns (bytes32 left, bytes32 right) {
        if (preimage.length == 0) return (0, 0);
        uint8 kind = uint8(preimage[0]);
        if (kind == 0x01 && preimage.length == 97) return (word(preimage, 1), word(preimage, 49));
        if (kind == 0x03 || kind == 0x06 || kind == 0x0b || kind == 0x0d || kind == 0x34 || kind == 0x39) {
            return (word(preimage, 1), word(preimage, 33));
        }
        if (kind == 0x09 || kind == 0x3c) return (word(preimage, 41), word(preimage, 73));
        if (kind == 0x04 || kind == 0x07 || kind == 0x3a) return (word(preimage, 9), 0);
        if (kind == 0x0a) return (word(preimage, 25), 0);
        if (kind == 0x3e) return (word(preimage, 1), word(preimage, 65));
        if (kind == 0x3f) return (word(preimage, 33), 0);
    }

    function word(bytes memory data, uint256 begin) internal pure returns (bytes32 found) {
        assembly ("memory-safe") {
            found := mload(add(add(data, 32), begin))
        }
    }
}
