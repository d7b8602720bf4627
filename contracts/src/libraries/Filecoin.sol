// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Filecoin's EVM
/// @notice What differs there. It is known by its precompile, which no other chain has at that address: an embedded chain
///         of a test run has the id of Filecoin's devnet.
library Filecoin {
    /// `get_randomness`: takes an epoch as a word, returns the beacon's 32 bytes of that epoch. Source:
    /// filecoin-project/builtin-actors, precompiles of the EVM actor.
    address internal constant GET_RANDOMNESS = 0xfE00000000000000000000000000000000000006;

    /// @return True on Filecoin's EVM.
    function isHere() internal view returns (bool) {
        (bool found,) = beacon(block.number);
        return found;
    }

    /// @notice What the drand beacon gave for an epoch, also when the epoch has no block.
    /// @param epoch This one or an earlier one.
    /// @return found False when the epoch has not come, and on any other chain.
    /// @return value The beacon's value.
    // An account without code answers any call with nothing, the precompile with exactly a word.
    // slither-disable-next-line low-level-calls,incorrect-equality
    function beacon(uint256 epoch) internal view returns (bool found, bytes32 value) {
        (bool success, bytes memory output) = GET_RANDOMNESS.staticcall(abi.encode(epoch));
        found = success && output.length == 32;
        if (found) value = abi.decode(output, (bytes32));
    }
}
