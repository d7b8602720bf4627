// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {ModelService} from "../src/ModelService.sol";
import {FeeTerms, IDecisions, Lineage} from "../src/interfaces/IDecisions.sol";
import {IVersions, Version} from "../src/interfaces/IVersions.sol";
import {AggregationNode, AggregationStep} from "../src/libraries/AggregationTree.sol";
import {Commitment} from "../src/libraries/CommitmentTree.sol";
import {ServiceFixture} from "./base/ServiceFixture.sol";
import {LengthProgram, LinearProgram} from "./programs/LinearProgram.sol";

/// @notice Decisions on record, their lineage, their fees, and who is paid.
contract DecisionsTest is ServiceFixture {
    uint64 private constant NEVER = type(uint64).max;
    bytes private constant INPUT = hex"0a141e3c";

    ModelService private service;
    LinearProgram private program;
    LinearProgram private second;
    address private user = address(0x05E2);
    address private treasury = address(0x7EA5);

    function setUp() public override {
        super.setUp();
        service = new ModelService(owner, noGate());
        program = new LinearProgram(100);
        second = new LinearProgram(200);
        vm.deal(user, 100 ether);
        register(federatedVersion(address(program)));
    }

    function test_recordsDecisions() public {
        int32[] memory scores = new int32[](2);
        (scores[0], scores[1]) = (20, -20);
        vm.expectEmit();
        emit IDecisions.Decision(1, user, 1, keccak256(INPUT), INPUT, 0, hashOf(scores), scores);
        vm.prank(user);
        (uint256 id, int32[] memory answer) = service.decide(INPUT, 1, 0, NEVER);
        vm.assertEq(id, 1);
        vm.assertEq(abi.encode(answer), abi.encode(scores));
        (id,) = service.decide(INPUT, 1, 0, NEVER);
        vm.assertEq(id, 2);
        vm.assertEq(service.decisionCount(), 2);
    }

    function test_decidesManyAtOnce() public {
        bytes[] memory inputs = new bytes[](3);
        for (uint256 i = 0; i < 3; ++i) {
            inputs[i] = abi.encodePacked(uint32(i));
        }
        setFee(10, 0);
        vm.prank(user);
        (uint256 first, int32[][] memory scores) = service.decideMany{value: 30}(inputs, 1, 10, NEVER);
        vm.assertEq(first, 1);
        vm.assertEq(service.decisionCount(), 3);
        vm.assertEq(int256(scores[2][0]), -98);
        vm.expectRevert(abi.encodeWithSelector(IDecisions.FeeNotCovered.selector, 29, 30));
        vm.prank(user);
        service.decideMany{value: 29}(inputs, 1, 10, NEVER);
        (uint256 none,) = service.decideMany(new bytes[](0), 1, 10, NEVER);
        vm.assertEq(none, 4);
        vm.assertEq(service.decisionCount(), 3);
    }

    function test_recordsInputsUpToTheLimit() public {
        uint256 id = register(standaloneVersion(address(new LengthProgram())));
        int32[] memory scores = new int32[](1);
        bytes memory input = new bytes(service.MAX_RECORDED_INPUT());
        scores[0] = 4096;
        vm.expectEmit();
        emit IDecisions.Decision(1, address(this), id, keccak256(input), input, 0, hashOf(scores), scores);
        service.decide(input, id, 0, NEVER);
        input = new bytes(input.length + 1);
        scores[0] = 4097;
        vm.expectEmit();
        emit IDecisions.Decision(2, address(this), id, keccak256(input), "", 0, hashOf(scores), scores);
        service.decide(input, id, 0, NEVER);
    }

    function test_decidesOnlyAsExpected() public {
        register(federatedVersion(address(second)));
        vm.expectRevert(abi.encodeWithSelector(IVersions.VersionMismatch.selector, 1, 2));
        service.decide(INPUT, 1, 0, NEVER);
        uint64 past = uint64(block.timestamp - 1);
        vm.expectRevert(abi.encodeWithSelector(IDecisions.DeadlinePassed.selector, past));
        service.decide(INPUT, 2, 0, past);
        service.decide(INPUT, 2, 0, past + 1);
        vm.prank(owner);
        service.setFee(2, FeeTerms(10, treasury, 0));
        vm.expectRevert(abi.encodeWithSelector(IDecisions.FeeTooHigh.selector, 10, 9));
        vm.prank(user);
        service.decide{value: 10}(INPUT, 2, 9, NEVER);
        vm.expectRevert(abi.encodeWithSelector(IDecisions.FeeNotCovered.selector, 9, 10));
        vm.prank(user);
        service.decide{value: 9}(INPUT, 2, 10, NEVER);
    }

    function test_knowsWhereADecisionComesFrom() public {
        service.decide(INPUT, 1, 0, NEVER);
        register(federatedVersion(address(second)));
        Version memory alone = standaloneVersion(address(program));
        register(alone);
        service.decide(INPUT, 3, 0, NEVER);
        service.decide(INPUT, 3, 0, NEVER);

        Lineage memory found = service.lineage(1);
        vm.assertEq(found.version, 1);
        vm.assertEq(found.program, address(program));
        vm.assertEq(found.codeHash, address(program).codehash);
        vm.assertEq(found.federation, address(federation));
        vm.assertEq(found.round, roundId);
        vm.assertEq(found.rulesHash, federation.rulesHash());
        vm.assertEq(found.modelRoot, proposal.modelRoot);
        vm.assertEq(found.aggregationRoot, proposal.aggregationRoot);
        vm.assertEq(found.integerOnnxDigest, keccak256("integer onnx"));
        vm.assertEq(found.onnxCid, cidOf("onnx"));
        for (uint256 id = 2; id < 4; ++id) {
            found = service.lineage(id);
            vm.assertEq(found.version, 3);
            vm.assertEq(found.federation, address(0));
            vm.assertEq(found.rulesHash, 0);
            vm.assertEq(found.aggregationRoot, 0);
        }
    }

    function test_refusesUnknownDecisions() public {
        service.decide(INPUT, 1, 0, NEVER);
        vm.expectRevert(abi.encodeWithSelector(IDecisions.UnknownDecision.selector, 0));
        service.lineage(0);
        vm.expectRevert(abi.encodeWithSelector(IDecisions.UnknownDecision.selector, 2));
        service.lineage(2);
    }

    function test_sharesFeesAmongTheUpdatesThatCounted() public {
        setFee(1000, 100_000);
        vm.expectEmit();
        emit IDecisions.FeePaid(1, user, 1000, 300);
        vm.prank(user);
        service.decide{value: 1500}(INPUT, 1, 1000, NEVER);
        vm.assertEq(service.owed(user), 500);
        vm.assertEq(service.owed(treasury), 100);
        for (uint32 i = 0; i < CLIENTS; ++i) {
            vm.expectEmit();
            emit IDecisions.ShareCollected(1, members[i], i, 300);
            vm.prank(user);
            vm.assertEq(service.collect(1, leafNode(i), commitments[i]), 300);
            vm.assertEq(service.owed(members[i]), 300);
        }
        (uint256 perUpdate, uint256 collected) = service.earnings(1);
        vm.assertEq(perUpdate, 300);
        vm.assertEq(collected, 900);
        expectNothing(0);

        vm.prank(user);
        service.decide{value: 1000}(INPUT, 1, 1000, NEVER);
        vm.assertEq(service.collect(1, leafNode(1), commitments[1]), 300);
        vm.prank(members[1]);
        vm.assertEq(service.withdraw(), 600);
        vm.assertEq(members[1].balance, 600);
    }

    function test_givesWhatDoesNotDivideToTheTreasury() public {
        setFee(11, 100_000);
        vm.prank(user);
        service.decide{value: 11}(INPUT, 1, 11, NEVER);
        (uint256 perUpdate,) = service.earnings(1);
        vm.assertEq(perUpdate, 3);
        vm.assertEq(service.owed(treasury), 2);
    }

    function test_paysTheTreasuryWhereNobodyContributed() public {
        uint256 id = register(standaloneVersion(address(program)));
        vm.prank(owner);
        service.setFee(id, FeeTerms(10, treasury, 0));
        vm.prank(user);
        service.decide{value: 10}(INPUT, id, 10, NEVER);
        vm.assertEq(service.owed(treasury), 10);
        vm.expectRevert(abi.encodeWithSelector(IDecisions.NotAContribution.selector, id, 0));
        service.collect(id, leafNode(0), commitments[0]);
    }

    function test_feesFollowTheirTerms() public {
        setFee(10, 0);
        FeeTerms memory terms = service.feeTerms(1);
        vm.assertEq(abi.encode(terms), abi.encode(FeeTerms(10, treasury, 0)));
        vm.prank(owner);
        vm.expectEmit();
        emit IDecisions.FeeSet(1, 0, address(0), 0);
        service.setFee(1, FeeTerms(0, address(0), 0));
        service.decide(INPUT, 1, 0, NEVER);

        vm.expectRevert(abi.encodeWithSelector(IDecisions.InvalidFee.selector, "treasury"));
        vm.prank(owner);
        service.setFee(1, FeeTerms(1, address(0), 0));
        vm.expectRevert(abi.encodeWithSelector(IDecisions.InvalidFee.selector, "treasuryPpm"));
        vm.prank(owner);
        service.setFee(1, FeeTerms(1, treasury, 500_001));
        vm.expectRevert(abi.encodeWithSelector(IVersions.UnknownVersion.selector, 2));
        vm.prank(owner);
        service.setFee(2, FeeTerms(1, treasury, 0));
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, user));
        vm.prank(user);
        service.setFee(1, FeeTerms(1, treasury, 0));
    }

    function test_collectsOnlyWhatWasContributed() public {
        expectNothing(1);
        setFee(300, 0);
        vm.prank(user);
        service.decide{value: 300}(INPUT, 1, 300, NEVER);

        vm.expectRevert(abi.encodeWithSelector(IVersions.UnknownVersion.selector, 2));
        service.collect(2, leafNode(0), commitments[0]);
        AggregationNode memory leaf = leafNode(0);
        // Another member's commitment, or one with another weight.
        expectNoContribution(leaf, commitments[1]);
        Commitment memory changed = commitments[0];
        changed.member = user;
        expectNoContribution(leaf, changed);
        // The same leaf at another position, at one beyond the updates, or by another way.
        leaf.position = 4;
        expectNoContribution(leaf, commitments[0]);
        leaf = leafNode(0);
        leaf.position = 1;
        expectNoContribution(leaf, commitments[0]);
        leaf = leafNode(2);
        leaf.position = 3;
        expectNoContribution(leaf, commitments[2]);
        leaf = leafNode(0);
        leaf.path[1].weight += 1;
        expectNoContribution(leaf, commitments[0]);
        leaf = leafNode(0);
        leaf.path = new AggregationStep[](0);
        expectNoContribution(leaf, commitments[0]);
        // An inner node is no leaf.
        expectNoContribution(pairNode(), commitments[0]);
    }

    /// @dev Whatever is decided, collected and withdrawn in whatever order: the balance is what is owed or to be
    ///      collected.
    function testFuzz_staysSolvent(uint256 seed) public {
        uint256[2] memory ids = [uint256(1), register(standaloneVersion(address(second)))];
        AggregationNode[3] memory leafs = [leafNode(0), leafNode(1), leafNode(2)];
        for (uint256 i = 0; i < 24; ++i) {
            uint256 draw = uint256(keccak256(abi.encode(seed, i)));
            uint256 action = draw % 5;
            uint256 id = service.currentVersion();
            address someone = (draw >> 8) % 2 == 0 ? members[(draw >> 16) % CLIENTS] : treasury;
            if (action == 0) {
                vm.prank(owner);
                service.setFee(
                    ids[(draw >> 8) % 2],
                    FeeTerms(uint96((draw >> 16) % 5000), treasury, uint32(draw % 500_001))
                );
            } else if (action == 1) {
                vm.prank(user);
                service.decide{value: 5000}(INPUT, id, 5000, NEVER);
            } else if (action == 2) {
                ids[0] = register(federatedVersion(address(program)));
            } else if (action == 3) {
                uint256 index = (draw >> 8) % 3;
                try service.collect(ids[0], leafs[index], commitments[index]) returns (uint256) {} catch {}
            } else {
                vm.prank(someone);
                try service.withdraw() returns (uint256) {} catch {}
            }
            assertSolvent();
        }
    }

    function hashOf(int32[] memory scores) private pure returns (bytes32) {
        return keccak256(abi.encodePacked(scores));
    }

    function assertSolvent() private view {
        uint256 sum = service.owed(user) + service.owed(treasury);
        for (uint256 i = 0; i < CLIENTS; ++i) {
            sum += service.owed(members[i]);
        }
        for (uint256 id = 1; id <= service.versionCount(); ++id) {
            (uint256 perUpdate, uint256 collected) = service.earnings(id);
            sum += CLIENTS * perUpdate - collected;
        }
        vm.assertEq(address(service).balance, sum);
    }

    function setFee(uint96 amount, uint32 treasuryPpm) private {
        vm.prank(owner);
        service.setFee(1, FeeTerms(amount, treasury, treasuryPpm));
    }

    function register(Version memory version) private returns (uint256 id) {
        vm.prank(owner);
        return service.register(version);
    }

    function expectNothing(uint32 index) private {
        AggregationNode memory leaf = leafNode(index);
        vm.expectRevert(abi.encodeWithSelector(IDecisions.NothingToCollect.selector, 1, index));
        service.collect(1, leaf, commitments[index]);
    }

    function expectNoContribution(AggregationNode memory leaf, Commitment memory commitment) private {
        vm.expectRevert(abi.encodeWithSelector(IDecisions.NotAContribution.selector, 1, leaf.position));
        service.collect(1, leaf, commitment);
    }
}
