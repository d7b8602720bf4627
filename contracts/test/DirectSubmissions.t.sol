// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DirectSubmissions} from "../src/DirectSubmissions.sol";
import {Federation} from "../src/Federation.sol";
import {DirectState, DirectUpdate, IDirectSubmissions} from "../src/interfaces/IDirectSubmissions.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {IFederation} from "../src/interfaces/IFederation.sol";
import {Commitment} from "../src/libraries/CommitmentTree.sol";
import {SumNode} from "../src/libraries/MerkleSumTree.sol";
import {PostingCost} from "../src/libraries/PostingCost.sol";
import {Round, RoundLib, RoundState} from "../src/libraries/RoundLib.sol";
import {Refusal, Rules} from "../src/libraries/RulesLib.sol";
import {Security} from "../src/libraries/SecurityLib.sol";
import {Submission, Update} from "../src/libraries/UpdateTypes.sol";
import {CommitmentLeaf} from "./base/CommitmentLeaf.sol";
import {DisputeFixture} from "./base/DisputeFixture.sol";
import {SumTree} from "./base/SumTree.sol";

/// @notice Updates that members submit themselves, and the vectors that are demanded of them.
contract DirectSubmissionsTest is DisputeFixture {
    /// Of three chunks.
    uint256 private constant FEE = 3000;

    DirectSubmissions private direct;

    function setUp() public override {
        super.setUp();
        direct = DirectSubmissions(federation.directSubmissions());
        roundId = openRound();
    }

    function test_aMemberBringsItsUpdateAndItWaits() public {
        Submission memory submission = submissionOf(1);
        vm.expectEmit();
        emit IDirectSubmissions.SubmittedDirectly(roundId, members[1], submission);
        bringOwn(direct, roundId, submission);
        vm.snapshotGasLastCall("DirectSubmissions", "submit");
        Round memory round = federation.round(roundId);
        vm.assertEq(uint256(round.accepted), 0);
        vm.assertEq(uint256(round.waiting), 1);
        DirectUpdate memory waiting = direct.directUpdate(roundId, members[1]);
        vm.assertTrue(waiting.state == DirectState.Waiting);
        vm.assertEq(waiting.updateRoot, submission.update.updateRoot);
        vm.assertEq(uint256(waiting.sumSquares), submission.update.sumSquares);
    }

    function test_includedItCountsAfterThoseBefore() public {
        bringOwn(direct, roundId, submissionOf(0));
        relay(1, 2);
        Submission memory submission = submissionOf(0);
        vm.expectEmit();
        emit IDirectSubmissions.Included(roundId, members[0], Refusal.None);
        include(submission);
        vm.snapshotGasLastCall("DirectSubmissions", "include");
        Round memory round = federation.round(roundId);
        vm.assertEq(uint256(round.accepted), 3);
        vm.assertEq(uint256(round.waiting), 0);
        vm.assertEq(uint256(round.totalWeight), 100 + 101 + 102);
        vm.assertEq(round.lastMember, members[2]);
        bytes32 pair = keccak256(
            abi.encodePacked(
                uint8(0x0b), CommitmentLeaf.hashOf(commitmentOf(1)), CommitmentLeaf.hashOf(commitmentOf(2))
            )
        );
        vm.assertEq(federation.commitmentPeak(1), pair);
        vm.assertEq(federation.commitmentPeak(0), CommitmentLeaf.hashOf(commitmentOf(0)));
        vm.assertTrue(direct.directUpdate(roundId, members[0]).state == DirectState.Included);
    }

    function test_aRelayGoesOnBelowWhatWasIncluded() public {
        bringOwn(direct, roundId, submissionOf(2));
        include(submissionOf(2));
        vm.assertEq(federation.round(roundId).lastMember, address(0));
        relay(0, 2);
        vm.assertEq(uint256(federation.round(roundId).accepted), 3);
    }

    function test_nothingIsProposedWhileAnUpdateWaits() public {
        relay(0, 2);
        bringOwn(direct, roundId, submissionOf(2));
        expectNoProposal(roundId, abi.encodeWithSelector(RoundLib.UpdatesWaiting.selector, roundId, 1));
        include(submissionOf(2));
        propose(roundId);
        vm.assertTrue(federation.round(roundId).state == RoundState.Proposed);
    }

    function test_onlyTheCoordinatorIncludes() public {
        Submission memory submission = submissionOf(0);
        bringOwn(direct, roundId, submission);
        vm.expectRevert(abi.encodeWithSelector(IFederation.NotCoordinator.selector, members[0]));
        vm.prank(members[0]);
        direct.include(roundId, submission);
    }

    function test_onlyWhatWaitsIsIncluded() public {
        Submission memory submission = submissionOf(0);
        bytes memory none =
            abi.encodeWithSelector(IDirectSubmissions.NotWaiting.selector, roundId, members[0]);
        vm.expectRevert(none);
        include(submission);
        bringOwn(direct, roundId, submission);
        Update memory update = updateOf(0);
        update.examples += 1;
        Submission memory other = signed(0, update);
        vm.expectRevert(none);
        include(other);
        other = submissionOf(0);
        other.signature = abi.encodePacked(other.signature, hex"00");
        vm.expectRevert(none);
        include(other);
        include(submission);
        vm.expectRevert(none);
        include(submission);
    }

    function test_countsOnceHoweverItCame() public {
        bringOwn(direct, roundId, submissionOf(0));
        expectRefusal(submissionOf(0), Refusal.Duplicate);
        submitOne(roundId, submissionOf(0));
        expectAlreadySubmitted(0);
        include(submissionOf(0));
        expectAlreadySubmitted(0);
        expectRefusal(submissionOf(0), Refusal.Duplicate);
        submitOne(roundId, submissionOf(0));

        submitOne(roundId, submissionOf(1));
        submitOne(roundId, submissionOf(2));
        expectAlreadySubmitted(1);
        expectAlreadySubmitted(2);
    }

    function test_heldAgainstTheSameRules() public {
        Submission memory submission = submissionOf(0);
        submission.member = members[1];
        expectNotAccepted(submission, Refusal.BadSignature);
        // Nobody signed, and nobody is the key of who appointed none.
        submission = submissionOf(0);
        submission.signature = new bytes(65);
        expectNotAccepted(submission, Refusal.BadSignature);
        submission.signature = "";
        expectNotAccepted(submission, Refusal.BadSignature);
        Update memory update = updateOf(0);
        update.examples = 1;
        expectNotAccepted(signed(0, update), Refusal.TooFewExamples);
        vm.prank(members[0]);
        federation.unstake();
        submission = submissionOf(0);
        vm.expectRevert(abi.encodeWithSelector(IFederation.StakeTooLow.selector, members[0]));
        bringOwn(direct, roundId, submission);
        submission = submissionOf(1);
        vm.warp(federation.round(roundId).deadline + 1);
        expectNotAccepted(submission, Refusal.Expired);
    }

    function test_onlyMembers() public {
        Submission memory submission = submissionOf(0);
        submission.member = stranger;
        vm.deal(stranger, STAKE);
        vm.prank(stranger);
        federation.stake{value: STAKE}();
        expectNotAccepted(submission, Refusal.NotMember);
    }

    function test_whoRestsIsNotHeard() public {
        Rules memory rules = defaultRules();
        rules.minClients = 2;
        rules.elements = ELEMENTS;
        rules.restRounds = 1;
        Security memory security = defaultSecurity();
        security.stake = STAKE;
        federation = createFederation(rules, security);
        direct = DirectSubmissions(federation.directSubmissions());
        stakeOfFirst(CLIENTS, STAKE);
        roundId = openRound();
        bringOwn(direct, roundId, submissionOf(0));
        include(submissionOf(0));
        relay(1, 1);
        conclude(roundId);
        roundId = openRound();
        expectNotAccepted(submissionOf(0), Refusal.TooSoon);
        failRound();
        // A round that failed asks for no rest.
        for (uint256 i = 0; i < 2; ++i) {
            roundId = openRound();
            bringOwn(direct, roundId, submissionOf(0));
            include(submissionOf(0));
            failRound();
        }
    }

    /// @dev What was in time when it came is in time when it is included.
    function test_includedAfterItsDeadlines() public {
        bringOwn(direct, roundId, submissionOf(0));
        Submission memory submission = submissionOf(0);
        vm.warp(federation.round(roundId).deadline + 1000);
        include(submission);
        vm.assertEq(uint256(federation.round(roundId).accepted), 1);
    }

    function test_whoLeavesAfterwardsCountsNoLonger() public {
        bringOwn(direct, roundId, submissionOf(0));
        vm.prank(members[0]);
        federation.quit();
        Submission memory submission = submissionOf(0);
        vm.expectEmit();
        emit IDirectSubmissions.Included(roundId, members[0], Refusal.NotMember);
        include(submission);
        vm.assertEq(uint256(federation.round(roundId).accepted), 0);
        vm.assertEq(uint256(federation.round(roundId).waiting), 0);
        vm.assertTrue(direct.directUpdate(roundId, members[0]).state == DirectState.Refused);
    }

    function test_theStakeIsHeldWhileItWaits() public {
        bringOwn(direct, roundId, submissionOf(0));
        vm.expectRevert(abi.encodeWithSelector(IEscrow.StakeLocked.selector, roundId));
        vm.prank(members[0]);
        federation.unstake();
        vm.warp(federation.round(roundId).until + 1);
        federation.failRound(roundId);
        vm.prank(members[0]);
        federation.unstake();
    }

    function test_onlyInOpenRounds() public {
        relay(0, 2);
        Submission memory submission = submissionOf(2);
        propose(roundId);
        vm.expectRevert(abi.encodeWithSelector(RoundLib.WrongState.selector, roundId, RoundState.Proposed));
        bringOwn(direct, roundId, submission);
    }

    function test_onlyWhereMembersHaveStakes() public {
        federation = createFederation(defaultRules(), defaultSecurity());
        direct = DirectSubmissions(federation.directSubmissions());
        roundId = openRound();
        Submission memory submission = submissionOf(0);
        vm.expectRevert(abi.encodeWithSelector(IFederation.NoStakes.selector));
        bringOwn(direct, roundId, submission);
    }

    function test_onlyTheSidecarSpeaksForIt() public {
        bytes memory refused = abi.encodeWithSelector(IFederation.NotSidecar.selector, coordinator);
        vm.expectRevert(refused);
        vm.prank(coordinator);
        federation.hold(roundId, members[0], type(uint64).max);
        vm.expectRevert(refused);
        vm.prank(coordinator);
        federation.forfeit(roundId, members[0]);
    }

    function test_leavesTheCoordinatorTimeToFetchTheData() public {
        uint64 deadline = federation.round(roundId).deadline;
        Update memory update = updateOf(0);
        update.deadline = deadline;
        Submission memory submission = signed(0, update);
        vm.warp(deadline);
        vm.expectEmit();
        emit IFederation.ChallengeExtended(roundId, deadline + 120);
        bringOwn(direct, roundId, submission);
        vm.warp(deadline + 120);
        vm.expectRevert(abi.encodeWithSelector(IFederation.NotCoordinator.selector, stranger));
        vm.prank(stranger);
        federation.failRound(roundId);
        vm.warp(deadline + 121);
        vm.prank(stranger);
        federation.failRound(roundId);
    }

    function test_demandsAreTheCoordinatorsOnceAtTheirFee() public {
        bringOwn(direct, roundId, submissionOf(0));
        vm.deal(stranger, FEE);
        vm.expectRevert(abi.encodeWithSelector(IFederation.NotCoordinator.selector, stranger));
        vm.prank(stranger);
        direct.demandPosting{value: FEE}(roundId, members[0]);
        vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.WrongFee.selector, FEE - 1, FEE));
        vm.prank(coordinator);
        direct.demandPosting{value: FEE - 1}(roundId, members[0]);
        vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.NotWaiting.selector, roundId, members[1]));
        demand(1);
        uint64 due = uint64(block.timestamp) + 120;
        vm.expectEmit();
        emit IDirectSubmissions.PostingDemanded(roundId, members[0], due);
        demand(0);
        vm.expectRevert(
            abi.encodeWithSelector(IDirectSubmissions.AlreadyDemanded.selector, roundId, members[0])
        );
        demand(0);
    }

    function test_aDemandPutsOffFailing() public {
        uint64 deadline = federation.round(roundId).deadline;
        bringOwn(direct, roundId, submissionOf(0));
        vm.warp(deadline);
        demand(0);
        vm.assertEq(uint256(federation.round(roundId).until), deadline + 240);
        vm.assertEq(uint256(federation.round(roundId).deadline), deadline);
    }

    /// @dev Else a coordinator could stretch a round, and hold its stakes, by one demand after the other.
    function test_demandsEndSoonAfterTheDeadline() public {
        uint64 deadline = federation.round(roundId).deadline;
        bringOwn(direct, roundId, submissionOf(0));
        bringOwn(direct, roundId, submissionOf(1));
        vm.warp(deadline + 120);
        demand(0);
        vm.warp(deadline + 121);
        vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.TooLate.selector, deadline + 120));
        demand(1);
    }

    function test_nothingIsDemandedOfWhatIsIncluded() public {
        bringOwn(direct, roundId, submissionOf(0));
        include(submissionOf(0));
        vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.NotWaiting.selector, roundId, members[0]));
        demand(0);
    }

    function test_nothingIsDemandedOfARoundThatIsOver() public {
        bringOwn(direct, roundId, submissionOf(0));
        vm.prank(coordinator);
        federation.failRound(roundId);
        vm.expectRevert(abi.encodeWithSelector(RoundLib.WrongState.selector, roundId, RoundState.Failed));
        demand(0);
    }

    function test_aVectorPostedAtOnceSettlesTheDemand() public {
        demanded(0);
        vm.expectEmit();
        emit IDirectSubmissions.ChunkPosted(roundId, members[0], 0, chunks(0, 0, 1));
        post(0, 0, chunks(0, 0, 3));
        vm.snapshotGasLastCall("DirectSubmissions", "post, 150 elements");
        vm.assertTrue(direct.directUpdate(roundId, members[0]).settled);
        // Where gas costs nothing, posting costs nothing: all of the fee comes back.
        vm.prank(coordinator);
        vm.assertEq(direct.withdraw(), FEE);
        vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.NotDemanded.selector, roundId, members[0]));
        post(0, 0, "");
    }

    /// @dev What `PostingCost.CHUNK_GAS` states, of the dearest values: a whole message of 240 chunks without a zero.
    function test_whatAChunkCosts() public {
        uint256 chunkCount = 240;
        Rules memory rules = federation.rules();
        rules.elements = uint64(64 * chunkCount);
        rules.maxSumSquares = type(uint128).max;
        federation = createFederation(rules, federation.security());
        direct = DirectSubmissions(federation.directSubmissions());
        stakeOfFirst(1, STAKE);
        roundId = openRound();
        int256[] memory dear = new int256[](rules.elements);
        bytes memory values = new bytes(4 * dear.length);
        for (uint256 i = 0; i < dear.length; ++i) {
            dear[i] = 0x11223344;
            for (uint256 j = 0; j < 4; ++j) {
                values[4 * i + j] = bytes4(0x11223344)[j];
            }
        }
        SumNode memory root = rootOf(dear, 0);
        Update memory update = honestUpdate(roundId, 0);
        (update.elements, update.updateRoot, update.sumSquares) = (rules.elements, root.hash, root.sum);
        bringOwn(direct, roundId, signed(0, update));
        uint256 fee = direct.postingFee();
        vm.prank(coordinator);
        direct.demandPosting{value: fee}(roundId, members[0]);
        post(0, 0, values);
        uint256 gas = vm.snapshotGasLastCall("DirectSubmissions", "post, 240 chunks without a zero");
        vm.assertLe(gas, PostingCost.CHUNK_GAS * chunkCount);
        vm.assertTrue(gas > (PostingCost.CHUNK_GAS - 1500) * chunkCount);
    }

    function test_aVectorPostedInPieces() public {
        demanded(0);
        post(0, 0, chunks(0, 0, 1));
        post(0, 1, chunks(0, 1, 2));
        vm.expectEmit();
        emit IDirectSubmissions.VectorPosted(roundId, members[0]);
        post(0, 2, chunks(0, 2, 3));
    }

    function test_chunksComeInOrderAndCanBeginAgain() public {
        demanded(0);
        post(0, 0, chunks(1, 0, 2));
        bytes memory last = chunks(0, 2, 3);
        vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.ChunkOutOfOrder.selector, 1, 2));
        post(0, 1, last);
        post(0, 0, chunks(0, 0, 2));
        post(0, 2, last);
        vm.assertTrue(direct.directUpdate(roundId, members[0]).settled);
    }

    function test_chunksAreWhole() public {
        demanded(0);
        bytes memory values = chunks(0, 0, 3);
        vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.WrongLength.selector, 0));
        post(0, 0, "");
        expectWrongLength(abi.encodePacked(values, hex"00000000"));
        expectWrongLength(chunksFrom(values, 0, 255));
        expectWrongLength(chunksFrom(values, 0, 596));
    }

    function test_anotherVectorIsNoAnswer() public {
        demanded(0);
        SumNode memory other = rootOf(updates[1], 0);
        bytes memory values = chunks(1, 0, 3);
        vm.expectRevert(
            abi.encodeWithSelector(IDirectSubmissions.WrongVector.selector, other.hash, other.sum)
        );
        post(0, 0, values);
    }

    function test_aTrueVectorWithAFalseSumIsNoAnswer() public {
        Update memory update = updateOf(0);
        update.sumSquares += 1;
        bringOwn(direct, roundId, signed(0, update));
        demand(0);
        bytes memory values = chunks(0, 0, 3);
        vm.expectRevert(
            abi.encodeWithSelector(
                IDirectSubmissions.WrongVector.selector, update.updateRoot, update.sumSquares - 1
            )
        );
        post(0, 0, values);
    }

    function test_onlyWhatWasDemandedIsPosted() public {
        bringOwn(direct, roundId, submissionOf(0));
        vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.NotDemanded.selector, roundId, members[0]));
        post(0, 0, "");
    }

    function test_whoDoesNotPostLosesTheStakeAndIsLeftOut() public {
        relay(1, 2);
        demanded(0);
        Submission memory submission = submissionOf(0);
        uint64 due = direct.directUpdate(roundId, members[0]).due;
        vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.NotDue.selector, due));
        direct.forfeit(roundId, members[0]);
        vm.warp(due + 1);
        vm.expectEmit();
        emit IEscrow.StakeBurnt(members[0], STAKE);
        vm.expectEmit();
        emit IDirectSubmissions.VectorForfeited(roundId, members[0]);
        vm.prank(stranger);
        direct.forfeit(roundId, members[0]);
        vm.assertEq(nobodys(address(0)), STAKE);
        vm.assertEq(federation.stakeOf(members[0]), 0);
        vm.assertEq(federation.owed(address(0)), 0);
        vm.assertEq(direct.owed(coordinator), FEE);
        vm.assertEq(uint256(federation.round(roundId).waiting), 0);
        vm.assertEq(uint256(federation.round(roundId).totalWeight), 101 + 102);
        bytes memory none =
            abi.encodeWithSelector(IDirectSubmissions.NotWaiting.selector, roundId, members[0]);
        vm.expectRevert(none);
        direct.forfeit(roundId, members[0]);
        vm.expectRevert(none);
        include(submission);
        conclude(roundId);
        vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.NotDemanded.selector, roundId, members[0]));
        direct.reclaim(roundId, members[0]);
    }

    function test_aLateVectorStillCounts() public {
        demanded(0);
        vm.warp(direct.directUpdate(roundId, members[0]).due + 1);
        post(0, 0, chunks(0, 0, 3));
        vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.NotDemanded.selector, roundId, members[0]));
        direct.forfeit(roundId, members[0]);
    }

    function test_whatIsIncludedIsNotForfeited() public {
        relay(1, 2);
        demanded(0);
        include(submissionOf(0));
        vm.warp(direct.directUpdate(roundId, members[0]).due + 1);
        vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.NotWaiting.selector, roundId, members[0]));
        direct.forfeit(roundId, members[0]);
        propose(roundId);
        post(0, 0, chunks(0, 0, 3));
        vm.assertEq(direct.owed(coordinator), FEE);
    }

    function test_nothingIsForfeitedWhenTheRoundIsOver() public {
        demanded(0);
        vm.prank(coordinator);
        federation.failRound(roundId);
        vm.warp(direct.directUpdate(roundId, members[0]).due + 1);
        vm.expectRevert(abi.encodeWithSelector(RoundLib.WrongState.selector, roundId, RoundState.Failed));
        direct.forfeit(roundId, members[0]);
    }

    function test_theFeeOfAnOpenDemandComesBack() public {
        demanded(0);
        vm.expectRevert(abi.encodeWithSelector(IFederation.RoundStillOpen.selector, roundId));
        direct.reclaim(roundId, members[0]);
        vm.prank(coordinator);
        federation.failRound(roundId);
        uint64 due = direct.directUpdate(roundId, members[0]).due;
        vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.NotDue.selector, due));
        direct.reclaim(roundId, members[0]);
        vm.warp(due + 1);
        vm.expectEmit();
        emit IDirectSubmissions.PostingReclaimed(roundId, members[0]);
        direct.reclaim(roundId, members[0]);
        vm.prank(coordinator);
        vm.assertEq(direct.withdraw(), FEE);
        vm.assertEq(address(direct).balance, 0);
        vm.prank(members[0]);
        federation.unstake();
    }

    function updateOf(uint256 index) private view returns (Update memory update) {
        SumNode memory root = rootOf(updates[index], index);
        update = honestUpdate(roundId, index);
        update.elements = ELEMENTS;
        update.updateRoot = root.hash;
        update.sumSquares = root.sum;
    }

    function submissionOf(uint256 index) private view returns (Submission memory) {
        return signed(index, updateOf(index));
    }

    function commitmentOf(uint256 index) private view returns (Commitment memory) {
        Update memory update = updateOf(index);
        return Commitment(members[index], update.examples, update.updateRoot, update.sumSquares);
    }

    function rootOf(int256[] memory values, uint256 signer) private view returns (SumNode memory) {
        return SumTree.rootOf(SumTree.build(SumTree.contextOf(federation, roundId, members[signer]), values));
    }

    function relay(uint256 first, uint256 count) private {
        Submission[] memory submissions = new Submission[](count);
        for (uint256 i = 0; i < count; ++i) {
            submissions[i] = submissionOf(first + i);
        }
        submit(roundId, submissions);
    }

    function demanded(uint256 index) private {
        bringOwn(direct, roundId, submissionOf(index));
        demand(index);
    }

    function failRound() private {
        vm.warp(federation.round(roundId).until + 1);
        federation.failRound(roundId);
    }

    function include(Submission memory submission) private {
        vm.prank(coordinator);
        direct.include(roundId, submission);
    }

    function demand(uint256 index) private {
        vm.prank(coordinator);
        direct.demandPosting{value: FEE}(roundId, members[index]);
    }

    function post(uint256 index, uint32 first, bytes memory values) private {
        vm.prank(members[index]);
        direct.post(roundId, members[index], first, values);
    }

    /// @dev Chunks first … end − 1 of a member's vector, packed.
    function chunks(uint256 index, uint256 first, uint256 end) private view returns (bytes memory values) {
        uint256 last = end * 64 < ELEMENTS ? end * 64 : ELEMENTS;
        for (uint256 i = first * 64; i < last; ++i) {
            values = abi.encodePacked(values, int32(updates[index][i]));
        }
    }

    function chunksFrom(bytes memory values, uint256 from, uint256 to)
        private
        pure
        returns (bytes memory part)
    {
        part = new bytes(to - from);
        for (uint256 i = 0; i < part.length; ++i) {
            part[i] = values[from + i];
        }
    }

    function expectWrongLength(bytes memory values) private {
        vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.WrongLength.selector, values.length));
        post(0, 0, values);
    }

    function expectNotAccepted(Submission memory submission, Refusal reason) private {
        vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.UpdateNotAccepted.selector, reason));
        bringOwn(direct, roundId, submission);
    }

    function expectAlreadySubmitted(uint256 index) private {
        Submission memory submission = submissionOf(index);
        vm.expectRevert(
            abi.encodeWithSelector(IFederation.AlreadySubmitted.selector, roundId, members[index])
        );
        bringOwn(direct, roundId, submission);
    }
}
