// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

import {ISigningKeys} from "./interfaces/ISigningKeys.sol";

/// @title SigningKeys
/// @notice See `ISigningKeys`.
abstract contract SigningKeys is ISigningKeys {
    using Checkpoints for Checkpoints.Trace160;

    /// @inheritdoc ISigningKeys
    mapping(address key => address member) public appointedBy;

    mapping(address member => Checkpoints.Trace160) private _appointments;

    /// @inheritdoc ISigningKeys
    // What pushing a checkpoint returns does not matter.
    // slither-disable-next-line unused-return
    function appointKey(address key) external {
        if (key != address(0)) {
            address holder = appointedBy[key];
            require(holder == address(0) || holder == msg.sender, KeyTaken(key, holder));
            appointedBy[key] = msg.sender;
        }
        uint64 fromRound = _nextRound();
        emit KeyAppointed(msg.sender, key, fromRound);
        _appointments[msg.sender].push(fromRound, uint160(key));
    }

    /// @inheritdoc ISigningKeys
    function keyOf(address member, uint64 roundId) external view returns (address) {
        return address(_appointments[member].upperLookupRecent(roundId));
    }

    /// @dev Number of the round that will be opened next.
    function _nextRound() internal view virtual returns (uint64);
}
