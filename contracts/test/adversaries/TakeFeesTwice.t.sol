// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IHearing} from "../../src/interfaces/IHearing.sol";
import {DemandFixture} from "../base/DemandFixture.sol";

/// @notice Whoever asked, or the coordinator, wants what was paid for questions twice, or another's.
contract TakeFeesTwiceTest is DemandFixture {
    function setUp() public override {
        super.setUp();
        begin();
        Lie memory honest;
        proposeWith(honest);
        learnProposal();
    }

    function test_aFeeComesBackOnce() public {
        ask(challenger, proposal.modelRoot, 2);
        ask(stranger, proposal.modelRoot, 3);
        notFallen(1);
        fall();
        disputes.reclaim(roundId, 1, proposal.modelRoot, 2);
        vm.expectRevert(abi.encodeWithSelector(IHearing.NotDemanded.selector, proposal.modelRoot, 2));
        disputes.reclaim(roundId, 1, proposal.modelRoot, 2);
        vm.assertEq(disputes.owed(challenger), 2 * UNIT);
        vm.assertEq(address(disputes).balance, 6 * UNIT);
    }

    function test_ofAFinalProposalNothingComesBack() public {
        ask(challenger, proposal.modelRoot, 2);
        answer(proposal.modelRoot, 2);
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);
        notFallen(1);
        vm.assertEq(disputes.owed(coordinator) + disputes.burntFees(), 2 * UNIT);
        vm.assertEq(disputes.owed(challenger), 0);
    }

    /// @dev An answered question about what fell was about a lie: its asker is the one to have the fee.
    function test_answersToALieEarnNothing() public {
        ask(challenger, proposal.modelRoot, 2);
        answer(proposal.modelRoot, 2);
        fall();
        makeProposal();
        notFallen(2);
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);
        vm.assertEq(disputes.owed(coordinator), 0);
        vm.assertEq(disputes.burntFees(), 0);
        disputes.reclaim(roundId, 1, proposal.modelRoot, 2);
        vm.assertEq(disputes.owed(challenger), 2 * UNIT);
        vm.prank(challenger);
        disputes.withdraw();
        vm.assertEq(address(disputes).balance, 0);
    }

    /// @dev What comes back is what was paid, whatever the price is by then.
    function test_anExpensiveQuestionComesBackAtItsPrice() public {
        uint256[2] memory prices;
        for (uint256 i = 0; i < 12; ++i) {
            (bytes[] memory path, bytes32 hash) = deepHash(i % 4);
            ask(stranger, path, hash, uint8(6 - i / 4));
        }
        for (uint256 i = 0; i < 2; ++i) {
            bytes32 root = i == 0 ? proposal.aggregationRoot : proposal.aggregateRoot;
            prices[i] = disputes.demandPrice(roundId, 6);
            ask(challenger, root, 6);
        }
        vm.assertEq(prices[1], 2 * prices[0]);
        fall();
        disputes.reclaim(roundId, 1, proposal.aggregationRoot, 6);
        vm.assertEq(disputes.owed(challenger), prices[0]);
        disputes.reclaim(roundId, 1, proposal.aggregateRoot, 6);
        vm.assertEq(disputes.owed(challenger), prices[0] + prices[1]);
        for (uint256 i = 0; i < 12; ++i) {
            (, bytes32 hash) = deepHash(i % 4);
            disputes.reclaim(roundId, 1, hash, uint8(6 - i / 4));
        }
        vm.assertEq(disputes.owed(challenger) + disputes.owed(stranger), address(disputes).balance);
    }

    function fall() private {
        vm.prank(address(disputes));
        federation.rejectProposal(roundId, challenger, false);
    }

    function notFallen(uint16 attempt) private {
        vm.expectRevert(abi.encodeWithSelector(IHearing.NotFallen.selector, roundId, attempt));
        disputes.reclaim(roundId, attempt, proposal.modelRoot, 2);
    }
}
