// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IHearing} from "../../src/interfaces/IHearing.sol";
import {Phases} from "../../src/libraries/Phases.sol";
import {RoundLib, RoundState} from "../../src/libraries/RoundLib.sol";
import {DemandFixture} from "../base/DemandFixture.sol";

/// @notice A griefer, or the coordinator itself, wants a round, its bond and all stakes to hang for as long as possible.
contract FreezeARoundTest is DemandFixture {
    address private griefer = address(0x6F1EF);

    function setUp() public override {
        super.setUp();
        begin();
        Lie memory honest;
        proposeWith(honest);
        learnProposal();
    }

    /// @dev One question after the other, each as late as it can be.
    function test_questionsInARowStretchItNoFurtherThanThePhases() public {
        freezeAs(griefer);
    }

    function test_norDoesTheCoordinatorThatAsksItself() public {
        uint256 before = coordinator.balance;
        freezeAs(coordinator);
        // Half of what it paid itself is burnt.
        vm.assertEq(disputes.owed(coordinator), UNIT);
        vm.assertEq(disputes.burntFees(), UNIT);
        vm.assertEq(coordinator.balance, before);
    }

    /// @dev Many at once stretch it as little as one.
    function testFuzz_nothingStretchesItFurther(uint256 seed) public {
        uint64 end = federation.round(roundId).until;
        uint64 longest = end + 2 * ANSWER * uint64(Phases.count(CLIENTS, ELEMENTS));
        for (uint256 i = 0; i < 40; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            vm.warp(block.timestamp + seed % 100);
            (bytes[] memory path, bytes32 hash) = deepHash((seed >> 8) % 4);
            uint8 levels = uint8((seed >> 16) % 6) + 1;
            uint256 price = disputes.demandPrice(roundId, levels);
            vm.deal(griefer, price);
            vm.prank(griefer);
            try disputes.demand{value: price}(roundId, path, hash, levels) {
                answer(hash, levels);
            } catch {}
            vm.assertTrue(federation.round(roundId).until <= longest);
        }
        vm.warp(longest + 1);
        federation.finalizeRound(roundId);
        vm.assertTrue(federation.round(roundId).state == RoundState.Final);
    }

    function test_afterTheLastPhaseNobodyAsks() public {
        uint256 phases = Phases.count(CLIENTS, ELEMENTS);
        for (uint256 i = 0; i < phases; ++i) {
            (bytes[] memory path, bytes32 hash) = deepHash(i);
            ask(griefer, path, hash, 1);
            // Some more of the same phase.
            (path, hash) = deepHash(3);
            ask(griefer, path, hash, uint8(i) + 2);
            answer(hash, uint8(i) + 2);
            (path, hash) = deepHash(i);
            answer(hash, 1);
            vm.warp(federation.round(roundId).until - 2 * ANSWER + 1);
        }
        uint64 end = federation.round(roundId).until;
        expectTooLate();
        vm.warp(end);
        expectTooLate();
        // The proposal can be made final: a question now would come from nowhere.
        vm.warp(end + 1);
        expectTooLate();
        federation.finalizeRound(roundId);
    }

    function test_afterAnUnquestionedWindowNobodyAsks() public {
        vm.warp(federation.round(roundId).until + 1);
        expectTooLate();
        federation.finalizeRound(roundId);
    }

    function freezeAs(address who) private {
        uint64 end = federation.round(roundId).until;
        uint256 phases = Phases.count(CLIENTS, ELEMENTS);
        vm.assertEq(phases, 2);
        for (uint256 i = 0; i < phases; ++i) {
            vm.warp(federation.round(roundId).until);
            (bytes[] memory path, bytes32 hash) = deepHash(i);
            ask(who, path, hash, 1);
            answer(hash, 1);
        }
        vm.warp(end + 2 * ANSWER * phases);
        expectTooLate();
        vm.expectRevert(abi.encodeWithSelector(RoundLib.TooEarly.selector, end + 2 * ANSWER * uint64(phases)));
        federation.finalizeRound(roundId);
        vm.warp(end + 2 * ANSWER * phases + 1);
        federation.finalizeRound(roundId);
        vm.prank(members[0]);
        federation.unstake();
    }

    function expectTooLate() private {
        vm.deal(griefer, 32 * UNIT);
        vm.expectRevert(abi.encodeWithSelector(IHearing.TooLateToAsk.selector, roundId));
        vm.prank(griefer);
        disputes.demand{value: 32 * UNIT}(roundId, new bytes[](0), proposal.modelRoot, 6);
    }
}
