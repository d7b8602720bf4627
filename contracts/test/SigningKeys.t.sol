// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RuleBook} from "../src/RuleBook.sol";
import {Fraud, ICourt, UpdateNode} from "../src/interfaces/ICourt.sol";
import {IFederation} from "../src/interfaces/IFederation.sol";
import {ISigningKeys} from "../src/interfaces/ISigningKeys.sol";
import {RecordProof} from "../src/libraries/RecordTree.sol";
import {RoundState} from "../src/libraries/RoundLib.sol";
import {Refusal} from "../src/libraries/RulesLib.sol";
import {Submission, Update} from "../src/libraries/UpdateTypes.sol";
import {FederationFixture} from "./base/FederationFixture.sol";
import {RollupFixture} from "./base/RollupFixture.sol";

uint256 constant KEY = uint256(keccak256("appointed key"));
uint256 constant OTHER_KEY = uint256(keccak256("other key"));

/// @notice A member without a key of its own, which calls what it is told to; whoever asks it for a signature (ERC-1271)
///         waits for ever.
contract Wallet {
    function call(address target, bytes calldata data) external payable {
        (bool success, bytes memory result) = target.call{value: msg.value}(data);
        if (!success) {
            assembly ("memory-safe") {
                revert(add(result, 0x20), mload(result))
            }
        }
    }

    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes4 answer) {
        while (answer == 0) {}
    }
}

/// @notice Who signs for a member whose updates are relayed one by one.
contract SigningKeysTest is FederationFixture {
    Wallet private wallet;
    RuleBook private book;

    function setUp() public override {
        super.setUp();
        wallet = new Wallet();
        address[] memory newcomers = new address[](1);
        newcomers[0] = address(wallet);
        vm.prank(owner);
        federation.addMembers(newcomers);
        book = RuleBook(federation.ruleBook());
    }

    function test_aWalletsUpdateCountsBeneathItsKey() public {
        vm.expectEmit();
        emit ISigningKeys.KeyAppointed(address(wallet), vm.addr(KEY), 1);
        appointForWallet(KEY);
        uint64 roundId = openRound();
        submitOne(roundId, byKey(KEY, roundId));
        vm.assertEq(uint256(federation.round(roundId).accepted), 1);
    }

    function test_aWalletWithoutAKeySignsNothingAndHoldsUpNobody() public {
        uint64 roundId = openRound();
        Submission memory submission = byKey(KEY, roundId);
        expectRefusal(submission, Refusal.BadSignature);
        submitOne(roundId, submission);
        // A signature of nobody recovers to the zero address, which is what a member without a key has appointed.
        submission.signature = new bytes(65);
        expectRefusal(submission, Refusal.BadSignature);
        submitOne(roundId, submission);
    }

    function test_anAppointmentWaitsForTheNextRound() public {
        appointForWallet(KEY);
        uint64 roundId = openRound();
        appointForWallet(OTHER_KEY);
        vm.assertEq(book.keyOf(address(wallet), roundId), vm.addr(KEY));
        expectRefusal(byKey(OTHER_KEY, roundId), Refusal.BadSignature);
        submitOne(roundId, byKey(OTHER_KEY, roundId));
        submitOne(roundId, byKey(KEY, roundId));
        vm.assertEq(uint256(federation.round(roundId).accepted), 1);
        failRound(roundId);

        roundId = openRound();
        expectRefusal(byKey(KEY, roundId), Refusal.BadSignature);
        submitOne(roundId, byKey(KEY, roundId));
        submitOne(roundId, byKey(OTHER_KEY, roundId));
        vm.assertEq(uint256(federation.round(roundId).accepted), 1);
        vm.assertEq(book.keyOf(address(wallet), 1), vm.addr(KEY));
    }

    function test_anAppointmentIsTakenBack() public {
        appointForWallet(KEY);
        appointKey(address(wallet), 0);
        vm.assertEq(book.keyOf(address(wallet), 1), address(0));
        uint64 roundId = openRound();
        expectRefusal(byKey(KEY, roundId), Refusal.BadSignature);
        submitOne(roundId, byKey(KEY, roundId));
    }

    function test_aMembersOwnKeySignsBesideTheOneItAppointed() public {
        appointKey(members[2], KEY);
        uint64 roundId = openRound();
        submitOne(roundId, signed(2, honestUpdate(roundId, 2)));
        Update memory update = honestUpdate(roundId, 2);
        expectRefusal(Submission(members[2], update, signature(KEY, update)), Refusal.Duplicate);
        submitOne(roundId, Submission(members[2], update, signature(KEY, update)));
    }

    function test_aKeySignsForOneMemberOnly() public {
        appointForWallet(KEY);
        bytes memory proof = proofOf(KEY, members[2]);
        vm.expectRevert(abi.encodeWithSelector(ISigningKeys.KeyTaken.selector, vm.addr(KEY), address(wallet)));
        vm.prank(members[2]);
        book.appointKey(vm.addr(KEY), proof);
        vm.assertEq(book.appointedBy(vm.addr(KEY)), address(wallet));
        uint64 roundId = openRound();
        Submission memory submission = byKey(KEY, roundId);
        submission.member = members[2];
        expectRefusal(submission, Refusal.BadSignature);
        submitOne(roundId, submission);
    }

    /// @dev In the round that is open it signs for the first still, and for nobody else.
    function test_aKeyThatWasReplacedIsFreeFromTheNextRoundOn() public {
        appointForWallet(KEY);
        uint64 roundId = openRound();
        appointForWallet(OTHER_KEY);
        vm.assertEq(book.appointedBy(vm.addr(KEY)), address(0));
        appointKey(members[2], KEY);
        vm.assertEq(book.keyOf(address(wallet), roundId), vm.addr(KEY));
        vm.assertEq(book.keyOf(members[2], roundId), address(0));
        vm.assertEq(book.keyOf(address(wallet), roundId + 1), vm.addr(OTHER_KEY));
        vm.assertEq(book.keyOf(members[2], roundId + 1), vm.addr(KEY));
    }

    function test_aKeyGivesItselfUp() public {
        appointForWallet(KEY);
        uint64 roundId = openRound();
        vm.expectEmit();
        emit ISigningKeys.KeyAppointed(address(wallet), address(0), roundId + 1);
        vm.prank(vm.addr(KEY));
        book.giveUpKey();
        vm.snapshotGasLastCall("SigningKeys", "giveUpKey");
        vm.assertEq(book.keyOf(address(wallet), roundId), vm.addr(KEY));
        vm.assertEq(book.keyOf(address(wallet), roundId + 1), address(0));
        vm.assertEq(book.appointedBy(vm.addr(KEY)), address(0));
        appointForWallet(KEY);
        vm.assertEq(book.keyOf(address(wallet), roundId + 1), vm.addr(KEY));
    }

    function test_theSameKeyAgainChangesNothing() public {
        appointForWallet(KEY);
        appointForWallet(KEY);
        vm.snapshotGasLastCall("SigningKeys", "appointKey, by a wallet");
        vm.assertEq(book.appointedBy(vm.addr(KEY)), address(wallet));
        vm.assertEq(book.keyOf(address(wallet), 1), vm.addr(KEY));
        vm.assertEq(uint256(book.keyNonce(vm.addr(KEY))), 2);
    }

    function testFuzz_everyRoundHasTheKeyAppointedLastBeforeIt(uint256 seed) public {
        address[] memory expected = new address[](9);
        address latest;
        for (uint64 roundId = 1; roundId < 9; ++roundId) {
            for (uint256 i = uint256(keccak256(abi.encode(seed, roundId))) % 3; i > 0; --i) {
                uint256 key = uint256(keccak256(abi.encode(seed, roundId, i))) % 4;
                latest = key == 0 ? address(0) : vm.addr(key);
                appointKey(address(wallet), key);
            }
            expected[openRound()] = latest;
            failRound(roundId);
            for (uint64 earlier = 1; earlier <= roundId; ++earlier) {
                vm.assertEq(book.keyOf(address(wallet), earlier), expected[earlier]);
            }
        }
    }

    function appointForWallet(uint256 key) private {
        bytes memory proof = proofOf(key, address(wallet));
        wallet.call(address(book), abi.encodeCall(book.appointKey, (vm.addr(key), proof)));
    }

    function byKey(uint256 key, uint64 roundId) private view returns (Submission memory) {
        Update memory update = honestUpdate(roundId, 99);
        return Submission(address(wallet), update, signature(key, update));
    }

    function failRound(uint64 roundId) private {
        vm.prank(coordinator);
        federation.failRound(roundId);
    }
}

