// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {IFederation} from "../../src/interfaces/IFederation.sol";
import {IMembership} from "../../src/interfaces/IMembership.sol";
import {IPullPayments} from "../../src/interfaces/IPullPayments.sol";
import {SymbolicFederation} from "./base/SymbolicFederation.sol";

/// @notice Where a federation's money is and who moves it (`make prove`): one call of anybody, from any state.
contract MoneyProofs is SymbolicFederation {
    /// @notice The slots that these proofs read are those of the federation.
    function check_theSlotsAreThoseOfTheEscrow(address account) external {
        _begin();
        _assumeCovered(account);
        uint256 word = _stakeWord(account);
        bool leaves = _bits(word, 15, 8) != 0;
        assert(federation.stakeOf(account) == (leaves ? 0 : _staked(account)));
        assert(federation.stakeChangedAt(account) == _bits(word, 24, 64));
        assert(federation.lockedBond() == (_isLocked() ? _bonded() : 0));
        assert(federation.owed(account) == _owedWithBond(account));
        uint256 member = _entry(address(federation), MEMBERS, uint160(account));
        assert(federation.isMember(account) == (_bits(member, 0, 8) != 0));
        assert(federation.leftIn(account) == _bits(member, 1, 64));
        assert(federation.memberCount() == _memberCount());
    }

    /// @notice Whoever withdraws gets all that it is owed, once.
    function check_whoWithdrawsGetsAllOnce() external {
        _begin();
        vm.assume(sent == 0 && _owedWord(caller) < MOST_WEI);
        _assumeSilent(caller);
        uint256 owed = federation.owed(caller);
        uint256 held = address(federation).balance;
        if (!_call(abi.encodeCall(IPullPayments.withdraw, ()))) return;
        assert(owed > 0 && caller.balance == owed);
        assert(address(federation).balance == held - owed);
        assert(federation.owed(caller) == 0);
    }

    /// @notice Whoever withdraws to another address takes only what itself is owed, and never to the zero address.
    function check_whoWithdrawsToAnotherPaysItself(address payable to, address other) external {
        _begin();
        vm.assume(sent == 0 && other != caller && to != caller && _owedWord(caller) < MOST_WEI);
        _assumeSilent(to);
        uint256 owed = federation.owed(caller);
        uint256 beside = federation.owed(other);
        uint256 had = to.balance;
        if (!_call(abi.encodeCall(IPullPayments.withdrawTo, (to)))) return;
        assert(to != address(0) && to.balance == had + owed);
        assert(federation.owed(caller) == 0 && federation.owed(other) == beside);
    }

    /// @notice A deposit is owed to who made it.
    function check_aDepositIsOwedToItsSender() external {
        _begin();
        vm.assume(_owedWord(caller) < MOST_WEI);
        uint256 before = _owedWord(caller);
        bool done = _call(abi.encodeCall(IEscrow.deposit, ()));
        assert(done && _owedWord(caller) == before + sent);
    }

    /// @notice What is staked is at stake, for who sent it.
    function check_whatIsStakedIsAtStake() external {
        _begin();
        _assumeCovered(caller);
        uint256 before = _staked(caller);
        bool done = _call(abi.encodeCall(IEscrow.stake, ()));
        assert(done && _staked(caller) == before + sent && federation.stakeOf(caller) == before + sent);
    }

    /// @notice A stake that is taken out is owed to its owner, all of it, or stays to the last wei.
    function check_aStakeTakenOutIsOwed() external {
        _begin();
        _assumeCovered(caller);
        uint256 due = _due(caller);
        uint256 staked = _staked(caller);
        if (!_call(abi.encodeCall(IEscrow.unstake, ()))) return;
        assert(_due(caller) == due);
        assert(_staked(caller) == 0 || _staked(caller) == staked && federation.stakeOf(caller) == 0);
    }

    /// @notice Where membership is open, a member's stake stays.
    function check_anOpenMembersStakeStays() external {
        _begin();
        vm.assume(federation.openMembership() && federation.isMember(caller));
        assert(!_call(abi.encodeCall(IEscrow.unstake, ())));
    }

    /// @notice What a member is burnt for its silence is credited to nobody, and is the stake asked for or all that there is.
    function check_aBurntStakeGoesToNobody(uint64 roundId, address member, address other) external {
        _begin();
        uint256 staked = _staked(member);
        uint256 owed = _owedWord(other);
        uint256 asked = _bits(_word(address(federation), SECURITY + 1), 0, 128);
        if (!_call(abi.encodeCall(IFederation.forfeit, (roundId, member)))) return;
        assert(caller == _sidecar(DIRECT));
        assert(_staked(member) == (staked < asked ? 0 : staked - asked));
        assert(_owedWord(other) == owed);
    }

    /// @notice When a round is final its bond is owed to who posted it.
    function check_aFinalRoundsBondIsOwedToItsHolder(uint64 roundId) external {
        _begin();
        address holder = _holder();
        vm.assume(_owedWord(holder) < MOST_WEI && _isLocked());
        uint256 before = federation.owed(holder);
        if (!_call(abi.encodeCall(IFederation.finalizeRound, (roundId)))) return;
        assert(!_isLocked() && federation.owed(holder) == before + _bonded());
    }

    /// @notice A rejected proposal leaves no bond, and pays nobody.
    function check_aRejectedProposalPaysNobody(uint64 roundId, address challenger, bool isLast, address other)
        external
    {
        _begin();
        uint256 owed = _owedWord(other);
        uint256 held = address(federation).balance;
        if (!_call(abi.encodeCall(IFederation.rejectProposal, (roundId, challenger, isLast)))) return;
        assert(caller == COURT && _bonded() == 0 && !_isLocked());
        assert(_owedWord(other) == owed && address(federation).balance == held);
    }

    /// @notice A share is credited at the court's word alone, to the wei, and to nobody else.
    function check_aShareIsPaidAtTheCourtsWord(address challenger, uint256 amount, address other) external {
        _begin();
        vm.assume(other != challenger && amount < MOST_WEI && _owedWord(challenger) < MOST_WEI);
        uint256 owed = _owedWord(challenger);
        uint256 beside = _owedWord(other);
        if (!_call(abi.encodeCall(IFederation.payShare, (challenger, amount)))) return;
        assert(caller == COURT);
        assert(_owedWord(challenger) == owed + amount && _owedWord(other) == beside);
    }

    /// @notice Who joins has at stake what is asked for, signs for nobody as a key, and leaves room in the aggregate.
    function check_whoJoinsHasItsStake() external {
        _begin();
        _assumeCovered(caller);
        if (!_call(abi.encodeCall(IMembership.join, ()))) return;
        assert(federation.isMember(caller) && federation.openMembership());
        assert(federation.stakeOf(caller) >= _bits(_word(address(federation), SECURITY + 1), 0, 128));
    }

    /// @notice Who quits is remembered as of the latest round.
    function check_whoQuitsIsRememberedAsOfItsRound() external {
        _begin();
        if (!_call(abi.encodeCall(IMembership.quit, ()))) return;
        assert(!federation.isMember(caller) && federation.leftIn(caller) == _currentRound());
    }

    function _owedWithBond(address account) private view returns (uint256) {
        return _owedWord(account) + _where(_and(!_isLocked(), _holder() == account), _bonded());
    }

    function _memberCount() private view returns (uint256) {
        return _bits(_word(address(federation), MEMBERSHIP), 21, 64);
    }

    /// @dev Money goes to an account without code, or one that takes it and calls nobody.
    function _assumeSilent(address account) private pure {
        vm.assume(account != address(federation) && account != COURT && account != RULE_BOOK);
    }
}
