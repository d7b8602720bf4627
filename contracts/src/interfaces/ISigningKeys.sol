// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

/// @title Keys that members sign with
/// @notice A member whose address is that of a key signs with it. Beside that, or if it is a contract, a member can appoint
///         one other key, which then signs its updates and submits them, and nothing else: stake and membership stay with the
///         member. An appointment is in force from the next round on, so that who can sign in a round is settled when it
///         opens, and a signature that was good then is good for ever: no proof about the round can turn on what a member
///         says later.
///
///         As an update names no member, a key that signed for two in one round could have the one's update passed off as
///         the other's. So in each round a key signs for one: it is no member itself, has one holder at a time, and says
///         by a signature of its own whose it is. Both sides can end that from the next round on.
interface ISigningKeys {
    /// @notice From this round on, the key signs for the member in place of any appointed before; none if it is zero.
    event KeyAppointed(address indexed member, address indexed key, uint64 fromRound);

    /// @notice The key signs for another member.
    error KeyTaken(address key, address member);
    /// @notice The key has not signed that it is the caller's; `nonce` is what it would have to sign now.
    error NotProved(address key, uint64 nonce);
    /// @notice The address is a member's, or the caller's own, and so speaks for itself.
    error SignsForItself(address account);

    /// @notice Appoints the key that signs for the caller from the next round on. Anyone may, before it becomes a member too.
    ///         The one that it takes the place of is free for others.
    /// @param key Address of the key; zero to appoint none.
    /// @param proof Signature by the key over `SigningKey(address member,uint64 nonce)` in the federation's domain: the caller
    ///        and `keyNonce` of the key. Ignored where the key is zero.
    function appointKey(address key, bytes calldata proof) external;

    /// @notice Called by a key that does not want to sign any longer: from the next round on it signs for nobody, and what
    ///         it proved before is void, whether used or not.
    function giveUpKey() external;

    /// @param member Any address.
    /// @param roundId Number of a round, at most the next one's.
    /// @return Address of the key that it had appointed for that round; zero if none.
    function keyOf(address member, uint64 roundId) external view returns (address);

    /// @param key Address of a key.
    /// @return The account that it signs for from the next round on; zero if for none.
    function appointedBy(address key) external view returns (address);

    /// @param key Address of a key.
    /// @return Number that its next proof must state: how often it was appointed or gave up.
    function keyNonce(address key) external view returns (uint64);
}
