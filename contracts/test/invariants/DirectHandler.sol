// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DirectSubmissions} from "../../src/DirectSubmissions.sol";
import {DirectState} from "../../src/interfaces/IDirectSubmissions.sol";
import {Commitment} from "../../src/libraries/CommitmentTree.sol";
import {SumNode} from "../../src/libraries/MerkleSumTree.sol";
import {RoundState} from "../../src/libraries/RoundLib.sol";
import {Submission, Update} from "../../src/libraries/UpdateTypes.sol";
import {SumTree} from "../base/SumTree.sol";
import {FederationHandler} from "./FederationHandler.sol";

/// @notice A fourth member beside those of `FederationHandler`, whom the coordinator ignores: it submits directly, and
///         posts its vector or does not.
contract DirectHandler is FederationHandler {
    uint256 private constant IGNORED = 3;
    /// Of three chunks.
    uint256 private constant FEE = 3000;

    DirectSubmissions private direct;
    /// What it submitted last, and in which round.
    Submission private waiting;
    uint64 private waitingIn;
    /// Whether its vector was demanded, and neither posted nor given up; and whether it was posted.
    bool private isDemanded;
    bool private isPosted;
    uint256 private knownDirectStake;
    /// Stakes lost although the vector was posted, or without its time having passed.
    uint256 public wrongForfeits;

    function setUp() public override {
        super.setUp();
        direct = DirectSubmissions(federation.directSubmissions());
        vm.deal(members[IGNORED], 1000 ether);
        actors.push(members[IGNORED]);
    }

    function submitDirectly(uint32 examples) external {
        if (_round().state != RoundState.Open || waitingIn == roundId) return;
        if (federation.stakeOf(members[IGNORED]) < STAKE) _stakeIgnored();
        Update memory update = honestUpdate(roundId, IGNORED);
        SumNode memory root = SumTree.rootOf(_tree());
        update.elements = ELEMENTS;
        update.updateRoot = root.hash;
        update.sumSquares = root.sum;
        update.examples = 100 + examples % 1000;
        Submission memory submission = signed(IGNORED, update);
        vm.prank(members[IGNORED]);
        try direct.submit(roundId, submission, "") {
            _closeDemand();
            waiting = submission;
            waitingIn = roundId;
            isPosted = false;
        } catch {}
    }

    function include() external {
        Submission memory submission = waiting;
        vm.prank(coordinator);
        try direct.include(waitingIn, submission) {
            uint32 cap = federation.rules().maxExamples;
            uint32 weight = submission.update.examples < cap ? submission.update.examples : cap;
            commitments.push(
                Commitment(
                    members[IGNORED], weight, submission.update.updateRoot, submission.update.sumSquares
                )
            );
        } catch {}
    }

    function demandPosting() external {
        vm.prank(coordinator);
        try direct.demandPosting{value: FEE}(waitingIn, members[IGNORED]) {
            isDemanded = true;
        } catch {}
    }

    function postVector(bool isTrue) external {
        bytes memory values;
        for (uint256 i = 0; i < ELEMENTS; ++i) {
            values = abi.encodePacked(values, int32(updates[0][i] + (isTrue ? int256(0) : int256(1))));
        }
        vm.prank(members[IGNORED]);
        vm.fee(block.timestamp % 2);
        try direct.post(waitingIn, members[IGNORED], 0, values) {
            isDemanded = false;
            isPosted = true;
        } catch {}
    }

    function forfeit() external {
        uint64 due = direct.directUpdate(waitingIn, members[IGNORED]).due;
        try direct.forfeit(waitingIn, members[IGNORED]) {
            if (isPosted || block.timestamp <= due) ++wrongForfeits;
            isDemanded = false;
            lost += knownDirectStake;
            burnt += knownDirectStake;
            knownDirectStake = 0;
        } catch {}
    }

    function unstakeIgnored() external {
        vm.prank(members[IGNORED]);
        try federation.unstake() {
            knownDirectStake = 0;
        } catch {}
    }

    function directBalances() external view returns (uint256 held, uint256 explained) {
        held = address(direct).balance;
        explained = isDemanded ? FEE : 0;
        for (uint256 i = 0; i < actors.length; ++i) {
            explained += direct.owed(actors[i]);
        }
    }

    function directStakeIsKnown() external view returns (bool) {
        return federation.stakeOf(members[IGNORED]) == knownDirectStake;
    }

    function takeOutEverything() public override {
        super.takeOutEverything();
        _closeDemand();
        for (uint256 i = 0; i < actors.length; ++i) {
            if (direct.owed(actors[i]) == 0) continue;
            vm.prank(actors[i]);
            direct.withdraw();
        }
    }

    /// @dev Fetches the fee of a demand that nobody answered, once its round is over.
    function _closeDemand() private {
        if (!isDemanded) return;
        uint64 due = direct.directUpdate(waitingIn, members[IGNORED]).due;
        if (block.timestamp <= due) vm.warp(due + 1);
        direct.reclaim(waitingIn, members[IGNORED]);
        isDemanded = false;
    }

    function _stakeIgnored() private {
        vm.prank(members[IGNORED]);
        federation.stake{value: STAKE}();
        knownDirectStake += STAKE;
    }

    function _tree() private view returns (SumNode[][] memory) {
        return SumTree.build(SumTree.contextOf(federation, roundId, members[IGNORED]), updates[0]);
    }
}
