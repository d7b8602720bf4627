// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PullPayments} from "./PullPayments.sol";
import {IEscrow} from "./interfaces/IEscrow.sol";
import {IPullPayments} from "./interfaces/IPullPayments.sol";

/// @title Bonds and stakes of a federation
/// @notice See `IEscrow`.
abstract contract Escrow is IEscrow, PullPayments {
    /// @dev The bond of the last statement, a roll-up or a proposal; there is one at a time. Set free it stays here, owed to its holder, so that the
    ///      next round of the same coordinator moves nothing.
    struct Bond {
        address holder;
        uint88 amount;
        bool isLocked;
    }

    /// @dev What a member risks, whether it has announced to take that back, the last round it counts in, and when
    ///      (Unix seconds) what it has at stake changed last.
    struct Stake {
        uint120 amount;
        bool leaves;
        uint64 lastRound;
        uint64 changedAt;
    }

    Bond private _bond;
    mapping(address member => Stake) private _stakes;

    /// @inheritdoc IEscrow
    function deposit() external payable {
        _credit(msg.sender, msg.value);
        emit Deposited(msg.sender, msg.value);
    }

    /// @inheritdoc IEscrow
    function stake() external payable {
        _addStake(msg.sender, msg.value);
    }

    /// @inheritdoc IEscrow
    // A stake holds a time beside what is compared here.
    // slither-disable-next-line timestamp
    function unstake() external {
        Stake storage own = _stakes[msg.sender];
        uint120 amount = own.amount;
        require(amount > 0, NoStake(msg.sender));
        _requireStakeIsFree(msg.sender);
        uint64 rolledUp = _rolledUpRound();
        if (!own.leaves && _isLive(rolledUp)) {
            // Who counts in a roll-up is not written down for each member, so until it is over all stakes are held.
            // From now on this one counts in no other, and can be taken when that round is over.
            own.leaves = true;
            own.lastRound = rolledUp;
            own.changedAt = _now();
            emit UnstakeAnnounced(msg.sender, rolledUp);
            return;
        }
        require(!_isLive(own.lastRound), StakeLocked(own.lastRound));
        own.amount = 0;
        own.leaves = false;
        own.changedAt = _now();
        _credit(msg.sender, amount);
        emit Unstaked(msg.sender, amount);
    }

    /// @inheritdoc IEscrow
    function stakeOf(address member) public view returns (uint256) {
        return _counted(_stakes[member]);
    }

    /// @inheritdoc IEscrow
    function stakeChangedAt(address member) external view returns (uint64) {
        return _stakes[member].changedAt;
    }

    /// @inheritdoc IEscrow
    function lockedBond() external view returns (uint256) {
        return _bond.isLocked ? _bond.amount : 0;
    }

    /// @inheritdoc IPullPayments
    function owed(address account)
        public
        view
        override(IPullPayments, PullPayments)
        returns (uint256 amount)
    {
        return super.owed(account) + _freeBond(account);
    }

    /// @inheritdoc PullPayments
    function _take(address account) internal override returns (uint256 amount) {
        uint256 free = _freeBond(account);
        if (free > 0) _bond.amount = 0;
        return super._take(account) + free;
    }

    /// @dev Adds to what an account risks.
    function _addStake(address account, uint256 amount) internal {
        Stake storage own = _stakes[account];
        // There is less money than 2^120 wei.
        // forge-lint: disable-next-line(unsafe-typecast)
        own.amount += uint120(amount);
        own.leaves = false;
        own.changedAt = _now();
        emit Staked(account, amount, own.amount);
    }

    /// @dev Takes a bond from what its holder is owed and what is sent along, and sets free what stood here: if that is the same
    ///      holder's, the one is the other.
    // What is owed comes from stakes too, which hold a time.
    // slither-disable-next-line timestamp
    function _lockBond(address holder, uint256 amount) internal {
        Bond memory free = _bond;
        uint256 before = _owed[holder];
        uint256 available = before + msg.value;
        if (free.holder == holder) available += free.amount;
        else if (free.amount > 0) _credit(free.holder, free.amount);
        require(available >= amount, BondNotCovered(available, amount));
        if (available - amount != before) _owed[holder] = available - amount;
        // `SecurityLib` keeps bonds below 2^88.
        // forge-lint: disable-next-line(unsafe-typecast)
        _bond = Bond(holder, uint88(amount), true);
    }

    /// @dev The proposal was not wrong: its bond is owed to who posted it.
    function _releaseBond() internal returns (address holder) {
        holder = _bond.holder;
        _bond.isLocked = false;
    }

    /// @dev The proposal was wrong: its bond is lost. What the challengers have of it is credited when they claim it.
    function _slashBond() internal {
        (_bond.amount, _bond.isLocked) = (0, false);
    }

    /// @dev A member's data did not come: it loses what it has at stake, but no more than it had to risk.
    // A stake holds a time beside what is compared here.
    // slither-disable-next-line timestamp
    function _burnStake(address member, uint256 most) internal {
        Stake storage own = _stakes[member];
        uint256 amount = own.amount < most ? own.amount : most;
        // It is no more than what there is.
        // forge-lint: disable-next-line(unsafe-typecast)
        own.amount -= uint120(amount);
        own.changedAt = _now();
        if (amount == 0) return;
        emit StakeBurnt(member, amount);
    }

    /// @dev Whether a member's stake is held for a round: then an update of it counts there, or waits.
    // A stake holds a time beside what is compared here.
    // slither-disable-next-line timestamp,incorrect-equality
    function _isHeld(address member, uint64 roundId) internal view returns (bool) {
        return _stakes[member].lastRound == roundId;
    }

    /// @dev Holds a member's stake until the round is over.
    function _holdStake(address member, uint64 roundId) internal {
        _stakes[member].lastRound = roundId;
    }

    /// @dev Reverts when an account's stake stands for something beside the rounds it counts in.
    function _requireStakeIsFree(address account) internal view virtual;

    /// @dev Whether a round is neither final nor failed.
    function _isLive(uint64 roundId) internal view virtual returns (bool);

    /// @dev The latest round if it was rolled up, else 0.
    function _rolledUpRound() internal view virtual returns (uint64);

    function _now() internal view returns (uint64) {
        // Unix time fits 64 bits for longer than there will be blocks.
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint64(block.timestamp);
    }

    /// @dev Of the bond, what is owed to an account.
    function _freeBond(address account) private view returns (uint256) {
        return _bond.isLocked || _bond.holder != account ? 0 : _bond.amount;
    }

    function _counted(Stake storage own) private view returns (uint256) {
        return own.leaves ? 0 : own.amount;
    }
}
