// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Disputes} from "../../src/Disputes.sol";
import {Rollups} from "../../src/Rollups.sol";
import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {IFederation} from "../../src/interfaces/IFederation.sol";
import {Answer} from "../../src/interfaces/IHearing.sol";
import {Proposal, RoundLib, RoundState} from "../../src/libraries/RoundLib.sol";
import {Refusal, Rules} from "../../src/libraries/RulesLib.sol";
import {CommitmentLeaf} from "../base/CommitmentLeaf.sol";
import {RollupFrauds} from "../base/RollupFrauds.sol";

/// @notice Somebody wants a round to come to nothing whose updates are known to all: its coordinator, that proposes no result; its
///         accomplice, that fails the round as soon as it can; or one that wants the bond of a stranger who proposes instead.
contract LetARoundDieTest is RollupFrauds {
    address private accomplice = address(0xACC0);
    Disputes private disputes;
    uint64 private turn;
    uint64 private over;

    function setUp() public override {
        super.setUp();
        vm.deal(stranger, 100 * BOND);
        vm.deal(accomplice, 100 * BOND);
        disputes = Disputes(payable(federation.disputes()));
    }

    function test_byNotProposing() public {
        goSilent();
        vm.warp(turn);
        proposeAs(stranger, roundId, BOND);
        vm.assertEq(federation.owed(coordinator), BOND);
        vm.assertEq(federation.lockedBond(), BOND);
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);
        vm.assertEq(federation.modelRoot(), NEXT_ROOT);
        vm.assertEq(federation.owed(stranger), BOND);
        vm.assertEq(federation.owed(coordinator), BOND);
        vm.assertEq(nobodys(accomplice), 0);
    }

    /// @dev A block before its turn nobody is heard; from then on there is as long to propose as to challenge.
    function test_byFailingItInTheBlockThatItsTimeEnds() public {
        goSilent();
        vm.warp(turn - 1);
        expectNotYet(stranger);
        expectNotFailed();
        vm.warp(turn);
        expectNotFailed();
        vm.warp(over - 1);
        expectNotFailed();
        proposeAs(stranger, roundId, BOND);
        vm.assertTrue(federation.round(roundId).state == RoundState.Proposed);
    }

    /// @dev Nothing lasts for ever: when nobody wants it, the bond is set free and the round is over.
    function test_byNobodysInterest() public {
        goSilent();
        vm.warp(over);
        vm.prank(accomplice);
        federation.failRound(roundId);
        vm.assertEq(federation.owed(coordinator), BOND);
        vm.assertEq(federation.lockedBond(), 0);
        openRound();
    }

    /// @dev The coordinator that was slow may still come, and its bond serves.
    function test_byBeingSlow() public {
        goSilent();
        vm.warp(over - 1);
        propose(roundId);
        vm.assertEq(federation.lockedBond(), BOND);
        vm.assertEq(federation.owed(coordinator), 0);
        vm.assertEq(address(federation).balance, BOND + CLIENTS * STAKE);
    }

    function test_byProposingALieWithoutABond() public {
        goSilent();
        vm.warp(turn);
        Proposal memory proposal = defaultProposal();
        vm.expectRevert(abi.encodeWithSelector(IEscrow.BondNotCovered.selector, BOND - 1, BOND));
        vm.prank(accomplice);
        federation.propose{value: BOND - 1}(roundId, proposal);
    }

    /// @dev What a stranger loses is its own: the coordinator has its bond back, and a time in which nobody is before it.
    function test_byProposingALie() public {
        goSilent();
        vm.warp(turn);
        proposeAs(accomplice, roundId, BOND);
        fall();
        vm.assertEq(federation.owed(coordinator), BOND);
        vm.assertEq(nobodys(accomplice), BOND);
        expectNotYet(accomplice);
        // What it is owed stands for it again.
        propose(roundId, 0);
        vm.assertEq(federation.lockedBond(), BOND);
        vm.assertEq(federation.owed(coordinator), 0);
    }

    /// @dev Each of the eight costs a bond, of which half is burnt; before each the coordinator could come.
    function test_bySpendingAllAttempts() public {
        goSilent();
        for (uint256 attempt = 1; attempt <= RoundLib.MAX_ATTEMPTS; ++attempt) {
            vm.warp(federation.round(roundId).until + 1);
            expectNotFailed();
            proposeAs(accomplice, roundId, BOND);
            vm.assertEq(nobodys(accomplice), (attempt - 1) * BOND);
            fall();
        }
        vm.assertTrue(federation.round(roundId).state == RoundState.Failed);
        vm.assertEq(nobodys(accomplice), RoundLib.MAX_ATTEMPTS * BOND);
        vm.assertEq(federation.owed(coordinator), BOND);
    }

    /// @dev After a rejection, too, who proposes is before who fails.
    function test_byFailingItAfterARejection() public {
        goSilent();
        propose(roundId);
        fall();
        vm.assertEq(federation.owed(coordinator), 0);
        uint64 until = federation.round(roundId).until;
        vm.warp(until);
        expectNotYet(stranger);
        vm.warp(until + 1);
        expectNotFailed();
        proposeAs(stranger, roundId, BOND);
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);
        vm.assertEq(federation.modelRoot(), NEXT_ROOT);
        vm.assertEq(federation.owed(stranger), BOND);
    }

    /// @dev Who builds on a false roll-up answers for it, whoever made it: so a stranger judges it before. The bond pays as any other.
    function test_byAFalseRollup() public {
        begin();
        records[3].reason = uint8(Refusal.NotMember);
        rollUp();
        vm.warp(federation.round(roundId).until + 1);
        proposeAs(accomplice, roundId, BOND);
        bytes memory call = wrongRecord(3);
        commitTo(challenger, call);
        show(call);
        vm.assertTrue(federation.round(roundId).state == RoundState.Failed);
        vm.assertEq(federation.owed(coordinator), BOND);
        vm.prank(challenger);
        disputes.claimShare(roundId, 1);
        vm.assertEq(federation.owed(challenger), BOND / 2);
        vm.assertEq(nobodys(accomplice), BOND - BOND / 2);
        vm.assertEq(federation.owed(accomplice), 0);
    }

    /// @dev The chain turns, and holds a roll-up with other records under the same range. What was judged is named.
    function test_byAnotherRollupAfterAReorganisation() public {
        begin();
        build();
        uint256 snapshot = vm.snapshotState();
        submitStated();
        vm.roll(block.number + 2);
        Proposal memory proposal = defaultProposal();
        proposal.anchorNumber = uint64(block.number - 1);
        proposal.anchorHash = blockhash(block.number - 1);
        uint256 tip = block.number;
        vm.revertToState(snapshot);
        records[3].reason = uint8(Refusal.NotMember);
        build();
        submitStated();
        vm.roll(tip);
        vm.setBlockhash(tip - 1, keccak256("another history"));
        vm.warp(federation.round(roundId).until + 1);
        vm.expectRevert(abi.encodeWithSelector(RoundLib.OtherPremises.selector, "anchor"));
        vm.prank(stranger);
        federation.propose{value: BOND}(roundId, proposal);
        // A block of which the chain knows nothing any more is none either.
        vm.roll(tip + 300);
        vm.expectRevert(abi.encodeWithSelector(RoundLib.OtherPremises.selector, "anchor"));
        vm.prank(stranger);
        federation.propose{value: BOND}(roundId, proposal);
        proposal.anchorNumber = uint64(block.number - 1);
        proposal.anchorHash = blockhash(block.number - 1);
        vm.prank(stranger);
        federation.propose{value: BOND}(roundId, proposal);
    }

    /// @dev Who proposed answers; what it does not answer costs its own bond.
    function test_byAsking() public {
        goSilent();
        vm.warp(turn);
        proposeAs(stranger, roundId, BOND);
        vm.prank(accomplice);
        disputes.demand{value: 1000}(roundId, new bytes[](0), stated.peaks[1], 1);
        uint256 snapshot = vm.snapshotState();
        vm.warp(federation.round(roundId).until + 1);
        vm.prank(accomplice);
        disputes.rejectUnanswered(roundId, stated.peaks[1], 1);
        vm.assertEq(federation.owed(coordinator), BOND);
        vm.assertEq(federation.owed(stranger), 0);
        vm.revertToState(snapshot);
        answer(stated.peaks[1], CommitmentLeaf.bytesOf(commitments[2]));
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);
        // Half of what was paid is whose proposal it was.
        vm.assertEq(disputes.owed(stranger), 500);
        vm.assertEq(disputes.owed(coordinator), 0);
    }

    /// @dev Where a false model costs no bond, only the coordinator proposes; and there is nothing to wait for.
    function test_byAModelThatNoProofIsAgainst() public {
        Rules memory rules = federation.rules();
        rules.aggregator = bytes32(hex"0301");
        federation = createFederation(rules, federation.security());
        court = Rollups(federation.rollups());
        stakeOfFirst(CLIENTS, STAKE);
        vm.deal(challenger, 1 ether);
        goSilent();
        vm.warp(turn);
        expectNotYet(accomplice);
        vm.prank(stranger);
        federation.failRound(roundId);
        vm.assertEq(federation.owed(coordinator), BOND);
    }

    /// @dev Updates that were relayed one by one are for their coordinator alone: it may have more to include.
    function test_byRelaying() public {
        begin();
        submitOne(roundId, received[0]);
        submitOne(roundId, received[2]);
        vm.warp(federation.round(roundId).until + 1);
        expectNotYet(accomplice);
        vm.prank(stranger);
        federation.failRound(roundId);
    }

    /// @dev The coordinator rolls an honest round up, and does no more.
    function goSilent() private {
        begin();
        rollUp();
        turn = federation.round(roundId).until + 1;
        over = turn + defaultSecurity().challengeSeconds;
    }

    function answer(bytes32 hash, bytes memory preimage) private {
        Answer[] memory answers = new Answer[](1);
        answers[0] = Answer(hash, 1, new bytes[](1));
        answers[0].preimages[0] = preimage;
        vm.prank(stranger);
        disputes.answerMany(roundId, answers);
    }

    function fall() private {
        vm.prank(address(disputes));
        federation.rejectProposal(roundId, challenger, false);
    }

    function expectNotYet(address by) private {
        Proposal memory proposal = defaultProposal();
        vm.expectRevert(abi.encodeWithSelector(IFederation.NotCoordinator.selector, by));
        vm.prank(by);
        federation.propose{value: BOND}(roundId, proposal);
    }

    /// @dev Neither the accomplice nor the coordinator can.
    function expectNotFailed() private {
        vm.expectRevert(abi.encodeWithSelector(IFederation.NotCoordinator.selector, accomplice));
        vm.prank(accomplice);
        federation.failRound(roundId);
        vm.expectRevert(abi.encodeWithSelector(RoundLib.QuorumReached.selector, 3, 2));
        vm.prank(coordinator);
        federation.failRound(roundId);
    }
}
