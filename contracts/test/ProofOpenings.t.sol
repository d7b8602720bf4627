// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {VectorNode, VectorPlace} from "../src/interfaces/IAggregationCourt.sol";
import {CommitmentProof, Fraud, ICourt, UpdateNode} from "../src/interfaces/ICourt.sol";
import {IFederation} from "../src/interfaces/IFederation.sol";
import {AggregationNode, AggregationStep} from "../src/libraries/AggregationTree.sol";
import {Commitment} from "../src/libraries/CommitmentTree.sol";
import {SumNode} from "../src/libraries/MerkleSumTree.sol";
import {Chunk, VectorKind} from "../src/libraries/VectorTree.sol";
import {DisputeFixture} from "./base/DisputeFixture.sol";
import {SumTree} from "./base/SumTree.sol";
import {VectorForest} from "./base/VectorForest.sol";

/// @notice What a proof opens must be part of what was proposed; what is part of it and has no form is a proof.
contract ProofOpeningsTest is DisputeFixture {
    function setUp() public override {
        super.setUp();
        begin();
    }

    function test_aLeafHasNoChildrenToAddUp() public {
        proposeHonestly();
        Chunk memory none;
        expectRefused(
            abi.encodeCall(
                disputes.proveWrongSum,
                (roundId, leafNode(0), "", "", 0, sumsChunk(leaves[0], 0), none, none, bytes32(0))
            ),
            "node"
        );
    }

    function test_aProductIsOfTheUpdateThatStandsThere() public {
        proposeHonestly();
        expectRefused(product(commitments[0], SumTree.chunkOf(updates[1], 1)), "commitment");
        expectRefused(product(commitments[1], SumTree.chunkOf(updates[0], 1)), "update");
    }

    function test_aNodeIsOfItsVector() public {
        proposeHonestly();
        bytes32[][] memory levels = VectorForest.build(VectorKind.Model, model);
        VectorNode memory node = VectorNode(0, "", levels[0][1], new bytes32[](2));
        node.siblings[0] = levels[0][1];
        node.siblings[1] = levels[1][1];
        expectRefused(malformed(true, topNode(), node), "vector");
        node.hash = levels[0][0];
        expectRefused(malformed(false, topNode(), node), "vector");
        AggregationNode memory empty = AggregationNode(3, "", new AggregationStep[](2));
        empty.path[0] = stepTo(single, hashOf(leaves[2]));
        empty.path[1] = stepTo(top, hashOf(pair));
        expectRefused(malformed(false, empty, node), "aggregation");
    }

    function test_aRootIsOfItsVector() public {
        proposeHonestly();
        expectRefused(malformedRoot(true, "another"), "vector");
        expectRefused(malformedRoot(false, "another"), "vector");
        bytes32[][] memory levels = VectorForest.build(VectorKind.Sums, top.sums);
        expectFailure(
            malformedRoot(false, abi.encodePacked(uint8(7), ELEMENTS, levels[2][0])),
            abi.encodeWithSelector(ICourt.NoFraud.selector)
        );
    }

    function test_aBadUpdateIsOneThatWasAccepted() public {
        proposeHonestly();
        SumNode[][] memory levels = treeOf(0);
        UpdateNode memory node =
            UpdateNode(0, "", levels[0][0].hash, levels[0][0].sum, SumTree.path(levels, 0));
        expectRefused(badUpdate(acceptedProof(1), node), "update");
        CommitmentProof memory proof = acceptedProof(0);
        proof.index = uint32(CLIENTS);
        expectRefused(badUpdate(proof, node), "commitments");
    }

    function test_childrenTooShortForTheirPlaceAreNotCompared() public {
        Lie memory honest;
        buildProposal(honest);
        bytes memory short = new bytes(40);
        pair.preimage = inner(pair, keccak256(short), hashOf(leaves[1]));
        proposeUnder(hashOf(pair), hashOf(single));
        expectRefused(wrongNode(pairNode(), short, leaves[1].preimage), "left child");
    }

    function test_rightChildrenTooShortForTheirPlaceAreNotCompared() public {
        Lie memory honest;
        buildProposal(honest);
        bytes memory short = new bytes(40);
        pair.preimage = inner(pair, hashOf(leaves[0]), keccak256(short));
        proposeUnder(hashOf(pair), hashOf(single));
        expectRefused(wrongNode(pairNode(), leaves[0].preimage, short), "right child");
    }

    function test_provesThatANodeIsNone() public {
        Lie memory honest;
        buildProposal(honest);
        pair.preimage = "no node";
        proposeUnder(hashOf(pair), hashOf(single));
        rejects(Fraud.WrongNode, wrongNode(pairNode(), "", ""));
    }

    function test_provesThatALeafIsNone() public {
        Lie memory honest;
        buildProposal(honest);
        // What has the form of a node stands where a leaf must.
        leaves[2].preimage = inner(leaves[2], bytes32(0), bytes32(0));
        single.preimage = inner(single, hashOf(leaves[2]), bytes32(0));
        proposeUnder(hashOf(pair), hashOf(single));
        rejects(Fraud.WrongNode, wrongNode(leafNode(2), "", ""));
    }

    function test_provesANodeOverNothing() public {
        Lie memory honest;
        buildProposal(honest);
        single.preimage = inner(single, bytes32(0), bytes32(0));
        proposeUnder(hashOf(pair), hashOf(single));
        // That node is not compared with its children: the left one is missing, and that is proved.
        expectRefused(wrongNode(singleNode(), "", ""), "left child");
        AggregationNode memory missing = leafNode(2);
        missing.preimage = "";
        rejects(Fraud.WrongNode, wrongNode(missing, "", ""));
    }

    function test_provesMalformedSums() public {
        Lie memory honest;
        buildProposal(honest);
        bytes32[][] memory levels = VectorForest.build(VectorKind.Sums, top.sums);
        bytes memory root = abi.encodePacked(uint8(7), ELEMENTS + 1, levels[2][0]);
        top.preimage = abi.encodePacked(uint8(9), top.weight, keccak256(root), hashOf(pair), hashOf(single));
        proposal.aggregateRoot = keccak256(root);
        proposal.aggregationRoot = hashOf(top);
        makeProposal();
        rejects(Fraud.MalformedVector, malformedRoot(false, root));
    }

    function proposeHonestly() private {
        Lie memory honest;
        proposeWith(honest);
    }

    /// @dev Proposes what was built, with other nodes below the top.
    function proposeUnder(bytes32 left, bytes32 right) private {
        top.preimage = inner(top, left, right);
        proposal.aggregationRoot = hashOf(top);
        makeProposal();
    }

    function inner(Built memory built, bytes32 left, bytes32 right) private pure returns (bytes memory) {
        return abi.encodePacked(
            uint8(9), built.weight, VectorForest.rootOf(VectorKind.Sums, built.sums), left, right
        );
    }

    function rejects(Fraud fraud, bytes memory call) private {
        commitTo(challenger, call);
        vm.expectEmit();
        emit ICourt.FraudProved(roundId, challenger, fraud, 1);
        vm.expectEmit();
        emit IFederation.ProposalRejected(roundId, challenger, 1);
        show(call);
    }

    function expectRefused(bytes memory call, string memory what) private {
        expectFailure(call, abi.encodeWithSelector(ICourt.NotPartOf.selector, what));
    }

    function expectFailure(bytes memory call, bytes memory expected) private {
        commitTo(challenger, call);
        vm.prank(challenger);
        (bool success, bytes memory result) = address(disputes).call(call);
        vm.assertFalse(success);
        vm.assertEq(result, expected);
    }

    function product(Commitment memory commitment, bytes memory values) private view returns (bytes memory) {
        return abi.encodeCall(
            disputes.proveWrongProduct,
            (
                roundId,
                leafNode(1),
                commitment,
                1,
                values,
                SumTree.path(treeOf(1), 1),
                sumsChunk(leaves[1], 1),
                bytes32(0)
            )
        );
    }

    function wrongNode(AggregationNode memory node, bytes memory left, bytes memory right)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeCall(disputes.proveWrongNode, (roundId, node, left, right, bytes32(0)));
    }

    function malformed(bool isModel, AggregationNode memory holder, VectorNode memory node)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeCall(
            disputes.proveMalformedVector, (roundId, VectorPlace(isModel, holder), node, bytes32(0))
        );
    }

    function malformedRoot(bool isModel, bytes memory preimage) private view returns (bytes memory) {
        return abi.encodeCall(
            disputes.proveMalformedRoot, (roundId, VectorPlace(isModel, topNode()), preimage, bytes32(0))
        );
    }

    function badUpdate(CommitmentProof memory proof, UpdateNode memory node)
        private
        view
        returns (bytes memory)
    {
        return abi.encodeCall(disputes.proveBadUpdate, (roundId, proof, node, bytes32(0)));
    }
}