/// @notice The same where updates are rolled up: no record that was true becomes a lie. Member 3's update, which is signed by
///         another key than its own, is the one that this is about.
contract RolledUpKeysTest is RollupFixture {
    function test_aRecordThatTheAppointedKeySignedCounts() public {
        appointKey(members[3], FOREIGN_KEY);
        begin();
        rollUp();
        propose(roundId);
        // The fixture's record says that the signature is bad.
        bytes memory call = wrongRecord(3);
        commitTo(challenger, call);
        vm.expectEmit();
        emit ICourt.FraudProved(roundId, challenger, Fraud.WrongRecord, 1);
        show(call);
        vm.assertTrue(federation.round(roundId).state == RoundState.Failed);
    }

    function test_whatIsAppointedLaterProvesNothing() public {
        begin();
        appointKey(members[3], FOREIGN_KEY);
        rollUp();
        propose(roundId);
        vm.assertEq(failureOf(wrongRecord(3)), abi.encodeWithSelector(ICourt.NoFraud.selector));
    }

    function test_anAppointmentTakenBackLaterProvesNothing() public {
        appointKey(members[3], FOREIGN_KEY);
        begin();
        countMember3();
        appointKey(members[3], 0);
        rollUp();
        propose(roundId);
        vm.assertEq(failureOf(wrongRecord(3)), abi.encodeWithSelector(ICourt.NoFraud.selector));
    }

    /// @dev The record of member 3, as the rules demand where it had appointed the key.
    function countMember3() private {
        records[3].reason = 0;
        records[3].weight = received[3].update.examples;
        for (uint256 i = 3; i < CLIENTS; ++i) {
            records[i].accepted += 1;
            records[i].total += records[3].weight;
        }
        commitments.push(commitments[2]);
        commitments[2].member = members[3];
        commitments[2].weight = records[3].weight;
        commitments[2].updateRoot = received[3].update.updateRoot;
        commitments[2].sumSquares = received[3].update.sumSquares;
    }

    function wrongRecord(uint32 index) private view returns (bytes memory) {
        RecordProof memory proof = recordProof(index);
        return abi.encodeCall(court.proveWrongRecord, (roundId, proof, received[index], bytes32("salt")));
    }
}
