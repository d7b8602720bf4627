// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";

import {IPullPayments} from "./interfaces/IPullPayments.sol";

/// @title Money that is owed, fetched by whom it is owed to
/// @notice See `IPullPayments`.
abstract contract PullPayments is IPullPayments {
    /// @inheritdoc IPullPayments
    mapping(address account => uint256 amount) public owed;

    /// @inheritdoc IPullPayments
    function withdraw() external returns (uint256 amount) {
        amount = owed[msg.sender];
        require(amount > 0, NothingOwed(msg.sender));
        owed[msg.sender] = 0;
        emit Withdrawn(msg.sender, amount);
        Address.sendValue(payable(msg.sender), amount);
    }

    /// @dev Adds to what an account may withdraw.
    function _credit(address account, uint256 amount) internal {
        owed[account] += amount;
    }
}
