// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Hashes within preimages
/// @notice Where the nodes of all trees keep the hashes of what is below them.
library Preimage {
    /// @param preimage Preimage of a node, whose first byte tells its kind.
    /// @param hash Hash to look for; 0 stands for nothing and is never found.
    /// @return True when the preimage holds the hash in one of its kind's places.
    function holds(bytes calldata preimage, bytes32 hash) internal pure returns (bool) {
        if (preimage.length == 0 || hash == 0) return false;
        uint8 kind = uint8(preimage[0]);
        // Update node: left ‖ leftSum ‖ right ‖ rightSum.
        if (kind == 0x01) return _at(preimage, 1, hash) || _at(preimage, 49, hash);
        // Node of a vector, of a masked one, or of seed commitments: left ‖ right.
        if (kind == 0x03 || kind == 0x06 || kind == 0x34 || kind == 0x39) {
            return _at(preimage, 1, hash) || _at(preimage, 33, hash);
        }
        // Vector root: elements ‖ top.
        if (kind == 0x04 || kind == 0x07) return _at(preimage, 9, hash);
        // Aggregation leaf: weight ‖ sums ‖ commitment.
        if (kind == 0x08) return _at(preimage, 9, hash) || _at(preimage, 41, hash);
        // Aggregation node: weight ‖ sums ‖ left ‖ right. That of a group: weight ‖ sums ‖ child ‖ norm.
        if (kind == 0x09 || kind == 0x3c) {
            return _at(preimage, 9, hash) || _at(preimage, 41, hash) || _at(preimage, 73, hash);
        }
        // Node of a mountain range or of the records: left ‖ right.
        if (kind == 0x0b || kind == 0x0d) return _at(preimage, 1, hash) || _at(preimage, 33, hash);
        // Record: member ‖ reason ‖ weight ‖ accepted ‖ total ‖ submission. The submission holds nothing: what it
        // speaks of can be demanded of updates that count alone, by their commitments.
        if (kind == 0x0c) return _at(preimage, 38, hash);
        // Record of a sealed round: place ‖ weight ‖ submission.
        if (kind == 0x3a) return _at(preimage, 9, hash);
        // Masked update as submitted: its two roots stand after signature, member, round, rules, base and epoch.
        if (kind == 0x3b) return _at(preimage, 190, hash) || _at(preimage, 222, hash);
        // Root of a tree of squares: squares ‖ top.
        if (kind == 0x3f) return _at(preimage, 33, hash);
        // Node of squares: left ‖ leftSquares ‖ right ‖ rightSquares.
        if (kind == 0x3e) return _at(preimage, 1, hash) || _at(preimage, 65, hash);
        // Commitment: member ‖ weight ‖ updateRoot ‖ sumSquares.
        return kind == 0x0a && _at(preimage, 25, hash);
    }

    /// @notice What lies below a node in the same tree. Of a node whose length is not that of its kind nothing does.
    /// @param preimage Preimage of a node, whose first byte tells its kind.
    /// @return left Hash of its left child, or of its only one; 0 where there is none.
    /// @return right Hash of its right child; 0 where there is none.
    function children(bytes calldata preimage) internal pure returns (bytes32 left, bytes32 right) {
        if (preimage.length == 0) return (0, 0);
        uint8 kind = uint8(preimage[0]);
        uint256 end = 0;
        uint256 first = 1;
        uint256 second = 0;
        // Update node.
        if (kind == 0x01) {
            (second, end) = (49, 97);
        }
        // Node of a vector, of a mountain range, of the records, of a masked vector or of seed commitments.
        else if (kind == 0x03 || kind == 0x06 || kind == 0x0b || kind == 0x0d || kind == 0x34 || kind == 0x39)
        {
            (second, end) = (33, 65);
        }
        // Node of squares.
        else if (kind == 0x3e) {
            (second, end) = (65, 129);
        }
        // Aggregation node, that of a group too.
        else if (kind == 0x09 || kind == 0x3c) {
            (first, second, end) = (41, 73, 105);
        }
        // Root of a vector.
        else if (kind == 0x04 || kind == 0x07) {
            (first, end) = (9, 41);
        }
        // Commitment to an update, below which its tree begins.
        else if (kind == 0x0a) {
            (first, end) = (25, 73);
        }
        // Root of a tree of squares.
        else if (kind == 0x3f) {
            (first, end) = (33, 65);
        }
        // Record of a sealed round. Below its submission two trees begin, and not all of the second may be asked for.
        else if (kind == 0x3a) {
            (first, end) = (9, 41);
        }
        if (preimage.length != end) return (0, 0);
        left = _word(preimage, first);
        if (second != 0) right = _word(preimage, second);
    }

    function _word(bytes calldata preimage, uint256 offset) private pure returns (bytes32) {
        return bytes32(preimage[offset:offset + 32]);
    }

    function _at(bytes calldata preimage, uint256 offset, bytes32 hash) private pure returns (bool) {
        return preimage.length >= offset + 32 && _word(preimage, offset) == hash;
    }
}
