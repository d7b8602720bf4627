// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";

import {Escrow} from "./Escrow.sol";
import {IMembership} from "./interfaces/IMembership.sol";

/// @title Members of a federation
/// @notice See `IMembership`.
abstract contract Membership is IMembership, Escrow, Ownable2Step {
    using EnumerableSet for EnumerableSet.AddressSet;

    /// @inheritdoc IMembership
    bool public openMembership;

    /// @inheritdoc IMembership
    mapping(address account => uint64 roundId) public leftIn;

    EnumerableSet.AddressSet private _members;

    /// @inheritdoc IMembership
    function join() external payable {
        require(openMembership, ByInvitationOnly());
        _requireBetweenRounds();
        _addStake(msg.sender, msg.value);
        uint256 staked = stakeOf(msg.sender);
        uint256 minimum = _minimumStake();
        require(staked >= minimum, StakeBelowMinimum(staked, minimum));
        _addMember(msg.sender);
        _requireRoomFor(_members.length());
    }

    /// @inheritdoc IMembership
    function quit() external {
        _removeMember(msg.sender);
        leftIn[msg.sender] = _latestRound();
    }

    /// @inheritdoc IMembership
    function addMembers(address[] calldata newMembers) external onlyOwner {
        _requireBetweenRounds();
        for (uint256 i = 0; i < newMembers.length; ++i) {
            _addMember(newMembers[i]);
        }
        _requireRoomFor(_members.length());
    }

    /// @inheritdoc IMembership
    function removeMember(address member) external onlyOwner {
        _requireBetweenRounds();
        _removeMember(member);
        _requireQuorumOf(_members.length());
    }

    /// @inheritdoc IMembership
    function isMember(address account) public view returns (bool) {
        return _members.contains(account);
    }

    /// @inheritdoc IMembership
    function memberCount() public view returns (uint256) {
        return _members.length();
    }

    /// @inheritdoc IMembership
    function members() external view returns (address[] memory) {
        return _members.values();
    }

    /// @dev Lets a member in, whatever the state of the round.
    function _addMember(address member) internal {
        require(member != address(0), InvalidParameter("member"));
        require(_members.add(member), AlreadyMember(member));
        emit MemberAdded(member);
    }

    /// @dev Where membership is open it lasts as long as its stake: else places would cost nothing, and one could take
    ///      all that the aggregate has room for.
    function _requireStakeIsFree(address account) internal view override {
        require(!openMembership || !isMember(account), StillMember(account));
    }

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

    function _removeMember(address member) private {
        require(_members.remove(member), UnknownMember(member));
        emit MemberRemoved(member);
    }
}
