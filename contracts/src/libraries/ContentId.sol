// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

/// @title Shape of a binary CIDv1
/// @notice The contracts store no content, only its address. They check that one is there and is short; what it
///         names is checked by whoever fetches it.
library ContentId {
    /// A CIDv1 with a 32-byte digest takes 36 bytes; 64 leave room for other codecs and 48-byte digests, and keep
    /// events under the 8 KiB that Filecoin's EVM allows.
    uint256 internal constant MAX_BYTES = 64;

    /// @param cid Binary CID.
    /// @return True when the length is between 1 and `MAX_BYTES`.
    function isPlausible(bytes calldata cid) internal pure returns (bool) {
        return cid.length > 0 && cid.length <= MAX_BYTES;
    }
}
