// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

import {Federation} from "../src/Federation.sol";
import {IFederation} from "../src/interfaces/IFederation.sol";
import {Round, RoundLib} from "../src/libraries/RoundLib.sol";
import {Refusal} from "../src/libraries/RulesLib.sol";
import {Attestation, Submission, Update} from "../src/libraries/UpdateTypes.sol";
import {FederationFixture} from "./base/FederationFixture.sol";

/// @notice Which updates count, how much, and why others do not.
contract FederationUpdatesTest is FederationFixture {
    uint64 private roundId;

    function setUp() public override {
        super.setUp();
        roundId = openRound();
    }

    function test_acceptsHonestUpdates() public {
        Submission[] memory submissions = honestSubmissions(roundId, 0, MEMBERS);
        for (uint256 i = 0; i < MEMBERS; ++i) {
            expectAcceptance(submissions[i], submissions[i].update.examples);
        }
        submit(roundId, submissions);

        Round memory current = federation.round(roundId);
        vm.assertEq(uint256(current.accepted), MEMBERS);
        vm.assertEq(uint256(current.totalWeight), 100 * MEMBERS + MEMBERS * (MEMBERS - 1) / 2);
        vm.assertEq(current.lastMember, members[MEMBERS - 1]);
        // 16 is one bit, so there is one peak: the root over all.
        vm.assertEq(federation.commitmentPeak(4), treeOf(submissions, 0, 16));
    }

    function test_batchesGiveTheSameRoundAsOne() public {
        Submission[] memory submissions = honestSubmissions(roundId, 0, MEMBERS);
        submit(roundId, honestSubmissions(roundId, 0, 5));
        submit(roundId, new Submission[](0));
        submit(roundId, honestSubmissions(roundId, 5, MEMBERS - 5));
        vm.assertEq(federation.commitmentPeak(4), treeOf(submissions, 0, 16));
        vm.assertEq(uint256(federation.round(roundId).accepted), MEMBERS);
    }

    function testFuzz_keepsAPeakForEachBit(uint256 first, uint256 second) public {
        first = bound(first, 0, MEMBERS);
        second = bound(second, 0, MEMBERS - first);
        Submission[] memory submissions = honestSubmissions(roundId, 0, MEMBERS);
        submit(roundId, honestSubmissions(roundId, 0, first));
        submit(roundId, honestSubmissions(roundId, first, second));
        uint256 start = 0;
        for (uint256 width = MEMBERS; width > 0; width /= 2) {
            if ((first + second) & width == 0) continue;
            bytes32 expected = treeOf(submissions, start, start + width);
            vm.assertEq(federation.commitmentPeak(Math.log2(width)), expected);
            start += width;
        }
    }

    function test_capsTheWeight() public {
        Update memory update = honestUpdate(roundId, 0);
        update.examples = 20_000;
        Submission memory submission = signed(0, update);
        expectAcceptance(submission, 400);
        submitOne(roundId, submission);
        vm.assertEq(uint256(federation.round(roundId).totalWeight), 400);
    }

    function test_acceptsAnUpdateAtEveryLimit() public {
        Update memory update = honestUpdate(roundId, 0);
        update.sumSquares = defaultRules().maxSumSquares;
        update.examples = defaultRules().minExamples;
        update.accuracyPpm = defaultRules().minAccuracyPpm;
        update.lossMicros = defaultRules().maxLossMicros;
        update.deadline = uint64(block.timestamp);
        Submission memory submission = signed(0, update);
        expectAcceptance(submission, update.examples);
        submitOne(roundId, submission);
        vm.assertEq(uint256(federation.round(roundId).accepted), 1);
    }

    function test_refusesNotMember() public {
        uint256 key = uint256(keccak256("stranger"));
        Update memory update = honestUpdate(roundId, 0);
        assertRefused(Submission(vm.addr(key), update, signature(key, update)), Refusal.NotMember);
    }

    function test_refusesDuplicate() public {
        submitOne(roundId, signed(3, honestUpdate(roundId, 3)));
        Update memory update = honestUpdate(roundId, 3);
        update.examples = 300;
        Submission memory again = signed(3, update);
        expectRefusal(again, Refusal.Duplicate);
        submitOne(roundId, again);
        vm.assertEq(uint256(federation.round(roundId).accepted), 1);
        vm.assertEq(uint256(federation.round(roundId).totalWeight), 103);
    }

    function test_refusesDuplicateInOneBatch() public {
        Submission[] memory submissions = new Submission[](2);
        submissions[0] = signed(3, honestUpdate(roundId, 3));
        submissions[1] = submissions[0];
        expectRefusal(submissions[1], Refusal.Duplicate);
        submit(roundId, submissions);
        vm.assertEq(uint256(federation.round(roundId).accepted), 1);
    }

    function test_refusedMemberMayTryAgain() public {
        Update memory update = honestUpdate(roundId, 3);
        update.baseRoot = NEXT_ROOT;
        assertRefused(signed(3, update), Refusal.WrongBase);
        submitOne(roundId, signed(3, honestUpdate(roundId, 3)));
        vm.assertEq(uint256(federation.round(roundId).accepted), 1);
    }

    function test_refusesSignatureOfAnotherMember() public {
        Update memory update = honestUpdate(roundId, 0);
        assertRefused(Submission(members[0], update, signature(keys[1], update)), Refusal.BadSignature);
    }

    function test_refusesChangedStatement() public {
        Submission memory submission = signed(0, honestUpdate(roundId, 0));
        submission.update.examples += 1;
        assertRefused(submission, Refusal.BadSignature);
    }

    function test_refusesMalleableSignature() public {
        Update memory update = honestUpdate(roundId, 0);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keys[0], federation.hashUpdate(update));
        bytes memory other = abi.encodePacked(r, bytes32(CURVE_ORDER - uint256(s)), v == 27 ? 28 : 27);
        assertRefused(Submission(members[0], update, other), Refusal.BadSignature);
    }

    function test_refusesSignatureOfWrongLength() public {
        Submission memory submission = signed(0, honestUpdate(roundId, 0));
        submission.signature = bytes.concat(submission.signature, hex"00");
        assertRefused(submission, Refusal.BadSignature);
        submission.signature = "";
        assertRefused(submission, Refusal.BadSignature);
    }

    function test_refusesSignatureForAnotherChain() public {
        Update memory update = honestUpdate(roundId, 0);
        uint256 here = block.chainid;
        vm.chainId(here + 1);
        bytes memory elsewhere = signature(keys[0], update);
        vm.chainId(here);
        assertRefused(Submission(members[0], update, elsewhere), Refusal.BadSignature);
    }

    function test_refusesSignatureForAnotherFederation() public {
        Federation other = createFederation(defaultRules(), defaultSecurity());
        Update memory update = honestUpdate(roundId, 0);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keys[0], other.hashUpdate(update));
        assertRefused(Submission(members[0], update, abi.encodePacked(r, s, v)), Refusal.BadSignature);
    }

    function test_refusesWrongRound() public {
        Update memory update = honestUpdate(roundId, 0);
        update.round = roundId + 1;
        assertRefused(signed(0, update), Refusal.WrongRound);
    }

    function test_refusesReplayFromAnEarlierRound() public {
        Submission memory earlier = signed(0, honestUpdate(roundId, 0));
        submitOne(roundId, earlier);
        vm.prank(coordinator);
        federation.failRound(roundId);
        roundId = openRound();
        assertRefused(earlier, Refusal.WrongRound);
    }

    function test_refusesWrongRules() public {
        Update memory update = honestUpdate(roundId, 0);
        update.rulesHash = keccak256("other rules");
        assertRefused(signed(0, update), Refusal.WrongRules);
    }

    function test_refusesWrongBase() public {
        Update memory update = honestUpdate(roundId, 0);
        update.baseRoot = NEXT_ROOT;
        assertRefused(signed(0, update), Refusal.WrongBase);
    }

    function test_refusesWrongShape() public {
        Update memory update = honestUpdate(roundId, 0);
        update.elements -= 1;
        assertRefused(signed(0, update), Refusal.WrongShape);
        update = honestUpdate(roundId, 0);
        update.fractionBits -= 1;
        assertRefused(signed(0, update), Refusal.WrongShape);
        update = honestUpdate(roundId, 0);
        update.cid = "";
        assertRefused(signed(0, update), Refusal.WrongShape);
        update.cid = new bytes(65);
        assertRefused(signed(0, update), Refusal.WrongShape);
    }

    function test_refusesExpiredSignature() public {
        Update memory update = honestUpdate(roundId, 0);
        update.deadline = uint64(block.timestamp - 1);
        assertRefused(signed(0, update), Refusal.Expired);
    }

    function test_refusesUpdatesAfterTheRoundsDeadline() public {
        Update memory update = honestUpdate(roundId, 0);
        update.deadline = type(uint64).max;
        vm.warp(federation.round(roundId).deadline + 1);
        assertRefused(signed(0, update), Refusal.Expired);
    }

    function test_refusesTooFewExamples() public {
        Update memory update = honestUpdate(roundId, 0);
        update.examples = defaultRules().minExamples - 1;
        assertRefused(signed(0, update), Refusal.TooFewExamples);
    }

    function test_refusesNormTooLarge() public {
        Update memory update = honestUpdate(roundId, 0);
        update.sumSquares = defaultRules().maxSumSquares + 1;
        assertRefused(signed(0, update), Refusal.NormTooLarge);
    }

    function test_refusesAccuracyTooLowOrImpossible() public {
        Update memory update = honestUpdate(roundId, 0);
        update.accuracyPpm = defaultRules().minAccuracyPpm - 1;
        assertRefused(signed(0, update), Refusal.AccuracyTooLow);
        update.accuracyPpm = 1_000_001;
        assertRefused(signed(0, update), Refusal.AccuracyTooLow);
    }

    function test_refusesLossTooHigh() public {
        Update memory update = honestUpdate(roundId, 0);
        update.lossMicros = defaultRules().maxLossMicros + 1;
        assertRefused(signed(0, update), Refusal.LossTooHigh);
    }

    function test_givesTheFirstReasonOfSeveral() public {
        Update memory update = honestUpdate(roundId, 0);
        update.sumSquares = type(uint128).max;
        update.examples = 0;
        update.lossMicros = type(uint64).max;
        assertRefused(signed(0, update), Refusal.TooFewExamples);
    }

    function test_revertsOnMembersOutOfOrder() public {
        Submission[] memory submissions = new Submission[](2);
        submissions[0] = signed(1, honestUpdate(roundId, 1));
        submissions[1] = signed(0, honestUpdate(roundId, 0));
        vm.expectRevert(abi.encodeWithSelector(RoundLib.MembersOutOfOrder.selector, members[1], members[0]));
        submit(roundId, submissions);
    }

    function test_revertsOnMembersOutOfOrderAcrossBatches() public {
        submitOne(roundId, signed(1, honestUpdate(roundId, 1)));
        Submission memory lower = signed(0, honestUpdate(roundId, 0));
        vm.expectRevert(abi.encodeWithSelector(RoundLib.MembersOutOfOrder.selector, members[1], members[0]));
        submitOne(roundId, lower);
    }

    function test_oneRefusedDoesNotHoldBackOthers() public {
        Submission[] memory submissions = honestSubmissions(roundId, 0, MEMBERS);
        submissions[4].update.sumSquares = type(uint128).max;
        submissions[4] = signed(4, submissions[4].update);
        expectAcceptance(submissions[3], 103);
        expectRefusal(submissions[4], Refusal.NormTooLarge);
        expectAcceptance(submissions[5], 105);
        submit(roundId, submissions);
        vm.assertEq(uint256(federation.round(roundId).accepted), MEMBERS - 1);
    }

    function testFuzz_weightIsCappedAndCounted(uint32 examples, uint256 index) public {
        index = bound(index, 0, MEMBERS - 1);
        Update memory update = honestUpdate(roundId, index);
        update.examples = examples;
        submitOne(roundId, signed(index, update));

        Round memory current = federation.round(roundId);
        uint256 weight = examples < 20 ? 0 : examples > 400 ? 400 : examples;
        vm.assertEq(uint256(current.totalWeight), weight);
        vm.assertEq(uint256(current.accepted), weight == 0 ? 0 : 1);
    }

    /// @dev A signature covers every field: whichever changes, the update no longer counts.
    function testFuzz_signatureCoversEveryField(uint256 field, uint64 change) public {
        vm.assume(change != 0);
        Submission memory submission = signed(0, honestUpdate(roundId, 0));
        Update memory update = submission.update;
        field = bound(field, 0, 13);
        if (field == 0) update.round ^= change;
        else if (field == 1) update.rulesHash ^= bytes32(uint256(change));
        else if (field == 2) update.baseRoot ^= bytes32(uint256(change));
        else if (field == 3) update.updateRoot ^= bytes32(uint256(change));
        else if (field == 4) update.sumSquares ^= change;
        else if (field == 5) update.elements ^= change;
        else if (field == 6) update.fractionBits ^= uint8(change) | 1;
        else if (field == 7) update.examples ^= uint32(change) | 1;
        else if (field == 8) update.accuracyPpm ^= uint32(change) | 1;
        else if (field == 9) update.lossMicros ^= change;
        else if (field == 10) update.deadline ^= change;
        else if (field == 11) update.labels ^= uint32(change) | 1;
        else if (field == 12) update.epsilonMicros ^= change;
        else update.cid = abi.encode(change);
        assertRefused(submission, Refusal.BadSignature);
    }

    function testFuzz_anySignatureBytesNeverRevert(bytes calldata random) public {
        Submission memory submission = Submission(members[0], honestUpdate(roundId, 0), random);
        assertRefused(submission, Refusal.BadSignature);
    }

    /// @dev The words of an update are hashed as they come; what does not fit its type must still not count.
    function test_acceptsNoWordThatOverflowsItsType() public {
        Update memory update = honestUpdate(roundId, 0);
        bytes memory hashing = abi.encodeCall(federation.hashUpdate, (update));
        // ε is the twelfth word, after the selector and the offset of the struct.
        _overflow(hashing, 4 + 32 + 11 * 32);
        (bool success, bytes memory digest) = address(federation).staticcall(hashing);
        vm.assertTrue(success);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keys[0], abi.decode(digest, (bytes32)));
        Submission[] memory one = new Submission[](1);
        one[0] = Submission(members[0], update, abi.encodePacked(r, s, v));
        bytes memory submitting = abi.encodeCall(federation.submit, (roundId, one));
        // Here it comes after the round, the array with its one offset, and the three words of the submission.
        _overflow(submitting, 4 + 4 * 32 + 3 * 32 + 11 * 32);
        vm.prank(coordinator);
        (success,) = address(federation).call(submitting);
        vm.assertFalse(success);
    }

    /// @dev Adds 2^64 to the word at an offset.
    function _overflow(bytes memory data, uint256 offset) private pure {
        data[offset + 23] = 0x01;
    }

    function assertRefused(Submission memory submission, Refusal reason) private {
        expectRefusal(submission, reason);
        submitOne(roundId, submission);
        vm.assertEq(uint256(federation.round(roundId).accepted), 0);
        vm.assertEq(uint256(federation.round(roundId).totalWeight), 0);
    }

    function expectAcceptance(Submission memory submission, uint32 weight) private {
        Update memory update = submission.update;
        vm.expectEmit();
        emit IFederation.UpdateAccepted(
            roundId,
            submission.member,
            update.updateRoot,
            weight,
            attestationOf(update),
            update.sumSquares,
            update.deadline,
            update.cid,
            submission.signature
        );
    }

    function attestationOf(Update memory update) private pure returns (Attestation memory) {
        return Attestation({
            examples: update.examples,
            accuracyPpm: update.accuracyPpm,
            lossMicros: update.lossMicros,
            labels: update.labels,
            epsilonMicros: update.epsilonMicros
        });
    }

    /// @dev Root over the commitments of submissions from … to − 1, a power of two of them.
    function treeOf(Submission[] memory submissions, uint256 from, uint256 to)
        private
        pure
        returns (bytes32)
    {
        if (to - from > 1) {
            uint256 middle = (from + to) / 2;
            bytes32 left = treeOf(submissions, from, middle);
            return keccak256(abi.encodePacked(bytes1(0x0b), left, treeOf(submissions, middle, to)));
        }
        Update memory update = submissions[from].update;
        return keccak256(
            abi.encodePacked(
                bytes1(0x0a), submissions[from].member, update.examples, update.updateRoot, update.sumSquares
            )
        );
    }
}
