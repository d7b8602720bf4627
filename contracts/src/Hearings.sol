// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Court} from "./Court.sol";
import {PullPayments} from "./PullPayments.sol";
import {Fraud} from "./interfaces/ICourt.sol";
import {Hearing, IHearing} from "./interfaces/IHearing.sol";
import {Round, RoundState} from "./libraries/RoundLib.sol";
import {SecurityLib} from "./libraries/SecurityLib.sol";

/// @title Hearings
/// @notice Who challenges an attempt, what was committed to in it, and what comes of it; see `IHearing`.
abstract contract Hearings is IHearing, PullPayments, Court {
    uint256 private constant BLOCK_BITS = 64;
    /// Set in the commitment of who brought the attempt down. No block has so high a number.
    uint256 private constant WON = 1 << 63;

    /// Seconds to answer the questions of a phase.
    uint32 public answerSeconds;
    /// Wei that the first units of a phase cost.
    uint96 public demandFee;
    /// Wei that a proposal which falls costs.
    uint96 public bond;

    /// @inheritdoc IHearing
    uint256 public burntFees;

    mapping(uint256 attempt => Hearing) internal _hearings;
    /// @dev 192 bits of the digest, above 64 of the block's number. Not 0 for every challenger: that is who shares, `WON` aside.
    mapping(uint256 attempt => mapping(address challenger => uint256)) private _commitments;

    /// @inheritdoc IHearing
    function commit(uint64 roundId, bytes32 digest) external {
        uint16 attempt = _proposed(roundId).attempt;
        uint256 key = _key(roundId, attempt);
        mapping(address => uint256) storage commitments = _commitments[key];
        if (commitments[msg.sender] == 0) _hearings[key].challengers += 1;
        commitments[msg.sender] = _commitment(digest, block.number);
        emit ChallengeCommitted(roundId, digest, msg.sender, attempt);
    }

    /// @inheritdoc IHearing
    function claimShare(uint64 roundId, uint16 attempt) external {
        _requireFallen(roundId, attempt);
        uint256 key = _key(roundId, attempt);
        uint256 kept = _commitments[key][msg.sender];
        require(kept != 0, NoShare(msg.sender));
        _commitments[key][msg.sender] = 0;
        uint256 part = SecurityLib.rewardOf(bond);
        uint256 amount = kept & WON == 0 ? 0 : part;
        if (kept & ~WON != 0) amount += part / _hearings[key].challengers;
        emit ShareClaimed(roundId, msg.sender, attempt, amount);
        federation.payShare(msg.sender, amount);
    }

    /// @inheritdoc IHearing
    function conclude(uint64 roundId, uint16 attempt, address holder) external {
        require(msg.sender == address(federation), NotAuthorised(msg.sender));
        Hearing storage heard = _hearings[_key(roundId, attempt)];
        require(heard.open == 0, Unanswered(roundId, heard.open));
        uint256 fees = heard.fees;
        uint256 paid = fees / 2;
        _credit(holder, paid);
        burntFees += fees - paid;
        emit FeesSettled(roundId, attempt, holder, paid, fees - paid);
    }

    /// @inheritdoc IHearing
    function rejectRollup(uint64 roundId, uint16 attempt, address challenger) external {
        require(msg.sender == federation.rollups(), NotAuthorised(msg.sender));
        _fall(roundId, attempt, challenger, true);
    }

    /// @inheritdoc IHearing
    // What is compared is a digest.
    // slither-disable-next-line incorrect-equality
    function isCommitted(uint64 roundId, uint16 attempt, address sender, bytes32 digest)
        public
        view
        returns (bool)
    {
        uint256 commitment = _commitments[_key(roundId, attempt)][sender];
        // What is cut off is the digest.
        // forge-lint: disable-next-line(unsafe-typecast)
        uint256 blockNumber = uint64(commitment);
        // Who only asked, or did nothing, has committed to nothing.
        return commitment != blockNumber && blockNumber < block.number
            && commitment == _commitment(digest, blockNumber);
    }

    /// @inheritdoc IHearing
    function hearing(uint64 roundId, uint16 attempt) external view returns (Hearing memory) {
        return _hearings[_key(roundId, attempt)];
    }

    function _isCommitted(uint64 roundId, uint16 attempt, bytes32 digest)
        internal
        view
        override
        returns (bool)
    {
        return isCommitted(roundId, attempt, msg.sender, digest);
    }

    /// @dev Counts the caller among the challengers, once. The digest 0 is nobody's.
    function _register(uint256 key, Hearing memory heard) internal {
        if (_commitments[key][msg.sender] != 0) return;
        _commitments[key][msg.sender] = _commitment(0, block.number);
        heard.challengers += 1;
    }

    /// @dev Checks that an attempt fell: there is a later one, or the round stands at what comes after a fall.
    function _requireFallen(uint64 roundId, uint16 attempt) internal view {
        Round memory round = federation.round(roundId);
        bool fell = attempt < round.attempt
            || (round.state != RoundState.Proposed && round.state != RoundState.Final);
        require(fell, NotFallen(roundId, attempt));
    }

    /// @dev The caller has shown that the proposal is wrong. Over an update that is false none could be right.
    function _bringDown(uint64 roundId, uint16 attempt, Fraud fraud) internal {
        emit FraudProved(roundId, msg.sender, fraud, attempt);
        _fall(roundId, attempt, msg.sender, fraud == Fraud.BadUpdate);
    }

    function _key(uint64 roundId, uint16 attempt) internal pure returns (uint256) {
        return (uint256(roundId) << 16) | attempt;
    }

    function _fall(uint64 roundId, uint16 attempt, address challenger, bool isLast) private {
        _commitments[_key(roundId, attempt)][challenger] |= WON;
        federation.rejectProposal(roundId, challenger, isLast);
    }

    function _commitment(bytes32 digest, uint256 blockNumber) private pure returns (uint256) {
        return ((uint256(digest) >> BLOCK_BITS) << BLOCK_BITS) | blockNumber;
    }
}
