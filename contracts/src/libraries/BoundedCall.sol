// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Filecoin} from "./Filecoin.sol";

/// @title Calls with exactly the gas that was agreed
/// @notice A call is given its gas to the unit or not made at all, so that what it answers depends on its input alone and
///         running out of gas is the callee's doing; and of what it returns no more is copied than was asked for.
library BoundedCall {
    /// Bytes of a failed call's reason that are passed on.
    uint256 internal constant MAX_REASON = 1024;
    /// What the call itself costs, an account that was not touched before included, and what follows it.
    uint256 private constant OVERHEAD = 20_000;
    /// The same in Filecoin gas. Its EVM writes the caller's state back and looks the callee up after it has computed how
    /// much the call may have, which was measured to take some million.
    uint256 private constant FILECOIN_OVERHEAD = 20_000_000;

    /// @notice Too little gas is left to hand on as much as was agreed. Send more.
    error TooLittleGas(uint256 left, uint256 wanted);

    /// @return Gas beside what a call hands on, in the gas of this chain.
    function overhead() internal view returns (uint256) {
        return Filecoin.isHere() ? FILECOIN_OVERHEAD : OVERHEAD;
    }

    /// @notice Calls with exactly this gas, and reverts when it is not there: a call hands on 63/64 of what is left at most
    ///         (EIP-150).
    /// @param target Contract to call.
    /// @param gasLimit Gas to hand on.
    /// @param spare Gas for the call itself, `overhead`.
    /// @param input Calldata.
    /// @param most Bytes of the answer that are copied at most.
    /// @return success False when the call failed, or returned more than `most` bytes.
    /// @return output What was returned; of a failed call its reason, empty beyond `MAX_REASON` bytes.
    // Solidity's own call copies all that is returned, and hands on less gas than was asked for when there is too little.
    // slither-disable-next-line assembly
    function run(address target, uint64 gasLimit, uint256 spare, bytes memory input, uint256 most)
        internal
        view
        returns (bool success, bytes memory output)
    {
        uint256 wanted = uint256(gasLimit) + gasLimit / 63 + spare;
        require(gasleft() >= wanted, TooLittleGas(gasleft(), wanted));
        uint256 size;
        assembly ("memory-safe") {
            success := staticcall(gasLimit, target, add(input, 0x20), mload(input), 0, 0)
            size := returndatasize()
        }
        if (size > (success ? most : MAX_REASON)) return (false, output);
        output = new bytes(size);
        assembly ("memory-safe") {
            returndatacopy(add(output, 0x20), 0, size)
        }
    }
}
