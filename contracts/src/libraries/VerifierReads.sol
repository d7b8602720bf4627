// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IStoredEvidence} from "../interfaces/IStoredEvidence.sol";
import {Filecoin} from "./Filecoin.sol";

/// @title How a PDP verifier is read
/// @notice Each call has at most this gas, can change nothing, and of what it returns no more is copied than such a verifier
///         ever returns.
library VerifierReads {
    /// Gas that a call may take: some ten times what the PDPVerifier takes behind its proxy. With as many pieces as can be
    /// named, all calls together stay below what a transaction may use on any chain.
    uint256 internal constant GAS = 200_000;
    /// The same in Filecoin gas.
    uint256 internal constant FILECOIN_GAS = 150_000_000;
    /// Longest answer: two offsets, a length, and a CID as long as any that can be named.
    uint256 internal constant MAX_BYTES = 160;

    /// @param verifier Contract to ask.
    /// @param input Selector and arguments.
    /// @return True or false, as it answers; reverts if that is neither.
    function isTrue(address verifier, bytes memory input) internal view returns (bool) {
        uint256 answer = word(verifier, input);
        // Of the input the selector alone is told.
        // forge-lint: disable-next-line(unsafe-typecast)
        require(answer <= 1, IStoredEvidence.VerifierUnreadable(verifier, bytes4(input)));
        return answer == 1;
    }

    /// @param verifier Contract to ask.
    /// @param input Selector and arguments.
    /// @return The word that it answers with; reverts if it answers with more or less.
    function word(address verifier, bytes memory input) internal view returns (uint256) {
        bytes memory output = read(verifier, input);
        // Of the input the selector alone is told.
        // forge-lint: disable-next-line(unsafe-typecast)
        require(output.length == 32, IStoredEvidence.VerifierUnreadable(verifier, bytes4(input)));
        return abi.decode(output, (uint256));
    }

    /// @param verifier Contract to ask.
    /// @param input Selector and arguments.
    /// @return output What it returns; reverts if it fails or returns more than `MAX_BYTES`.
    // Solidity's own call copies all that is returned.
    // slither-disable-next-line assembly
    function read(address verifier, bytes memory input) internal view returns (bytes memory output) {
        // Where less is left than this, a call has what is left. A caller who sends too little fails its own transaction.
        uint256 most = Filecoin.isHere() ? FILECOIN_GAS : GAS;
        bool success;
        uint256 size;
        assembly ("memory-safe") {
            success := staticcall(most, verifier, add(input, 0x20), mload(input), 0, 0)
            size := returndatasize()
        }
        // Of the input the selector alone is told.
        // forge-lint: disable-next-line(unsafe-typecast)
        require(success && size <= MAX_BYTES, IStoredEvidence.VerifierUnreadable(verifier, bytes4(input)));
        output = new bytes(size);
        assembly ("memory-safe") {
            returndatacopy(add(output, 0x20), 0, size)
        }
    }
}
