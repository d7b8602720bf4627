// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RoundState} from "../../src/libraries/RoundLib.sol";
import {SealedCoordinators} from "../invariants/SealedCoordinators.sol";

/// @notice Each kind of lie about a sealed round, one after the other, and the same proofs against what is true.
contract SealedLiesTest is SealedCoordinators {
    uint256 private constant ALL = 0xffff;

    function setUp() public override {
        super.setUp();
        vm.prank(owner);
        federation.replaceCoordinator(liar);
        settleEpoch(0);
        openAny();
    }

    function test_liesAboutRecordsFall() public {
        _requireFalls(Lie.RecordWeight, Lie.HiddenRange);
    }

    function test_whatMayNotCountFalls() public {
        _requireFalls(Lie.CountsMaskedLeaf, Lie.CountsUnopened);
    }

    function test_liesAboutGroupsFall() public {
        _requireFalls(Lie.Lane, Lie.NodeWeight);
    }

    function test_liesAboutTheRestFall() public {
        _requireFalls(Lie.NodeSums, Lie.HiddenTop);
    }

    function test_aRoundThatIsNotSealedFalls() public {
        close(0);
        vm.assertTrue(stateProposal() && this.isProved(Lie.NotSealed, 0));
        vm.assertTrue(round_().state == RoundState.Failed);
    }

    /// @dev Nobody absent, and one of each group.
    function test_noProofHoldsAgainstTheTruth() public {
        uint256 start = vm.snapshotState();
        for (uint256 absent = 0; absent < 2; ++absent) {
            this.tellTheTruth(absent == 0 ? ALL : ALL & ~uint256(0x0101));
            for (uint256 k = 1; k <= uint256(Lie.NotSealed); ++k) {
                vm.assertFalse(this.isProved(Lie(k), k));
            }
            vm.warp(round_().until + 1);
            vm.assertTrue(finalizeAny() && falseFinals == 0);
            vm.revertToState(start);
        }
    }

    // Calls of their own, so that each begins with an empty memory.

    function tellTheTruth(uint256 places) external {
        included = places;
        stateClosed();
        counting = 3;
        vm.assertTrue(stateRollup() && stateProposal());
    }

    /// @dev The members of both groups, with the fault that the lie is about.
    function tellALie(Lie kind, uint256 seed) external {
        lieSeed = kind == Lie.CountsUnopened ? 3 : seed;
        if (kind >= Lie.CountsMaskedLeaf && kind <= Lie.CountsSpoilt) {
            faults[HONEST] = Fault(uint256(kind) - uint256(Lie.CountsMaskedLeaf) + 1);
        }
        included = ALL;
        stateClosed();
        lie = kind;
        counting = 3;
        vm.assertTrue(stateRollup() && stateProposal());
    }

    function isProved(Lie kind, uint256 seed) external returns (bool) {
        if (kind != Lie.CountsUnopened) lieSeed = seed;
        (address where, bytes memory call) = proofOf(kind);
        if (call.length == 0) return false;
        commitTo(challenger, call);
        return show(challenger, where, call);
    }

    /// @dev Asks for what is hidden, and waits.
    function outlast() external {
        bytes32 hash = hiddenHash();
        if (lie == Lie.CountsUnopened) {
            hash = keccak256(commitmentTo(lieSeed, lieSeed));
            vm.assertTrue(askSeed(challenger, lieSeed, lieSeed));
        } else {
            ask(challenger, new bytes[](0), hash, 1);
        }
        answerAll();
        vm.warp(disputes.question(roundId, 1, hash, 1).due + 1);
        vm.prank(challenger);
        disputes.rejectUnanswered(roundId, hash, 1);
    }

    /// @dev Each kind from one to another, about a member of the second group or about the first node.
    function _requireFalls(Lie first, Lie last) private {
        uint256 start = vm.snapshotState();
        for (uint256 k = uint256(first); k <= uint256(last); ++k) {
            this.tellALie(Lie(k), 9);
            if (!this.isProved(Lie(k), 9)) this.outlast();
            vm.assertTrue(round_().state != RoundState.Proposed);
            vm.assertEq(federation.lockedBond(), 0);
            vm.revertToState(start);
        }
    }
}
