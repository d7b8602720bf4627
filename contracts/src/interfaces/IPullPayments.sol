// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

/// @title Money that is owed, fetched by whom it is owed to
/// @notice Nothing is ever sent but to a caller who asks for what is his own, so that no one can block another's
///         payment by refusing his own.
interface IPullPayments {
    /// @notice What an account was owed, in wei, went where it wanted it.
    event Withdrawn(address indexed account, address indexed to, uint256 amount);

    /// @notice The caller is owed nothing.
    error NothingOwed(address account);
    /// @notice The zero address has no owner.
    error NoReceiver();

    /// @notice Sends the caller all it is owed.
    /// @return amount Wei.
    function withdraw() external returns (uint256 amount);

    /// @notice Sends all that the caller is owed to another account: for a contract that takes no money itself.
    /// @param to Whom to send it to.
    /// @return amount Wei.
    function withdrawTo(address payable to) external returns (uint256 amount);

    /// @param account Any address.
    /// @return amount Wei that it may withdraw.
    function owed(address account) external view returns (uint256 amount);
}
