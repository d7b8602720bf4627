// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Round, RoundState} from "../src/libraries/RoundLib.sol";
import {Refusal, Rules, RulesLib} from "../src/libraries/RulesLib.sol";
import {Security} from "../src/libraries/SecurityLib.sol";
import {Submission, Update} from "../src/libraries/UpdateTypes.sol";
import {FederationFixture} from "./base/FederationFixture.sol";

/// @notice The rules that a federation may leave unset: share of the weight, labels, privacy budget, rest.
contract FederationLimitsTest is FederationFixture {
    function test_capsTheShareOfTheWeight() public {
        // Nine others weigh at least 20 each: a quarter of the whole is a third of those 180.
        under(250_000, 0, 0, 0);
        uint64 roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, 10));
        vm.assertEq(uint256(federation.round(roundId).totalWeight), 10 * 60);
    }

    function test_aShareOfTheWholeIsNoBound() public {
        under(1_000_000, 0, 0, 0);
        uint64 roundId = openRound();
        Update memory update = honestUpdate(roundId, 0);
        update.examples = 400;
        submitOne(roundId, signed(0, update));
        vm.assertEq(uint256(federation.round(roundId).totalWeight), 400);
    }

    function test_refusesSharesOutOfRange() public {
        expectInvalidShare(10, 1_000_001);
        expectInvalidShare(10, 0);
        // Equal updates of ten clients have a tenth each.
        expectInvalidShare(10, 99_999);
        expectInvalidShare(1, 999_999);
        Rules memory rules = defaultRules();
        rules.maxSharePpm = 100_000;
        vm.assertEq(uint256(RulesLib.maxWeight(rules)), rules.minExamples);
        createFederation(rules, defaultSecurity());
    }

    function test_aShareOfManyExamplesIsALargeWeight() public pure {
        Rules memory rules = defaultRules();
        rules.minExamples = 20_000;
        rules.maxExamples = 1_000_000;
        rules.maxSharePpm = 500_000;
        // Half, beside nine others of at least 20,000.
        vm.assertEq(uint256(RulesLib.maxWeight(rules)), 180_000);
        rules.maxExamples = 180_001;
        vm.assertEq(uint256(RulesLib.maxWeight(rules)), 180_000);
        rules.maxExamples = 179_999;
        vm.assertEq(uint256(RulesLib.maxWeight(rules)), 179_999);
    }

    function test_theShareCountsForTheOverflowOfTheAggregate() public {
        Rules memory rules = defaultRules();
        rules.maxExamples = type(uint32).max;
        rules.maxSharePpm = 250_000;
        createFederation(rules, defaultSecurity());
        rules.maxSharePpm = 1_000_000;
        vm.expectRevert(
            abi.encodeWithSelector(
                RulesLib.AggregateCouldOverflow.selector, MEMBERS, uint256(type(uint32).max)
            )
        );
        createFederation(rules, defaultSecurity());
    }

    /// @dev Whatever clients claim, in a round that counts no weight exceeds its share of the total.
    function testFuzz_noWeightExceedsItsShare(
        uint256 share,
        uint256 quorum,
        uint32 least,
        uint32[16] memory claims
    ) public {
        Rules memory rules = defaultRules();
        rules.minClients = uint32(bound(quorum, 2, MEMBERS));
        rules.minExamples = uint32(bound(least, 1, 1000));
        rules.maxExamples = uint32(bound(uint256(least) * 31, rules.minExamples, 100_000));
        rules.maxSharePpm = uint32(bound(share, (1_000_000 - 1) / rules.minClients + 1, 1_000_000));
        federation = createFederation(rules, defaultSecurity());

        uint64 roundId = openRound();
        Submission[] memory submissions = new Submission[](MEMBERS);
        for (uint256 i = 0; i < MEMBERS; ++i) {
            Update memory update = honestUpdate(roundId, i);
            // Some too few, some many.
            update.examples = claims[i] % 3 == 0 ? claims[i] % (2 * rules.minExamples) : claims[i];
            submissions[i] = signed(i, update);
        }
        submit(roundId, submissions);

        Round memory current = federation.round(roundId);
        if (current.accepted < rules.minClients) return;
        uint256 total = 0;
        for (uint256 i = 0; i < MEMBERS; ++i) {
            uint32 examples = submissions[i].update.examples;
            if (examples < rules.minExamples) continue;
            uint256 weight = RulesLib.weight(examples, RulesLib.maxWeight(rules));
            vm.assertTrue(weight * 1_000_000 <= uint256(rules.maxSharePpm) * current.totalWeight);
            total += weight;
        }
        vm.assertEq(uint256(current.totalWeight), total);
    }

    function test_refusesTooFewLabels() public {
        under(1_000_000, 3, 0, 0);
        uint64 roundId = openRound();
        Update memory update = honestUpdate(roundId, 0);
        update.labels = 2;
        assertRefused(roundId, signed(0, update), Refusal.TooFewLabels);
        update.labels = 3;
        assertAccepted(roundId, signed(0, update));
    }

    function test_refusesWithoutPrivacyOrOverItsBudget() public {
        under(1_000_000, 0, 0, 8_000_000);
        uint64 roundId = openRound();
        Update memory update = honestUpdate(roundId, 0);
        assertRefused(roundId, signed(0, update), Refusal.BudgetSpent);
        update.epsilonMicros = 8_000_001;
        assertRefused(roundId, signed(0, update), Refusal.BudgetSpent);
        update.epsilonMicros = 8_000_000;
        assertAccepted(roundId, signed(0, update));
    }

    function test_withoutABudgetAnyEpsilonCounts() public {
        uint64 roundId = openRound();
        Update memory update = honestUpdate(roundId, 0);
        update.epsilonMicros = type(uint64).max;
        assertAccepted(roundId, signed(0, update));
    }

    function test_membersRestAfterARoundTheyCountedIn() public {
        under(1_000_000, 0, 2, 0);
        uint64 first = playRound(0);
        vm.assertEq(uint256(federation.lastAccepted(members[0])), first);
        for (uint256 i = 0; i < 2; ++i) {
            uint64 roundId = openRound();
            assertRefused(roundId, signed(0, honestUpdate(roundId, 0)), Refusal.TooSoon);
            // Who did not take part need not rest.
            assertAccepted(roundId, signed(12, honestUpdate(roundId, 12)));
            vm.prank(coordinator);
            federation.failRound(roundId);
        }
        uint64 fourth = openRound();
        assertAccepted(fourth, signed(0, honestUpdate(fourth, 0)));
        vm.assertEq(uint256(federation.lastAccepted(members[0])), fourth);
    }

    function test_aFailedRoundAsksForNoRest() public {
        under(1_000_000, 0, 5, 0);
        uint64 roundId = openRound();
        assertAccepted(roundId, signed(0, honestUpdate(roundId, 0)));
        vm.prank(coordinator);
        federation.failRound(roundId);
        roundId = openRound();
        assertAccepted(roundId, signed(0, honestUpdate(roundId, 0)));
    }

    function test_aRefusedUpdateAsksForNoRest() public {
        Rules memory rules = defaultRules();
        rules.restRounds = 1;
        Security memory security = defaultSecurity();
        security.stake = 1 ether;
        federation = createFederation(rules, security);
        uint64 roundId = openRound();
        assertRefused(roundId, signed(0, honestUpdate(roundId, 0)), Refusal.StakeTooLow);
        vm.assertEq(uint256(federation.lastAccepted(members[0])), 0);
    }

    function test_withoutRestNothingIsKept() public {
        playRound(0);
        vm.assertEq(uint256(federation.lastAccepted(members[0])), 0);
    }

    function under(uint32 share, uint32 labels, uint32 rest, uint64 epsilon) private {
        Rules memory rules = defaultRules();
        rules.maxSharePpm = share;
        rules.minLabels = labels;
        rules.restRounds = rest;
        rules.maxEpsilonMicros = epsilon;
        federation = createFederation(rules, defaultSecurity());
    }

    /// @dev A final round with ten members.
    function playRound(uint256 first) private returns (uint64 roundId) {
        roundId = openRound();
        submit(roundId, honestSubmissions(roundId, first, 10));
        conclude(roundId);
        vm.assertTrue(federation.round(roundId).state == RoundState.Final);
    }

    function assertRefused(uint64 roundId, Submission memory submission, Refusal reason) private {
        uint32 before = federation.round(roundId).accepted;
        expectRefusal(submission, reason);
        submitOne(roundId, submission);
        vm.assertEq(uint256(federation.round(roundId).accepted), before);
    }

    function assertAccepted(uint64 roundId, Submission memory submission) private {
        uint32 before = federation.round(roundId).accepted;
        submitOne(roundId, submission);
        vm.assertEq(uint256(federation.round(roundId).accepted), before + 1);
    }

    function expectInvalidShare(uint32 quorum, uint32 share) private {
        Rules memory rules = defaultRules();
        rules.minClients = quorum;
        rules.maxSharePpm = share;
        vm.expectRevert(abi.encodeWithSelector(RulesLib.InvalidRule.selector, "maxSharePpm"));
        createFederation(rules, defaultSecurity());
    }
}
