// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Disputes} from "../../src/Disputes.sol";
import {UpdateNode} from "../../src/interfaces/ICourt.sol";
import {IHearing} from "../../src/interfaces/IHearing.sol";
import {RoundLib, RoundState} from "../../src/libraries/RoundLib.sol";
import {Security} from "../../src/libraries/SecurityLib.sol";
import {Submission} from "../../src/libraries/UpdateTypes.sol";
import {RollupFixture} from "../base/RollupFixture.sol";

/// @notice A coordinator lies, and wants its bond back when somebody notices. Its accomplice is a member that signs what
///         it is asked to, and proves its own lie first.
contract LieForFreeTest is RollupFixture {
    address private accomplice = address(0xACC0);
    Disputes private disputes;

    function setUp() public override {
        super.setUp();
        disputes = Disputes(payable(federation.disputes()));
        vm.deal(accomplice, 10 ether);
    }

    /// @dev The member takes its stake away before the roll-up: the record is believed, nothing of the member's is at risk.
    function test_byABadUpdateOfAMemberThatLeft() public {
        signedTooMuch = 5;
        begin();
        vm.prank(members[2]);
        federation.unstake();
        rollUp();
        propose(roundId);
        escape(tooMuch());
    }

    function test_byABadUpdateInARollup() public {
        signedTooMuch = 5;
        begin();
        rollUp();
        propose(roundId);
        escape(tooMuch());
    }

    /// @dev No stake at all is the default.
    function test_byABadUpdateWithoutStakes() public {
        relayWith(defaultSecurity());
    }

    function test_byABadUpdateWithStakes() public {
        Security memory security = defaultSecurity();
        security.stake = STAKE;
        relayWith(security);
    }

    /// @dev By what it does not answer itself: half is lost all the same.
    function test_byAskingItself() public {
        begin();
        rollUp();
        propose(roundId);
        vm.prank(accomplice);
        disputes.demand{value: 1000}(roundId, new bytes[](0), stated.recordsRoot, 1);
        vm.warp(federation.round(roundId).until + 1);
        vm.prank(accomplice);
        disputes.rejectUnanswered(roundId, stated.recordsRoot, 1);
        assertHalfIsLost();
    }

    /// @dev Whatever ends a proposal but its becoming final, and whoever is paid for it, burns half of the bond.
    function testFuzz_byNoWayOutOfAProposal(uint8 way, bool isLast) public {
        begin();
        rollUp();
        propose(roundId);
        vm.prank(federation.disputes());
        federation.rejectProposal(roundId, way % 3 == 0 ? coordinator : accomplice, isLast);
        vm.assertEq(nobodys(accomplice), BOND);
        vm.assertEq(federation.lockedBond(), 0);
    }

    function relayWith(Security memory security) private {
        federation = createFederation(federation.rules(), security);
        disputes = Disputes(payable(federation.disputes()));
        if (security.stake > 0) stakeOfFirst(CLIENTS, security.stake);
        signedTooMuch = 5;
        begin();
        Submission[] memory relayed = new Submission[](3);
        (relayed[0], relayed[1], relayed[2]) = (received[0], received[2], received[4]);
        submit(roundId, relayed);
        propose(roundId);
        escape(tooMuch());
    }

    /// @dev The accomplice's proof costs half of the bond; over the updates nothing more can be proposed.
    function escape(UpdateNode memory node) private {
        bytes memory call =
            abi.encodeCall(disputes.proveBadUpdate, (roundId, commitmentProof(1), node, bytes32("salt")));
        vm.prank(accomplice);
        disputes.commit(roundId, keccak256(abi.encode(accomplice, keccak256(call))));
        vm.roll(block.number + 1);
        vm.prank(accomplice);
        (bool success,) = address(disputes).call(call);
        vm.assertTrue(success);
        assertHalfIsLost();
        vm.assertTrue(federation.round(roundId).state == RoundState.Failed);
        expectNoProposal(
            roundId, abi.encodeWithSelector(RoundLib.WrongState.selector, roundId, RoundState.Failed)
        );
    }

    function assertHalfIsLost() private {
        IHearing hearing = IHearing(federation.disputes());
        vm.prank(accomplice);
        hearing.claimShare(roundId, 1);
        vm.assertEq(nobodys(accomplice), BOND - BOND / 2);
        vm.assertEq(federation.owed(accomplice), BOND / 2);
        vm.assertEq(federation.owed(coordinator), 0);
        vm.assertEq(federation.lockedBond(), 0);
    }
}
