// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DirectSubmissions} from "../src/DirectSubmissions.sol";
import {ICourt} from "../src/interfaces/ICourt.sol";
import {IDirectSubmissions} from "../src/interfaces/IDirectSubmissions.sol";
import {Circumstances} from "../src/libraries/JudgeLib.sol";
import {Expectation, Refusal, Rules} from "../src/libraries/RulesLib.sol";
import {Submission, Update} from "../src/libraries/UpdateTypes.sol";
import {RollupFixture} from "./base/RollupFixture.sol";
import {PlainJudge} from "./harness/PlainJudge.sol";

/// @notice The judge against its restatement, and its three users against each other.
contract JudgeTest is RollupFixture {
    PlainJudge private judges;
    /// Sets of circumstances and faults are drawn from it.
    uint256 private seed;

    function setUp() public override {
        super.setUp();
        judges = new PlainJudge();
    }

    /// @dev Each value lies at its limit or one beside it, so that every comparison is tried at its edge.
    function testFuzz_judgesAsItIsRestated(uint256 seed_) public {
        seed = seed_;
        (Update memory update, Circumstances memory around) = drawn(12);
        assertAgree(update, around);
    }

    /// @dev Random words, of which nearly all are refused.
    function testFuzz_judgesAnything(Update memory update, Circumstances memory around) public view {
        assertAgree(update, around);
    }

    /// @dev What is wrong first in the order is what is given, whatever else is wrong; and each reason is given.
    function test_givesEachReasonInItsOrder() public view {
        Refusal[16] memory order = judges.order();
        for (uint256 fault = 0; fault < 16; ++fault) {
            (Update memory update, Circumstances memory around) = faultless();
            spoil(update, around, fault);
            (Refusal reason, uint32 weight) = judges.judge(update, around);
            vm.assertEq(uint256(reason), uint256(order[fault]));
            vm.assertEq(uint256(weight), 0);
            for (uint256 later = fault + 1; later < 16; ++later) {
                spoil(update, around, later);
                (reason, weight) = judges.judge(update, around);
                vm.assertEq(uint256(reason), uint256(order[fault]));
            }
        }
        (Update memory good, Circumstances memory fine) = faultless();
        (Refusal none, uint32 whole) = judges.judge(good, fine);
        vm.assertEq(uint256(none), uint256(Refusal.None));
        vm.assertEq(uint256(whole), good.examples);
        good.examples = fine.maxWeight + 1;
        (, whole) = judges.judge(good, fine);
        vm.assertEq(uint256(whole), fine.maxWeight);
    }

    /// @dev Relay, direct submission and court see the same update in the same round.
    function testFuzz_itsUsersAgree(uint256 fault, bool second) public {
        fault = fault % 11;
        begin();
        Update memory update = updateOf(4);
        Circumstances memory unused;
        // Of the faults those that an update itself can have, the foreign signature aside; 10 is none.
        if (fault > 0 && fault < 10) spoil(update, unused, 2 + fault);
        if (second) update.lossMicros = 5_000_001;
        received[4] = Submission(members[4], update, signature(fault == 0 ? FOREIGN_KEY : keys[4], update));
        uint256 before = vm.snapshotState();

        vm.prank(coordinator);
        Refusal relayed = federation.submit(roundId, one(received[4]));
        vm.assertTrue(vm.revertToState(before));

        before = vm.snapshotState();
        DirectSubmissions direct = DirectSubmissions(federation.directSubmissions());
        if (relayed != Refusal.None) {
            vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.UpdateNotAccepted.selector, relayed));
        }
        bringOwn(direct, roundId, received[4]);
        vm.assertTrue(vm.revertToState(before));

        record(relayed);
        vm.assertEq(failureOf(wrongRecord()), abi.encodeWithSelector(ICourt.NoFraud.selector));
    }

    function record(Refusal reason) private {
        if (reason != Refusal.None) {
            records[4].reason = uint8(reason);
            records[4].weight = 0;
            records[4].accepted -= 1;
            records[4].total -= 400;
            commitments.pop();
        } else {
            records[4].weight = received[4].update.examples < 400 ? received[4].update.examples : 400;
        }
        records[4].submission = hashOf(received[4]);
        rollUp();
        propose(roundId);
    }

    function wrongRecord() private view returns (bytes memory) {
        return abi.encodeCall(court.proveWrongRecord, (roundId, recordProof(4), received[4], bytes32("salt")));
    }

    function one(Submission memory submission) private pure returns (Submission[] memory list) {
        list = new Submission[](1);
        list[0] = submission;
    }

    function assertAgree(Update memory update, Circumstances memory around) private view {
        (Refusal reason, uint32 weight) = judges.judge(update, around);
        (Refusal wanted, uint32 wantedWeight) = judges.restated(update, around);
        vm.assertEq(uint256(reason), uint256(wanted));
        vm.assertEq(uint256(weight), uint256(wantedWeight));
    }

    /// @dev An update and circumstances with each value moved by one with a chance of 1 / `rarity`.
    function drawn(uint256 rarity) private returns (Update memory update, Circumstances memory around) {
        (update, around) = faultless();
        for (uint256 fault = 0; fault < 16; ++fault) {
            if (next() % rarity == 0) spoil(update, around, fault);
        }
        if (next() % 4 == 0) around.rules.maxEpsilonMicros = 0;
        if (next() % rarity == 0) update.accuracyPpm = 1_000_001;
        if (next() % rarity == 0) update.epsilonMicros = 0;
        if (next() % rarity == 0) update.fractionBits += 1;
        if (next() % rarity == 0) update.cid = new bytes(next() % 67);
        if (next() % 2 == 0) around.maxWeight = update.examples + uint32(next() % 3) - 1;
    }

    /// @dev Every value at the limit that the rules just allow.
    function faultless() private view returns (Update memory update, Circumstances memory around) {
        Rules memory rules = defaultRules();
        rules.minLabels = 3;
        rules.maxEpsilonMicros = 7;
        around = Circumstances({
            rules: rules,
            maxWeight: 400,
            expected: Expectation(5, keccak256("rules"), keccak256("base"), uint64(block.timestamp)),
            time: uint64(block.timestamp),
            isMember: true,
            isDuplicate: false,
            isSigned: true,
            rests: false,
            hasStake: true
        });
        update = Update({
            round: 5,
            rulesHash: keccak256("rules"),
            baseRoot: keccak256("base"),
            updateRoot: keccak256("update"),
            sumSquares: rules.maxSumSquares,
            elements: rules.elements,
            fractionBits: rules.fractionBits,
            examples: rules.minExamples,
            accuracyPpm: rules.minAccuracyPpm,
            lossMicros: rules.maxLossMicros,
            labels: rules.minLabels,
            epsilonMicros: rules.maxEpsilonMicros,
            deadline: uint64(block.timestamp),
            cid: cidOf("update")
        });
    }

    /// @dev Breaks the rule at a place of the order by one.
    function spoil(Update memory update, Circumstances memory around, uint256 fault) private pure {
        if (fault == 0) around.isMember = false;
        if (fault == 1) around.isDuplicate = true;
        if (fault == 2) around.isSigned = false;
        if (fault == 3) update.round += 1;
        if (fault == 4) update.rulesHash = ~update.rulesHash;
        if (fault == 5) update.baseRoot = ~update.baseRoot;
        if (fault == 6) update.elements += 1;
        if (fault == 7) update.deadline = around.time == 0 ? 0 : around.time - 1;
        if (fault == 8) update.examples = 19;
        if (fault == 9) update.sumSquares = 107_374_182_401;
        if (fault == 10) update.accuracyPpm = 99_999;
        if (fault == 11) update.lossMicros = 5_000_001;
        if (fault == 12) update.labels -= 1;
        if (fault == 13) update.epsilonMicros += 1;
        if (fault == 14) around.rests = true;
        if (fault == 15) around.hasStake = false;
    }

    function next() private returns (uint256) {
        seed = uint256(keccak256(abi.encode(seed)));
        return seed;
    }
}
