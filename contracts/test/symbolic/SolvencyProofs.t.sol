// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {IFederation} from "../../src/interfaces/IFederation.sol";
import {IMembership} from "../../src/interfaces/IMembership.sol";
import {IPullPayments} from "../../src/interfaces/IPullPayments.sol";
import {Proposal, RoundState} from "../../src/libraries/RoundLib.sol";
import {SymbolicFederation} from "./base/SymbolicFederation.sol";

/// @notice That a federation can pay what it owes, entry point by entry point, and whose money no call touches (`make prove`).
/// @dev A call changes what one account is owed or has at stake (a bond: two), whichever it is, as the rules about others say. So what is
///      left after what is owed to that one and the bond never falls.
contract SolvencyProofs is SymbolicFederation {
    /// @notice Deposits and stakes owe no more than came in.
    function check_whatComesInCoversWhatIsOwed(address somebody, bool stakes) external {
        (uint256 had, uint256 due) = _beginCovered(somebody);
        bytes memory data = stakes ? abi.encodeCall(IEscrow.stake, ()) : abi.encodeCall(IEscrow.deposit, ());
        if (!_call(data)) return;
        _assertCovered(somebody, had, due);
    }

    /// @notice Taking a stake out, leaving, and opening a round move nothing out of a federation and owe nothing new.
    function check_whatMovesNoMoneyOwesNothingNew(address somebody, uint8 which) external {
        (uint256 had, uint256 due) = _beginCovered(somebody);
        sent = 0;
        bytes memory data = which == 0
            ? abi.encodeCall(IEscrow.unstake, ())
            : which == 1 ? abi.encodeCall(IMembership.quit, ()) : abi.encodeCall(IFederation.openRound, ());
        if (!_call(data)) return;
        _assertCovered(somebody, had, due);
    }

    /// @notice The end of a round, of a proposal or of an update that waits owes nothing new.
    function check_whatEndsOwesNothingNew(
        uint64 roundId,
        address who,
        bool isLast,
        address somebody,
        uint8 which
    ) external {
        (uint256 had, uint256 due) = _beginCovered(somebody);
        sent = 0;
        bytes memory data = which == 0
            ? abi.encodeCall(IFederation.finalizeRound, (roundId))
            : which == 1
                ? abi.encodeCall(IFederation.failRound, (roundId))
                : which == 2
                    ? abi.encodeCall(IFederation.rejectProposal, (roundId, who, isLast))
                    : abi.encodeCall(IFederation.forfeit, (roundId, who));
        if (!_call(data)) return;
        _assertCovered(somebody, had, due);
    }

    /// @notice What is withdrawn was owed: the rest covers the rest.
    /// @dev To the caller, whose claim falls by what it is paid.
    function check_whatIsWithdrawnWasOwed() external {
        _begin();
        vm.assume(caller != COURT && caller != RULE_BOOK);
        _assumeCovered(caller);
        (uint256 had, uint256 due) = (address(federation).balance, _bonded() + _due(caller));
        sent = 0;
        if (!_call(abi.encodeCall(IPullPayments.withdraw, ()))) return;
        _assertCovered(caller, had, due);
    }

    /// @notice A roll-up stands under the whole bond, which came with it or was owed to the coordinator; nothing else is owed for it. It is made
    ///         by the contract of roll-ups alone, in an open round without an update, once.
    /// @dev One peak.
    function check_aRollupStandsUnderItsBond(
        uint64 roundId,
        uint32 accepted,
        uint64 totalWeight,
        bytes32[] calldata peaks
    ) external {
        _begin();
        (address holder, uint256 had, uint256 due) = _bondedBefore(_coordinator());
        vm.assume(!_isLocked() && _bondAsked() < 1 << 88);
        uint256 word = _roundWord(roundId);
        vm.assume(accepted <= 8);
        bytes memory data = abi.encodeCall(IFederation.rollUp, (roundId, accepted, totalWeight, peaks));
        if (!_call(data)) return;
        assert(caller == _sidecar(ROLLUPS) && _stateOf(word) == uint256(RoundState.Open));
        assert(!_isRolledUp(word) && _accepted(word) == 0 && _isRolledUp(_roundWord(roundId)));
        assert(_isLocked() && _bonded() == _bondAsked() && _holder() == _coordinator());
        assert(address(federation).balance + due >= had + _owedToBoth(holder, _coordinator()));
        sent = 0;
        assert(!_call(data));
    }

    /// @notice A proposal stands under the whole bond of who makes it, and nothing else is owed for it. It is made in a round that is open or
    ///         whose last proposal fell, with a quorum, while nothing waits: by the coordinator, or after its time by anyone, if the updates
    ///         were rolled up for the weighted mean.
    /// @dev At most three updates.
    function check_aProposalStandsUnderItsBond(uint64 roundId, Proposal calldata proposal) external {
        _begin();
        (address holder, uint256 had, uint256 due) = _bondedBefore(caller);
        uint256 word = _roundWord(roundId);
        _assumeOthersOver(roundId);
        vm.assume(_isSane(word) && _accepted(word) <= 3 && _bondAsked() < 1 << 88);
        // A roll-up locks its bond, and a proposal that fell leaves none.
        vm.assume(_isLocked() == _and(_isRolledUp(word), _attempt(word) == 0));
        if (!_call(abi.encodeCall(IFederation.propose, (roundId, proposal)))) return;
        assert(caller == _coordinator() || _isForAll(word) && block.timestamp > _until(word));
        assert(_accepted(word) >= _bits(_word(address(federation), RULES), 0, 32));
        assert(_stateOf(word) == uint256(RoundState.Open) || _stateOf(word) == uint256(RoundState.Submitted));
        assert(_isRolledUp(word) || _waiting(word) == 0);
        assert(_stateOf(_roundWord(roundId)) == uint256(RoundState.Proposed) && _isLocked());
        assert(_bonded() == _bondAsked() && _holder() == caller);
        assert(_attempt(_roundWord(roundId)) == _attempt(word) + 1);
        assert(address(federation).balance + due >= had + _owedToBoth(holder, caller));
    }

    /// @notice Nobody moves another's stake, or what another is owed, by any call about its own.
    function check_nobodyMovesAnothersMoney(address other, uint8 which) external {
        _begin();
        vm.assume(other != caller);
        (uint256 staked, uint256 owed) = (_stakeWord(other), _owedWord(other));
        bytes memory data = which == 0
            ? abi.encodeCall(IEscrow.deposit, ())
            : which == 1
                ? abi.encodeCall(IEscrow.stake, ())
                : which == 2
                    ? abi.encodeCall(IEscrow.unstake, ())
                    : which == 3
                        ? abi.encodeCall(IMembership.join, ())
                        : which == 4
                            ? abi.encodeCall(IMembership.quit, ())
                            : abi.encodeCall(IPullPayments.withdrawTo, (payable(address(0xdead))));
        if (!_call(data)) return;
        assert(_stakeWord(other) == staked && _owedWord(other) == owed);
    }

    /// @notice Opening and ending a round, and rejecting a proposal, move nobody's stake.
    function check_theEndOfARoundMovesNoStake(
        uint64 roundId,
        address who,
        bool isLast,
        address other,
        uint8 which
    ) external {
        _begin();
        uint256 staked = _stakeWord(other);
        bytes memory data = which == 0
            ? abi.encodeCall(IFederation.finalizeRound, (roundId))
            : which == 1
                ? abi.encodeCall(IFederation.failRound, (roundId))
                : which == 2
                    ? abi.encodeCall(IFederation.rejectProposal, (roundId, who, isLast))
                    : which == 3
                        ? abi.encodeCall(IFederation.payShare, (who, sent))
                        : abi.encodeCall(IFederation.openRound, ());
        if (!_call(data)) return;
        assert(_stakeWord(other) == staked);
    }

    /// @notice A stake is held while a round that it counts in is live, and while a roll-up is.
    function check_aStakeIsHeldWhileItsRoundIsLive() external {
        _begin();
        _assumeCovered(caller);
        uint256 owed = _owedWord(caller);
        uint64 held = uint64(_bits(_stakeWord(caller), 16, 64));
        uint256 word = _roundWord(_currentRound());
        bool leaves = _bits(_stakeWord(caller), 15, 8) != 0;
        bool live = _isLive(_roundWord(held));
        bool announced = _or(leaves, !_and(_isRolledUp(word), _isLive(word)));
        if (!_call(abi.encodeCall(IEscrow.unstake, ()))) return;
        assert(_owedWord(caller) == owed || !live && announced);
    }

    /// @notice A round that is final or failed stays so: no call of anybody moves it.
    function check_aRoundThatIsOverStaysSo(uint64 roundId, address who, uint64 until, bool flag, uint8 which)
        external
    {
        _begin();
        uint256 word = _roundWord(roundId);
        vm.assume(_within(_stateOf(word), uint256(RoundState.Final), 2));
        bytes memory data = which == 0
            ? abi.encodeCall(IFederation.finalizeRound, (roundId))
            : which == 1
                ? abi.encodeCall(IFederation.failRound, (roundId))
                : which == 2
                    ? abi.encodeCall(IFederation.rejectProposal, (roundId, who, flag))
                    : which == 3
                        ? abi.encodeCall(IFederation.extendChallenge, (roundId, until))
                        : which == 4
                            ? abi.encodeCall(IFederation.hold, (roundId, who, until))
                            : which == 5
                                ? abi.encodeCall(IFederation.forfeit, (roundId, who))
                                : abi.encodeCall(IFederation.rollUp, (roundId, 0, until, new bytes32[](0)));
        assert(!_call(data));
    }

    /// @notice The model changes by a round that becomes final alone, to what its last proposal stated.
    function check_theModelIsThatOfAFinalRound(uint64 roundId, address who, bool isLast, uint8 which)
        external
    {
        _begin();
        uint256 model = _word(address(federation), MODEL_ROOT);
        uint256 stated = _stated(roundId);
        bytes memory data = which == 0
            ? abi.encodeCall(IFederation.finalizeRound, (roundId))
            : which == 1
                ? abi.encodeCall(IFederation.failRound, (roundId))
                : which == 2
                    ? abi.encodeCall(IFederation.rejectProposal, (roundId, who, isLast))
                    : which == 3
                        ? abi.encodeCall(IFederation.replaceCoordinator, (who))
                        : abi.encodeCall(IFederation.openRound, ());
        if (!_call(data)) return;
        assert(_word(address(federation), MODEL_ROOT) == (which == 0 ? stated : model));
    }

    /// @notice A bond is set free once: whoever ends the round, nobody ends it again.
    function check_aBondIsSetFreeOnce(uint64 roundId, bool final_, uint8 which) external {
        _begin();
        bytes memory data = final_
            ? abi.encodeCall(IFederation.finalizeRound, (roundId))
            : abi.encodeCall(IFederation.failRound, (roundId));
        sent = 0;
        if (!_call(data)) return;
        uint256 bond = _bondWord();
        bytes memory again = which == 0
            ? abi.encodeCall(IFederation.finalizeRound, (roundId))
            : which == 1
                ? abi.encodeCall(IFederation.failRound, (roundId))
                : abi.encodeCall(IFederation.rejectProposal, (roundId, caller, true));
        caller = svm.createAddress("second caller");
        assert(!_call(again) && _bondWord() == bond);
    }

    /// @notice A member is invited and removed by the owner, between rounds, once at a time.
    /// @dev One member in the list.
    function check_membersAreInvitedByTheOwner(address member, bool add) external {
        _begin();
        sent = 0;
        bool live = _isLive(_roundWord(_currentRound()));
        bool wasIn = _isIn(member);
        address[] memory list = new address[](1);
        list[0] = member;
        bytes memory data = add
            ? abi.encodeCall(IMembership.addMembers, (list))
            : abi.encodeCall(IMembership.removeMember, (member));
        if (!_call(data)) return;
        assert(caller == _owner() && !live && wasIn != add && _isIn(member) == add);
        assert(!_call(data));
    }

    /// @dev What the federation has, and what it owes to somebody beside the bond.
    function _beginCovered(address somebody) private returns (uint256 had, uint256 due) {
        _begin();
        _assumeCovered(somebody);
        (had, due) = (address(federation).balance, _bonded() + _due(somebody));
    }

    /// @dev What is held beyond that has not fallen.
    function _assertCovered(address somebody, uint256 had, uint256 due) private view {
        assert(address(federation).balance + due >= had + _bonded() + _due(somebody));
    }

    /// @dev The same for the two that a bond concerns: who posts it, and whose stood there before.
    function _bondedBefore(address poster) private view returns (address holder, uint256 had, uint256 due) {
        holder = _holder();
        _assumeCovered(poster);
        _assumeCovered(holder);
        (had, due) = (address(federation).balance, _owedToBoth(holder, poster));
    }

    function _owedToBoth(address holder, address poster) private view returns (uint256) {
        return _bonded() + _due(poster) + _where(holder != poster, _due(holder));
    }

    function _bondAsked() private view returns (uint256) {
        return _bits(_word(address(federation), SECURITY), 16, 128);
    }

    function _isIn(address member) private view returns (bool) {
        return _bits(_entry(address(federation), MEMBERS, uint160(member)), 0, 8) != 0;
    }
}
