// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Round} from "../../../src/libraries/RoundLib.sol";
import {Refusal, Rules} from "../../../src/libraries/RulesLib.sol";
import {Security} from "../../../src/libraries/SecurityLib.sol";
import {Submission, Update} from "../../../src/libraries/UpdateTypes.sol";

/// @notice Stands for the federation that a sidecar belongs to, and for the sidecars beside it: with any storage it gives any answer,
///         or refuses. It keeps what it was last told, and calls nobody, as the real one does not call back.
contract AnyFederation {
    address public owner;
    address public coordinator;
    bool public openMembership;
    bool private _refuses;
    uint64 public currentRound;
    uint32 public memberCount;
    bytes32 public rulesHash;
    bytes32 public modelRoot;
    bytes32 public aggregator;
    Rules private _rules;
    Security private _security;
    mapping(uint64 roundId => Round) private _rounds;
    mapping(address account => bool) public isMember;
    mapping(address account => uint64) public lastAccepted;
    mapping(uint256 level => bytes32) public commitmentPeak;
    mapping(uint64 roundId => mapping(address member => address key)) private _keys;
    Refusal private _judgement;

    /// Hash of the rules that were adopted last, and how often some were.
    bytes32 public adopted;
    uint256 public adoptions;
    /// Whom a share was paid last, and how much; how much was paid in all.
    address public paid;
    uint256 public share;
    /// Round, end and number of the last extension of a window, and of the last hold, forfeit and rejection.
    uint64 public extendedTo;
    uint256 public extensions;
    uint256 public holds;
    uint256 public forfeits;
    uint256 public rejections;
    address public rejectedFor;

    function ruleBook() external view returns (address) {
        return address(this);
    }

    function rollups() external view returns (address) {
        return address(this);
    }

    function recordCount() external view returns (uint32) {
        return memberCount;
    }

    function isStated(bytes32 hash) external view returns (bool) {
        return hash == aggregator;
    }

    function keyOf(address member, uint64 roundId) external view returns (address) {
        return _keys[roundId][member];
    }

    function rules() external view returns (Rules memory) {
        return _rules;
    }

    function security() external view returns (Security memory) {
        return _security;
    }

    function round(uint64 roundId) external view returns (Round memory) {
        return _rounds[roundId];
    }

    /// @dev Any function of the update will do.
    function hashUpdate(Update calldata update) external pure returns (bytes32) {
        return keccak256(abi.encode(update.updateRoot, update.sumSquares));
    }

    function setRules(Rules calldata next) external {
        require(!_refuses);
        adopted = keccak256(abi.encode(next));
        ++adoptions;
    }

    function payShare(address challenger, uint256 amount) external {
        require(!_refuses);
        (paid, share) = (challenger, amount);
    }

    function extendChallenge(uint64, uint64 until) external {
        require(!_refuses);
        extendedTo = until;
        ++extensions;
    }

    function hold(uint64, address, uint64) external {
        require(!_refuses);
        ++holds;
    }

    function forfeit(uint64, address) external {
        require(!_refuses);
        ++forfeits;
    }

    function submit(uint64, Submission[] calldata) external view returns (Refusal) {
        require(!_refuses);
        return _judgement;
    }

    function rejectProposal(uint64, address challenger, bool) external {
        require(!_refuses);
        rejectedFor = challenger;
        ++rejections;
    }
}
