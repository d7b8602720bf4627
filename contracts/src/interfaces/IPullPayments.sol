// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Money that is owed, fetched by whom it is owed to
/// @notice Nothing is ever sent but to a caller who asks for what is his own, so that no one can block another's
///         payment by refusing his own.
interface IPullPayments {
    /// @notice An account fetched what it was owed, in wei.
    event Withdrawn(address indexed account, uint256 amount);

    /// @notice The caller is owed nothing.
    error NothingOwed(address account);

    /// @notice Sends the caller all it is owed.
    /// @return amount Wei.
    function withdraw() external returns (uint256 amount);

    /// @param account Any address.
    /// @return amount Wei that it may withdraw.
    function owed(address account) external view returns (uint256 amount);
}
