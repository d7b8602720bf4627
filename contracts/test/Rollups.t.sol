// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Rollups} from "../src/Rollups.sol";
import {Fraud, ICourt} from "../src/interfaces/ICourt.sol";
import {IHearing} from "../src/interfaces/IHearing.sol";
import {RollupNode} from "../src/interfaces/IRollups.sol";
import {RoundState} from "../src/libraries/RoundLib.sol";
import {Refusal, Rules} from "../src/libraries/RulesLib.sol";
import {Submission, Update} from "../src/libraries/UpdateTypes.sol";
import {HashTree} from "./base/HashTree.sol";
import {RollupFrauds} from "./base/RollupFrauds.sol";

/// @notice Each proof against the lie it is for, and against a roll-up without one.
contract RollupsTest is RollupFrauds {
    function test_findsNoFraudInAnHonestRollup() public {
        begin();
        rollUp();
        propose(roundId);
        for (uint32 i = 0; i < CLIENTS; ++i) {
            expectNoFraud(wrongRecord(i));
            expectNoFraud(malformedSubmission(i, bytesOf(received[i])));
            expectNoFraud(wrongSequence(i));
            expectNoFraud(malformed(recordNode(i, recordBytes(records[i]), 0)));
            expectNoFraud(malformed(recordNode(i, "", keccak256(recordBytes(records[i])))));
        }
        expectNoFraud(malformed(recordNode(5, "", 0)));
        expectNoFraud(malformed(recordNode(5, "", HashTree.build(0x0d, new bytes32[](1))[0][0])));
        bytes32[][] memory levels = recordLevels();
        RollupNode memory top = recordNode(0, abi.encodePacked(uint8(0x0d), levels[2][0], levels[2][1]), 0);
        top.siblings = new bytes32[](0);
        expectNoFraud(malformed(top));
        expectNoFraud(wrongCommitment(0, 0));
        expectNoFraud(wrongCommitment(2, 1));
        expectNoFraud(wrongCommitment(4, 2));
        bytes32[][][] memory trees = rangeTrees();
        expectNoFraud(malformed(rangeNode(1, abi.encodePacked(uint8(0x0b), trees[0][0][0], trees[0][0][1]))));
    }

    function test_anHonestRollupBecomesFinal() public {
        begin();
        rollUp();
        vm.assertEq(uint256(federation.round(roundId).totalWeight), 100 + 102 + 400);
        conclude(roundId);
        vm.assertTrue(federation.round(roundId).state == RoundState.Final);
        vm.assertEq(uint256(federation.round(roundId).accepted), 3);
        vm.assertEq(uint256(federation.round(roundId).totalWeight), 0);
    }

    function test_provesThatARefusedUpdateCounts() public {
        begin();
        records[1].reason = 0;
        records[1].weight = 1;
        insertCommitment();
        rollUp();
        rejects(Fraud.WrongRecord, wrongRecord(1));
    }

    function test_provesThatAnUpdateThatCountsIsRefused() public {
        begin();
        records[4].reason = uint8(Refusal.LossTooHigh);
        records[4].weight = 0;
        records[4].accepted -= 1;
        records[4].total -= 400;
        commitments.pop();
        rollUp();
        rejects(Fraud.WrongRecord, wrongRecord(4));
    }

    function test_provesAnotherReason() public {
        begin();
        records[3].reason = uint8(Refusal.NotMember);
        rollUp();
        rejects(Fraud.WrongRecord, wrongRecord(3));
    }

    function test_provesAReasonThatIsNone() public {
        begin();
        records[3].reason = 255;
        rollUp();
        rejects(Fraud.WrongRecord, wrongRecord(3));
    }

    function test_provesAWeightOverTheCap() public {
        begin();
        records[4].weight = 12_000;
        records[4].total += 12_000 - 400;
        commitments[2].weight = 12_000;
        rollUp();
        rejects(Fraud.WrongRecord, wrongRecord(4));
    }

    function test_provesAWeightOfARefusedUpdate() public {
        begin();
        records[3].weight = 7;
        records[3].total += 7;
        records[4].total += 7;
        rollUp();
        rejects(Fraud.WrongRecord, wrongRecord(3));
    }

    function test_provesAnUpdateOfNoMember() public {
        vm.prank(owner);
        federation.removeMember(members[4]);
        begin();
        rollUp();
        rejects(Fraud.WrongRecord, wrongRecord(4));
    }

    function test_provesAnUpdateOfAnotherRound() public {
        begin();
        Update memory update = updateOf(4);
        update.round += 1;
        replace(4, update);
        rollUp();
        rejects(Fraud.WrongRecord, wrongRecord(4));
    }

    function test_provesAnUpdateThatCameTooLate() public {
        begin();
        Update memory update = updateOf(4);
        update.deadline = uint64(block.timestamp) - 1;
        replace(4, update);
        rollUp();
        rejects(Fraud.WrongRecord, wrongRecord(4));
    }

    function test_provesAnUpdateWithoutStake() public {
        vm.prank(members[4]);
        federation.unstake();
        vm.warp(block.timestamp + 1);
        begin();
        rollUp();
        rejects(Fraud.WrongRecord, wrongRecord(4));
    }

    function test_provesThatAStakeWasThere() public {
        begin();
        records[4].reason = uint8(Refusal.StakeTooLow);
        records[4].weight = 0;
        records[4].accepted -= 1;
        records[4].total -= 400;
        commitments.pop();
        rollUp();
        rejects(Fraud.WrongRecord, wrongRecord(4));
    }

    /// @dev Whether the coordinator saw it before or after the change, nobody can tell.
    function test_whereNoStakeIsAskedNobodyLacksOne() public {
        Rules memory rules = defaultRules();
        rules.minClients = 2;
        rules.elements = ELEMENTS;
        federation = createFederation(rules, defaultSecurity());
        court = Rollups(federation.rollups());
        begin();
        rollUp();
        propose(roundId);
        expectNoFraud(wrongRecord(0));
        expectNoFraud(wrongRecord(2));
    }

    function test_provesNothingOfAStakeThatChangedWithinTheRound() public {
        begin();
        vm.prank(members[4]);
        federation.unstake();
        rollUp();
        propose(roundId);
        expectNoFraud(wrongRecord(4));
    }

    function test_believesWhatIsSaidOfAMemberThatLeftWithinTheRound() public {
        begin();
        rollUp();
        vm.prank(members[4]);
        federation.quit();
        propose(roundId);
        expectNoFraud(wrongRecord(4));
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);

        begin();
        rollUp();
        rejects(Fraud.WrongRecord, wrongRecord(4));
    }

    function test_believesThatAMemberHadLeft() public {
        begin();
        records[4].reason = uint8(Refusal.NotMember);
        records[4].weight = 0;
        records[4].accepted -= 1;
        records[4].total -= 400;
        commitments.pop();
        rollUp();
        vm.prank(members[4]);
        federation.quit();
        propose(roundId);
        expectNoFraud(wrongRecord(4));
    }

    function test_provesSomethingThatIsNoSubmission() public {
        begin();
        bytes memory junk = bytes.concat(bytesOf(received[3]), new bytes(65));
        records[3].submission = keccak256(junk);
        rollUp();
        rejects(Fraud.WrongRecord, malformedSubmission(3, junk));
    }

    function test_provesASubmissionOfAnotherKind() public {
        begin();
        bytes memory junk = bytesOf(received[3]);
        junk[0] = 0x0f;
        records[3].submission = keccak256(junk);
        rollUp();
        rejects(Fraud.WrongRecord, malformedSubmission(3, junk));
    }

    function test_provesAMemberTwice() public {
        begin();
        received[3].member = members[2];
        records[3].member = members[2];
        rollUp();
        rejects(Fraud.WrongSequence, wrongSequence(3));
    }

    function test_provesAMemberOfZeros() public {
        begin();
        records[0].member = address(0);
        rollUp();
        rejects(Fraud.WrongSequence, wrongSequence(0));
    }

    function test_provesAWrongCount() public {
        begin();
        records[3].accepted += 1;
        records[4].accepted += 1;
        commitments.push(commitments[2]);
        rollUp();
        rejects(Fraud.WrongSequence, wrongSequence(3));
    }

    function test_provesAWrongFirstTotal() public {
        begin();
        for (uint256 i = 0; i < CLIENTS; ++i) {
            records[i].total += 5;
        }
        rollUp();
        rejects(Fraud.WrongSequence, wrongSequence(0));
    }

    function test_provesAWrongTotalAtTheEnd() public {
        begin();
        build();
        stated.totalWeight -= 1;
        submitStated();
        rejects(Fraud.WrongSequence, wrongSequence(4));
    }

    function test_provesAWrongNumberAtTheEnd() public {
        begin();
        build();
        stated.accepted = 2;
        stated.peaks.pop();
        submitStated();
        rejects(Fraud.WrongSequence, wrongSequence(4));
    }

    function test_provesAnotherUpdateInTheRange() public {
        begin();
        commitments[1].updateRoot = keccak256("another update");
        rollUp();
        rejects(Fraud.WrongCommitment, wrongCommitment(2, 1));
    }

    function test_provesAnotherWeightInTheRange() public {
        begin();
        commitments[2].weight += 1;
        rollUp();
        rejects(Fraud.WrongCommitment, wrongCommitment(4, 2));
    }

    function test_provesAMalformedRecord() public {
        begin();
        bytes32[] memory leaves = recordLevels()[0];
        bytes memory junk = abi.encodePacked(recordBytes(records[2]), uint8(0));
        leaves[2] = keccak256(junk);
        bytes32[][] memory levels = HashTree.build(0x0d, leaves);
        build();
        stated.recordsRoot = HashTree.rootOf(levels);
        submitStated();
        RollupNode memory node = RollupNode(false, 0, 2, junk, 0, HashTree.path(levels, 2));
        rejects(Fraud.MalformedRollup, malformed(node));
    }

    function test_provesARecordInThePadding() public {
        begin();
        bytes32[] memory leaves = recordLevels()[0];
        leaves[5] = keccak256(recordBytes(records[0]));
        bytes32[][] memory levels = HashTree.build(0x0d, leaves);
        build();
        stated.recordsRoot = HashTree.rootOf(levels);
        submitStated();
        RollupNode memory node = RollupNode(false, 0, 5, "", leaves[5], HashTree.path(levels, 5));
        rejects(Fraud.MalformedRollup, malformed(node));
    }

    function test_provesARecordThatNobodyCanShow() public {
        begin();
        bytes32[] memory leaves = recordLevels()[0];
        leaves[2] = 0;
        bytes32[][] memory levels = HashTree.build(0x0d, leaves);
        build();
        stated.recordsRoot = HashTree.rootOf(levels);
        submitStated();
        RollupNode memory node = RollupNode(false, 0, 2, "", 0, HashTree.path(levels, 2));
        rejects(Fraud.MalformedRollup, malformed(node));
    }

    function test_provesANodeOfTheRecordsThatNobodyCanShow() public {
        begin();
        build();
        bytes32 right = recordLevels()[2][1];
        stated.recordsRoot = keccak256(abi.encodePacked(uint8(0x0d), bytes32(0), right));
        submitStated();
        RollupNode memory node = RollupNode(false, 0, 0, "", 0, new bytes32[](1));
        node.siblings[0] = right;
        rejects(Fraud.MalformedRollup, malformed(node));
    }

    function test_provesASubmissionThatNobodyCanShow() public {
        begin();
        records[2].submission = 0;
        rollUp();
        rejects(Fraud.WrongRecord, malformedSubmission(2, ""));
    }

    function test_provesAPeakThatNobodyCanShow() public {
        begin();
        build();
        stated.peaks[0] = 0;
        submitStated();
        rejects(Fraud.MalformedRollup, malformed(rangeNode(1, "")));
    }

    function test_provesAMalformedNodeOfTheRecords() public {
        begin();
        build();
        bytes memory junk = abi.encodePacked(uint8(0x0b), recordLevels()[2][0], recordLevels()[2][1]);
        stated.recordsRoot = keccak256(junk);
        submitStated();
        RollupNode memory node = RollupNode(false, 0, 0, junk, 0, new bytes32[](0));
        rejects(Fraud.MalformedRollup, malformed(node));
    }

    function test_provesAMalformedNodeOfTheRange() public {
        begin();
        build();
        bytes memory junk = abi.encodePacked(uint8(0x0b), "short");
        stated.peaks[0] = keccak256(junk);
        submitStated();
        rejects(Fraud.MalformedRollup, malformed(rangeNode(1, junk)));
    }

    function test_provesACommitmentToAnotherSum() public {
        begin();
        commitments[1].sumSquares += 5;
        rollUp();
        rejects(Fraud.WrongCommitment, wrongCommitment(2, 1));
    }

    function test_believesWhatAnAppointedKeySigned() public {
        uint256 key = uint256(keccak256("appointed key"));
        appointKey(members[2], key);
        begin();
        received[2].signature = signature(key, received[2].update);
        records[2].submission = hashOf(received[2]);
        rollUp();
        propose(roundId);
        expectNoFraud(wrongRecord(2));
    }

    function test_refusesProofsOfSomethingElse() public {
        begin();
        rollUp();
        propose(roundId);
        records[2].weight += 1;
        expectRefused(wrongRecord(2), "records");
        expectRefused(wrongSequence(2), "records");
        records[2].weight -= 1;
        received[2].update.examples += 1;
        expectRefused(wrongRecord(2), "submission");
        expectRefused(malformedSubmission(2, bytesOf(received[2])), "submission");
        received[2].update.examples -= 1;
        expectRefused(
            abi.encodeCall(court.proveWrongSequence, (roundId, recordProof(1), recordProof(3), bytes32(0))),
            "record before"
        );
        expectRefused(wrongCommitment(2, 0), "commitments");
        expectRefused(wrongCommitment(3, 1), "commitments");
        RollupNode memory node = recordNode(0, recordBytes(records[1]), 0);
        expectRefused(malformed(node), "roll-up");
        node = rangeNode(1, "node");
        node.peak = 5;
        expectRefused(malformed(node), "roll-up");
        node = recordNode(8, "", 0);
        expectRefused(malformed(node), "roll-up");
    }

    function test_hearsNothingOfRoundsWithoutARollup() public {
        roundId = openRound();
        Update memory update = updateOf(0);
        Submission[] memory submissions = new Submission[](2);
        submissions[0] = signed(0, update);
        submissions[1] = signed(2, updateOf(2));
        submit(roundId, submissions);
        propose(roundId);
        receive_(0, update, keys[0]);
        judge();
        expectRefused(wrongRecord(0), "roll-up");
    }

    function test_hearsNothingOfRoundsThatAreNotProposed() public {
        begin();
        records[3].reason = 255;
        rollUp();
        bytes memory refused = abi.encodeWithSelector(ICourt.NotProposed.selector, roundId);
        IHearing hearing = IHearing(federation.disputes());
        vm.expectRevert(refused);
        vm.prank(challenger);
        hearing.commit(roundId, keccak256("a proof"));
        vm.prank(challenger);
        (bool success, bytes memory result) = address(court).call(wrongRecord(3));
        vm.assertFalse(success);
        vm.assertEq(result, refused);
    }
}
