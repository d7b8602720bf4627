// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DirectSubmissions} from "../src/DirectSubmissions.sol";
import {IDirectSubmissions} from "../src/interfaces/IDirectSubmissions.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {IFederation} from "../src/interfaces/IFederation.sol";
import {SumNode} from "../src/libraries/MerkleSumTree.sol";
import {PostingCost} from "../src/libraries/PostingCost.sol";
import {RoundLib, RoundState} from "../src/libraries/RoundLib.sol";
import {Rules} from "../src/libraries/RulesLib.sol";
import {Submission, Update} from "../src/libraries/UpdateTypes.sol";
import {DirectFixture} from "./base/DirectFixture.sol";

/// @notice The vectors that are demanded of members that submitted themselves.
contract DirectDemandsTest is DirectFixture {
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
}
