// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Disputes} from "../src/Disputes.sol";
import {Rollups} from "../src/Rollups.sol";
import {Answer} from "../src/interfaces/IHearing.sol";
import {Phases} from "../src/libraries/Phases.sol";
import {Rollup} from "../src/libraries/RollupLib.sol";
import {Proposal, RoundState} from "../src/libraries/RoundLib.sol";
import {Rules} from "../src/libraries/RulesLib.sol";
import {Submission, Update} from "../src/libraries/UpdateTypes.sol";
import {VectorKind} from "../src/libraries/VectorTree.sol";
import {FederationFixture} from "./base/FederationFixture.sol";
import {VectorForest} from "./base/VectorForest.sol";

/// @notice How many phases a round has: enough to walk from what is stated to any chunk or record, with one question of
///         each walk in each of them.
/// @dev The trees here have one path each, and nothing beside it: what is walked is as deep as in a round of so many.
contract PhasesTest is FederationFixture {
    uint64 private constant ANSWER = 120;

    /// Preimages from the root down, and how many lie in each tree on the way.
    bytes[] private toSums;
    bytes[] private toUpdate;
    bytes[] private toRecord;
    bytes[] private toCommitment;
    bytes[] private toModel;
    Disputes private disputes;
    uint64 private roundId;

    function test_countsTheLevelsOfTwoTrees() public pure {
        vm.assertEq(Phases.count(1, 1), 2);
        vm.assertEq(Phases.count(16, 61_706), 3);
        vm.assertEq(Phases.count(32, 61_706), 3);
        vm.assertEq(Phases.count(33, 61_706), 4);
        vm.assertEq(Phases.count(1000, 61_706), 4);
        vm.assertEq(Phases.count(1 << 20, 61_706), 6);
        vm.assertEq(Phases.count(16, 64 * 16), 2);
        vm.assertEq(Phases.count(16, 64 * 16 + 1), 3);
        vm.assertEq(Phases.count(16, 11_200_000), 5);
        vm.assertEq(Phases.count(type(uint32).max, 64 << 32), 12);
    }

    function testFuzz_everyWalkEndsWithinThem(uint8 aboveLeaves, uint8 aboveChunks) public {
        walk(aboveLeaves % 23 + 4, aboveChunks % 27);
    }

    function test_theLongestWalksEndWithinThem() public {
        // The weight of a round bounds its updates, and 2^32 chunks are the most of a vector.
        walk(31, 32);
    }

    function test_gasOfQuestionsAndAnswers() public {
        Rules memory rules = defaultRules();
        rules.elements = 2048;
        federation = createFederation(rules, defaultSecurity());
        disputes = Disputes(payable(federation.disputes()));
        int256[] memory sums = new int256[](2048);
        for (uint256 i = 0; i < 2048; ++i) {
            sums[i] = int256(uint256(keccak256(abi.encode(i))) % (1 << 40)) - (1 << 39);
        }
        roundId = openRound();
        submit(roundId, submissionsOf(2048));
        Proposal memory proposal = defaultProposal();
        proposal.aggregateRoot = VectorForest.rootOf(VectorKind.Sums, sums);
        bytes32[][] memory levels = VectorForest.build(VectorKind.Sums, sums);
        bytes[] memory path = new bytes[](1);
        path[0] = abi.encodePacked(uint8(7), uint64(2048), levels[5][0]);
        vm.prank(coordinator);
        federation.propose{value: BOND}(roundId, proposal);
        vm.deal(stranger, 1 ether);
        vm.prank(stranger);
        disputes.demand{value: 1000}(roundId, new bytes[](0), proposal.aggregateRoot, 1);
        vm.snapshotGasLastCall("Disputes", "demand, the first of a phase");
        vm.prank(stranger);
        disputes.demand{value: 1000}(roundId, path, levels[5][0], 1);
        vm.snapshotGasLastCall("Disputes", "demand, one level");
        vm.prank(stranger);
        disputes.demand{value: 32_000}(roundId, path, levels[5][0], 6);
        vm.snapshotGasLastCall("Disputes", "demand, six levels");
        vm.prank(members[0]);
        disputes.commit(roundId, keccak256("a proof"));
        vm.snapshotGasLastCall("Disputes", "commit, not the first");

        Answer[] memory answers = new Answer[](1);
        answers[0] = Answer(proposal.aggregateRoot, 1, path);
        disputes.answerMany(roundId, answers);
        vm.snapshotGasLastCall("Disputes", "answerMany, one root");
        answers[0] = Answer(levels[5][0], 1, new bytes[](1));
        answers[0].preimages[0] = abi.encodePacked(uint8(6), levels[4][0], levels[4][1]);
        disputes.answerMany(roundId, answers);
        vm.snapshotGasLastCall("Disputes", "answerMany, one level");
        answers[0] = Answer(levels[5][0], 6, new bytes[](63));
        uint256 next = 0;
        for (uint256 level = 5; level > 0; --level) {
            for (uint256 i = 0; i < levels[level].length; ++i) {
                answers[0].preimages[next++] =
                    abi.encodePacked(uint8(6), levels[level - 1][2 * i], levels[level - 1][2 * i + 1]);
            }
        }
        for (uint32 i = 0; i < 32; ++i) {
            answers[0].preimages[next++] = VectorForest.leafOf(VectorKind.Sums, sums, i);
        }
        disputes.answerMany(roundId, answers);
        vm.snapshotGasLastCall("Disputes", "answerMany, six levels with 32 chunks");
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);
        vm.snapshotGasLastCall("Federation", "finalizeRound, with questions");
    }

    /// @dev Walks all the ways at once, in each phase one question for each, and sees the round final.
    function walk(uint256 aboveLeaves, uint256 aboveChunks) private {
        uint64 elements = uint64(64 << aboveChunks);
        Rules memory rules = defaultRules();
        rules.elements = elements;
        federation = createFederation(rules, defaultSecurity());
        disputes = Disputes(payable(federation.disputes()));
        delete toSums;
        delete toUpdate;
        delete toRecord;
        delete toCommitment;
        delete toModel;
        build(aboveLeaves, aboveChunks);
        proposeRoots(uint32(uint256(1) << aboveLeaves));

        uint256 phases = Phases.count(uint256(1) << aboveLeaves, elements);
        uint64 end = federation.round(roundId).until;
        uint256[5] memory place;
        for (uint256 phase = 1; phase <= phases; ++phase) {
            place[0] = step(toSums, place[0]);
            place[1] = step(toUpdate, place[1]);
            place[2] = step(toRecord, place[2]);
            place[3] = step(toCommitment, place[3]);
            place[4] = step(toModel, place[4]);
            // The next phase begins when answers to this one come.
            vm.warp(end + 2 * ANSWER * (phase - 1) + 1);
        }
        vm.assertEq(place[0], toSums.length);
        vm.assertEq(place[1], toUpdate.length);
        vm.assertEq(place[2], toRecord.length);
        vm.assertEq(place[3], toCommitment.length);
        vm.assertEq(place[4], toModel.length);
        vm.assertEq(uint256(federation.round(roundId).until), end + 2 * ANSWER * phases);
        vm.warp(end + 2 * ANSWER * phases + 1);
        federation.finalizeRound(roundId);
        vm.assertTrue(federation.round(roundId).state == RoundState.Final);
    }

    /// @dev Asks for six levels where a walk stands, and answers; returns where it then stands.
    function step(bytes[] storage way, uint256 from) private returns (uint256) {
        if (from == way.length) return from;
        bytes[] memory path = new bytes[](from);
        for (uint256 i = 0; i < from; ++i) {
            path[i] = way[i];
        }
        bytes32 hash = keccak256(way[from]);
        uint256 to = from + 1;
        while (to < way.length && to < from + 6 && isOfOneTree(way[to - 1])) ++to;
        // Another walk may have asked for it; then it is known.
        if (disputes.question(roundId, 1, hash, 6).asker == address(0)) {
            uint256 price = disputes.demandPrice(roundId, 6);
            vm.deal(stranger, price);
            vm.prank(stranger);
            disputes.demand{value: price}(roundId, path, hash, 6);
            Answer[] memory answers = new Answer[](1);
            answers[0] = Answer(hash, 6, new bytes[](to - from));
            for (uint256 i = from; i < to; ++i) {
                answers[0].preimages[i - from] = way[i];
            }
            disputes.answerMany(roundId, answers);
        }
        return to;
    }

    /// @dev Whether what is below a node belongs to its tree: not below leaves of the aggregation, nor below records.
    function isOfOneTree(bytes memory preimage) private pure returns (bool) {
        return uint8(preimage[0]) != 0x08 && uint8(preimage[0]) != 0x0c;
    }

    function build(uint256 aboveLeaves, uint256 aboveChunks) private {
        bytes[] memory sums = vectorWay(5, aboveChunks);
        bytes[] memory update = new bytes[](aboveChunks + 2);
        update[aboveChunks + 1] = abi.encodePacked(uint8(0), new bytes(312));
        for (uint256 i = aboveChunks; i > 0; --i) {
            update[i] =
                abi.encodePacked(uint8(1), keccak256(update[i + 1]), uint128(9), bytes32(0), uint128(0));
        }
        update[0] = abi.encodePacked(uint8(0x0a), members[0], uint32(1), keccak256(update[1]), uint128(9));

        bytes[] memory aggregation = new bytes[](aboveLeaves + 1);
        aggregation[aboveLeaves] =
            abi.encodePacked(uint8(8), uint64(1), keccak256(sums[0]), keccak256(update[0]));
        bytes[] memory records = new bytes[](aboveLeaves + 2);
        records[aboveLeaves + 1] = abi.encodePacked(uint8(0x0e), new bytes(268));
        records[aboveLeaves] =
            abi.encodePacked(uint8(0x0c), new bytes(37), keccak256(records[aboveLeaves + 1]));
        bytes[] memory range = new bytes[](aboveLeaves);
        bytes32 below = keccak256(update[0]);
        for (uint256 i = aboveLeaves; i > 0; --i) {
            aggregation[i - 1] = abi.encodePacked(
                uint8(9), uint64(1), keccak256(sums[0]), keccak256(aggregation[i]), bytes32(0)
            );
            records[i - 1] = abi.encodePacked(uint8(0x0d), bytes32(0), keccak256(records[i]));
            range[i - 1] = abi.encodePacked(uint8(0x0b), below, bytes32(0));
            below = keccak256(range[i - 1]);
        }
        append(toSums, aggregation);
        append(toSums, sums);
        append(toUpdate, aggregation);
        append(toUpdate, update);
        append(toRecord, records);
        append(toCommitment, range);
        append(toCommitment, update);
        append(toModel, vectorWay(2, aboveChunks));
    }

    function vectorWay(uint8 kind, uint256 height) private pure returns (bytes[] memory way) {
        way = new bytes[](height + 2);
        way[height + 1] = abi.encodePacked(kind, new bytes(kind == 5 ? 520 : 264));
        for (uint256 i = height; i > 0; --i) {
            way[i] = abi.encodePacked(kind + 1, keccak256(way[i + 1]), bytes32(0));
        }
        way[0] = abi.encodePacked(kind + 2, uint64(64), keccak256(way[1]));
    }

    function append(bytes[] storage way, bytes[] memory part) private {
        for (uint256 i = 0; i < part.length; ++i) {
            way.push(part[i]);
        }
    }

    function proposeRoots(uint32 records) private {
        roundId = openRound();
        Rollup memory rollup;
        rollup.recordsRoot = keccak256(toRecord[0]);
        rollup.records = rollup.accepted = records;
        rollup.totalWeight = records;
        rollup.judgedAt = uint64(block.timestamp);
        rollup.peaks = new bytes32[](1);
        rollup.peaks[0] = keccak256(toCommitment[0]);
        rollup.cid = cidOf("records");
        vm.roll(block.number + 1);
        (rollup.anchorNumber, rollup.anchorHash) = (uint64(block.number - 1), blockhash(block.number - 1));
        Rollups rollups = Rollups(federation.rollups());
        vm.deal(coordinator, BOND);
        vm.prank(coordinator);
        rollups.submit{value: BOND}(roundId, rollup);
        Proposal memory proposal =
            proposalOf(keccak256(toSums[0]), keccak256("aggregate"), keccak256(toModel[0]));
        vm.prank(coordinator);
        federation.propose(roundId, proposal);
    }

    function submissionsOf(uint64 elements) private view returns (Submission[] memory submissions) {
        submissions = new Submission[](10);
        for (uint256 i = 0; i < 10; ++i) {
            Update memory update = honestUpdate(roundId, i);
            update.elements = elements;
            submissions[i] = signed(i, update);
        }
    }
}
