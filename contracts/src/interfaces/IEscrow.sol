// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

import {IPullPayments} from "./IPullPayments.sol";

/// @title Bonds and stakes of a federation
/// @notice The contract's balance is always the sum of what is owed, the bond of the pending proposal, the stakes, what
///         challengers have not claimed yet of lost bonds, and what was burnt, which stays in the contract, out of everyone's
///         reach, and which events tell of: half or more of the bond of every proposal that is rejected, and `StakeBurnt`. So
///         proving oneself wrong does not pay.
interface IEscrow is IPullPayments {
    /// @notice An account paid in, in wei: for bonds, or to withdraw again.
    event Deposited(address indexed account, uint256 amount);
    /// @notice A member's stake grew to `total`.
    event Staked(address indexed member, uint256 amount, uint256 total);
    /// @notice A member took its stake back; it is owed to it now.
    event Unstaked(address indexed member, uint256 amount);
    /// @notice A member wants its stake back once a round is over, and counts in no later one.
    event UnstakeAnnounced(address indexed member, uint64 indexed round);
    /// @notice A member lost so much of its stake, which is gone.
    event StakeBurnt(address indexed member, uint256 amount);

    /// @notice The deposit and what was sent along do not cover the bond.
    error BondNotCovered(uint256 available, uint256 bond);
    /// @notice The caller has no stake.
    error NoStake(address member);
    /// @notice The round that the member signed last is not over.
    error StakeLocked(uint64 roundId);

    /// @notice Pays in for the bonds of proposals to come.
    function deposit() external payable;

    /// @notice Adds to the caller's stake.
    function stake() external payable;

    /// @notice Takes the caller's stake back, once the last round it counted in is over. It is owed afterwards. While a
    ///         round that was rolled up is not over, this announces it instead; call it again when that round is over.
    function unstake() external;

    /// @param member Any address.
    /// @return Wei that it has at stake; 0 when it has announced to take them back.
    function stakeOf(address member) external view returns (uint256);

    /// @param member Any address.
    /// @return Unix time in seconds when what it has at stake changed last.
    function stakeChangedAt(address member) external view returns (uint64);

    /// @return Wei that stand behind the pending proposal.
    function lockedBond() external view returns (uint256);
}
