// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Disputes} from "../../src/Disputes.sol";
import {UpdateNode} from "../../src/interfaces/ICourt.sol";
import {MerkleSumTree, SumNode, UpdatePlace} from "../../src/libraries/MerkleSumTree.sol";
import {RoundState} from "../../src/libraries/RoundLib.sol";
import {Update} from "../../src/libraries/UpdateTypes.sol";
import {RollupFixture} from "../base/RollupFixture.sol";
import {SumTree} from "../base/SumTree.sol";

/// @notice The coordinator wants the stake of a member that signed what it was asked to; an accomplice proves it.
contract TakeAMembersStakeTest is RollupFixture {
    uint64 private constant OTHER_ELEMENTS = 70;
    Disputes private disputes;

    function setUp() public override {
        super.setUp();
        disputes = Disputes(payable(federation.disputes()));
    }

    /// @dev The coordinator names rules of another size; the member's update is well-formed under these. The roll-up says
    ///      that it counts.
    function test_byRulesOfAnotherSize() public {
        begin();
        SumNode[][] memory levels = otherTree(2);
        Update memory update = updateOf(2);
        update.elements = OTHER_ELEMENTS;
        update.rulesHash = keccak256("rules of another size");
        update.updateRoot = SumTree.rootOf(levels).hash;
        update.sumSquares = SumTree.rootOf(levels).sum;
        received[2] = signed(2, update);
        records[2].submission = hashOf(received[2]);
        commitments[1].updateRoot = update.updateRoot;
        commitments[1].sumSquares = update.sumSquares;
        rollUp();
        propose(roundId);
        // In this federation's tree there are two levels; where the other's has its leaves a node must stand.
        UpdateNode memory node = UpdateNode(0, leafOf(2), 0, levels[0][0].sum, SumTree.path(levels, 0));
        prove(node);
    }

    function test_byWhatItSignedBadly() public {
        signedTooMuch = 5;
        begin();
        rollUp();
        propose(roundId);
        prove(tooMuch());
    }

    /// @dev The range names a member that signed nothing of the kind.
    function test_byWhatItNeverSigned() public {
        begin();
        commitments[1].sumSquares += 5;
        rollUp();
        propose(roundId);
        prove(tooMuch());
    }

    /// @dev No stake is touched; who counted the update pays.
    function prove(UpdateNode memory node) private {
        bytes memory call =
            abi.encodeCall(disputes.proveBadUpdate, (roundId, commitmentProof(1), node, bytes32("salt")));
        vm.prank(challenger);
        disputes.commit(roundId, keccak256(abi.encode(challenger, keccak256(call))));
        vm.roll(block.number + 1);
        vm.prank(challenger);
        (bool success,) = address(disputes).call(call);
        vm.assertTrue(success);
        vm.assertTrue(federation.round(roundId).state == RoundState.Failed);
        for (uint256 i = 0; i < CLIENTS; ++i) {
            vm.assertEq(federation.stakeOf(members[i]), STAKE);
            vm.prank(members[i]);
            federation.unstake();
            vm.assertEq(federation.owed(members[i]), STAKE);
        }
        vm.assertEq(federation.owed(coordinator), 0);
        vm.assertEq(nobodys(address(0)), BOND);
    }

    /// @dev A member's update of a model of the other size, as `SumTree` builds it.
    function otherTree(uint256 index) private view returns (SumNode[][] memory) {
        return SumTree.build(otherContext(index), otherValues());
    }

    function otherContext(uint256 index) private view returns (bytes32) {
        return MerkleSumTree.context(
            UpdatePlace(block.chainid, address(federation), roundId, members[index], OTHER_ELEMENTS)
        );
    }

    function otherValues() private pure returns (int256[] memory values) {
        values = new int256[](OTHER_ELEMENTS);
        for (uint256 i = 0; i < OTHER_ELEMENTS; ++i) {
            values[i] = int256(i % 9) - 4;
        }
    }

    function leafOf(uint256 index) private view returns (bytes memory) {
        bytes memory values = SumTree.chunkOf(otherValues(), 0);
        return abi.encodePacked(
            uint8(0),
            otherContext(index),
            uint32(0),
            uint32(values.length / 4),
            MerkleSumTree.sumOfSquares(values),
            values
        );
    }
}
