// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DirectSubmissions} from "../../src/DirectSubmissions.sol";
import {IDirectSubmissions} from "../../src/interfaces/IDirectSubmissions.sol";
import {Implementations} from "../../src/interfaces/IFederationFactory.sol";
import {SumNode} from "../../src/libraries/MerkleSumTree.sol";
import {PostingCost} from "../../src/libraries/PostingCost.sol";
import {Rules} from "../../src/libraries/RulesLib.sol";
import {Security, SecurityLib} from "../../src/libraries/SecurityLib.sol";
import {Update} from "../../src/libraries/UpdateTypes.sol";
import {DisputeFixture} from "../base/DisputeFixture.sol";
import {SumTree} from "../base/SumTree.sol";

/// @notice A member that is a contract, or an account that delegated to one (EIP-7702): it posts chunk by chunk in one transaction.
contract ChunkPoster {
    receive() external payable {}

    function post(
        DirectSubmissions direct,
        uint64 roundId,
        address member,
        bytes calldata values,
        uint256 times
    ) external {
        for (uint256 i = 0; i < times; ++i) {
            uint32 chunk = 0;
            for (uint256 begin = 0; begin < values.length; begin += 256) {
                uint256 end = begin + 256 < values.length ? begin + 256 : values.length;
                // What a contract posts need not have been sent to it.
                if (i + 1 == times || end < values.length) {
                    direct.post(roundId, member, chunk++, values[begin:end]);
                }
            }
        }
    }
}

