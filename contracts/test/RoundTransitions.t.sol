// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFederation} from "../src/interfaces/IFederation.sol";
import {Round, RoundLib, RoundState} from "../src/libraries/RoundLib.sol";
import {Rules} from "../src/libraries/RulesLib.sol";
import {Security} from "../src/libraries/SecurityLib.sol";
import {FederationFixture} from "./base/FederationFixture.sol";

/// @notice The table of `RoundLib` as data: every call in every situation a round can be in moves it as the table says,
///         or reverts with the error that says why.
contract RoundTransitionsTest is FederationFixture {
    /// Where a round stands, and what beside its state decides what a call does.
    enum Situation {
        None,
        Open,
        OpenWithQuorum,
        OpenEarly,
        OpenWaiting,
        OpenLate,
        OpenLateWithQuorum,
        /// The coordinator's time.
        RolledUp,
        /// Anyone's.
        RolledUpLate,
        /// That is over, too.
        RolledUpOver,
        /// The coordinator's is over, and the rules name what only audits can check.
        RolledUpLateUndisputable,
        Proposed,
        ProposedLate,
        Submitted,
        SubmittedLate,
        SubmittedRolledUp,
        SubmittedRolledUpLate,
        SubmittedRolledUpOver,
        Final,
        Failed
    }

    enum Call {
        Open,
        Submit,
        Propose,
        ProposeByAnyone,
        FailByCoordinator,
        FailByAnyone,
        Hold,
        Include,
        Forfeit,
        ExtendOpen,
        Extend,
        Reject,
        RejectLast,
        Finalize
    }

    uint32 private constant QUORUM = 10;
    uint32 private constant ACCEPTED = QUORUM;
    uint64 private constant ROUND = 1;
    uint128 private constant STAKE = 0.5 ether;
    uint64 private constant OPEN_SECONDS = 60;
    /// Member whose update waits, if one does.
    uint256 private constant WAITING = 14;

    function test_everyCallInEverySituation() public {
        uint256 legal = 0;
        for (uint256 i = 0; i <= uint256(type(Situation).max); ++i) {
            Situation situation = Situation(i);
            arrange(situation);
            RoundState before = federation.round(ROUND).state;
            for (uint256 j = 0; j <= uint256(type(Call).max); ++j) {
                uint256 snapshot = vm.snapshotState();
                (RoundState next, bytes memory failure) = expected(situation, Call(j));
                (bool success, bytes memory result) = perform(Call(j));
                if (failure.length == 0) ++legal;
                vm.assertTrue(success == (failure.length == 0));
                vm.assertEq(success ? bytes("") : result, failure);
                vm.assertTrue(federation.round(ROUND).state == (success ? next : before));
                vm.revertToState(snapshot);
            }
        }
        // Of 280: each row of the table, in each situation that it covers.
        vm.assertEq(legal, 62);
    }

    function test_onlyTheirCallersMoveARound() public {
        for (uint256 i = 0; i <= uint256(type(Situation).max); ++i) {
            arrange(Situation(i));
            RoundState before = federation.round(ROUND).state;
            bytes memory notCoordinator =
                abi.encodeWithSelector(IFederation.NotCoordinator.selector, stranger);
            bytes memory notDisputes = abi.encodeWithSelector(IFederation.NotSidecar.selector, stranger);
            bool isLive = before != RoundState.None && before < RoundState.Final;
            refuses(
                Call.Open,
                isLive ? abi.encodeWithSelector(IFederation.RoundStillOpen.selector, ROUND) : notCoordinator
            );
            refuses(Call.Submit, notCoordinator);
            if (!isForAll(Situation(i))) refuses(Call.Propose, notCoordinator);
            refuses(Call.Extend, notDisputes);
            bytes memory notDirect = abi.encodeWithSelector(IFederation.NotSidecar.selector, stranger);
            refuses(Call.Hold, notDirect);
            refuses(Call.Forfeit, notDirect);
            refuses(Call.Include, notCoordinator);
            refuses(Call.ExtendOpen, notDisputes);
            refuses(Call.Reject, notDisputes);
            refuses(Call.RejectLast, notDisputes);
            vm.assertTrue(federation.round(ROUND).state == before);
        }
    }

    function test_submittingCountsUntilTheDeadline() public {
        arrange(Situation.OpenWithQuorum);
        (bool success,) = perform(Call.Submit);
        vm.assertTrue(success);
        vm.assertEq(uint256(federation.round(ROUND).accepted), ACCEPTED + 1);
        arrange(Situation.OpenLateWithQuorum);
        (success,) = perform(Call.Submit);
        vm.assertTrue(success);
        vm.assertEq(uint256(federation.round(ROUND).accepted), ACCEPTED);
    }

    function test_theLastRejectedAttemptFailsTheRound() public {
        arrange(Situation.OpenWithQuorum);
        for (uint256 attempt = 1; attempt <= 8; ++attempt) {
            (bool success,) = perform(Call.Propose);
            vm.assertTrue(success);
            (success,) = perform(Call.Reject);
            vm.assertTrue(success);
            RoundState state = federation.round(ROUND).state;
            vm.assertTrue(state == (attempt < 8 ? RoundState.Submitted : RoundState.Failed));
        }
    }

    /// @dev The table: where a call leads, or the error that it reverts with.
    function expected(Situation situation, Call call)
        private
        view
        returns (RoundState next, bytes memory failure)
    {
        if (call == Call.Open) {
            if (situation == Situation.None) return (RoundState.Open, "");
            // The round after it opens; what is over stays as it is.
            if (situation == Situation.Final) return (RoundState.Final, "");
            if (situation == Situation.Failed) return (RoundState.Failed, "");
            return (next, abi.encodeWithSelector(IFederation.RoundStillOpen.selector, ROUND));
        }
        if (call == Call.ProposeByAnyone) {
            if (isForAll(situation)) return (RoundState.Proposed, "");
            return (next, abi.encodeWithSelector(IFederation.NotCoordinator.selector, stranger));
        }
        if (isOpen(situation)) {
            bool relays = call == Call.Submit || call == Call.Hold || call == Call.Include;
            if (relays && isRolledUp(situation)) {
                return (next, abi.encodeWithSelector(RoundLib.RolledUp.selector, ROUND));
            }
            if (call == Call.Submit || call == Call.Hold || call == Call.ExtendOpen) {
                return (RoundState.Open, "");
            }
            if (call == Call.Include || call == Call.Forfeit) {
                if (situation == Situation.OpenWaiting) return (RoundState.Open, "");
                // `DirectSubmissions` does not ask: nothing waits.
                return (next, abi.encodeWithSignature("Panic(uint256)", 0x11));
            }
            if (call == Call.Propose) {
                if (situation == Situation.OpenWaiting) {
                    return (next, abi.encodeWithSelector(RoundLib.UpdatesWaiting.selector, ROUND, 1));
                }
                if (situation == Situation.OpenEarly) {
                    uint64 last = federation.round(ROUND).openedAt + OPEN_SECONDS - 1;
                    return (next, abi.encodeWithSelector(RoundLib.TooEarly.selector, last));
                }
                if (hasQuorum(situation)) return (RoundState.Proposed, "");
                return (next, abi.encodeWithSelector(RoundLib.QuorumNotReached.selector, 3, QUORUM));
            }
        } else if (isSubmitted(situation)) {
            if (call == Call.Propose) return (RoundState.Proposed, "");
        } else if (isProposed(situation)) {
            if (call == Call.Extend) return (RoundState.Proposed, "");
            if (call == Call.Reject) return (RoundState.Submitted, "");
            if (call == Call.RejectLast) return (RoundState.Failed, "");
            if (call == Call.Finalize) {
                if (situation == Situation.ProposedLate) return (RoundState.Final, "");
                return
                    (next, abi.encodeWithSelector(RoundLib.TooEarly.selector, federation.round(ROUND).until));
            }
        }
        if (
            (isOpen(situation) || isSubmitted(situation))
                && (call == Call.FailByCoordinator || call == Call.FailByAnyone)
        ) {
            if (isLate(situation)) return (RoundState.Failed, "");
            if (call == Call.FailByAnyone) {
                return (next, abi.encodeWithSelector(IFederation.NotCoordinator.selector, stranger));
            }
            if (!hasQuorum(situation)) return (RoundState.Failed, "");
            return (next, abi.encodeWithSelector(RoundLib.QuorumReached.selector, ACCEPTED, QUORUM));
        }
        return
            (next, abi.encodeWithSelector(RoundLib.WrongState.selector, ROUND, federation.round(ROUND).state));
    }

    function isOpen(Situation situation) private pure returns (bool) {
        return situation >= Situation.Open && situation <= Situation.RolledUpLateUndisputable;
    }

    function isProposed(Situation situation) private pure returns (bool) {
        return situation == Situation.Proposed || situation == Situation.ProposedLate;
    }

    function isSubmitted(Situation situation) private pure returns (bool) {
        return situation >= Situation.Submitted && situation <= Situation.SubmittedRolledUpOver;
    }

    function isRolledUp(Situation situation) private pure returns (bool) {
        return situation >= Situation.RolledUp && situation <= Situation.RolledUpLateUndisputable
            || situation >= Situation.SubmittedRolledUp && situation <= Situation.SubmittedRolledUpOver;
    }

    /// @dev Where anyone may propose.
    function isForAll(Situation situation) private pure returns (bool) {
        return situation == Situation.RolledUpLate || situation == Situation.RolledUpOver
            || situation == Situation.SubmittedRolledUpLate || situation == Situation.SubmittedRolledUpOver;
    }

    /// @dev Where anyone may fail the round.
    function isLate(Situation situation) private pure returns (bool) {
        return situation == Situation.OpenLate || situation == Situation.OpenLateWithQuorum
            || situation == Situation.SubmittedLate || situation == Situation.RolledUpLateUndisputable
            || situation == Situation.RolledUpOver || situation == Situation.SubmittedRolledUpOver;
    }

    function hasQuorum(Situation situation) private pure returns (bool) {
        return situation != Situation.Open && situation != Situation.OpenLate;
    }

    /// @dev A new federation whose first round is in the situation.
    function arrange(Situation situation) private {
        Security memory security = defaultSecurity();
        security.stake = STAKE;
        security.openSeconds = OPEN_SECONDS;
        Rules memory rules = defaultRules();
        // FedMedian.
        if (situation == Situation.RolledUpLateUndisputable) rules.aggregator = bytes32(hex"0301");
        federation = createFederation(rules, security);
        stakeOfFirst(MEMBERS, STAKE);
        vm.deal(coordinator, 100 * BOND);
        vm.deal(stranger, 100 * BOND);
        if (situation == Situation.None) return;
        openRound();
        if (!isRolledUp(situation)) {
            submit(ROUND, honestSubmissions(ROUND, 0, hasQuorum(situation) ? ACCEPTED : 3));
        }
        vm.warp(block.timestamp + OPEN_SECONDS - (situation == Situation.OpenEarly ? 1 : 0));
        if (isRolledUp(situation)) rollUp();
        if (situation == Situation.Failed) {
            pass();
            federation.failRound(ROUND);
            return;
        }
        if (situation == Situation.OpenWaiting) {
            vm.prank(federation.directSubmissions());
            federation.hold(ROUND, members[WAITING], uint64(block.timestamp));
        }
        if (situation >= Situation.Proposed) propose(ROUND);
        if (isSubmitted(situation)) {
            vm.prank(federation.disputes());
            federation.rejectProposal(ROUND, stranger, false);
        }
        bool passes = isLate(situation) || isForAll(situation) || situation == Situation.ProposedLate;
        if (passes || situation == Situation.Final) pass();
        if (isLate(situation) && isForAll(situation)) {
            vm.warp(block.timestamp + defaultSecurity().challengeSeconds);
        }
        if (situation == Situation.Final) federation.finalizeRound(ROUND);
    }

    /// @dev As the contract of roll-ups does, for ten updates.
    function rollUp() private {
        bytes32[] memory peaks = new bytes32[](2);
        (peaks[0], peaks[1]) = (keccak256("eight"), keccak256("two"));
        address rollups = federation.rollups();
        vm.deal(rollups, BOND);
        vm.prank(rollups);
        federation.rollUp{value: BOND}(ROUND, ACCEPTED, 1000, peaks);
    }

    /// @dev Goes to where anyone may end the present state.
    function pass() private {
        vm.warp(federation.round(ROUND).until + 1);
    }

    /// @dev Calls as who may make the call.
    function perform(Call call) private returns (bool success, bytes memory result) {
        address caller = coordinator;
        if (call == Call.Extend || call == Call.Reject || call == Call.RejectLast) {
            caller = federation.disputes();
        }
        if (call >= Call.Hold && call <= Call.ExtendOpen) caller = federation.directSubmissions();
        if (call == Call.FailByAnyone || call == Call.Finalize || call == Call.ProposeByAnyone) {
            caller = stranger;
        }
        return performAs(caller, call);
    }

    function refuses(Call call, bytes memory failure) private {
        (bool success, bytes memory result) = performAs(stranger, call);
        vm.assertFalse(success);
        vm.assertEq(result, failure);
    }

    function performAs(address caller, Call call) private returns (bool success, bytes memory result) {
        bytes memory data = encoded(call);
        uint256 value = call == Call.Propose || call == Call.ProposeByAnyone ? BOND : 0;
        vm.prank(caller);
        return address(federation).call{value: value}(data);
    }

    function encoded(Call call) private view returns (bytes memory) {
        if (call == Call.Open) return abi.encodeCall(IFederation.openRound, ());
        if (call == Call.Submit) {
            return abi.encodeCall(IFederation.submit, (ROUND, honestSubmissions(ROUND, ACCEPTED, 1)));
        }
        if (call == Call.Propose || call == Call.ProposeByAnyone) {
            return abi.encodeCall(IFederation.propose, (ROUND, defaultProposal()));
        }
        if (call == Call.Hold) {
            return abi.encodeCall(IFederation.hold, (ROUND, members[WAITING + 1], uint64(block.timestamp)));
        }
        if (call == Call.Include) {
            return abi.encodeCall(IFederation.submit, (ROUND, honestSubmissions(ROUND, WAITING, 1)));
        }
        if (call == Call.Forfeit) return abi.encodeCall(IFederation.forfeit, (ROUND, members[WAITING]));
        if (call == Call.Extend || call == Call.ExtendOpen) {
            return abi.encodeCall(IFederation.extendChallenge, (ROUND, uint64(block.timestamp + 5000)));
        }
        if (call == Call.Reject || call == Call.RejectLast) {
            bool isLast = call == Call.RejectLast;
            return abi.encodeCall(IFederation.rejectProposal, (ROUND, stranger, isLast));
        }
        if (call == Call.Finalize) return abi.encodeCall(IFederation.finalizeRound, (ROUND));
        return abi.encodeCall(IFederation.failRound, (ROUND));
    }
}
