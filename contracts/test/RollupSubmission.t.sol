// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Disputes} from "../src/Disputes.sol";
import {Rollups} from "../src/Rollups.sol";
import {ICourt} from "../src/interfaces/ICourt.sol";
import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {IFederation} from "../src/interfaces/IFederation.sol";
import {IRollups} from "../src/interfaces/IRollups.sol";
import {Commitment} from "../src/libraries/CommitmentTree.sol";
import {Rollup, RollupLib, RollupSummary} from "../src/libraries/RollupLib.sol";
import {Round, RoundLib, RoundState} from "../src/libraries/RoundLib.sol";
import {Rules} from "../src/libraries/RulesLib.sol";
import {Security} from "../src/libraries/SecurityLib.sol";
import {Submission} from "../src/libraries/UpdateTypes.sol";
import {RollupFixture} from "./base/RollupFixture.sol";

/// @notice What a roll-up does to its round, to stakes, and to demands for data.
contract RollupSubmissionTest is RollupFixture {
    function test_statesARoundAtOnce() public {
        begin();
        build();
        Rollup memory rollup = stated;
        vm.expectEmit();
        emit IRollups.RollupSubmitted(
            roundId,
            rollup.recordsRoot,
            rollup.records,
            rollup.accepted,
            rollup.totalWeight,
            rollup.judgedAt,
            rollup.peaks,
            rollup.cid
        );
        submitStated();
        Round memory current = federation.round(roundId);
        vm.assertTrue(current.rolledUp && current.state == RoundState.Open);
        vm.assertEq(uint256(current.accepted), 3);
        vm.assertEq(uint256(current.totalWeight), 602);
        vm.assertEq(federation.commitmentPeak(1), rollup.peaks[0]);
        vm.assertEq(federation.commitmentPeak(0), rollup.peaks[1]);
        RollupSummary memory kept = court.latest();
        vm.assertEq(kept.recordsRoot, rollup.recordsRoot);
        vm.assertEq(uint256(kept.round), uint256(roundId));
        vm.assertEq(uint256(kept.records), CLIENTS);
        vm.assertEq(uint256(kept.judgedAt), block.timestamp);
    }

    function test_isForTheCoordinator() public {
        begin();
        build();
        Rollup memory rollup = stated;
        vm.expectRevert(abi.encodeWithSelector(IFederation.NotCoordinator.selector, stranger));
        vm.prank(stranger);
        court.submit(roundId, rollup);
        vm.expectRevert(abi.encodeWithSelector(IFederation.NotSidecar.selector, coordinator));
        vm.prank(coordinator);
        federation.rollUp(roundId, 3, 602, rollup.peaks);
    }

    function test_isTheOnlyOneOfItsRound() public {
        begin();
        rollUp();
        expectRefusal(abi.encodeWithSelector(RoundLib.RolledUp.selector, roundId));
        Submission[] memory more = honestSubmissions(roundId, 5, 1);
        vm.expectRevert(abi.encodeWithSelector(RoundLib.RolledUp.selector, roundId));
        submit(roundId, more);
        propose(roundId);
        expectRefusal(abi.encodeWithSelector(RoundLib.WrongState.selector, roundId, RoundState.Proposed));
    }

    function test_needsARoundWithoutUpdates() public {
        begin();
        submitOne(roundId, received[0]);
        build();
        expectRefusal(abi.encodeWithSelector(RoundLib.NotEmpty.selector, roundId));
    }

    function test_needsARoundThatIsOpen() public {
        begin();
        build();
        roundId += 1;
        expectRefusal(abi.encodeWithSelector(RoundLib.WrongState.selector, roundId, RoundState.None));
    }

    function test_waitsForMembersToSubmitThemselves() public {
        Security memory security = defaultSecurity();
        security.stake = STAKE;
        security.openSeconds = 60;
        federation = createFederation(federation.rules(), security);
        court = Rollups(federation.rollups());
        for (uint256 i = 0; i < CLIENTS; ++i) {
            vm.deal(members[i], STAKE);
            vm.prank(members[i]);
            federation.stake{value: STAKE}();
        }
        begin();
        build();
        uint64 last = federation.round(roundId).openedAt + 59;
        vm.warp(last);
        expectRefusal(abi.encodeWithSelector(RoundLib.TooEarly.selector, last));
        vm.warp(last + 1);
        rollUp();
        vm.assertTrue(federation.round(roundId).rolledUp);
    }

    function test_refusesWhatCannotBe() public {
        begin();
        build();
        uint64 time = uint64(block.timestamp);
        stated.accepted = 6;
        expectInvalid("accepted");
        stated.accepted = 3;
        stated.recordsRoot = 0;
        expectInvalid("recordsRoot");
        stated.recordsRoot = keccak256("records");
        stated.judgedAt = time + 1;
        expectInvalid("judgedAt");
        stated.judgedAt = federation.round(roundId).openedAt - 1;
        expectInvalid("judgedAt");
        stated.judgedAt = time;
        stated.cid = new bytes(65);
        expectInvalid("cid");
        stated.cid = cidOf("roll-up");
        bytes32 last = stated.peaks[1];
        stated.peaks.pop();
        expectInvalid("peaks");
        stated.peaks.push(last);
        stated.peaks.push(last);
        expectInvalid("peaks");
        stated.peaks.pop();
        vm.warp(federation.round(roundId).deadline + 1);
        expectInvalid("judgedAt");
    }

    function test_refusesNoRecords() public {
        begin();
        build();
        stated.records = 0;
        stated.accepted = 0;
        delete stated.peaks;
        expectInvalid("records");
    }

    function test_isNotForRulesThatAskForRest() public {
        Rules memory rules = defaultRules();
        rules.restRounds = 1;
        rules.elements = ELEMENTS;
        federation = createFederation(rules, defaultSecurity());
        court = Rollups(federation.rollups());
        begin();
        build();
        expectInvalid("restRounds");
    }

    function test_needsItsQuorum() public {
        begin();
        records[2].reason = 5;
        records[2].weight = 0;
        for (uint256 i = 2; i < CLIENTS; ++i) {
            records[i].accepted -= 2;
            records[i].total = 0;
        }
        records[3].accepted = records[4].accepted = 1;
        delete commitments;
        commitments.push(Commitment(members[0], 100, keccak256("update"), 1));
        rollUp();
        expectNoProposal(
            roundId, abi.encodeWithSelector(RoundLib.QuorumNotReached.selector, uint32(1), uint32(2))
        );
        vm.prank(coordinator);
        federation.failRound(roundId);
    }

    function test_holdsAllStakesUntilItsRoundIsOver() public {
        begin();
        rollUp();
        vm.expectEmit();
        emit IEscrow.UnstakeAnnounced(members[4], roundId);
        vm.prank(members[4]);
        federation.unstake();
        vm.assertEq(federation.stakeOf(members[4]), 0);
        vm.assertEq(federation.owed(members[4]), 0);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.StakeLocked.selector, roundId));
        vm.prank(members[4]);
        federation.unstake();
        conclude(roundId);

        // Another roll-up does not hold what was announced before it.
        begin();
        rollUp();
        vm.prank(members[4]);
        federation.unstake();
        vm.assertEq(federation.owed(members[4]), STAKE);
    }

    function test_stakingAgainTakesTheAnnouncementBack() public {
        begin();
        rollUp();
        vm.prank(members[4]);
        federation.unstake();
        vm.deal(members[4], 1);
        vm.prank(members[4]);
        federation.stake{value: 1}();
        vm.assertEq(federation.stakeOf(members[4]), STAKE + 1);
        vm.assertEq(uint256(federation.stakeChangedAt(members[4])), block.timestamp);
    }

    function test_itsDataCanBeDemanded() public {
        begin();
        rollUp();
        propose(roundId);
        Disputes disputes = Disputes(payable(federation.disputes()));
        bytes32[][] memory levels = recordLevels();
        bytes[] memory path = new bytes[](0);
        demandAs(disputes, path, levels[3][0]);
        path = down(path, abi.encodePacked(uint8(0x0d), levels[2][0], levels[2][1]));
        demandAs(disputes, path, levels[2][0]);
        path = down(path, abi.encodePacked(uint8(0x0d), levels[1][0], levels[1][1]));
        path = down(path, abi.encodePacked(uint8(0x0d), levels[0][2], levels[0][3]));
        demandAs(disputes, path, levels[0][2]);
        path = down(path, recordBytes(records[2]));
        demandAs(disputes, path, records[2].submission);
        // Whether a refused update has data nobody needs to know.
        path = down(path, bytesOf(received[2]));
        vm.expectRevert(abi.encodeWithSelector(ICourt.NotPartOf.selector, "path"));
        demandAs(disputes, path, received[2].update.updateRoot);

        bytes32[][][] memory trees = rangeTrees();
        bytes memory peak = abi.encodePacked(uint8(0x0b), trees[0][0][0], trees[0][0][1]);
        path = new bytes[](0);
        demandAs(disputes, path, keccak256(peak));
        demandAs(disputes, path, stated.peaks[1]);
        vm.expectRevert(abi.encodeWithSelector(ICourt.NotPartOf.selector, "proposal"));
        demandAs(disputes, path, trees[0][0][1]);
        demandAs(disputes, down(path, peak), trees[0][0][1]);
    }

    function test_peaksOfRelayedUpdatesAreKnown() public {
        roundId = openRound();
        Submission[] memory submissions = new Submission[](2);
        submissions[0] = signed(0, updateOf(0));
        submissions[1] = signed(2, updateOf(2));
        submit(roundId, submissions);
        propose(roundId);
        bytes32 peak = federation.commitmentPeak(1);
        Disputes disputes = Disputes(payable(federation.disputes()));
        vm.expectRevert(abi.encodeWithSelector(ICourt.NotPartOf.selector, "proposal"));
        demandAs(disputes, new bytes[](0), peak);
    }

    function demandAs(Disputes disputes, bytes[] memory path, bytes32 hash) private {
        vm.prank(challenger);
        disputes.demand{value: 1000}(roundId, path, hash, 1);
    }

    function down(bytes[] memory path, bytes memory preimage) private pure returns (bytes[] memory longer) {
        longer = new bytes[](path.length + 1);
        for (uint256 i = 0; i < path.length; ++i) {
            longer[i] = path[i];
        }
        longer[path.length] = preimage;
    }

    function expectInvalid(string memory field) private {
        expectRefusal(abi.encodeWithSelector(RollupLib.InvalidRollup.selector, field));
    }

    function expectRefusal(bytes memory reason) private {
        Rollup memory rollup = stated;
        vm.expectRevert(reason);
        vm.prank(coordinator);
        court.submit{value: BOND}(roundId, rollup);
    }
}
