// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Update} from "../../src/libraries/UpdateTypes.sol";
import {Vm} from "./Vm.sol";

/// @notice What members and keys agree to beside updates, written down a second time from docs/protocol.md.
library Consents {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint256 private constant CURVE_ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    function directHash(address member, uint64 round, bytes32 update) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(keccak256("Direct(address member,uint64 round,bytes32 update)"), member, round, update)
        );
    }

    function keyHash(address member, uint64 nonce) internal pure returns (bytes32) {
        return keccak256(abi.encode(keccak256("SigningKey(address member,uint64 nonce)"), member, nonce));
    }

    /// @dev Two parts, since one encoding of all fields is too deep for the stack.
    function structHash(Update memory update) internal pure returns (bytes32) {
        bytes32 typehash = keccak256(
            "Update(uint64 round,bytes32 rulesHash,bytes32 baseRoot,bytes32 updateRoot,uint128 sumSquares,uint64 elements,uint8 fractionBits,uint32 examples,uint32 accuracyPpm,uint64 lossMicros,uint32 labels,uint64 epsilonMicros,uint64 deadline,bytes cid)"
        );
        bytes memory first = abi.encode(
            typehash, update.round, update.rulesHash, update.baseRoot, update.updateRoot, update.sumSquares
        );
        bytes memory second =
            abi.encode(update.elements, update.fractionBits, update.examples, update.accuracyPpm);
        bytes memory third = abi.encode(
            update.lossMicros, update.labels, update.epsilonMicros, update.deadline, keccak256(update.cid)
        );
        return keccak256(bytes.concat(first, second, third));
    }

    function digest(uint256 chainId, address federation, bytes32 hash) internal pure returns (bytes32) {
        bytes32 separator = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256("FedVM"),
                keccak256("1"),
                chainId,
                federation
            )
        );
        return keccak256(abi.encodePacked(hex"1901", separator, hash));
    }

    function sign(uint256 key, bytes32 digest_) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest_);
        return abi.encodePacked(r, s, v);
    }

    /// @dev The other signature of the same statement, with s in the upper half of the order.
    function malleable(bytes memory signature) internal pure returns (bytes memory) {
        (bytes32 r, uint256 s) = (word(signature, 0), uint256(word(signature, 32)));
        uint8 v = uint8(signature[64]) == 27 ? 28 : 27;
        return abi.encodePacked(r, CURVE_ORDER - s, v);
    }

    function word(bytes memory data, uint256 begin) private pure returns (bytes32 found) {
        for (uint256 i = 0; i < 32; ++i) {
            found |= bytes32(data[begin + i]) >> (i * 8);
        }
    }
}
