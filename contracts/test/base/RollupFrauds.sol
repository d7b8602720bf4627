// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Fraud, ICourt} from "../../src/interfaces/ICourt.sol";
import {IFederation} from "../../src/interfaces/IFederation.sol";
import {IHearing} from "../../src/interfaces/IHearing.sol";
import {RollupNode} from "../../src/interfaces/IRollups.sol";
import {Commitment} from "../../src/libraries/CommitmentTree.sol";
import {RoundState} from "../../src/libraries/RoundLib.sol";
import {Update} from "../../src/libraries/UpdateTypes.sol";
import {CommitmentLeaf} from "./CommitmentLeaf.sol";
import {HashTree} from "./HashTree.sol";
import {RollupFixture} from "./RollupFixture.sol";

/// @notice Proofs against a roll-up, and the lies that they are against.
abstract contract RollupFrauds is RollupFixture {
    function expectNoFraud(bytes memory call) internal {
        vm.assertEq(failureOf(call), abi.encodeWithSelector(ICourt.NoFraud.selector));
    }

    function expectRefused(bytes memory call, string memory what) internal {
        vm.assertEq(failureOf(call), abi.encodeWithSelector(ICourt.NotPartOf.selector, what));
    }

    /// @dev The proof fails the round, and the bond of its proposal is lost.
    function rejects(Fraud fraud, bytes memory call) internal {
        if (federation.round(roundId).state == RoundState.Open) propose(roundId);
        commitTo(challenger, call);
        vm.expectEmit();
        emit ICourt.FraudProved(roundId, challenger, fraud, 1);
        vm.expectEmit();
        emit IFederation.ProposalRejected(roundId, challenger, 1);
        show(call);
        vm.assertTrue(federation.round(roundId).state == RoundState.Failed);
        IHearing hearing = IHearing(federation.disputes());
        vm.prank(challenger);
        hearing.claimShare(roundId, 1);
        vm.assertEq(federation.owed(challenger), BOND / 2);
        vm.assertEq(nobodys(address(0)), BOND - BOND / 2);
        vm.assertEq(federation.lockedBond(), 0);
        vm.assertEq(federation.stakeOf(members[0]), STAKE);
        vm.assertEq(uint256(openRound()), uint256(roundId) + 1);
    }

    /// @dev Update number 1 counts, with all that follows from it.
    function insertCommitment() internal {
        for (uint256 i = 1; i < CLIENTS; ++i) {
            records[i].accepted += 1;
            records[i].total += 1;
        }
        Update memory update = received[1].update;
        commitments.push(commitments[2]);
        commitments[2] = commitments[1];
        commitments[1] = Commitment(members[1], 1, update.updateRoot, update.sumSquares);
    }

    /// @dev Another update was received of a member that counts, as its last one.
    function replace(uint256 index, Update memory update) internal {
        received[index] = signed(index, update);
        records[index].submission = hashOf(received[index]);
        commitments[2] = Commitment(members[index], 400, update.updateRoot, update.sumSquares);
    }

    function wrongRecord(uint32 index) internal view returns (bytes memory) {
        return abi.encodeCall(
            court.proveWrongRecord, (roundId, recordProof(index), received[index], bytes32("salt"))
        );
    }

    function malformedSubmission(uint32 index, bytes memory preimage) internal view returns (bytes memory) {
        return abi.encodeCall(
            court.proveMalformedSubmission, (roundId, recordProof(index), preimage, bytes32("salt"))
        );
    }

    function wrongSequence(uint32 index) internal view returns (bytes memory) {
        return abi.encodeCall(
            court.proveWrongSequence,
            (roundId, index == 0 ? noRecord() : recordProof(index - 1), recordProof(index), bytes32("salt"))
        );
    }

    function wrongCommitment(uint32 index, uint32 place) internal view returns (bytes memory) {
        return abi.encodeCall(
            court.proveWrongCommitment,
            (
                roundId,
                recordProof(index),
                received[index],
                CommitmentLeaf.hashOf(commitments[place]),
                rangePath(place),
                bytes32("salt")
            )
        );
    }

    function malformed(RollupNode memory node) internal view returns (bytes memory) {
        return abi.encodeCall(court.proveMalformedRollup, (roundId, node, bytes32("salt")));
    }

    function recordNode(uint32 index, bytes memory preimage, bytes32 hash)
        internal
        view
        returns (RollupNode memory)
    {
        return RollupNode(false, 0, index, preimage, hash, HashTree.path(recordLevels(), index % 8));
    }

    /// @dev The top of a peak.
    function rangeNode(uint8 peak, bytes memory preimage) internal pure returns (RollupNode memory) {
        return RollupNode(true, peak, 0, preimage, 0, new bytes32[](0));
    }
}
