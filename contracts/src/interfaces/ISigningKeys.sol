// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Keys that members sign with
/// @notice A member whose address is that of a key signs with it. Beside that, or if it is a contract, a member can appoint
///         one other key, which then signs its updates and nothing else: stake and membership stay with the member. An
///         appointment is in force from the next round on, so that who can sign in a round is settled when it opens, and a
///         signature that was good then is good for ever: no proof about the round can turn on what a member says later.
interface ISigningKeys {
    /// @notice From this round on, the key signs for the member in place of any appointed before; none if it is zero.
    event KeyAppointed(address indexed member, address indexed key, uint64 fromRound);

    /// @notice The key was appointed by another member. As an update names no member, a key that signed for two could have the
    ///         one's update passed off as the other's.
    error KeyTaken(address key, address member);

    /// @notice Appoints the key that signs for the caller from the next round on. Anyone may, before it becomes a member too.
    /// @param key Address of the key, never appointed by another; zero to appoint none.
    function appointKey(address key) external;

    /// @param member Any address.
    /// @param roundId Number of a round, at most the next one's.
    /// @return Address of the key that it had appointed for that round; zero if none.
    function keyOf(address member, uint64 roundId) external view returns (address);

    /// @param key Address of a key.
    /// @return The only account that can appoint it, since it once did; zero if none did.
    function appointedBy(address key) external view returns (address);
}
