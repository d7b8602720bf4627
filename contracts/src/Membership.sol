// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";

import {Escrow} from "./Escrow.sol";
import {IMembership} from "./interfaces/IMembership.sol";

/// @title Members of a federation
/// @notice See `IMembership`.
abstract contract Membership is IMembership, Escrow, Ownable2Step {
    /// @dev One slot a member: who wants a list of them reads the events.
    struct Member {
        bool isIn;
        uint64 leftIn;
    }

    /// @inheritdoc IMembership
    bool public openMembership;

    uint64 private _memberCount;

    mapping(address account => Member) private _members;

    /// @inheritdoc IMembership
    function join() external payable {
        require(openMembership, ByInvitationOnly());
        _requireBetweenRounds();
        _addStake(msg.sender, msg.value);
        uint256 staked = stakeOf(msg.sender);
        uint256 minimum = _minimumStake();
        require(staked >= minimum, StakeBelowMinimum(staked, minimum));
        _requireNoKey(msg.sender);
        _addMember(msg.sender);
        _memberCount += 1;
        _requireRoomFor(_memberCount);
    }

    /// @inheritdoc IMembership
    function quit() external {
        _removeMember(msg.sender);
        _members[msg.sender].leftIn = _latestRound();
    }

    /// @inheritdoc IMembership
    function addMembers(address[] calldata newMembers) external onlyOwner {
        _requireBetweenRounds();
        for (uint256 i = 0; i < newMembers.length; ++i) {
            _requireNoKey(newMembers[i]);
        }
        _addMembers(newMembers);
    }

    /// @inheritdoc IMembership
    function removeMember(address member) external onlyOwner {
        _requireBetweenRounds();
        _removeMember(member);
        _requireQuorumOf(_memberCount);
    }

    /// @inheritdoc IMembership
    function isMember(address account) public view returns (bool) {
        return _members[account].isIn;
    }

    /// @inheritdoc IMembership
    function memberCount() external view returns (uint256) {
        return _memberCount;
    }

    /// @inheritdoc IMembership
    function leftIn(address account) external view returns (uint64) {
        return _members[account].leftIn;
    }

    /// @dev Lets members in, whatever the state of the round.
    function _addMembers(address[] calldata newMembers) internal {
        for (uint256 i = 0; i < newMembers.length; ++i) {
            _addMember(newMembers[i]);
        }
        // There are fewer than the aggregate has room for, which is below 2^32.
        // forge-lint: disable-next-line(unsafe-typecast)
        _memberCount += uint64(newMembers.length);
        _requireRoomFor(_memberCount);
    }

    /// @dev Where membership is open it lasts as long as its stake: else places would cost nothing, and one could take
    ///      all that the aggregate has room for.
    function _requireStakeIsFree(address account) internal view override {
        require(!openMembership || !isMember(account), StillMember(account));
    }

    /// @dev Reverts when an account signs for a member: as a member it would sign for two.
    function _requireNoKey(address account) internal view virtual;

    /// @dev Number of the latest round.
    function _latestRound() internal view virtual returns (uint64);

    /// @dev Reverts while a round is neither final nor failed.
    function _requireBetweenRounds() internal view virtual;

    /// @dev Reverts when so many members could overflow the aggregate.
    function _requireRoomFor(uint256 count) internal view virtual;

    /// @dev Reverts when so few members cannot reach the quorum.
    function _requireQuorumOf(uint256 count) internal view virtual;

    /// @dev Stake in wei that membership takes where it is open, and an update to count.
    function _minimumStake() internal view virtual returns (uint256);

    function _addMember(address member) private {
        require(member != address(0), InvalidParameter("member"));
        Member storage own = _members[member];
        require(!own.isIn, AlreadyMember(member));
        own.isIn = true;
        emit MemberAdded(member);
    }

    function _removeMember(address member) private {
        Member storage own = _members[member];
        require(own.isIn, UnknownMember(member));
        own.isIn = false;
        _memberCount -= 1;
        emit MemberRemoved(member);
    }
}
