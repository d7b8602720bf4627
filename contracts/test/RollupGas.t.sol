// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Disputes} from "../src/Disputes.sol";
import {Rollups} from "../src/Rollups.sol";
import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {AggregationNode, AggregationStep} from "../src/libraries/AggregationTree.sol";
import {Commitment} from "../src/libraries/CommitmentTree.sol";
import {SumNode} from "../src/libraries/MerkleSumTree.sol";
import {Rollup} from "../src/libraries/RollupLib.sol";
import {Proposal, RoundState} from "../src/libraries/RoundLib.sol";
import {VectorKind} from "../src/libraries/VectorTree.sol";
import {CommitmentLeaf} from "./base/CommitmentLeaf.sol";
import {FederationFixture} from "./base/FederationFixture.sol";
import {SumTree} from "./base/SumTree.sol";
import {VectorForest} from "./base/VectorForest.sol";

/// @notice Gas of a round that is rolled up, and of a dispute in one of a million updates; see `GasTest`.
contract RollupGasTest is FederationFixture {
    /// @dev As many updates as one likes: the peaks of a thousand are six.
    function test_rollup() public {
        vm.prank(coordinator);
        federation.deposit{value: BOND}();
        runRollup(false);
        runRollup(true);
    }

    /// @dev The deepest proof there is: a wrong product among 2^20 updates. Such a round can be stated without there
    ///      being one, and only one path of its trees is opened.
    function test_disputeOfAMillion() public {
        uint64 roundId = openRound();
        Rollup memory rollup = rollupOf(1 << 20);
        Rollups rollups = Rollups(federation.rollups());
        vm.prank(coordinator);
        rollups.submit{value: BOND}(roundId, rollup);
        uint64 elements = defaultRules().elements;
        int256[] memory update = new int256[](elements);
        for (uint256 i = 0; i < elements; i += 7) {
            update[i] = int256(i % 1001) - 500;
        }
        SumNode[][] memory tree = SumTree.build(SumTree.contextOf(federation, roundId, members[3]), update);
        Commitment memory commitment =
            Commitment(members[3], 281, SumTree.rootOf(tree).hash, SumTree.rootOf(tree).sum);
        bytes memory leafPreimage;
        bytes memory call;
        {
            int256[] memory sums = new int256[](elements);
            for (uint256 i = 0; i < elements; ++i) {
                sums[i] = 281 * update[i];
            }
            sums[61_700] += 1;
            bytes32 root = VectorForest.rootOf(VectorKind.Sums, sums);
            leafPreimage = abi.encodePacked(uint8(8), uint64(281), root, CommitmentLeaf.hashOf(commitment));
            AggregationNode memory leaf = pathOfAMillion(leafPreimage);
            Proposal memory proposal = defaultProposal();
            proposal.aggregationRoot = topOf(leaf);
            vm.prank(coordinator);
            federation.propose(roundId, proposal);
            uint32 chunk = 964; // element 61,700
            call = abi.encodeCall(
                IDisputes.proveWrongProduct,
                (
                    roundId,
                    leaf,
                    commitment,
                    chunk,
                    SumTree.chunkOf(update, chunk),
                    SumTree.path(tree, chunk),
                    VectorForest.open(VectorKind.Sums, sums, chunk),
                    bytes32("salt")
                )
            );
        }
        Disputes disputes = Disputes(payable(federation.disputes()));
        vm.prank(stranger);
        disputes.commit(roundId, keccak256(abi.encode(stranger, keccak256(call))));
        vm.roll(block.number + 1);
        vm.prank(stranger);
        (bool success,) = address(disputes).call(call);
        vm.snapshotGasLastCall("Disputes", "proveWrongProduct, 2^20 clients");
        vm.assertTrue(success);
        vm.assertTrue(federation.round(roundId).state == RoundState.Submitted);
    }

    function runRollup(bool record) private {
        uint64 roundId = openRound();
        Rollup memory rollup = rollupOf(1000);
        Rollups rollups = Rollups(federation.rollups());
        vm.prank(coordinator);
        rollups.submit(roundId, rollup);
        if (record) vm.snapshotGasLastCall("Rollups", "submit, 1000 updates");
        propose(roundId, 0);
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);
    }

    function rollupOf(uint32 count) private returns (Rollup memory rollup) {
        rollup.recordsRoot = keccak256(abi.encode("records", block.timestamp));
        rollup.records = rollup.accepted = count;
        rollup.totalWeight = uint64(count) * 281;
        rollup.judgedAt = uint64(block.timestamp);
        uint256 peaks = 0;
        for (uint256 level = 0; level < 32; ++level) {
            peaks += (count >> level) & 1;
        }
        rollup.peaks = new bytes32[](peaks);
        for (uint256 i = 0; i < peaks; ++i) {
            rollup.peaks[i] = keccak256(abi.encode("peak", i, block.timestamp));
        }
        rollup.cid = cidOf("roll-up");
        vm.roll(block.number + 1);
        rollup.anchorNumber = uint64(block.number - 1);
        rollup.anchorHash = blockhash(block.number - 1);
    }

    /// @dev Leaf number 0b1010… of 2^20, with all other nodes made up.
    function pathOfAMillion(bytes memory leaf) private pure returns (AggregationNode memory node) {
        node = AggregationNode(0xaaaaa, leaf, new AggregationStep[](20));
        for (uint256 i = 0; i < 20; ++i) {
            node.path[i] = AggregationStep(
                keccak256(abi.encode("sibling", i)), uint64(281 << (i + 1)), keccak256(abi.encode("sums", i))
            );
        }
    }

    function topOf(AggregationNode memory node) private pure returns (bytes32 top) {
        top = keccak256(node.preimage);
        for (uint256 i = 0; i < node.path.length; ++i) {
            AggregationStep memory step = node.path[i];
            (bytes32 left, bytes32 right) =
                (node.position >> i) & 1 == 0 ? (top, step.sibling) : (step.sibling, top);
            top = keccak256(abi.encodePacked(uint8(9), step.weight, step.sums, left, right));
        }
    }
}