/// @notice The attacker submits directly and withholds its vector, so that the coordinator, which can propose nothing without
///         it, must pay for the posting: it wants more than posting costs.
/// @dev Not each call a transaction of its own, since those have no base fee in forge; what a transaction costs besides is added.
///      tests/federation/test_direct.py holds payments against receipts.
/// forge-config: default.isolate = false
contract EarnByWithholdingTest is DisputeFixture {
    uint128 private constant POST_FEE = 1e18;
    uint256 private constant BASE_FEE = 20 gwei;

    DirectSubmissions private direct;

    function setUp() public override {
        super.setUp();
        Rules memory rules = federation.rules();
        Security memory security = federation.security();
        security.postFee = POST_FEE;
        federation = createFederation(rules, security);
        direct = DirectSubmissions(federation.directSubmissions());
        stakeOfFirst(CLIENTS, STAKE);
        roundId = openRound();
        vm.fee(BASE_FEE);
    }

    function test_postingPaysWhatItCostsAndTheRestComesBack() public {
        demand(0);
        bytes memory values = valuesOf(0);
        requireNoMoreThan(postOf(0, values), 60);
    }

    function test_soItDoesInPieces() public {
        demand(0);
        bytes memory values = valuesOf(0);
        uint256 gas = 0;
        for (uint32 chunk = 0; chunk < 3; ++chunk) {
            gas += postOf(chunk, chunkOf(values, chunk));
        }
        requireNoMoreThan(gas, 75);
    }

    /// @dev Else whoever withholds could have the coordinator pay for what it repeats.
    function test_beginningAgainIsPaidOnce() public {
        demand(0);
        bytes memory values = valuesOf(0);
        bytes memory part = chunkOf(values, 0);
        for (uint256 i = 0; i < 5; ++i) {
            postOf(0, part);
        }
        requireNoMoreThan(postOf(0, values), 60);
    }

    function test_manyCallsInATransactionAreNotPaidAsTransactions() public {
        demand(0);
        // The member delegated to code that posts for it, and calls itself.
        vm.etch(members[0], type(ChunkPoster).runtimeCode);
        vm.prank(members[0], members[0]);
        ChunkPoster(payable(members[0])).post(direct, roundId, members[0], valuesOf(0), 1);
        requireNoMoreThan(vm.lastCallGas().gasTotalUsed, 50);
    }

    function test_norIsWhatTheyRepeat() public {
        demand(0);
        vm.etch(members[0], type(ChunkPoster).runtimeCode);
        vm.prank(members[0], members[0]);
        ChunkPoster(payable(members[0])).post(direct, roundId, members[0], valuesOf(0), 6);
        requireNoMoreThan(vm.lastCallGas().gasTotalUsed / 2, 5);
    }

    function test_theFeeIsTheMost() public {
        vm.fee(1e18);
        demand(0);
        bytes memory values = valuesOf(0);
        vm.prank(members[0], members[0]);
        direct.post(roundId, members[0], 0, values);
        vm.assertEq(direct.owed(members[0]), direct.postingFee());
        vm.assertEq(direct.owed(coordinator), 0);
    }

    function test_othersPostNothing() public {
        demand(0);
        bytes memory values = valuesOf(0);
        address[3] memory others = [stranger, coordinator, members[1]];
        for (uint256 i = 0; i < others.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IDirectSubmissions.NoConsent.selector, members[0], others[i])
            );
            vm.prank(others[i]);
            direct.post(roundId, members[0], 0, values);
        }
    }

    function test_theKeyThatSignsPostsForItsMember() public {
        uint256 key = uint256(keccak256("appointed key"));
        appointKey(members[0], key);
        vm.prank(coordinator);
        federation.failRound(roundId);
        roundId = openRound();
        demand(0);
        bytes memory values = valuesOf(0);
        vm.prank(vm.addr(key), vm.addr(key));
        direct.post(roundId, members[0], 0, values);
        vm.assertTrue(direct.directUpdate(roundId, members[0]).settled);
        vm.assertEq(direct.owed(vm.addr(key)), 0);
        vm.assertTrue(direct.owed(members[0]) > 0);
    }

    function testFuzz_countsBytesThatAreNotZero(bytes calldata data) public pure {
        uint256 expected = 0;
        for (uint256 i = 0; i < msg.data.length; ++i) {
            if (msg.data[i] != 0) ++expected;
        }
        vm.assertEq(PostingCost.otherThanZero(msg.data), expected);
        vm.assertTrue(data.length <= msg.data.length);
    }

    /// @dev A member that could not post in time would lose its stake with certainty.
    function test_noFederationWithStakesWhoseVectorsTakeTooLong() public {
        Rules memory rules = defaultRules();
        Security memory security = defaultSecurity();
        security.stake = STAKE;
        // 25 chunks a second.
        rules.elements = 64 * 25 * 120;
        createFederation(rules, security);
        rules.elements += 1;
        vm.expectRevert(abi.encodeWithSelector(SecurityLib.AnswerSecondsTooShort.selector, 120, uint256(121)));
        createFederation(rules, security);
        security.answerSeconds = 121;
        createFederation(rules, security);
        security.answerSeconds = 60;
        security.stake = 0;
        createFederation(rules, security);
    }

    /// @dev Posts in a transaction of the member, and returns the gas of that.
    function postOf(uint32 first, bytes memory values) private returns (uint256 gas) {
        bytes memory call = abi.encodeCall(direct.post, (roundId, members[0], first, values));
        coolDown();
        vm.prank(members[0], members[0]);
        direct.post(roundId, members[0], first, values);
        gas = vm.lastCallGas().gasTotalUsed + 21_000;
        for (uint256 i = 0; i < call.length; ++i) {
            gas += call[i] == 0 ? 4 : 16;
        }
        // The slot of the cost was written in the same transaction before, when the vector was demanded.
        gas += 2_800;
    }

    /// @dev A transaction finds nothing that another has touched.
    function coolDown() private {
        Implementations memory code = factory.implementations();
        vm.cool(address(direct));
        vm.cool(code.directSubmissions);
        vm.cool(address(federation));
        vm.cool(code.federation);
    }

    /// @dev Paid no more than was used, and most of it; what paying itself costs counts among a few chunks only.
    function requireNoMoreThan(uint256 gas, uint256 leastPercent) private {
        uint256 paid = direct.owed(members[0]);
        vm.assertEq(paid + direct.owed(coordinator), direct.postingFee());
        vm.assertLe(paid, gas * BASE_FEE);
        vm.assertTrue(paid >= gas * BASE_FEE * leastPercent / 100);
        vm.prank(members[0]);
        vm.assertEq(direct.withdraw(), paid);
    }

    function demand(uint256 index) private {
        bytes32 context = SumTree.contextOf(federation, roundId, members[index]);
        SumNode memory root = SumTree.rootOf(SumTree.build(context, updates[index]));
        Update memory update = honestUpdate(roundId, index);
        update.elements = ELEMENTS;
        update.updateRoot = root.hash;
        update.sumSquares = root.sum;
        bringOwn(direct, roundId, signed(index, update));
        uint256 fee = direct.postingFee();
        vm.deal(coordinator, fee);
        vm.prank(coordinator);
        direct.demandPosting{value: fee}(roundId, members[index]);
    }

    function valuesOf(uint256 index) private view returns (bytes memory values) {
        for (uint256 i = 0; i < ELEMENTS; ++i) {
            values = abi.encodePacked(values, int32(updates[index][i]));
        }
    }

    function chunkOf(bytes memory values, uint256 chunk) private pure returns (bytes memory part) {
        uint256 end = (chunk + 1) * 256 < values.length ? (chunk + 1) * 256 : values.length;
        part = new bytes(end - chunk * 256);
        for (uint256 i = 0; i < part.length; ++i) {
            part[i] = values[chunk * 256 + i];
        }
    }
}
