// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerklePath} from "../src/libraries/MerklePath.sol";
import {Record, RecordProof, RecordTree} from "../src/libraries/RecordTree.sol";
import {SubmissionCode} from "../src/libraries/SubmissionCode.sol";
import {Submission, Update} from "../src/libraries/UpdateTypes.sol";
import {HashTree} from "./base/HashTree.sol";
import {VectorsFile} from "./base/VectorsFile.sol";

/// @notice Records and submissions of roll-ups equal those of tests/protocol/vectors.json.
contract SharedRollupsTest is VectorsFile {
    function test_rollups() public view {
        uint256 cases = 0;
        for (; vm.keyExistsJson(vectors, element("", ".rollups", cases)); ++cases) {
            string memory key = element("", ".rollups", cases);
            uint32 count = 0;
            while (vm.keyExistsJson(vectors, element(key, ".records", count))) ++count;
            bytes32[] memory leaves = new bytes32[](count);
            for (uint32 i = 0; i < count; ++i) {
                string memory stated = element(key, ".records", i);
                Submission memory submission = submissionAt(stated);
                vm.assertEq(this.hashOf(submission), word(stated, ".submission"));
                vm.assertTrue(this.isWellFormed(vm.parseJsonBytes(vectors, string.concat(stated, ".bytes"))));
                vm.assertEq(this.leafOf(recordAt(stated)), word(stated, ".leaf"));
                leaves[i] = word(stated, ".leaf");
            }
            bytes32[][] memory levels = HashTree.build(RecordTree.NODE, leaves);
            bytes32 root = word(key, ".recordsRoot");
            vm.assertEq(HashTree.rootOf(levels), root);
            vm.assertEq(levels.length - 1, MerklePath.height(count));
            for (uint32 i = 0; i < count; ++i) {
                RecordProof memory proof =
                    RecordProof(i, recordAt(element(key, ".records", i)), HashTree.path(levels, i));
                vm.assertTrue(this.holds(count, proof, root));
                proof.record.weight += 1;
                vm.assertFalse(this.holds(count, proof, root));
            }
        }
        vm.assertTrue(cases >= 3);
    }

    function hashOf(Submission calldata submission) external pure returns (bytes32) {
        return SubmissionCode.hash(submission);
    }

    function isWellFormed(bytes calldata preimage) external pure returns (bool) {
        return SubmissionCode.isWellFormed(preimage);
    }

    function leafOf(Record calldata record) external pure returns (bytes32) {
        return RecordTree.leafHash(record);
    }

    function holds(uint32 count, RecordProof calldata proof, bytes32 root) external pure returns (bool) {
        return RecordTree.holds(count, proof, root);
    }

    function submissionAt(string memory key) private view returns (Submission memory submission) {
        submission.member = vm.parseJsonAddress(vectors, string.concat(key, ".member"));
        submission.signature = vm.parseJsonBytes(vectors, string.concat(key, ".signature"));
        Update memory update = submission.update;
        string memory message = ".typedData.message";
        update.round = uint64(number(message, ".round"));
        update.rulesHash = word(message, ".rulesHash");
        update.baseRoot = word(message, ".baseRoot");
        update.updateRoot = word(key, ".updateRoot");
        update.sumSquares = uint128(number(key, ".sumSquares"));
        update.elements = uint64(number(message, ".elements"));
        update.fractionBits = uint8(number(message, ".fractionBits"));
        update.examples = uint32(number(message, ".examples"));
        update.accuracyPpm = uint32(number(message, ".accuracyPpm"));
        update.lossMicros = uint64(number(message, ".lossMicros"));
        update.labels = uint32(number(message, ".labels"));
        update.epsilonMicros = uint64(number(message, ".epsilonMicros"));
        update.deadline = uint64(number(message, ".deadline"));
        update.cid = vm.parseJsonBytes(vectors, string.concat(message, ".cid"));
    }

    function recordAt(string memory key) private view returns (Record memory) {
        return Record(
            vm.parseJsonAddress(vectors, string.concat(key, ".member")),
            uint8(number(key, ".reason")),
            uint32(number(key, ".weight")),
            uint32(number(key, ".accepted")),
            uint64(number(key, ".total")),
            word(key, ".submission")
        );
    }
}
