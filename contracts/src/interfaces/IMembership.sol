// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

import {IEscrow} from "./IEscrow.sol";

/// @title Members of a federation
/// @notice A federation's members are invited by its owner, or, where membership is open, let themselves in with a
///         stake. Every member can leave at any time, whatever owner and coordinator do: what it signed before still
///         counts, and its stake is free once the last round that it counts in is over.
interface IMembership is IEscrow {
    /// @notice A member may now sign updates.
    event MemberAdded(address indexed member);
    /// @notice A member may no longer sign updates: it left, or the owner put it out.
    event MemberRemoved(address indexed member);

    /// @notice An address, root or content address is empty or too long.
    /// @param what Name of the parameter.
    error InvalidParameter(string what);
    /// @notice The address is a member already.
    error AlreadyMember(address member);
    /// @notice The address is no member.
    error UnknownMember(address member);
    /// @notice Members are invited here: ask the owner.
    error ByInvitationOnly();
    /// @notice The stake is below what membership takes.
    error StakeBelowMinimum(uint256 stake, uint256 minimum);
    /// @notice The account signs for a member, and would sign for itself too: it gives that up first (`giveUpKey`).
    error KeyOfMember(address account);
    /// @notice The stake stands for a membership: leave first.
    error StillMember(address member);

    /// @notice Lets the caller in, between rounds, with what it has at stake and sends along. Open membership only.
    function join() external payable;

    /// @notice Lets the caller out, at any time, even below the quorum: then rounds fail until there are more.
    function quit() external;

    /// @notice Lets new members in, between rounds. Owner only.
    /// @param newMembers Addresses of the keys that they sign with.
    function addMembers(address[] calldata newMembers) external;

    /// @notice Puts a member out, between rounds, not below the quorum. Owner only. Where membership is open, nothing
    ///         keeps it from joining again.
    /// @param member Address of the member.
    function removeMember(address member) external;

    /// @return True when anyone may join.
    function openMembership() external view returns (bool);

    /// @param account Any address.
    /// @return True when it is a member.
    function isMember(address account) external view returns (bool);

    /// @param account Any address.
    /// @return Latest round when it left last of its own accord, which for as long as it lasts may have counted it; 0 if it
    ///         never did, or before the first round.
    function leftIn(address account) external view returns (uint64);

    /// @notice There is no list of them on chain: `MemberAdded` and `MemberRemoved` tell who they are.
    /// @return Number of members.
    function memberCount() external view returns (uint256);
}
