// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DirectSubmissions} from "../../src/DirectSubmissions.sol";
import {IDirectSubmissions} from "../../src/interfaces/IDirectSubmissions.sol";
import {IEscrow} from "../../src/interfaces/IEscrow.sol";
import {IFederation} from "../../src/interfaces/IFederation.sol";
import {SumNode} from "../../src/libraries/MerkleSumTree.sol";
import {Refusal} from "../../src/libraries/RulesLib.sol";
import {Submission, Update} from "../../src/libraries/UpdateTypes.sol";
import {Consents} from "../base/Consents.sol";
import {DisputeFixture} from "../base/DisputeFixture.sol";
import {SumTree} from "../base/SumTree.sol";

/// @notice The attacker holds what a member signed for the relay, as every coordinator does, and wants the member's stake: it
///         submits the update in the member's name, demands a vector that nobody watches out for, and has the stake burnt.
contract BurnAMembersStakeTest is DisputeFixture {
    uint256 private constant FEE = 3000;
    uint256 private constant KEY = uint256(keccak256("appointed key"));

    DirectSubmissions private direct;

    function setUp() public override {
        super.setUp();
        direct = DirectSubmissions(federation.directSubmissions());
        roundId = openRound();
    }

    function test_whoHoldsASignedUpdateSubmitsNothing() public {
        address[4] memory attackers = [coordinator, owner, stranger, members[1]];
        Submission memory submission = submissionOf(0);
        for (uint256 i = 0; i < attackers.length; ++i) {
            expectNoConsent(attackers[i]);
            vm.prank(attackers[i]);
            direct.submit(roundId, submission, "");
        }
        // Nor is it kept from the round.
        submitOne(roundId, submission);
        vm.assertEq(uint256(federation.round(roundId).accepted), 1);
    }

    function test_theSignatureOfTheUpdateIsNoConsent() public {
        Submission memory submission = submissionOf(0);
        expectNoConsentBySignature(submission, submission.signature);
    }

    function test_aConsentServesNothingElse() public {
        Submission memory submission = submissionOf(0);
        bytes32 update = Consents.structHash(submission.update);
        // For another round.
        expectNoConsentBySignature(submission, consent(0, members[0], roundId + 1, update));
        // In the name of another.
        expectNoConsentBySignature(submission, consent(0, members[1], roundId, update));
        expectNoConsentBySignature(submission, consent(1, members[0], roundId, update));
        // To another update, of the same vector even.
        Update memory other = submission.update;
        other.examples += 1;
        bytes memory elsewhere = consent(0, members[0], roundId, Consents.structHash(other));
        other.examples -= 1;
        expectNoConsentBySignature(submission, elsewhere);
        // In another federation, or on another chain.
        bytes32 hash = Consents.directHash(members[0], roundId, update);
        bytes memory foreign = Consents.sign(keys[0], Consents.digest(block.chainid, address(0xFED), hash));
        expectNoConsentBySignature(submission, foreign);
        foreign = Consents.sign(keys[0], Consents.digest(block.chainid + 1, address(federation), hash));
        expectNoConsentBySignature(submission, foreign);
    }

    function testFuzz_noOtherSignatureIsAConsent(uint256 key, bytes32 hash) public {
        key = bound(key, 1, CURVE_ORDER - 1);
        vm.assume(vm.addr(key) != members[0]);
        Submission memory submission = submissionOf(0);
        bytes32 update = Consents.structHash(submission.update);
        bytes32 right = Consents.directHash(members[0], roundId, update);
        expectNoConsentBySignature(submission, signedBy(key, right));
        // The member's own over whatever else.
        vm.assume(hash != right);
        expectNoConsentBySignature(submission, signedBy(keys[0], hash));
    }

    function test_malformedConsentsAreNone() public {
        Submission memory submission = submissionOf(0);
        bytes memory good = consentTo(0, submission);
        bytes[4] memory bad =
            [new bytes(65), abi.encodePacked(good, hex"00"), bytes(hex"00"), Consents.malleable(good)];
        for (uint256 i = 0; i < bad.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IDirectSubmissions.NoConsent.selector, members[0], address(0))
            );
            vm.prank(coordinator);
            direct.submit(roundId, submission, bad[i]);
        }
    }

    /// @dev One that signs from the next round on has said nothing about this one, and one that no longer does neither.
    function test_onlyTheKeyOfTheRoundConsents() public {
        Submission memory submission = submissionOf(0);
        appointKey(members[0], KEY);
        bytes memory early = signedBy(KEY, hashOf(submission));
        expectNoConsentBySignature(submission, early);
        expectNoConsent(vm.addr(KEY));
        vm.prank(vm.addr(KEY));
        direct.submit(roundId, submission, "");

        nextRound();
        submission = submissionOf(0);
        appointKey(members[0], 0);
        vm.prank(stranger);
        direct.submit(roundId, submission, signedBy(KEY, hashOf(submission)));
        vm.assertEq(uint256(federation.round(roundId).waiting), 1);

        nextRound();
        submission = submissionOf(0);
        expectNoConsentBySignature(submission, signedBy(KEY, hashOf(submission)));
        expectNoConsent(vm.addr(KEY));
        vm.prank(vm.addr(KEY));
        direct.submit(roundId, submission, "");
    }

    function test_theMemberOrItsKeySubmitOrLetOthersPay() public {
        uint256 snapshot = vm.snapshotState();
        Submission memory submission = submissionOf(0);
        vm.prank(members[0]);
        direct.submit(roundId, submission, "");
        vm.revertToState(snapshot);
        vm.prank(stranger);
        direct.submit(roundId, submission, consentTo(0, submission));
        vm.snapshotGasLastCall("DirectSubmissions", "submit, another pays");
        vm.assertEq(uint256(federation.round(roundId).waiting), 1);
        appointKey(members[0], KEY);
        nextRound();
        submission = submissionOf(0);
        vm.prank(vm.addr(KEY));
        direct.submit(roundId, submission, "");
        vm.assertEq(uint256(federation.round(roundId).waiting), 1);
    }

    /// @dev What a member signed for other rules, another size, base or round is held against it by nobody.
    function test_whatDoesNotFitThisFederationIsNotHeldAgainstAMember() public {
        for (uint256 i = 0; i < 6; ++i) {
            Update memory update = updateOf(0);
            Refusal reason = Refusal.WrongShape;
            if (i == 0) (update.rulesHash, reason) = (keccak256("other rules"), Refusal.WrongRules);
            if (i == 1) (update.baseRoot, reason) = (keccak256("other base"), Refusal.WrongBase);
            if (i == 2) (update.round, reason) = (roundId + 1, Refusal.WrongRound);
            if (i == 3) update.elements += 1;
            if (i == 4) update.fractionBits += 1;
            if (i == 5) update.cid = "";
            Submission memory submission = signed(0, update);
            vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.UpdateNotAccepted.selector, reason));
            bringOwn(direct, roundId, submission);
        }
        // It is free still.
        vm.prank(members[0]);
        federation.unstake();
    }

    /// @dev What lies there beyond the stake that is asked for was never at risk.
    function testFuzz_neverMoreIsBurntThanIsAskedFor(uint112 more) public {
        vm.deal(members[0], more);
        vm.prank(members[0]);
        federation.stake{value: more}();
        bringOwn(direct, roundId, submissionOf(0));
        vm.deal(coordinator, FEE);
        vm.prank(coordinator);
        direct.demandPosting{value: FEE}(roundId, members[0]);
        vm.warp(direct.directUpdate(roundId, members[0]).due + 1);
        vm.expectEmit();
        emit IEscrow.StakeBurnt(members[0], STAKE);
        direct.forfeit(roundId, members[0]);
        vm.assertEq(nobodys(address(0)), STAKE);
        vm.assertEq(federation.stakeOf(members[0]), more);
        // With what is left it submits no second time, whose data could be missing again.
        vm.deal(members[0], STAKE);
        vm.prank(members[0]);
        federation.stake{value: STAKE}();
        Submission memory again = submissionOf(0);
        vm.expectRevert(abi.encodeWithSelector(IFederation.AlreadySubmitted.selector, roundId, members[0]));
        bringOwn(direct, roundId, again);
    }

    function expectNoConsent(address speaker) private {
        vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.NoConsent.selector, members[0], speaker));
    }

    /// @dev Whoever it recovers to.
    function expectNoConsentBySignature(Submission memory submission, bytes memory signature_) private {
        vm.prank(coordinator);
        try direct.submit(roundId, submission, signature_) {
            revert("submitted in the member's name");
        } catch (bytes memory reason) {
            vm.assertTrue(bytes4(reason) == IDirectSubmissions.NoConsent.selector);
        }
    }

    function nextRound() private {
        vm.prank(coordinator);
        federation.failRound(roundId);
        roundId = openRound();
    }

    function consentTo(uint256 index, Submission memory submission) private view returns (bytes memory) {
        return signedBy(keys[index], hashOf(submission));
    }

    function consent(uint256 index, address member, uint64 round, bytes32 update)
        private
        view
        returns (bytes memory)
    {
        return signedBy(keys[index], Consents.directHash(member, round, update));
    }

    function hashOf(Submission memory submission) private pure returns (bytes32) {
        return Consents.directHash(
            submission.member, submission.update.round, Consents.structHash(submission.update)
        );
    }

    function signedBy(uint256 key, bytes32 structHash) private view returns (bytes memory) {
        return Consents.sign(key, Consents.digest(block.chainid, address(federation), structHash));
    }

    function updateOf(uint256 index) private view returns (Update memory update) {
        bytes32 context = SumTree.contextOf(federation, roundId, members[index]);
        SumNode memory root = SumTree.rootOf(SumTree.build(context, updates[index]));
        update = honestUpdate(roundId, index);
        update.elements = ELEMENTS;
        update.updateRoot = root.hash;
        update.sumSquares = root.sum;
    }

    function submissionOf(uint256 index) private view returns (Submission memory) {
        return signed(index, updateOf(index));
    }
}
