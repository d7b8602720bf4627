// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IProgram} from "../interfaces/IProgram.sol";
import {BoundedCall} from "./BoundedCall.sol";

/// @title A program's scores
/// @notice The one way in which programs are asked: trials and decisions get the same scores because both come here.
library Scores {
    /// Most scores that a program may return.
    uint256 internal constant MAX = 65_536;
    /// Bytes that Filecoin's EVM allows for the topics and the data of an event.
    uint256 private constant MAX_EVENT = 8192;

    /// @notice Asks a program, with exactly this gas.
    /// @param program Entry contract.
    /// @param gasLimit Gas to hand on; reverts when it is not there.
    /// @param spare Gas for the call itself, `BoundedCall.overhead`.
    /// @param input Raw uint8 input in the layout of the ONNX model.
    /// @param most Scores that are read at most.
    /// @return answered False when the program failed, or what it returned is no canonical `int32[]` or one of more scores.
    /// @return scores Its scores.
    /// @return reason Why it failed, if it said so.
    function ask(address program, uint64 gasLimit, uint256 spare, bytes calldata input, uint256 most)
        internal
        view
        returns (bool answered, int32[] memory scores, bytes memory reason)
    {
        bytes memory output;
        (answered, output) = BoundedCall.run(
            program, gasLimit, spare, abi.encodeCall(IProgram.predict, (input)), 64 + 32 * most
        );
        if (!answered) return (false, scores, output);
        (answered, scores) = decode(output);
    }

    /// @notice Reads the ABI's encoding of one score or more in its canonical form only, so that no bytes mean two things.
    /// @param output Offset 32, number of scores, and a word for each. It is changed into the array.
    /// @return valid False when it is anything else.
    /// @return scores The scores.
    // The array lies in the bytes as Solidity lays it out in memory.
    // slither-disable-next-line assembly
    function decode(bytes memory output) internal pure returns (bool valid, int32[] memory scores) {
        uint256 length = output.length;
        if (length < 96 || length % 32 != 0) return (false, scores);
        assembly ("memory-safe") {
            let array := add(output, 0x40)
            valid := and(eq(mload(add(output, 0x20)), 0x20), eq(mload(array), shr(5, sub(length, 0x40))))
            let end := add(add(output, 0x20), length)
            for { let at := add(array, 0x20) } lt(at, end) { at := add(at, 0x20) } {
                let word := mload(at)
                valid := and(valid, eq(word, signextend(3, word)))
            }
            if valid { scores := array }
        }
    }

    /// @param scores Scores.
    /// @return hash keccak-256 of them as words of 32 bytes in a row.
    // The words lie in memory as they are hashed.
    // slither-disable-next-line assembly
    function hashOf(int32[] memory scores) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            hash := keccak256(add(scores, 0x20), shl(5, mload(scores)))
        }
    }

    /// @notice The scores if an event has room for them, none otherwise.
    /// @param scores Scores.
    /// @param others Bytes of the event beside them: its topics and the rest of its data.
    /// @return Scores, all or none.
    function recorded(int32[] memory scores, uint256 others) internal pure returns (int32[] memory) {
        return others + 32 * scores.length <= MAX_EVENT ? scores : new int32[](0);
    }

    /// @notice The first among the greatest, as the compiler's `classify` takes it.
    /// @param scores One score or more.
    /// @return best Its index.
    function label(int32[] memory scores) internal pure returns (uint32 best) {
        for (uint256 i = 1; i < scores.length; ++i) {
            // There are fewer than 2^32 scores.
            // forge-lint: disable-next-line(unsafe-typecast)
            if (scores[i] > scores[best]) best = uint32(i);
        }
    }
}
