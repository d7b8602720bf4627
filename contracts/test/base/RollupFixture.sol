// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Rollups} from "../../src/Rollups.sol";
import {CommitmentProof, UpdateNode} from "../../src/interfaces/ICourt.sol";
import {IDirectSubmissions} from "../../src/interfaces/IDirectSubmissions.sol";
import {IHearing} from "../../src/interfaces/IHearing.sol";
import {Commitment} from "../../src/libraries/CommitmentTree.sol";
import {SumNode} from "../../src/libraries/MerkleSumTree.sol";
import {Record, RecordProof} from "../../src/libraries/RecordTree.sol";
import {Rollup} from "../../src/libraries/RollupLib.sol";
import {Refusal, Rules} from "../../src/libraries/RulesLib.sol";
import {Security} from "../../src/libraries/SecurityLib.sol";
import {Submission, Update} from "../../src/libraries/UpdateTypes.sol";
import {CommitmentLeaf} from "./CommitmentLeaf.sol";
import {FederationFixture} from "./FederationFixture.sol";
import {HashTree} from "./HashTree.sol";
import {SumTree} from "./SumTree.sol";

/// @notice A round whose updates are rolled up: of five received, numbers 0, 2 and 4 count, 1 has too few examples, and
///         3 is signed by another. A test changes what it likes before `rollUp`.
abstract contract RollupFixture is FederationFixture {
    uint64 internal constant ELEMENTS = 150;
    uint256 internal constant CLIENTS = 5;
    uint128 internal constant STAKE = 0.5 ether;
    /// What member 3's update is signed by.
    uint256 internal constant FOREIGN_KEY = uint256(keccak256("no member's key"));

    Rollups internal court;
    address internal challenger = address(0xCA11);
    uint64 internal roundId;
    Submission[] internal received;
    Record[] internal records;
    Commitment[] internal commitments;
    Rollup internal stated;
    /// Added to the sum of squares that member 2 signs.
    uint128 internal signedTooMuch;

    function setUp() public virtual override {
        super.setUp();
        Rules memory rules = defaultRules();
        rules.minClients = 2;
        rules.elements = ELEMENTS;
        Security memory security = defaultSecurity();
        security.stake = STAKE;
        federation = createFederation(rules, security);
        court = Rollups(federation.rollups());
        stakeOfFirst(CLIENTS, STAKE);
        vm.deal(challenger, 1 ether);
        vm.warp(block.timestamp + 10);
    }

    /// @dev Opens a round and judges what was received as the rules demand.
    function begin() internal {
        roundId = openRound();
        delete received;
        delete records;
        delete commitments;
        for (uint256 i = 0; i < CLIENTS; ++i) {
            receive_(i, updateOf(i), i == 3 ? FOREIGN_KEY : keys[i]);
        }
        judge();
    }

    function updateOf(uint256 index) internal view returns (Update memory update) {
        SumNode memory root = SumTree.rootOf(treeOf(index));
        update = honestUpdate(roundId, index);
        update.elements = ELEMENTS;
        update.updateRoot = root.hash;
        update.sumSquares = root.sum + (index == 2 ? signedTooMuch : 0);
        if (index == 1) update.examples = 1;
        if (index == 4) update.examples = 12_000;
    }

    function receive_(uint256 member, Update memory update, uint256 key) internal {
        received.push(Submission(members[member], update, signature(key, update)));
    }

    /// @dev Records and commitments of what was received, with the reasons that this fixture is about.
    function judge() internal {
        uint32 accepted = 0;
        uint64 total = 0;
        for (uint256 i = 0; i < received.length; ++i) {
            Update memory update = received[i].update;
            uint8 reason = i == 1
                ? uint8(Refusal.TooFewExamples)
                : i == 3 ? uint8(Refusal.BadSignature) : uint8(Refusal.None);
            uint32 weight = reason > 0 ? 0 : update.examples < 400 ? update.examples : 400;
            if (reason == 0) {
                accepted += 1;
                total += weight;
                commitments.push(Commitment(received[i].member, weight, update.updateRoot, update.sumSquares));
            }
            records.push(Record(received[i].member, reason, weight, accepted, total, hashOf(received[i])));
        }
    }

    /// @dev States the roll-up of the records and commitments as they stand, its totals those of the last record.
    function build() internal {
        stated.recordsRoot = HashTree.rootOf(recordLevels());
        stated.records = uint32(records.length);
        stated.accepted = records[records.length - 1].accepted;
        stated.totalWeight = records[records.length - 1].total;
        uint64 deadline = federation.round(roundId).deadline;
        stated.judgedAt = uint64(block.timestamp) < deadline ? uint64(block.timestamp) : deadline;
        stated.journal = IDirectSubmissions(federation.directSubmissions()).journal(roundId);
        vm.roll(block.number + 1);
        stated.anchorNumber = uint64(block.number - 1);
        stated.anchorHash = blockhash(block.number - 1);
        stated.cid = cidOf("roll-up");
        delete stated.peaks;
        bytes32[][][] memory trees = rangeTrees();
        for (uint256 i = 0; i < trees.length; ++i) {
            stated.peaks.push(HashTree.rootOf(trees[i]));
        }
    }

    function rollUp() internal {
        build();
        submitStated();
    }

    function submitStated() internal {
        Rollup memory rollup = stated;
        vm.prank(coordinator);
        court.submit{value: BOND}(roundId, rollup);
    }

    function hashOf(Submission memory submission) internal pure returns (bytes32) {
        return keccak256(bytesOf(submission));
    }

    function bytesOf(Submission memory submission) internal pure returns (bytes memory) {
        Update memory update = submission.update;
        return bytes.concat(
            abi.encodePacked(uint8(0x0e), submission.signature, update.round, update.rulesHash),
            abi.encodePacked(update.baseRoot, update.updateRoot, update.sumSquares, update.elements),
            abi.encodePacked(update.fractionBits, update.examples, update.accuracyPpm, update.lossMicros),
            abi.encodePacked(update.labels, update.epsilonMicros, update.deadline, update.cid)
        );
    }

    function recordBytes(Record memory record) internal pure returns (bytes memory) {
        return abi.encodePacked(
            uint8(0x0c),
            record.member,
            record.reason,
            record.weight,
            record.accepted,
            record.total,
            record.submission
        );
    }

    function recordLevels() internal view returns (bytes32[][] memory) {
        bytes32[] memory leaves = new bytes32[](records.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            leaves[i] = keccak256(recordBytes(records[i]));
        }
        return HashTree.build(0x0d, leaves);
    }

    function rangeTrees() internal view returns (bytes32[][][] memory) {
        bytes32[] memory leaves = new bytes32[](commitments.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            leaves[i] = CommitmentLeaf.hashOf(commitments[i]);
        }
        return HashTree.mountains(0x0b, leaves);
    }

    function recordProof(uint32 index) internal view returns (RecordProof memory) {
        return RecordProof(index, records[index], HashTree.path(recordLevels(), index));
    }

    function noRecord() internal pure returns (RecordProof memory) {}

    /// @dev Three commitments: a peak of two and a peak of one.
    function rangePath(uint256 index) internal view returns (bytes32[] memory) {
        bytes32[][][] memory trees = rangeTrees();
        return index < 2 ? HashTree.path(trees[0], index) : HashTree.path(trees[1], 0);
    }

    function commitmentProof(uint32 index) internal view returns (CommitmentProof memory) {
        return CommitmentProof(index, commitments[index], rangePath(index));
    }

    function treeOf(uint256 index) internal view returns (SumNode[][] memory) {
        int256[] memory values = new int256[](ELEMENTS);
        for (uint256 i = 0; i < ELEMENTS; ++i) {
            values[i] = int256((i * (7 * index + 3)) % 41) - 20;
        }
        return SumTree.build(SumTree.contextOf(federation, roundId, members[index]), values);
    }

    /// @dev The top of update 2, which states more than its children add up to.
    function tooMuch() internal view returns (UpdateNode memory) {
        SumNode[][] memory levels = treeOf(2);
        bytes memory preimage = abi.encodePacked(
            uint8(1), levels[1][0].hash, levels[1][0].sum, levels[1][1].hash, levels[1][1].sum
        );
        return UpdateNode(0, preimage, 0, commitments[1].sumSquares, new SumNode[](0));
    }

    function commitTo(address sender, bytes memory call) internal {
        IHearing hearing = IHearing(federation.disputes());
        vm.prank(sender);
        hearing.commit(roundId, keccak256(abi.encode(sender, keccak256(call))));
        vm.roll(block.number + 1);
    }

    function show(bytes memory call) internal {
        vm.prank(challenger);
        (bool success,) = address(court).call(call);
        vm.assertTrue(success);
    }

    function failureOf(bytes memory call) internal returns (bytes memory) {
        commitTo(challenger, call);
        vm.prank(challenger);
        (bool success, bytes memory result) = address(court).call(call);
        vm.assertFalse(success);
        return result;
    }
}
