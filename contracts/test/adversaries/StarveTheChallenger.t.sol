// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAggregationCourt} from "../../src/interfaces/IAggregationCourt.sol";
import {ICourt} from "../../src/interfaces/ICourt.sol";
import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {IHearing} from "../../src/interfaces/IHearing.sol";
import {RoundState} from "../../src/libraries/RoundLib.sol";
import {DemandFixture} from "../base/DemandFixture.sol";

/// @notice A lying coordinator wants nobody to earn by finding out: its accomplices commit and ask first, register in
///         numbers, make questions dear, or bring the proposal down themselves.
contract StarveTheChallengerTest is DemandFixture {
    address private accomplice = address(0xACC0);

    function setUp() public override {
        super.setUp();
        begin();
        Lie memory lie;
        lie.model = 1;
        proposeWith(lie);
        learnProposal();
    }

    function test_anAccompliceThatIsFirstLeavesTheSecondItsShare() public {
        // Its commitment does not stand in the way of another's.
        commitTo(accomplice, wrongMean());
        commitTo(challenger, wrongMean());
        vm.prank(accomplice);
        (bool success,) = address(disputes).call(wrongMean());
        vm.assertTrue(success);
        vm.assertEq(claim(challenger), BOND / 8);
        vm.assertEq(claim(accomplice), BOND / 4 + BOND / 8);
        vm.assertEq(nobodys(accomplice), BOND / 2);
    }

    function test_whoWithholdsAndAsksItselfFirstLeavesOthersTheirShare() public {
        ask(coordinator, proposal.modelRoot, 6);
        // What was asked need not be asked again; who wants a share asks for something else, or commits.
        ask(challenger, proposal.modelRoot, 1);
        vm.warp(disputes.question(roundId, 1, proposal.modelRoot, 6).due + 1);
        vm.prank(coordinator);
        disputes.rejectUnanswered(roundId, proposal.modelRoot, 6);
        vm.assertEq(claim(challenger), BOND / 8);
        // The liar has lost more than half in any case.
        vm.assertEq(claim(coordinator), BOND / 4 + BOND / 8);
        vm.assertEq(nobodys(accomplice), BOND / 2);
    }

    function test_aloneTheChallengerHasBothQuarters() public {
        commitTo(challenger, wrongMean());
        show(wrongMean());
        vm.assertEq(claim(challenger), BOND / 2);
    }

    /// @dev One more accomplice is worth R / ((s + 1)(s + 2)) to the liar, and costs it a registration.
    function testFuzz_manyAccomplicesShareWithTheHonest(uint8 accomplices) public {
        uint256 count = uint256(accomplices) % 40;
        for (uint160 i = 0; i < count; ++i) {
            vm.prank(address(0xACC0 + i));
            disputes.commit(roundId, bytes32(uint256(i)));
            // Again: it counts once.
            vm.prank(address(0xACC0 + i));
            disputes.commit(roundId, keccak256(abi.encode(i)));
        }
        commitTo(challenger, wrongMean());
        show(wrongMean());
        uint256 share = BOND / 4 / (count + 1);
        vm.assertEq(claim(challenger), BOND / 4 + share);
        uint256 taken = share;
        for (uint160 i = 0; i < count; ++i) {
            taken += claim(address(0xACC0 + i));
        }
        vm.assertTrue(taken <= BOND / 4 && BOND / 4 - taken <= count);
        vm.assertEq(address(federation).balance, CLIENTS * STAKE + BOND);
    }

    /// @dev Who only ends what others asked is paid for that alone, and takes nothing from their share.
    function test_whoIsNoChallengerHasTheRewardAndNoShare() public {
        ask(challenger, proposal.modelRoot, 1);
        vm.warp(disputes.question(roundId, 1, proposal.modelRoot, 1).due + 1);
        vm.prank(stranger);
        disputes.rejectUnanswered(roundId, proposal.modelRoot, 1);
        vm.assertEq(claim(stranger), BOND / 4);
        vm.assertEq(claim(challenger), BOND / 4);
        vm.expectRevert(abi.encodeWithSelector(IHearing.NoShare.selector, stranger));
        vm.prank(stranger);
        disputes.claimShare(roundId, 1);
    }

    /// @dev What others have of one attempt is not had from another, which stands or is final.
    function test_nothingIsHadOfAnAttemptThatStands() public {
        commitTo(challenger, wrongMean());
        show(wrongMean());
        Lie memory honest;
        proposeWith(honest);
        commitTo(challenger, "");
        bytes memory refusal = abi.encodeWithSelector(IHearing.NotFallen.selector, roundId, 2);
        vm.expectRevert(refusal);
        vm.prank(challenger);
        disputes.claimShare(roundId, 2);
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);
        vm.expectRevert(refusal);
        vm.prank(challenger);
        disputes.claimShare(roundId, 2);
        vm.assertEq(claim(challenger), BOND / 2);
        vm.assertEq(federation.owed(coordinator), BOND);
    }

    function test_aShareIsTakenOnceAndByChallengersAlone() public {
        bytes memory refusal = abi.encodeWithSelector(IHearing.NotFallen.selector, roundId, 1);
        commitTo(challenger, wrongMean());
        vm.expectRevert(refusal);
        vm.prank(challenger);
        disputes.claimShare(roundId, 1);
        show(wrongMean());
        claim(challenger);
        vm.expectRevert(abi.encodeWithSelector(IHearing.NoShare.selector, challenger));
        vm.prank(challenger);
        disputes.claimShare(roundId, 1);
        vm.expectRevert(abi.encodeWithSelector(IHearing.NoShare.selector, stranger));
        vm.prank(stranger);
        disputes.claimShare(roundId, 1);
        // Nor can anyone join when it has fallen.
        vm.expectRevert(abi.encodeWithSelector(ICourt.NotProposed.selector, roundId));
        vm.prank(stranger);
        disputes.commit(roundId, bytes32(uint256(1)));
    }

    /// @dev A share of one attempt is no share of the next.
    function test_whoHelpedInOneAttemptHasNoShareOfAnother() public {
        commitTo(accomplice, "");
        commitTo(challenger, wrongMean());
        show(wrongMean());
        makeProposal();
        commitTo(challenger, wrongMean());
        show(wrongMean());
        vm.expectRevert(abi.encodeWithSelector(IHearing.NoShare.selector, accomplice));
        vm.prank(accomplice);
        disputes.claimShare(roundId, 2);
        vm.assertEq(claim(accomplice), BOND / 8);
        vm.prank(challenger);
        disputes.claimShare(roundId, 2);
        vm.assertEq(claim(challenger), BOND / 2 + BOND / 4 + BOND / 8);
    }

    /// @dev A commitment from before the proposal, or to another attempt, proves nothing.
    function test_aCommitmentDoesNotOutliveItsAttempt() public {
        commitTo(accomplice, wrongMean());
        commitTo(challenger, wrongMean());
        show(wrongMean());
        vm.expectRevert(abi.encodeWithSelector(ICourt.NotProposed.selector, roundId));
        vm.prank(accomplice);
        disputes.commit(roundId, bytes32(uint256(1)));
        makeProposal();
        bytes memory call = wrongMean();
        bytes32 digest = keccak256(abi.encode(accomplice, keccak256(call)));
        vm.prank(accomplice);
        (bool success, bytes memory result) = address(disputes).call(call);
        vm.assertFalse(success);
        vm.assertEq(result, abi.encodeWithSelector(ICourt.NotCommitted.selector, digest));
    }

    /// @dev A later commitment takes an earlier one's place, and counts from its own block.
    function test_aCommitmentCountsFromItsOwnBlock() public {
        bytes memory call = wrongMean();
        commitTo(challenger, "other");
        vm.prank(challenger);
        disputes.commit(roundId, keccak256(abi.encode(challenger, keccak256(call))));
        vm.prank(challenger);
        (bool success,) = address(disputes).call(call);
        vm.assertFalse(success);
        vm.roll(block.number + 1);
        show(call);
        // One commitment shows one proof: of "other" nothing is left.
        vm.assertTrue(!disputes.isCommitted(roundId, 1, challenger, keccak256("other")));
    }

    /// @dev A challenger's question registers it, and so leaves no commitment that anything could pass for.
    function test_aQuestionIsNoCommitment() public {
        ask(challenger, proposal.modelRoot, 1);
        vm.roll(block.number + 1);
        vm.assertTrue(!disputes.isCommitted(roundId, 1, challenger, keccak256(abi.encode(challenger))));
        vm.assertTrue(!disputes.isCommitted(roundId, 1, stranger, bytes32(0)));
        vm.prank(challenger);
        (bool success,) = address(disputes).call(wrongMean());
        vm.assertFalse(success);
    }

    /// @dev A liar that makes questions dear pays eight times what a wide one then costs, and cannot keep it dear.
    function test_makingQuestionsDearCostsTheLiarMore() public {
        uint256 paid = 0;
        uint256 honest = disputes.demandPrice(roundId, 6);
        for (uint256 i = 0; i < 9; ++i) {
            (bytes[] memory path, bytes32 hash) = deepHash(i % 4);
            uint8 levels = uint8(6 - i / 4);
            paid += disputes.demandPrice(roundId, levels);
            ask(accomplice, path, hash, levels);
        }
        paid += disputes.demandPrice(roundId, 6);
        ask(accomplice, proposal.aggregationRoot, 6);
        paid += disputes.demandPrice(roundId, 6);
        ask(accomplice, proposal.aggregateRoot, 6);
        uint256 price = disputes.demandPrice(roundId, 6);
        vm.assertTrue(price <= 2 * honest && paid >= 4 * price);
        ask(challenger, proposal.modelRoot, 6);
        vm.warp(disputes.question(roundId, 1, proposal.modelRoot, 6).due + 1);
        vm.prank(challenger);
        disputes.rejectUnanswered(roundId, proposal.modelRoot, 6);
        // The honest has back what it paid.
        disputes.reclaim(roundId, 1, proposal.modelRoot, 6);
        vm.assertEq(disputes.owed(challenger), price);
        vm.assertTrue(federation.round(roundId).state == RoundState.Submitted);
    }

    function claim(address who) private returns (uint256) {
        for (uint16 attempt = 1; attempt <= federation.round(roundId).attempt; ++attempt) {
            vm.prank(who);
            try disputes.claimShare(roundId, attempt) {} catch {}
        }
        return federation.owed(who);
    }

    function wrongMean() private view returns (bytes memory) {
        return abi.encodeCall(
            IAggregationCourt.proveWrongMean,
            (roundId, 1, modelChunk(base, 1), sumsChunk(top, 1), modelChunk(model, 1), bytes32(0))
        );
    }
}
