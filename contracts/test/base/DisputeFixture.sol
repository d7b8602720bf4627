// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Disputes} from "../../src/Disputes.sol";
import {CommitmentProof} from "../../src/interfaces/ICourt.sol";
import {FederationParameters} from "../../src/interfaces/IFederation.sol";
import {AggregationNode, AggregationStep} from "../../src/libraries/AggregationTree.sol";
import {Commitment} from "../../src/libraries/CommitmentTree.sol";
import {SumNode} from "../../src/libraries/MerkleSumTree.sol";
import {Proposal} from "../../src/libraries/RoundLib.sol";
import {Rules} from "../../src/libraries/RulesLib.sol";
import {Security} from "../../src/libraries/SecurityLib.sol";
import {Submission, Update} from "../../src/libraries/UpdateTypes.sol";
import {Chunk, VectorKind} from "../../src/libraries/VectorTree.sol";
import {CommitmentLeaf} from "./CommitmentLeaf.sol";
import {FederationFixture} from "./FederationFixture.sol";
import {SumTree} from "./SumTree.sol";
import {VectorForest} from "./VectorForest.sol";

/// @notice A round of three members with small updates, and its proposals: honest, or with one thing changed.
/// @dev The aggregation tree: leaves 0, 1, 2 and an empty one; nodes 0 + 1 and 2 alone; the top.
abstract contract DisputeFixture is FederationFixture {
    uint64 internal constant ELEMENTS = 150;
    uint256 internal constant CLIENTS = 3;
    uint128 internal constant STAKE = 0.5 ether;

    /// What a proposal is changed in.
    struct Lie {
        /// Added to element 70 of this leaf's sums.
        int256[3] leafSums;
        /// Added to element 70 of the sums of the node above leaves 0 and 1.
        int256 nodeSums;
        /// Added to the weight that node states.
        uint64 nodeWeight;
        /// Replaces the commitment that leaf 1 states.
        bytes32 commitment;
        /// Left out: leaf 2 and the node above it.
        bool lastIsEmpty;
        /// Added to element 70 of the new model.
        int256 model;
    }

    /// A node with everything below it added up.
    struct Built {
        uint64 weight;
        int256[] sums;
        bytes preimage;
    }

    Disputes internal disputes;
    address internal challenger = address(0xCA11);
    uint64 internal roundId;
    int256[] internal base;
    int256[][] internal updates;
    Commitment[] internal commitments;
    Built[3] internal leaves;
    Built internal pair;
    Built internal single;
    Built internal top;
    int256[] internal model;
    Proposal internal proposal;
    /// Added to the sum of squares that member 1 signs.
    uint128 internal signedTooMuch;

    function setUp() public virtual override {
        super.setUp();
        base = vectorOf(5, 11);
        for (uint256 i = 0; i < CLIENTS; ++i) {
            updates.push(vectorOf(7 * i + 3, -20 * int256(i)));
        }
        federate(0);
        vm.deal(challenger, 1 ether);
    }

    /// @dev Creates the federation that disputes are about.
    function federate(bytes32 aggregator) internal {
        Rules memory rules = defaultRules();
        rules.minClients = 2;
        rules.elements = ELEMENTS;
        rules.aggregator = aggregator;
        Security memory security = defaultSecurity();
        security.stake = STAKE;
        federation = createFederation(rules, security);
        disputes = Disputes(payable(federation.disputes()));
        stakeOfFirst(CLIENTS, STAKE);
    }

    function parametersOf(Rules memory rules, Security memory security)
        internal
        view
        override
        returns (FederationParameters memory parameters)
    {
        parameters = super.parametersOf(rules, security);
        if (rules.elements == ELEMENTS) {
            parameters.modelRoot = VectorForest.rootOf(VectorKind.Model, vectorOf(5, 11));
        }
    }

    function vectorOf(uint256 step, int256 shift) internal pure returns (int256[] memory values) {
        values = new int256[](ELEMENTS);
        for (uint256 i = 0; i < ELEMENTS; ++i) {
            values[i] = int256((i * step) % 41) + shift;
        }
    }

    /// @dev Opens a round and submits the three updates.
    function begin() internal {
        roundId = openRound();
        delete commitments;
        Submission[] memory submissions = new Submission[](CLIENTS);
        for (uint256 i = 0; i < CLIENTS; ++i) {
            SumNode[][] memory levels = treeOf(i);
            Update memory update = honestUpdate(roundId, i);
            update.elements = ELEMENTS;
            update.updateRoot = SumTree.rootOf(levels).hash;
            update.sumSquares = SumTree.rootOf(levels).sum + (i == 1 ? signedTooMuch : 0);
            submissions[i] = signed(i, update);
            commitments.push(Commitment(members[i], update.examples, update.updateRoot, update.sumSquares));
        }
        submit(roundId, submissions);
    }

    function treeOf(uint256 index) internal view returns (SumNode[][] memory) {
        return SumTree.build(SumTree.contextOf(federation, roundId, members[index]), updates[index]);
    }

    /// @dev Builds a proposal and makes it.
    function proposeWith(Lie memory lie) internal {
        buildProposal(lie);
        makeProposal();
    }

    function buildProposal(Lie memory lie) internal {
        for (uint256 i = 0; i < CLIENTS; ++i) {
            int256[] memory sums = updates[i];
            for (uint256 j = 0; j < ELEMENTS; ++j) {
                sums[j] *= int256(uint256(commitments[i].weight));
            }
            sums[70] += lie.leafSums[i];
            bytes32 commitment =
                i == 1 && lie.commitment != 0 ? lie.commitment : CommitmentLeaf.hashOf(commitments[i]);
            leaves[i] = node(8, commitments[i].weight, sums, abi.encodePacked(commitment));
        }
        pair = parent(leaves[0], leaves[1], lie.nodeSums, lie.nodeWeight);
        Built memory empty;
        empty.sums = new int256[](ELEMENTS);
        single = lie.lastIsEmpty ? empty : parent(leaves[2], empty, 0, 0);
        top = parent(pair, single, 0, 0);
        model = base;
        uint64 weight = federation.round(roundId).totalWeight;
        for (uint256 j = 0; j < ELEMENTS; ++j) {
            model[j] += floorDivision(top.sums[j], int256(uint256(weight)));
        }
        model[70] += lie.model;
        proposal = proposalOf(
            keccak256(top.preimage),
            VectorForest.rootOf(VectorKind.Sums, top.sums),
            VectorForest.rootOf(VectorKind.Model, model)
        );
    }

    function makeProposal() internal {
        Proposal memory stated = proposal;
        vm.prank(coordinator);
        federation.propose{value: BOND}(roundId, stated);
    }

    function hashOf(Built memory built) internal pure returns (bytes32) {
        return built.preimage.length == 0 ? bytes32(0) : keccak256(built.preimage);
    }

    function parent(Built memory left, Built memory right, int256 sumsLie, uint64 weightLie)
        internal
        pure
        returns (Built memory)
    {
        int256[] memory sums = new int256[](ELEMENTS);
        for (uint256 j = 0; j < ELEMENTS; ++j) {
            sums[j] = left.sums[j] + right.sums[j];
        }
        sums[70] += sumsLie;
        return
            node(
                9, left.weight + right.weight + weightLie, sums, abi.encodePacked(hashOf(left), hashOf(right))
            );
    }

    function node(uint8 kind, uint64 weight, int256[] memory sums, bytes memory rest)
        internal
        pure
        returns (Built memory)
    {
        bytes32 root = VectorForest.rootOf(VectorKind.Sums, sums);
        return Built(weight, sums, abi.encodePacked(kind, weight, root, rest));
    }

    /// @dev The nodes' places.
    function topNode() internal view returns (AggregationNode memory) {
        return AggregationNode(0, top.preimage, new AggregationStep[](0));
    }

    function pairNode() internal view returns (AggregationNode memory found) {
        found = AggregationNode(0, pair.preimage, new AggregationStep[](1));
        found.path[0] = stepTo(top, hashOf(single));
    }

    function singleNode() internal view returns (AggregationNode memory found) {
        found = AggregationNode(1, single.preimage, new AggregationStep[](1));
        found.path[0] = stepTo(top, hashOf(pair));
    }

    function leafNode(uint32 index) internal view returns (AggregationNode memory found) {
        found = AggregationNode(index, leaves[index].preimage, new AggregationStep[](2));
        found.path[0] = index < 2 ? stepTo(pair, hashOf(leaves[1 - index])) : stepTo(single, bytes32(0));
        found.path[1] = stepTo(top, hashOf(index < 2 ? single : pair));
    }

    function stepTo(Built memory above, bytes32 sibling) internal pure returns (AggregationStep memory) {
        return AggregationStep(sibling, above.weight, VectorForest.rootOf(VectorKind.Sums, above.sums));
    }

    function sumsChunk(Built memory built, uint32 index) internal pure returns (Chunk memory) {
        return VectorForest.open(VectorKind.Sums, built.sums, index);
    }

    function modelChunk(int256[] memory values, uint32 index) internal pure returns (Chunk memory) {
        return VectorForest.open(VectorKind.Model, values, index);
    }

    /// @dev Three updates make a peak of two and a peak of one.
    function acceptedProof(uint32 index) internal view returns (CommitmentProof memory proof) {
        proof = CommitmentProof(index, commitments[index], new bytes32[](index < 2 ? 1 : 0));
        if (index < 2) proof.siblings[0] = CommitmentLeaf.hashOf(commitments[1 - index]);
    }

    function floorDivision(int256 value, int256 divisor) internal pure returns (int256 quotient) {
        quotient = value / divisor;
        if (value % divisor < 0) quotient -= 1;
    }

    /// @dev Shows a proof that was committed to.
    function show(bytes memory call) internal {
        vm.prank(challenger);
        (bool success,) = address(disputes).call(call);
        vm.assertTrue(success);
    }

    function commitTo(address sender, bytes memory call) internal {
        vm.prank(sender);
        disputes.commit(roundId, keccak256(abi.encode(sender, keccak256(call))));
        vm.roll(block.number + 1);
    }
}
