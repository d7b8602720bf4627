// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Epoch} from "../../../src/interfaces/IEpochs.sol";
import {SealedPlan} from "../../../src/libraries/SealedAggregation.sol";
import {SealedRules} from "../../../src/libraries/SealedRulesLib.sol";
import {GroupShape} from "../../../src/libraries/SealedShape.sol";
import {AnyFederation} from "./AnyFederation.sol";

/// @notice Stands for a sealed federation and for every contract beside it: with any storage it gives any answer, or refuses.
contract AnySealedFederation is AnyFederation {
    address public disputes;
    Epoch private _epoch;
    SealedRules private _sealed;
    SealedPlan private _plan;
    bytes32 public epochRoot;
    bool private _hasNoEpoch;
    mapping(address sender => bool) public hasCommitted;
    mapping(address account => uint256) public stakeOf;

    /// How often a round was counted for its epoch, and rolled up, and what was sent along in all.
    uint256 public counts;
    uint256 public rollUps;
    uint256 public received;
    /// How often a roll-up was rejected, and for whom last.
    uint256 public rollupRejections;
    address public rollupRejectedFor;

    function directSubmissions() external view returns (address) {
        return address(this);
    }

    function epoch() external view returns (Epoch memory) {
        return _epoch;
    }

    function epochOf(uint64, uint64) external view returns (Epoch memory) {
        require(!_hasNoEpoch);
        return _epoch;
    }

    function sealedRules() external view returns (SealedRules memory) {
        return _sealed;
    }

    function plan() external view returns (SealedPlan memory) {
        return _plan;
    }

    function requireShape(GroupShape calldata) external view returns (SealedPlan memory) {
        return _plan;
    }

    /// @dev Who has committed to nothing has not committed to this.
    function isCommitted(uint64, uint16, address sender, bytes32) external view returns (bool) {
        return hasCommitted[sender];
    }

    function countRound() external {
        ++counts;
    }

    function rollUp(uint64, uint32, uint64, bytes32[] calldata) external payable {
        received += msg.value;
        ++rollUps;
    }

    function rejectRollup(uint64, uint16, address challenger) external {
        _reject(challenger);
    }

    function reject(uint64, uint16, address challenger) external {
        _reject(challenger);
    }

    function _reject(address challenger) private {
        rollupRejectedFor = challenger;
        ++rollupRejections;
    }
}
