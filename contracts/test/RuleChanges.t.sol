// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RuleBook} from "../src/RuleBook.sol";
import {FederationParameters, IFederation} from "../src/interfaces/IFederation.sol";
import {IRuleBook} from "../src/interfaces/IRuleBook.sol";
import {RoundState} from "../src/libraries/RoundLib.sol";
import {Refusal, Rules, RulesLib} from "../src/libraries/RulesLib.sol";
import {Security} from "../src/libraries/SecurityLib.sol";
import {Submission, Update} from "../src/libraries/UpdateTypes.sol";
import {FederationFixture} from "./base/FederationFixture.sol";

/// @notice Rules change after a notice, between rounds, and for the rounds to come alone.
contract RuleChangesTest is FederationFixture {
    uint256 private constant NOTICE = 1 days;

    RuleBook private book;

    function setUp() public override {
        super.setUp();
        book = RuleBook(federation.ruleBook());
    }

    function test_announcesWithANotice() public {
        Rules memory next = otherRules();
        vm.expectEmit();
        emit IRuleBook.RulesAnnounced(hashOf(next), next, uint64(block.timestamp + NOTICE));
        announce(next);
        (Rules memory announced, uint64 adoptableAt,) = book.announcedRules();
        vm.assertEq(abi.encode(announced), abi.encode(next));
        vm.assertEq(uint256(adoptableAt), block.timestamp + NOTICE);
        // Nothing changes yet.
        vm.assertEq(abi.encode(federation.rules()), abi.encode(defaultRules()));
        vm.assertEq(federation.rulesHash(), hashOf(defaultRules()));
    }

    /// @dev Lanes are what sealed rounds are proved by; nobody can announce them away.
    function test_sealedRoundsKeepTheRulesThatTheyNeed() public {
        FederationParameters memory parameters = parametersOf(defaultRules(), defaultSecurity());
        address made = factory.createSealed(parameters, defaultSealedRules(), keccak256("sealed"));
        book = RuleBook(IFederation(made).ruleBook());
        announce(defaultRules());
        Rules memory next = defaultRules();
        next.maxSumSquares = uint128(1) << 62;
        vm.expectRevert(abi.encodeWithSelector(RulesLib.InvalidRule.selector, "maxSumSquares"));
        announce(next);
    }

    function test_anyoneAdoptsAfterTheNotice() public {
        Rules memory next = otherRules();
        announce(next);
        (, uint64 adoptableAt,) = book.announcedRules();
        vm.warp(adoptableAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IRuleBook.NoticeNotOver.selector, adoptableAt));
        book.adoptRules();
        vm.warp(adoptableAt);
        vm.expectEmit();
        emit IFederation.RulesAdopted(hashOf(next), next);
        vm.prank(stranger);
        book.adoptRules();

        vm.assertEq(abi.encode(federation.rules()), abi.encode(next));
        vm.assertEq(federation.rulesHash(), hashOf(next));
        (, adoptableAt,) = book.announcedRules();
        vm.assertEq(uint256(adoptableAt), 0);
        vm.expectRevert(abi.encodeWithSelector(IRuleBook.NothingAnnounced.selector));
        book.adoptRules();
    }

    function test_aRoundEndsUnderTheRulesItWasOpenedWith() public {
        Rules memory next = otherRules();
        announce(next);
        vm.warp(block.timestamp + NOTICE);
        uint64 roundId = openRound();
        expectStillOpen(roundId);
        submit(roundId, honestSubmissions(roundId, 0, 10));
        expectStillOpen(roundId);
        propose(roundId);
        expectStillOpen(roundId);
        vm.prank(federation.disputes());
        federation.rejectProposal(roundId, stranger, false);
        expectStillOpen(roundId);
        conclude(roundId);
        vm.assertTrue(federation.round(roundId).state == RoundState.Final);
        book.adoptRules();
        vm.assertEq(book.roundRulesHash(roundId), hashOf(defaultRules()));

        uint64 second = openRound();
        vm.assertEq(book.roundRulesHash(second), hashOf(next));
        vm.assertEq(book.roundRulesHash(roundId), hashOf(defaultRules()));
        // The fewer examples now suffice, and who signed the former rules is refused.
        Update memory update = honestUpdate(second, 0);
        update.examples = 5;
        submitOne(second, signed(0, update));
        vm.assertEq(uint256(federation.round(second).accepted), 1);
        update = honestUpdate(second, 1);
        update.rulesHash = hashOf(defaultRules());
        Submission memory former = signed(1, update);
        expectRefusal(former, Refusal.WrongRules);
        submitOne(second, former);
    }

    function test_remembersTheRulesOfEveryRound() public {
        bytes32[4] memory hashes;
        hashes[0] = hashOf(defaultRules());
        Rules memory next = otherRules();
        for (uint64 i = 1; i <= 3; ++i) {
            failedRound();
            // The second change comes twice between two rounds: the first of it was never a round's.
            for (uint256 change = 0; change < (i == 2 ? 2 : 1); ++change) {
                next.minExamples += 1;
                announce(next);
                vm.warp(block.timestamp + NOTICE);
                book.adoptRules();
            }
            hashes[i] = hashOf(next);
        }
        failedRound();
        for (uint64 i = 0; i <= 3; ++i) {
            vm.assertEq(book.roundRulesHash(i + 1), hashes[i]);
        }
    }

    function test_knowsTheRulesOfOpenedRoundsAlone() public {
        uint64 roundId = openRound();
        vm.assertEq(book.roundRulesHash(roundId), federation.rulesHash());
        vm.expectRevert(abi.encodeWithSelector(IRuleBook.UnknownRound.selector, roundId + 1));
        book.roundRulesHash(roundId + 1);
        vm.expectRevert(abi.encodeWithSelector(IRuleBook.UnknownRound.selector, 0));
        book.roundRulesHash(0);
    }

    function test_aNewAnnouncementTakesThePlaceOfTheLast() public {
        announce(otherRules());
        vm.warp(block.timestamp + NOTICE);
        Rules memory next = otherRules();
        next.minExamples = 7;
        announce(next);
        (, uint64 adoptableAt,) = book.announcedRules();
        vm.expectRevert(abi.encodeWithSelector(IRuleBook.NoticeNotOver.selector, adoptableAt));
        book.adoptRules();
        vm.warp(adoptableAt);
        book.adoptRules();
        vm.assertEq(federation.rulesHash(), hashOf(next));
    }

    function test_theOwnerTakesAnAnnouncementBack() public {
        Rules memory next = otherRules();
        announce(next);
        vm.expectRevert(abi.encodeWithSelector(IRuleBook.NotOwner.selector, stranger));
        vm.prank(stranger);
        book.cancelRules();
        vm.expectEmit();
        emit IRuleBook.RulesCancelled(hashOf(next));
        vm.prank(owner);
        book.cancelRules();
        (Rules memory announced, uint64 adoptableAt,) = book.announcedRules();
        vm.assertEq(uint256(adoptableAt), 0);
        Rules memory none;
        vm.assertEq(abi.encode(announced), abi.encode(none));
        vm.warp(block.timestamp + NOTICE);
        vm.expectRevert(abi.encodeWithSelector(IRuleBook.NothingAnnounced.selector));
        book.adoptRules();
        vm.expectRevert(abi.encodeWithSelector(IRuleBook.NothingAnnounced.selector));
        vm.prank(owner);
        book.cancelRules();
    }

    function test_onlyTheOwnerAnnounces() public {
        vm.expectRevert(abi.encodeWithSelector(IRuleBook.NotOwner.selector, coordinator));
        vm.prank(coordinator);
        book.announceRules(otherRules());
    }

    function test_refusesRulesThatNoFederationCouldHave() public {
        Rules memory next = otherRules();
        next.elements += 1;
        expectUnannounceable(next, abi.encodeWithSelector(IRuleBook.RuleFixed.selector, "elements"));
        next = otherRules();
        next.fractionBits += 1;
        expectUnannounceable(next, abi.encodeWithSelector(IRuleBook.RuleFixed.selector, "fractionBits"));
        next = otherRules();
        next.maxSharePpm = 0;
        expectUnannounceable(next, abi.encodeWithSelector(RulesLib.InvalidRule.selector, "maxSharePpm"));
        next = otherRules();
        next.minClients = uint32(MEMBERS + 1);
        expectUnannounceable(
            next, abi.encodeWithSelector(RulesLib.QuorumUnreachable.selector, MEMBERS, MEMBERS + 1)
        );
        next = otherRules();
        next.maxSharePpm = 1_000_000;
        next.maxExamples = uint32((uint256(1) << 32) / MEMBERS);
        expectUnannounceable(
            next, abi.encodeWithSelector(RulesLib.AggregateCouldOverflow.selector, MEMBERS, next.maxExamples)
        );
    }

    function test_refusesRoundsTooShortToSubmitIn() public {
        Security memory security = defaultSecurity();
        security.openSeconds = 600;
        federation = createFederation(defaultRules(), security);
        book = RuleBook(federation.ruleBook());
        Rules memory next = otherRules();
        next.roundSeconds = 1199;
        expectUnannounceable(next, abi.encodeWithSelector(RulesLib.InvalidRule.selector, "roundSeconds"));
        next.roundSeconds = 1200;
        vm.prank(owner);
        book.announceRules(next);
    }

    function test_refusesRulesThatMembersMadeImpossibleMeanwhile() public {
        Rules memory next = otherRules();
        next.maxSharePpm = 1_000_000;
        next.maxExamples = uint32((uint256(1) << 32) / MEMBERS) - 1;
        announce(next);
        address[] memory newcomers = new address[](1);
        newcomers[0] = stranger;
        vm.prank(owner);
        federation.addMembers(newcomers);
        vm.warp(block.timestamp + NOTICE);
        vm.expectRevert(
            abi.encodeWithSelector(RulesLib.AggregateCouldOverflow.selector, MEMBERS + 1, next.maxExamples)
        );
        book.adoptRules();
        vm.prank(owner);
        federation.removeMember(stranger);
        book.adoptRules();
        vm.assertEq(federation.rulesHash(), hashOf(next));
    }

    function test_onlyItsRuleBookChangesAFederation() public {
        vm.expectRevert(abi.encodeWithSelector(IFederation.NotSidecar.selector, owner));
        vm.prank(owner);
        federation.setRules(otherRules());
    }

    function test_belongsToItsFederation() public view {
        vm.assertEq(address(book.federation()), address(federation));
    }

    /// @dev A member that does not agree has its stake back before the rules change.
    function test_membersLeaveWithTheirStakeWithinTheNotice() public {
        vm.deal(members[0], 1 ether);
        vm.prank(members[0]);
        federation.stake{value: 1 ether}();
        announce(otherRules());
        vm.prank(members[0]);
        federation.quit();
        vm.prank(members[0]);
        federation.unstake();
        vm.prank(members[0]);
        federation.withdraw();
        vm.assertEq(members[0].balance, 1 ether);
    }

    /// @dev Else members could hold the owner to the rules by leaving.
    function test_tooFewMembersDoNotKeepRulesFromBeingAdopted() public {
        Rules memory next = otherRules();
        next.minClients = uint32(MEMBERS);
        announce(next);
        vm.prank(members[0]);
        federation.quit();
        vm.warp(block.timestamp + NOTICE);
        book.adoptRules();
        vm.assertEq(federation.rulesHash(), hashOf(next));
    }

    function test_whereAnyoneJoinsTheQuorumMayBeOutOfReach() public {
        FederationParameters memory parameters = parametersOf(defaultRules(), defaultSecurity());
        parameters.openMembership = true;
        parameters.security.stake = 1;
        parameters.members = new address[](0);
        federation = createFederation(parameters);
        book = RuleBook(federation.ruleBook());
        announce(otherRules());
        vm.warp(block.timestamp + NOTICE);
        book.adoptRules();
        vm.assertEq(federation.rulesHash(), hashOf(otherRules()));
    }

    function otherRules() private pure returns (Rules memory next) {
        next = defaultRules();
        next.minClients = 3;
        next.minExamples = 5;
        next.maxSharePpm = 500_000;
    }

    function hashOf(Rules memory value) private pure returns (bytes32) {
        return keccak256(abi.encode(value));
    }

    function announce(Rules memory next) private {
        vm.prank(owner);
        book.announceRules(next);
    }

    function failedRound() private {
        uint64 roundId = openRound();
        vm.prank(coordinator);
        federation.failRound(roundId);
    }

    function expectStillOpen(uint64 roundId) private {
        vm.expectRevert(abi.encodeWithSelector(IFederation.RoundStillOpen.selector, roundId));
        book.adoptRules();
    }

    function expectUnannounceable(Rules memory next, bytes memory failure) private {
        vm.expectRevert(failure);
        announce(next);
    }
}
