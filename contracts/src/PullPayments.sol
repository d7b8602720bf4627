// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";

import {IPullPayments} from "./interfaces/IPullPayments.sol";

/// @title Money that is owed, fetched by whom it is owed to
/// @notice See `IPullPayments`.
abstract contract PullPayments is IPullPayments {
    mapping(address account => uint256 amount) internal _owed;

    /// @inheritdoc IPullPayments
    function withdraw() external returns (uint256 amount) {
        return _send(payable(msg.sender));
    }

    /// @inheritdoc IPullPayments
    function withdrawTo(address payable to) external returns (uint256 amount) {
        require(to != address(0), NoReceiver());
        return _send(to);
    }

    /// @inheritdoc IPullPayments
    function owed(address account) public view virtual returns (uint256 amount) {
        return _owed[account];
    }

    /// @dev Takes all that an account is owed, to be sent.
    function _take(address account) internal virtual returns (uint256 amount) {
        amount = _owed[account];
        _owed[account] = 0;
    }

    /// @dev Adds to what an account may withdraw.
    function _credit(address account, uint256 amount) internal {
        _owed[account] += amount;
    }

    // Whom the money is for says where it goes.
    // slither-disable-next-line arbitrary-send-eth
    function _send(address payable to) private returns (uint256 amount) {
        amount = _take(msg.sender);
        require(amount > 0, NothingOwed(msg.sender));
        emit Withdrawn(msg.sender, to, amount);
        Address.sendValue(to, amount);
    }
}
