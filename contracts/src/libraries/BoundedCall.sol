// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Calls that cannot cost more than they may
/// @notice A call is given exactly its limit of gas, so that running out of it is the callee's doing; and of what it
///         returns one word is read, however much there is.
library BoundedCall {
    /// What stands for no answer: the call failed, returned less than a word, or something that is no label.
    uint32 internal constant NONE = 0xffffffff;
    /// What the call itself costs, an account that was not touched before included, and what follows it.
    uint256 private constant OVERHEAD = 20_000;

    /// @notice A call hands on 63/64 of the gas that is left at most (EIP-150).
    /// @param gasLimit Gas to hand on.
    /// @return left Gas that is left.
    /// @return wanted Gas that must be left.
    function gasFor(uint64 gasLimit) internal view returns (uint256 left, uint256 wanted) {
        return (gasleft(), uint256(gasLimit) + gasLimit / 63 + OVERHEAD);
    }

    /// @notice Asks for a label.
    /// @param target Contract to ask.
    /// @param gasLimit Gas to hand on; the caller has seen that it is there.
    /// @param input Calldata.
    /// @return answer Label, or `NONE`.
    // Solidity's own call copies all that is returned, and hands on less gas than was asked for when there is too little.
    // slither-disable-next-line assembly
    function label(address target, uint64 gasLimit, bytes memory input)
        internal
        view
        returns (uint32 answer)
    {
        answer = NONE;
        assembly ("memory-safe") {
            // The first word of memory is scratch space.
            if staticcall(gasLimit, target, add(input, 0x20), mload(input), 0, 0x20) {
                if iszero(lt(returndatasize(), 0x20)) {
                    let word := mload(0)
                    if lt(word, NONE) { answer := word }
                }
            }
        }
    }
}
