// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RuleBook} from "../../src/RuleBook.sol";
import {IRuleBook} from "../../src/interfaces/IRuleBook.sol";
import {Rules} from "../../src/libraries/RulesLib.sol";
import {Security} from "../../src/libraries/SecurityLib.sol";
import {FederationFixture} from "../base/FederationFixture.sol";

/// @notice The owner wants other rules in force without members noticing: it announces them, and waits until the notice is
///         forgotten. Or it opens rounds so that the honest coordinator cannot close them.
contract SurpriseWithOldRulesTest is FederationFixture {
    RuleBook private book;

    function setUp() public override {
        super.setUp();
        book = RuleBook(federation.ruleBook());
    }

    function testFuzz_announcedRulesExpire(uint64 later) public {
        announce();
        (, uint64 adoptableAt, uint64 until) = book.announcedRules();
        vm.assertEq(uint256(until), adoptableAt + 14 days);
        vm.assertEq(uint256(book.GRACE_SECONDS()), 14 days);
        uint256 snapshot = vm.snapshotState();
        vm.warp(until);
        book.adoptRules();
        vm.revertToState(snapshot);
        vm.warp(bound(later, uint256(until) + 1, type(uint64).max));
        vm.expectRevert(abi.encodeWithSelector(IRuleBook.AnnouncementExpired.selector, until));
        book.adoptRules();
    }

    /// @dev With a notice of its own, and in force no sooner.
    function test_expiredRulesAreAnnouncedAnew() public {
        announce();
        (,, uint64 until) = book.announcedRules();
        vm.warp(until + 1);
        announce();
        (, uint64 adoptableAt,) = book.announcedRules();
        vm.assertEq(uint256(adoptableAt), block.timestamp + 1 days);
        vm.expectRevert(abi.encodeWithSelector(IRuleBook.NoticeNotOver.selector, adoptableAt));
        book.adoptRules();
        vm.warp(adoptableAt);
        book.adoptRules();
    }

    /// @dev Nor does a round that is kept open carry them over.
    function test_anOpenRoundProlongsNoAnnouncement() public {
        announce();
        (,, uint64 until) = book.announcedRules();
        uint64 roundId = openRound();
        vm.warp(until + 1);
        vm.prank(coordinator);
        federation.failRound(roundId);
        vm.expectRevert(abi.encodeWithSelector(IRuleBook.AnnouncementExpired.selector, until));
        book.adoptRules();
    }

    function test_nothingIsAnnouncedUntilAnytime() public view {
        (, uint64 adoptableAt, uint64 until) = book.announcedRules();
        vm.assertEq(uint256(adoptableAt) + until, 0);
    }

    /// @dev Half of each round is left to roll up and to propose in.
    function testFuzz_aRoundCanBeClosedInMoreThanItsLastSecond(uint64 openSeconds) public {
        Security memory security = defaultSecurity();
        security.openSeconds = uint64(bound(openSeconds, 0, defaultRules().roundSeconds / 2));
        federation = createFederation(defaultRules(), security);
        uint64 roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, 10));
        vm.warp(block.timestamp + security.openSeconds);
        propose(roundId);
        vm.assertTrue(federation.round(roundId).deadline >= block.timestamp + security.openSeconds);
    }

    function announce() private {
        Rules memory next = defaultRules();
        next.minExamples = 21;
        vm.prank(owner);
        book.announceRules(next);
    }
}
