// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {IFederation} from "../src/interfaces/IFederation.sol";
import {IPullPayments} from "../src/interfaces/IPullPayments.sol";
import {Proposal, RoundLib, RoundState} from "../src/libraries/RoundLib.sol";
import {Refusal} from "../src/libraries/RulesLib.sol";
import {Submission, Update} from "../src/libraries/UpdateTypes.sol";
import {DisputeFixture} from "./base/DisputeFixture.sol";

/// @notice Bonds and stakes: what is locked, for how long, and where it goes.
contract EscrowTest is DisputeFixture {
    /// Bonds and stakes lost, less what was claimed of them.
    uint256 private lost;

    function test_paysTheBondFromWhatIsOwedFirst() public {
        begin();
        Lie memory honest;
        buildProposal(honest);
        Proposal memory stated = proposal;
        vm.prank(coordinator);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.BondNotCovered.selector, BOND - 1, BOND));
        federation.propose{value: BOND - 1}(roundId, stated);
        vm.prank(coordinator);
        vm.expectEmit();
        emit IEscrow.Deposited(coordinator, 3 * BOND);
        federation.deposit{value: 3 * BOND}();
        vm.prank(coordinator);
        federation.propose(roundId, stated);
        vm.assertEq(federation.owed(coordinator), 2 * BOND);
        vm.assertEq(federation.lockedBond(), BOND);
        vm.prank(coordinator);
        vm.assertEq(federation.withdraw(), 2 * BOND);
        vm.prank(coordinator);
        vm.expectRevert(abi.encodeWithSelector(IPullPayments.NothingOwed.selector, coordinator));
        federation.withdraw();
    }

    function test_theBondIsWhoseItWasThoughTheCoordinatorChanges() public {
        begin();
        Lie memory honest;
        proposeWith(honest);
        vm.prank(owner);
        federation.replaceCoordinator(stranger);
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);
        vm.assertEq(federation.owed(coordinator), BOND);
        vm.assertEq(federation.owed(stranger), 0);
    }

    function test_stakesAreLockedWhileTheRoundTheySignedIsLive() public {
        begin();
        vm.prank(members[0]);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.StakeLocked.selector, roundId));
        federation.unstake();
        vm.warp(federation.round(roundId).until + 1);
        federation.failRound(roundId);
        vm.prank(members[0]);
        vm.expectEmit();
        emit IEscrow.Unstaked(members[0], STAKE);
        federation.unstake();
        vm.prank(members[0]);
        vm.assertEq(federation.withdraw(), STAKE);
        vm.prank(members[0]);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NoStake.selector, members[0]));
        federation.unstake();
    }

    function test_refusesMembersWhoseStakeIsTooLow() public {
        vm.prank(members[0]);
        federation.unstake();
        roundId = openRound();
        Update memory update = honestUpdate(roundId, 0);
        update.elements = ELEMENTS;
        Submission memory submission = signed(0, update);
        expectRefusal(submission, Refusal.StakeTooLow);
        submitOne(roundId, submission);
    }

    function test_onlyTheCourtsReject() public {
        begin();
        Lie memory honest;
        proposeWith(honest);
        bytes memory refused = abi.encodeWithSelector(IFederation.NotSidecar.selector, owner);
        vm.prank(owner);
        vm.expectRevert(refused);
        federation.rejectProposal(roundId, owner, true);
        vm.prank(owner);
        vm.expectRevert(refused);
        federation.extendChallenge(roundId, type(uint64).max);
        vm.prank(owner);
        vm.expectRevert(refused);
        federation.payShare(owner, 1);
    }

    function test_endsARoundWhoseProposalsAllFall() public {
        begin();
        Lie memory honest;
        buildProposal(honest);
        for (uint256 i = 1; i <= RoundLib.MAX_ATTEMPTS; ++i) {
            makeProposal();
            vm.prank(address(disputes));
            federation.rejectProposal(roundId, challenger, false);
        }
        vm.assertTrue(federation.round(roundId).state == RoundState.Failed);
        vm.assertEq(nobodys(address(0)), 8 * BOND);
        openRound();
    }

    function test_anyoneEndsARoundThatIsNotProposedAgain() public {
        begin();
        Lie memory honest;
        proposeWith(honest);
        vm.prank(address(disputes));
        federation.rejectProposal(roundId, challenger, false);
        vm.prank(stranger);
        vm.expectRevert(abi.encodeWithSelector(IFederation.NotCoordinator.selector, stranger));
        federation.failRound(roundId);
        vm.warp(federation.round(roundId).until + 1);
        vm.prank(stranger);
        federation.failRound(roundId);
        vm.assertTrue(federation.round(roundId).state == RoundState.Failed);
    }

    /// @dev Whatever happens in whatever order: the balance is what is owed, locked, staked and lost.
    function testFuzz_staysSolvent(uint256 seed) public {
        begin();
        Lie memory honest;
        buildProposal(honest);
        for (uint256 i = 0; i < 24; ++i) {
            uint256 action = uint256(keccak256(abi.encode(seed, i))) % 10;
            address someone = i % 2 == 0 ? members[i % 3] : challenger;
            if (action < 2) {
                tryAs(coordinator, BOND, abi.encodeCall(federation.propose, (roundId, proposal)));
            } else if (action == 2) {
                bytes memory fall = abi.encodeCall(federation.rejectProposal, (roundId, challenger, false));
                if (tryAs(address(disputes), 0, fall)) lost += BOND;
                uint256 claimed = lost / 3;
                tryAs(address(disputes), 0, abi.encodeCall(federation.payShare, (someone, claimed)));
                lost -= claimed;
            } else if (action == 3) {
                address direct = federation.directSubmissions();
                tryAs(direct, 0, abi.encodeCall(federation.hold, (roundId, members[i % 3], 0)));
                uint256 staked = federation.stakeOf(members[i % 3]);
                tryAs(direct, 0, abi.encodeCall(federation.forfeit, (roundId, members[i % 3])));
                lost += staked - federation.stakeOf(members[i % 3]);
            } else if (action == 4) {
                tryAs(someone, 0, abi.encodeCall(federation.withdraw, ()));
            } else if (action == 5) {
                tryAs(someone, 0, abi.encodeCall(federation.unstake, ()));
            } else if (action == 6) {
                tryAs(someone, 1 + i, abi.encodeCall(federation.stake, ()));
            } else if (action == 7) {
                vm.warp(block.timestamp + 2000);
            } else if (action == 8) {
                tryAs(someone, 0, abi.encodeCall(federation.finalizeRound, (roundId)));
            } else {
                tryAs(coordinator, 7, abi.encodeCall(federation.deposit, ()));
            }
            assertSolvent();
        }
        // Nothing hangs and nothing is locked for ever.
        vm.warp(block.timestamp + 30 days);
        tryAs(stranger, 0, abi.encodeCall(federation.finalizeRound, (roundId)));
        tryAs(stranger, 0, abi.encodeCall(federation.failRound, (roundId)));
        openRound();
        vm.warp(federation.round(roundId + 1).until + 1);
        federation.failRound(roundId + 1);
        for (uint256 i = 0; i < CLIENTS; ++i) {
            tryAs(members[i], 0, abi.encodeCall(federation.unstake, ()));
            tryAs(members[i], 0, abi.encodeCall(federation.withdraw, ()));
        }
        tryAs(coordinator, 0, abi.encodeCall(federation.withdraw, ()));
        tryAs(challenger, 0, abi.encodeCall(federation.unstake, ()));
        tryAs(challenger, 0, abi.encodeCall(federation.withdraw, ()));
        vm.assertEq(address(federation).balance, lost);
    }

    function tryAs(address sender, uint256 value, bytes memory call) private returns (bool success) {
        vm.deal(sender, sender.balance + value);
        vm.prank(sender);
        (success,) = address(federation).call{value: value}(call);
    }

    function assertSolvent() private view {
        vm.assertEq(nobodys(address(0)), lost);
    }
}
