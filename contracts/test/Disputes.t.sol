// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAggregationCourt, VectorNode, VectorPlace} from "../src/interfaces/IAggregationCourt.sol";
import {CommitmentProof, Fraud, ICourt, UpdateNode} from "../src/interfaces/ICourt.sol";
import {IDisputes} from "../src/interfaces/IDisputes.sol";
import {IFederation} from "../src/interfaces/IFederation.sol";
import {AggregationNode, AggregationStep} from "../src/libraries/AggregationTree.sol";
import {SumNode} from "../src/libraries/MerkleSumTree.sol";
import {Round, RoundState} from "../src/libraries/RoundLib.sol";
import {Chunk, VectorKind} from "../src/libraries/VectorTree.sol";
import {DisputeFixture} from "./base/DisputeFixture.sol";
import {SumTree} from "./base/SumTree.sol";
import {VectorForest} from "./base/VectorForest.sol";

/// @notice Each proof against the lie it is for, and against a proposal without one.
contract DisputesTest is DisputeFixture {
    function test_provesAWrongMean() public {
        Lie memory lie;
        lie.model = -1;
        begin();
        proposeWith(lie);
        rejects(Fraud.WrongMean, wrongMean(1));
    }

    function test_leavesOtherAggregatorsToAudits() public {
        federate(bytes32(bytes2(0x0101)));
        Lie memory lie;
        lie.model = -1;
        lie.nodeSums = 1;
        begin();
        proposeWith(lie);
        bytes memory call = wrongMean(1);
        commitTo(challenger, call);
        vm.assertEq(failureOf(challenger, call), abi.encodeWithSelector(IAggregationCourt.AuditOnly.selector));
        // The sums can be disputed all the same.
        rejects(Fraud.WrongSum, wrongSum(1));
    }

    function test_provesAWrongSum() public {
        Lie memory lie;
        lie.nodeSums = 1;
        begin();
        proposeWith(lie);
        rejects(Fraud.WrongSum, wrongSum(1));
    }

    function test_provesAWrongProduct() public {
        Lie memory lie;
        lie.leafSums[1] = 1;
        begin();
        proposeWith(lie);
        rejects(Fraud.WrongProduct, wrongProduct(1, 1));
    }

    function test_provesAWrongWeight() public {
        Lie memory lie;
        lie.nodeWeight = 1;
        begin();
        proposeWith(lie);
        rejects(Fraud.WrongNode, wrongNode(pairNode(), leaves[0].preimage, leaves[1].preimage));
    }

    function test_provesATopOfAnotherWeight() public {
        Lie memory lie;
        lie.nodeWeight = 1;
        begin();
        proposeWith(lie);
        rejects(Fraud.WrongNode, wrongNode(topNode(), "", ""));
    }

    function test_provesATopOfOtherSums() public {
        begin();
        Lie memory honest;
        buildProposal(honest);
        proposal.aggregateRoot = keccak256("another aggregate");
        makeProposal();
        rejects(Fraud.WrongNode, wrongNode(topNode(), "", ""));
    }

    function test_provesAMissingNode() public {
        Lie memory lie;
        lie.lastIsEmpty = true;
        begin();
        proposeWith(lie);
        rejects(Fraud.WrongNode, wrongNode(singleNode(), "", ""));
    }

    function test_provesAWrongLeaf() public {
        Lie memory lie;
        lie.commitment = keccak256("another update");
        begin();
        proposeWith(lie);
        rejects(Fraud.WrongLeaf, wrongLeaf(1));
    }

    function test_provesAMalformedModel() public {
        begin();
        Lie memory honest;
        buildProposal(honest);
        bytes32[][] memory levels = VectorForest.build(VectorKind.Model, model);
        bytes memory preimage = abi.encodePacked(uint8(4), uint64(ELEMENTS + 1), levels[levels.length - 1][0]);
        proposal.modelRoot = keccak256(preimage);
        makeProposal();
        rejects(Fraud.MalformedVector, malformedRoot(true, preimage));
    }

    function test_provesAMalformedChunk() public {
        begin();
        Lie memory honest;
        buildProposal(honest);
        // Chunk 1 of the model states index 9.
        bytes32[][] memory levels = VectorForest.build(VectorKind.Model, model);
        bytes memory bad = VectorForest.leafOf(VectorKind.Model, model, 1);
        bad[4] = 0x09;
        bytes32 left = keccak256(abi.encodePacked(uint8(3), levels[0][0], keccak256(bad)));
        bytes32 root = keccak256(abi.encodePacked(uint8(3), left, levels[1][1]));
        proposal.modelRoot = keccak256(abi.encodePacked(uint8(4), ELEMENTS, root));
        makeProposal();
        VectorNode memory node = VectorNode(1, bad, 0, new bytes32[](2));
        node.siblings[0] = levels[0][0];
        node.siblings[1] = levels[1][1];
        rejects(Fraud.MalformedVector, malformedVector(true, topNode(), node));
    }

    /// @dev 0 is the hash of nothing: a chunk behind it could be neither opened nor demanded.
    function test_provesAChunkThatNobodyCanShow() public {
        begin();
        Lie memory honest;
        buildProposal(honest);
        bytes32[][] memory levels = VectorForest.build(VectorKind.Model, model);
        bytes32 left = keccak256(abi.encodePacked(uint8(3), levels[0][0], bytes32(0)));
        bytes32 root = keccak256(abi.encodePacked(uint8(3), left, levels[1][1]));
        proposal.modelRoot = keccak256(abi.encodePacked(uint8(4), ELEMENTS, root));
        makeProposal();
        VectorNode memory node = VectorNode(1, "", 0, new bytes32[](2));
        node.siblings[0] = levels[0][0];
        node.siblings[1] = levels[1][1];
        rejects(Fraud.MalformedVector, malformedVector(true, topNode(), node));
    }

    function test_provesSumsThatNobodyCanShow() public {
        begin();
        Lie memory honest;
        buildProposal(honest);
        pair.preimage =
            abi.encodePacked(uint8(9), pair.weight, bytes32(0), hashOf(leaves[0]), hashOf(leaves[1]));
        top.preimage =
            abi.encodePacked(uint8(9), top.weight, proposal.aggregateRoot, hashOf(pair), hashOf(single));
        proposal.aggregationRoot = hashOf(top);
        makeProposal();
        rejects(Fraud.WrongNode, wrongNode(pairNode(), leaves[0].preimage, leaves[1].preimage));
    }

    function test_provesABadUpdate() public {
        signedTooMuch = 5;
        begin();
        Lie memory honest;
        proposeWith(honest);
        SumNode[][] memory levels = treeOf(1);
        bytes memory preimage = abi.encodePacked(
            uint8(1), levels[1][0].hash, levels[1][0].sum, levels[1][1].hash, levels[1][1].sum
        );
        UpdateNode memory node = UpdateNode(0, preimage, 0, commitments[1].sumSquares, new SumNode[](0));
        bytes memory call = badUpdate(1, node);
        commitTo(challenger, call);
        expectRejection(Fraud.BadUpdate, 1);
        vm.expectEmit();
        emit IFederation.RoundFailed(roundId, challenger, uint32(CLIENTS));
        show(call);

        vm.assertTrue(federation.round(roundId).state == RoundState.Failed);
        assertBondIsLost();
        vm.assertEq(federation.stakeOf(members[1]), STAKE);
    }

    /// @dev Beyond the updates nothing stands, neither a leaf nor a node above where one would.
    function test_provesALeafBeyondTheUpdates() public {
        begin();
        Lie memory honest;
        buildProposal(honest);
        AggregationNode memory beyond = AggregationNode(3, leaves[2].preimage, new AggregationStep[](2));
        single = parent(leaves[2], leaves[2], 0, 0);
        top = parent(pair, single, 0, 0);
        proposal.aggregationRoot = hashOf(top);
        makeProposal();
        beyond.path[0] = stepTo(single, hashOf(leaves[2]));
        beyond.path[1] = stepTo(top, hashOf(pair));
        rejects(Fraud.WrongNode, wrongNode(beyond, "", ""));
    }

    function test_findsNoFraudInAnHonestProposal() public {
        begin();
        Lie memory honest;
        proposeWith(honest);
        for (uint32 index = 0; index < 3; ++index) {
            expectNoFraud(wrongMean(index));
            expectNoFraud(wrongSum(index));
            expectNoFraud(wrongSumOfSingle(index));
            for (uint32 client = 0; client < CLIENTS; ++client) {
                expectNoFraud(wrongProduct(client, index));
            }
        }
        for (uint32 client = 0; client < CLIENTS; ++client) {
            expectNoFraud(wrongLeaf(client));
            expectNoFraud(wrongNode(leafNode(client), "", ""));
        }
        expectNoFraud(wrongNode(pairNode(), leaves[0].preimage, leaves[1].preimage));
        expectNoFraud(wrongNode(singleNode(), leaves[2].preimage, ""));
        expectNoFraud(wrongNode(topNode(), pair.preimage, single.preimage));
        AggregationNode memory empty = AggregationNode(3, "", new AggregationStep[](2));
        empty.path[0] = stepTo(single, hashOf(leaves[2]));
        empty.path[1] = stepTo(top, hashOf(pair));
        expectNoFraud(wrongNode(empty, "", ""));
        bytes32[][] memory levels = VectorForest.build(VectorKind.Model, model);
        bytes memory root = abi.encodePacked(uint8(4), ELEMENTS, levels[levels.length - 1][0]);
        expectNoFraud(malformedRoot(true, root));
        for (uint32 index = 0; index < 4; ++index) {
            VectorNode memory node = VectorNode(index, "", levels[0][index], new bytes32[](2));
            node.siblings[0] = levels[0][index ^ 1];
            node.siblings[1] = levels[1][(index >> 1) ^ 1];
            expectNoFraud(malformedVector(true, topNode(), node));
            if (index == 3) continue;
            node.preimage = VectorForest.leafOf(VectorKind.Model, model, index);
            expectNoFraud(malformedVector(true, topNode(), node));
        }
        SumNode[][] memory sums = treeOf(0);
        for (uint32 index = 0; index < 4; ++index) {
            UpdateNode memory node =
                UpdateNode(index, "", sums[0][index].hash, sums[0][index].sum, SumTree.path(sums, index));
            expectNoFraud(badUpdate(0, node));
        }
    }

    function test_refusesProofsOfSomethingElse() public {
        begin();
        Lie memory honest;
        proposeWith(honest);
        Chunk memory other = modelChunk(base, 1);
        expectRefused(
            abi.encodeCall(
                disputes.proveWrongMean, (roundId, 1, other, sumsChunk(top, 1), other, bytes32(0))
            ),
            "model"
        );
        expectRefused(
            abi.encodeCall(
                disputes.proveWrongMean,
                (roundId, 1, other, sumsChunk(pair, 1), modelChunk(model, 1), bytes32(0))
            ),
            "aggregate"
        );
        AggregationNode memory node = pairNode();
        node.path[0].weight += 1;
        expectRefused(wrongNode(node, "", ""), "aggregation");
        node = pairNode();
        node.position = 2;
        expectRefused(wrongNode(node, "", ""), "aggregation");
        expectRefused(wrongNode(pairNode(), leaves[1].preimage, leaves[0].preimage), "left child");
        expectRefused(wrongNode(pairNode(), leaves[0].preimage, ""), "right child");
        CommitmentProof memory proof = acceptedProof(1);
        proof.commitment.weight += 1;
        expectRefused(
            abi.encodeCall(disputes.proveWrongLeaf, (roundId, leafNode(1), proof, bytes32(0))), "commitments"
        );
        expectRefused(
            abi.encodeCall(disputes.proveWrongLeaf, (roundId, leafNode(1), acceptedProof(0), bytes32(0))),
            "commitment"
        );
        expectRefused(
            abi.encodeCall(disputes.proveWrongLeaf, (roundId, pairNode(), acceptedProof(0), bytes32(0))),
            "leaf"
        );
    }

    function test_refusesProofsThatWereNotCommittedTo() public {
        begin();
        Lie memory lie;
        lie.model = 1;
        proposeWith(lie);
        bytes memory call = wrongMean(1);
        bytes32 digest = keccak256(abi.encode(challenger, keccak256(call)));
        bytes memory refused = abi.encodeWithSelector(ICourt.NotCommitted.selector, digest);
        vm.assertEq(failureOf(challenger, call), refused);
        vm.prank(challenger);
        disputes.commit(roundId, digest);
        vm.assertEq(failureOf(challenger, call), refused);
        vm.roll(block.number + 1);
        // Whoever copies the proof has not committed to it himself.
        bytes32 copied = keccak256(abi.encode(stranger, keccak256(call)));
        vm.assertEq(failureOf(stranger, call), abi.encodeWithSelector(ICourt.NotCommitted.selector, copied));
        vm.prank(challenger);
        (bool success,) = address(disputes).call(call);
        vm.assertTrue(success);
    }

    function test_hearsNothingOfRoundsThatAreNotProposed() public {
        begin();
        Lie memory honest;
        proposeWith(honest);
        bytes memory call = wrongMean(0);
        commitTo(challenger, call);
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);
        vm.assertEq(failureOf(challenger, call), abi.encodeWithSelector(ICourt.NotProposed.selector, roundId));
    }

    function expectNoFraud(bytes memory call) private {
        commitTo(challenger, call);
        vm.assertEq(failureOf(challenger, call), abi.encodeWithSelector(ICourt.NoFraud.selector));
    }

    function expectRefused(bytes memory call, string memory what) private {
        commitTo(challenger, call);
        vm.assertEq(failureOf(challenger, call), abi.encodeWithSelector(ICourt.NotPartOf.selector, what));
    }

    function failureOf(address sender, bytes memory call) private returns (bytes memory) {
        vm.prank(sender);
        (bool success, bytes memory result) = address(disputes).call(call);
        vm.assertFalse(success);
        return result;
    }

    /// @dev The proof brings the proposal down, and its bond is lost.
    function rejects(Fraud fraud, bytes memory call) private {
        commitTo(challenger, call);
        expectRejection(fraud, 1);
        show(call);
        assertRejected();
    }

    function expectRejection(Fraud fraud, uint16 attempt) private {
        vm.expectEmit();
        emit ICourt.FraudProved(roundId, challenger, fraud, attempt);
        vm.expectEmit();
        emit IFederation.ProposalRejected(roundId, challenger, attempt);
    }

    function assertRejected() private {
        Round memory current = federation.round(roundId);
        vm.assertTrue(current.state == RoundState.Submitted);
        vm.assertEq(uint256(current.until), block.timestamp + defaultRules().roundSeconds);
        assertBondIsLost();
        vm.assertEq(federation.stakeOf(members[0]), STAKE);
    }

    function assertBondIsLost() private {
        uint16 attempt = federation.round(roundId).attempt;
        vm.assertEq(nobodys(address(0)), attempt * BOND);
        vm.prank(challenger);
        disputes.claimShare(roundId, attempt);
        vm.assertEq(federation.owed(challenger), BOND / 2);
        vm.assertEq(federation.lockedBond(), 0);
        vm.assertEq(federation.owed(coordinator), 0);
    }

    function wrongMean(uint32 index) private view returns (bytes memory) {
        return abi.encodeCall(
            disputes.proveWrongMean,
            (
                roundId,
                index,
                modelChunk(base, index),
                sumsChunk(top, index),
                modelChunk(model, index),
                bytes32("salt")
            )
        );
    }

    function wrongSum(uint32 index) private view returns (bytes memory) {
        return abi.encodeCall(
            disputes.proveWrongSum,
            (
                roundId,
                pairNode(),
                leaves[0].preimage,
                leaves[1].preimage,
                index,
                sumsChunk(pair, index),
                sumsChunk(leaves[0], index),
                sumsChunk(leaves[1], index),
                bytes32("salt")
            )
        );
    }

    function wrongSumOfSingle(uint32 index) private view returns (bytes memory) {
        Chunk memory none;
        return abi.encodeCall(
            disputes.proveWrongSum,
            (
                roundId,
                singleNode(),
                leaves[2].preimage,
                "",
                index,
                sumsChunk(single, index),
                sumsChunk(leaves[2], index),
                none,
                bytes32("salt")
            )
        );
    }

    function wrongProduct(uint32 client, uint32 index) private view returns (bytes memory) {
        SumNode[][] memory levels = treeOf(client);
        return abi.encodeCall(
            disputes.proveWrongProduct,
            (
                roundId,
                leafNode(client),
                commitments[client],
                index,
                SumTree.chunkOf(updates[client], index),
                SumTree.path(levels, index),
                sumsChunk(leaves[client], index),
                bytes32("salt")
            )
        );
    }

    function wrongNode(AggregationNode memory node, bytes memory left, bytes memory right)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeCall(disputes.proveWrongNode, (roundId, node, left, right, bytes32("salt")));
    }

    function wrongLeaf(uint32 index) private view returns (bytes memory) {
        return abi.encodeCall(
            disputes.proveWrongLeaf, (roundId, leafNode(index), acceptedProof(index), bytes32("salt"))
        );
    }

    function malformedRoot(bool isModel, bytes memory preimage) private view returns (bytes memory) {
        return abi.encodeCall(
            disputes.proveMalformedRoot, (roundId, VectorPlace(isModel, topNode()), preimage, bytes32("salt"))
        );
    }

    function malformedVector(bool isModel, AggregationNode memory holder, VectorNode memory node)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeCall(
            disputes.proveMalformedVector, (roundId, VectorPlace(isModel, holder), node, bytes32("salt"))
        );
    }

    function badUpdate(uint32 index, UpdateNode memory node) private view returns (bytes memory) {
        return abi.encodeCall(disputes.proveBadUpdate, (roundId, acceptedProof(index), node, bytes32("salt")));
    }
}
