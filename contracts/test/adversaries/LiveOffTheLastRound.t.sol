// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Rollups} from "../../src/Rollups.sol";
import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {IPullPayments} from "../../src/interfaces/IPullPayments.sol";
import {Rollup} from "../../src/libraries/RollupLib.sol";
import {Proposal, Round, RoundLib} from "../../src/libraries/RoundLib.sol";
import {Submission} from "../../src/libraries/UpdateTypes.sol";
import {FederationFixture} from "../base/FederationFixture.sol";

/// @notice Of the last round there stay its bond, its last member, its weight and its aggregate in the slots of the next
///         one. Nobody wins by them: no bond stands for two, none is another's, and no round takes what is not its own.
contract LiveOffTheLastRoundTest is FederationFixture {
    address private successor = address(0x5CC);
    address private predecessor;

    function setUp() public override {
        super.setUp();
        vm.deal(coordinator, 10 ether);
        vm.deal(successor, 10 ether);
    }

    function test_aBondThatIsFreeIsTakenOutOnce() public {
        finish();
        vm.assertEq(federation.owed(coordinator), BOND);
        vm.assertEq(federation.lockedBond(), 0);
        vm.prank(coordinator);
        vm.assertEq(federation.withdraw(), BOND);
        vm.expectRevert(abi.encodeWithSelector(IPullPayments.NothingOwed.selector, coordinator));
        vm.prank(coordinator);
        federation.withdraw();
        vm.assertEq(address(federation).balance, 0);
    }

    function test_aBondThatWasTakenOutStandsForNothing() public {
        finish();
        vm.prank(coordinator);
        federation.withdraw();
        uint64 roundId = full();
        expectUncovered(coordinator, roundId, BOND - 1);
    }

    /// @dev While it is locked it is nobody's; set free it stands for the next proposal without another wei.
    function test_aLockedBondIsNotOwed() public {
        finish();
        uint64 roundId = full();
        Proposal memory stated = defaultProposal();
        vm.prank(coordinator);
        federation.propose(roundId, stated);
        vm.assertEq(federation.owed(coordinator), 0);
        vm.assertEq(federation.lockedBond(), BOND);
        vm.expectRevert(abi.encodeWithSelector(IPullPayments.NothingOwed.selector, coordinator));
        vm.prank(coordinator);
        federation.withdraw();
    }

    function test_aSuccessorBringsItsOwnBond() public {
        finish();
        vm.prank(owner);
        federation.replaceCoordinator(successor);
        coordinator = successor;
        uint64 roundId = full();
        expectUncovered(successor, roundId, BOND - 1);
        Proposal memory stated = defaultProposal();
        vm.prank(successor);
        federation.propose{value: BOND}(roundId, stated);
        address first = predecessor;
        vm.assertEq(federation.owed(first), BOND);
        vm.assertEq(federation.owed(successor), 0);
        vm.prank(first);
        vm.assertEq(federation.withdraw(), BOND);
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);
        vm.assertEq(federation.owed(successor), BOND);
        vm.assertEq(address(federation).balance, BOND);
    }

    /// @dev Whatever is sent, taken out and proposed in whatever order: the coordinator never has more than it brought.
    function testFuzz_theBondIsCountedOnce(uint256 seed) public {
        uint256 brought = 0;
        uint64 roundId = 0;
        for (uint256 i = 0; i < 12; ++i) {
            uint256 amount = uint256(keccak256(abi.encode(seed, i))) % (2 * BOND);
            if (amount % 4 == 0) {
                vm.prank(coordinator);
                try federation.withdraw() returns (uint256 paid) {
                    brought -= paid;
                } catch {}
            }
            if (roundId == 0) roundId = full();
            Proposal memory stated = defaultProposal();
            vm.deal(coordinator, amount);
            vm.prank(coordinator);
            try federation.propose{value: amount}(roundId, stated) {
                brought += amount;
                vm.assertEq(federation.lockedBond(), BOND);
                vm.assertEq(federation.owed(coordinator), brought - BOND);
                vm.warp(federation.round(roundId).until + 1);
                federation.finalizeRound(roundId);
                roundId = 0;
            } catch {
                vm.assertTrue(brought + amount < BOND);
            }
            vm.assertEq(federation.owed(coordinator), brought);
            vm.assertEq(address(federation).balance, brought);
        }
    }

    function test_aNewRoundHasNothingOfTheLast() public {
        finish();
        uint64 roundId = openRound();
        Round memory round = federation.round(roundId);
        vm.assertEq(round.lastMember, address(0));
        vm.assertEq(uint256(round.totalWeight), 0);
        vm.assertEq(uint256(round.accepted), 0);
        vm.assertEq(round.aggregateRoot, bytes32(0));
        vm.assertEq(round.modelRoot, bytes32(0));
        // Of the last round there stay what others build on.
        round = federation.round(roundId - 1);
        vm.assertEq(round.modelRoot, NEXT_ROOT);
        vm.assertEq(round.aggregationRoot, AGGREGATION_ROOT);
        vm.assertEq(uint256(round.accepted), MEMBERS);
        vm.assertEq(round.aggregateRoot, bytes32(0));
        vm.assertEq(uint256(round.totalWeight), 0);
    }

    /// @dev Refused updates are no updates: the last round's weight does not come in with them.
    function test_refusedUpdatesBringNothingBack() public {
        finish();
        uint64 roundId = openRound();
        Submission[] memory foreign = honestSubmissions(roundId, 0, 1);
        foreign[0].signature = new bytes(65);
        submit(roundId, foreign);
        vm.assertEq(federation.round(roundId).lastMember, address(0));
        vm.assertEq(uint256(federation.round(roundId).totalWeight), 0);
        // The first member of all comes first again, and only the weights of this round are summed.
        submit(roundId, honestSubmissions(roundId, 0, 1));
        uint64 first = federation.round(roundId).totalWeight;
        vm.assertEq(federation.round(roundId).lastMember, members[0]);
        submit(roundId, honestSubmissions(roundId, 1, MEMBERS - 1));
        vm.assertEq(uint256(federation.round(roundId - 1).accepted), MEMBERS);
        vm.assertTrue(first > 0 && federation.round(roundId).totalWeight > first);
    }

    function test_theLastRoundsWeightIsNoPremise() public {
        uint64 roundId = full();
        uint64 heavy = federation.round(roundId).totalWeight;
        propose(roundId, BOND);
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);
        roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, MEMBERS - 1));
        Proposal memory stated = defaultProposal();
        stated.totalWeight = heavy;
        vm.expectRevert(abi.encodeWithSelector(RoundLib.OtherPremises.selector, "totalWeight"));
        vm.prank(coordinator);
        federation.propose(roundId, stated);
    }

    function test_aRollupOfNothingHasNoWeight() public {
        finish();
        uint64 roundId = openRound();
        Rollup memory rollup;
        rollup.recordsRoot = bytes32(uint256(1));
        rollup.records = 1;
        rollup.judgedAt = uint64(block.timestamp);
        rollup.cid = cidOf("roll-up");
        vm.roll(block.number + 1);
        rollup.anchorNumber = uint64(block.number - 1);
        rollup.anchorHash = blockhash(block.number - 1);
        Rollups rollups = Rollups(federation.rollups());
        vm.prank(coordinator);
        rollups.submit(roundId, rollup);
        vm.assertEq(uint256(federation.round(roundId).totalWeight), 0);
        vm.assertEq(federation.round(roundId).lastMember, address(0));
    }

    function finish() private {
        predecessor = coordinator;
        uint64 roundId = full();
        propose(roundId, BOND);
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);
    }

    function full() private returns (uint64 roundId) {
        roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, MEMBERS));
    }

    function expectUncovered(address sender, uint64 roundId, uint256 value) private {
        Proposal memory stated = defaultProposal();
        vm.expectRevert(abi.encodeWithSelector(IEscrow.BondNotCovered.selector, value, BOND));
        vm.prank(sender);
        federation.propose{value: value}(roundId, stated);
    }
}
