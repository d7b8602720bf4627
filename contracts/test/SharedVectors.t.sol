// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Federation} from "../src/Federation.sol";
import {MerkleSumTree, SumNode, UpdatePlace} from "../src/libraries/MerkleSumTree.sol";
import {Rules, RulesLib} from "../src/libraries/RulesLib.sol";
import {Update} from "../src/libraries/UpdateTypes.sol";
import {Consents} from "./base/Consents.sol";
import {FederationFixture} from "./base/FederationFixture.sol";
import {SumTree} from "./base/SumTree.sol";

/// @notice The encodings equal those of the Python package: both read tests/protocol/vectors.json.
contract SharedVectorsTest is FederationFixture {
    string private vectors;

    function setUp() public override {
        super.setUp();
        vectors = vm.readFile("../tests/protocol/vectors.json");
    }

    function test_rulesHash() public view {
        Rules memory rules = abi.decode(vm.parseJsonBytes(vectors, ".rules.encoded"), (Rules));
        vm.assertEq(rules.aggregator, word(".rules.rules.aggregator"));
        vm.assertEq(keccak256(abi.encode(rules)), word(".rules.rulesHash"));
        vm.assertEq(uint256(RulesLib.maxWeight(rules)), number(".rules.maxWeight"));
    }

    function test_typedData() public {
        Update memory update = Update({
            round: uint64(number(".typedData.message.round")),
            rulesHash: word(".typedData.message.rulesHash"),
            baseRoot: word(".typedData.message.baseRoot"),
            updateRoot: word(".typedData.message.updateRoot"),
            sumSquares: uint128(number(".typedData.message.sumSquares")),
            elements: uint64(number(".typedData.message.elements")),
            fractionBits: uint8(number(".typedData.message.fractionBits")),
            examples: uint32(number(".typedData.message.examples")),
            accuracyPpm: uint32(number(".typedData.message.accuracyPpm")),
            lossMicros: uint64(number(".typedData.message.lossMicros")),
            labels: uint32(number(".typedData.message.labels")),
            epsilonMicros: uint64(number(".typedData.message.epsilonMicros")),
            deadline: uint64(number(".typedData.message.deadline")),
            cid: vm.parseJsonBytes(vectors, ".typedData.message.cid")
        });
        // The federation's code at the vectors' address and on their chain.
        address place = vm.parseJsonAddress(vectors, ".typedData.domain.verifyingContract");
        vm.etch(place, address(federation).code);
        vm.chainId(number(".typedData.domain.chainId"));
        federation = Federation(place);
        vm.assertEq(federation.hashUpdate(update), word(".typedData.digest"));
        vm.assertEq(
            signature(uint256(word(".typedData.privateKey")), update),
            vm.parseJsonBytes(vectors, ".typedData.signature")
        );
    }

    function test_consents() public view {
        bytes32 hash = Consents.directHash(
            vm.parseJsonAddress(vectors, ".direct.message.member"),
            uint64(number(".direct.message.round")),
            word(".direct.message.update")
        );
        requireDigest(".direct", hash);
        hash = Consents.keyHash(
            vm.parseJsonAddress(vectors, ".signingKey.message.member"),
            uint64(number(".signingKey.message.nonce"))
        );
        requireDigest(".signingKey", hash);
    }

    function test_updateTrees() public view {
        uint256 count = 0;
        for (; vm.keyExistsJson(vectors, updateKey(count, "")); ++count) {
            int256[] memory values = vm.parseJsonIntArray(vectors, updateKey(count, ".values"));
            UpdatePlace memory place = UpdatePlace(
                number(".place.chainId"),
                vm.parseJsonAddress(vectors, ".place.federation"),
                uint64(number(".place.round")),
                vm.parseJsonAddress(vectors, ".place.member"),
                uint64(values.length)
            );
            bytes32 context = MerkleSumTree.context(place);
            vm.assertEq(context, word(updateKey(count, ".context")));

            SumNode[][] memory levels = SumTree.build(context, values);
            SumNode memory root = SumTree.rootOf(levels);
            vm.assertEq(root.hash, word(updateKey(count, ".root")));
            vm.assertEq(uint256(root.sum), number(updateKey(count, ".sumSquares")));
            for (uint32 i = 0; i < MerkleSumTree.chunkCount(uint64(values.length)); ++i) {
                vm.assertTrue(
                    MerkleSumTree.verify(place, i, SumTree.chunkOf(values, i), SumTree.path(levels, i), root)
                );
            }
        }
        vm.assertTrue(count >= 5);
    }

    function requireDigest(string memory key, bytes32 hash) private view {
        address place = vm.parseJsonAddress(vectors, string.concat(key, ".domain.verifyingContract"));
        vm.assertEq(hash, word(string.concat(key, ".structHash")));
        bytes32 digest = Consents.digest(number(string.concat(key, ".domain.chainId")), place, hash);
        vm.assertEq(digest, word(string.concat(key, ".digest")));
    }

    function updateKey(uint256 index, string memory field) private pure returns (string memory) {
        return string.concat(".updates[", vm.toString(index), "]", field);
    }

    function number(string memory key) private view returns (uint256) {
        return vm.parseJsonUint(vectors, key);
    }

    function word(string memory key) private view returns (bytes32) {
        return vm.parseJsonBytes32(vectors, key);
    }
}
