// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

/// @title What it costs to post data in a call's data
/// @notice In gas, and never more than was used: whoever is paid by it gains nothing by making others ask for data. What a
///         contract cannot see of a transaction is left out, such as its tip and what a second layer charges for the first.
/// @dev Sources: Ethereum's yellow paper, appendix G; EIP-2028 (call data), EIP-2929 (first access).
library PostingCost {
    /// Gas of a chunk of 64 elements in a long vector, posted, as `test/Gas.t.sol` measures it, rounded up.
    uint256 internal constant CHUNK_GAS = 25_000;
    /// Gas a second that one poster can count on: half a block of 15 million gas every 12 seconds, which Ethereum's blocks of
    /// 60 million and Filecoin's leave to one sender also when others use them.
    uint256 internal constant GAS_A_SECOND = 625_000;

    uint256 private constant TRANSACTION_GAS = 21_000;
    uint256 private constant ZERO_BYTE_GAS = 4;
    uint256 private constant OTHER_BYTE_GAS = 16;
    /// First access to the code behind a clone, and the write of a slot that is read after this was computed.
    uint256 private constant UNSEEN_GAS = 2_600 + 5_000;
    // The division has no rest.
    // slither-disable-start divide-before-multiply
    /// 1 in each byte.
    uint256 private constant ONES = type(uint256).max / 255;
    uint256 private constant LOW_BITS = ONES * 0x7f;

    // slither-disable-end divide-before-multiply

    /// @param executed Gas that the call has used so far.
    /// @return Gas of the transaction so far. Only where the call is all of it is that more than `executed`: a contract, or
    ///         an account that acts like one (EIP-7702), may make many calls in one transaction, with data that it computes.
    function used(uint256 executed) internal view returns (uint256) {
        // That the caller sent the transaction is what is asked here.
        // slither-disable-next-line tx-origin
        if (msg.sender != tx.origin || msg.sender.code.length > 0) return executed;
        uint256 ofData =
            ZERO_BYTE_GAS * msg.data.length + (OTHER_BYTE_GAS - ZERO_BYTE_GAS) * otherThanZero(msg.data);
        return executed + TRANSACTION_GAS + ofData + UNSEEN_GAS;
    }

    /// @param chunks Chunks of a vector.
    /// @return Seconds in which they can be posted.
    function secondsFor(uint256 chunks) internal pure returns (uint256) {
        return (chunks * CHUNK_GAS + GAS_A_SECOND - 1) / GAS_A_SECOND;
    }

    /// @param data All of a call's data: what lies behind it reads as zeros.
    /// @return count Bytes that are not zero.
    // slither-disable-next-line assembly
    function otherThanZero(bytes calldata data) internal pure returns (uint256 count) {
        for (uint256 offset = 0; offset < data.length; offset += 32) {
            uint256 word;
            assembly ("memory-safe") {
                word := calldataload(add(data.offset, offset))
            }
            // The sums stay within their bytes, and so do the at most 32 ones that the product adds up in its first byte.
            unchecked {
                uint256 marked = (((word & LOW_BITS) + LOW_BITS) | word) & ~LOW_BITS;
                count += ((marked >> 7) * ONES) >> 248;
            }
        }
    }
}
