// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RuleBook} from "../../src/RuleBook.sol";
import {FederationParameters} from "../../src/interfaces/IFederation.sol";
import {IMembership} from "../../src/interfaces/IMembership.sol";
import {ISigningKeys} from "../../src/interfaces/ISigningKeys.sol";
import {RoundState} from "../../src/libraries/RoundLib.sol";
import {Rules} from "../../src/libraries/RulesLib.sol";
import {Security} from "../../src/libraries/SecurityLib.sol";
import {Consents} from "../base/Consents.sol";
import {FederationFixture} from "../base/FederationFixture.sol";

/// @notice The attacker wants a key that is not its own: to keep the member whose key it is from appointing it, to pass that
///         member's updates off as its own, or to have one signature count for two.
contract TakeAnothersKeyTest is FederationFixture {
    uint256 private constant KEY = uint256(keccak256("key of member 0's trainer"));

    RuleBook private book;
    uint256[5] private signers;
    address[5] private addresses;

    function setUp() public override {
        super.setUp();
        book = RuleBook(federation.ruleBook());
    }

    function test_aStrangerTakesNoKeyAndKeepsNobodyFromOne() public {
        expectNotProved(stranger, "");
        expectNotProved(stranger, new bytes(65));
        bytes memory forMember = proofOf(KEY, members[0]);
        expectNotProved(stranger, forMember);
        expectNotProved(stranger, Consents.malleable(proofOf(KEY, stranger)));
        expectNotProved(stranger, abi.encodePacked(proofOf(KEY, stranger), hex"00"));
        vm.prank(members[0]);
        book.appointKey(vm.addr(KEY), forMember);
        vm.assertEq(book.keyOf(members[0], 1), vm.addr(KEY));
    }

    function test_aProofServesNothingElse() public {
        bytes32 hash = Consents.keyHash(stranger, 0);
        bytes32 digest = Consents.digest(block.chainid, address(0xFED), hash);
        expectNotProved(stranger, Consents.sign(KEY, digest));
        digest = Consents.digest(block.chainid + 1, address(federation), hash);
        expectNotProved(stranger, Consents.sign(KEY, digest));
        digest = Consents.digest(block.chainid, address(federation), Consents.keyHash(stranger, 1));
        expectNotProved(stranger, Consents.sign(KEY, digest));
        // Nor does anything else that the key signs.
        hash = Consents.directHash(stranger, 0, 0);
        digest = Consents.digest(block.chainid, address(federation), hash);
        expectNotProved(stranger, Consents.sign(KEY, digest));
    }

    function testFuzz_noOtherKeyProvesIt(uint256 key, uint64 nonce) public {
        key = bound(key, 1, CURVE_ORDER - 1);
        vm.assume(key != KEY);
        bytes32 hash = Consents.keyHash(stranger, nonce);
        expectNotProved(
            stranger, Consents.sign(key, Consents.digest(block.chainid, address(federation), hash))
        );
    }

    /// @dev Else whoever a key once signed for would have it again whenever it is free.
    function test_aProofIsSpent() public {
        bytes memory proof = proofOf(KEY, members[0]);
        vm.prank(members[0]);
        book.appointKey(vm.addr(KEY), proof);
        vm.prank(vm.addr(KEY));
        book.giveUpKey();
        expectNotProved(members[0], proof);
        // One that was never used too.
        proof = proofOf(KEY, members[1]);
        vm.prank(vm.addr(KEY));
        book.giveUpKey();
        expectNotProved(members[1], proof);
        appointKey(members[0], KEY);
        appointKey(members[0], 0);
        expectNotProved(members[0], proof);
    }

    function test_aMemberIsNobodysKey() public {
        bytes memory proof = proofOf(keys[1], members[0]);
        vm.expectRevert(abi.encodeWithSelector(ISigningKeys.SignsForItself.selector, members[1]));
        vm.prank(members[0]);
        book.appointKey(members[1], proof);
        proof = proofOf(keys[0], members[0]);
        vm.expectRevert(abi.encodeWithSelector(ISigningKeys.SignsForItself.selector, members[0]));
        vm.prank(members[0]);
        book.appointKey(members[0], proof);
        // Nor its own, before it becomes one.
        proof = proofOf(KEY, vm.addr(KEY));
        vm.expectRevert(abi.encodeWithSelector(ISigningKeys.SignsForItself.selector, vm.addr(KEY)));
        vm.prank(vm.addr(KEY));
        book.appointKey(vm.addr(KEY), proof);
    }

    function test_aKeyBecomesAMemberWhenItSignsForNobody() public {
        appointKey(members[0], KEY);
        address[] memory newcomers = new address[](1);
        newcomers[0] = vm.addr(KEY);
        vm.expectRevert(abi.encodeWithSelector(IMembership.KeyOfMember.selector, vm.addr(KEY)));
        vm.prank(owner);
        federation.addMembers(newcomers);
        vm.prank(vm.addr(KEY));
        book.giveUpKey();
        vm.prank(owner);
        federation.addMembers(newcomers);
        vm.assertTrue(federation.isMember(vm.addr(KEY)));
    }

    function test_norWhereAnyoneJoins() public {
        Security memory security = defaultSecurity();
        security.stake = 1 ether;
        FederationParameters memory parameters = parametersOf(defaultRules(), security);
        parameters.openMembership = true;
        federation = createFederation(parameters);
        book = RuleBook(federation.ruleBook());
        appointKey(members[0], KEY);
        address key = vm.addr(KEY);
        vm.deal(key, 2 ether);
        vm.expectRevert(abi.encodeWithSelector(IMembership.KeyOfMember.selector, key));
        vm.prank(key);
        federation.join{value: 1 ether}();
        vm.prank(key);
        book.giveUpKey();
        vm.prank(key);
        federation.join{value: 1 ether}();
    }

    /// @dev Whatever members, keys and strangers do in whatever order: in no round does a signature count for two.
    function testFuzz_inEachRoundASignatureCountsForOne(uint256 seed) public {
        Rules memory rules = defaultRules();
        rules.minClients = 1;
        federation = createFederation(rules, defaultSecurity());
        book = RuleBook(federation.ruleBook());
        for (uint256 i = 0; i < 5; ++i) {
            signers[i] = i < 3 ? keys[i] : uint256(keccak256(abi.encode("signer", i)));
            addresses[i] = vm.addr(signers[i]);
        }
        for (uint256 step = 0; step < 16; ++step) {
            seed = uint256(keccak256(abi.encode(seed)));
            act(seed % 8, (seed >> 8) % 5, (seed >> 16) % 5);
            requireOneEach();
        }
    }

    function act(uint256 kind, uint256 one, uint256 other) private {
        address account = addresses[one];
        if (kind < 3) {
            bytes memory proof = proofOf(signers[other], account);
            vm.prank(account);
            try book.appointKey(addresses[other], proof) {} catch {}
        } else if (kind == 3) {
            appointKey(account, 0);
        } else if (kind == 4) {
            vm.prank(account);
            book.giveUpKey();
        } else if (kind == 5) {
            vm.prank(account);
            try federation.quit() {} catch {}
        } else if (kind == 6) {
            address[] memory newcomers = new address[](1);
            newcomers[0] = account;
            vm.prank(owner);
            try federation.addMembers(newcomers) {} catch {}
        } else {
            vm.prank(coordinator);
            try federation.openRound() {}
            catch {
                uint64 open = federation.currentRound();
                vm.prank(coordinator);
                federation.failRound(open);
            }
        }
    }

    /// @dev In the round that is open, of all who were members when it was opened; in the next, of all who are.
    function requireOneEach() private view {
        uint64 latest = federation.currentRound();
        bool isOpen = federation.round(latest).state == RoundState.Open;
        for (uint64 roundId = isOpen ? latest : latest + 1; roundId < latest + 2; ++roundId) {
            uint256[5] memory counts;
            for (uint256 i = 0; i < 5; ++i) {
                address account = addresses[i];
                if (!federation.isMember(account) && federation.leftIn(account) != roundId) continue;
                address key = book.keyOf(account, roundId);
                for (uint256 j = 0; j < 5; ++j) {
                    if (addresses[j] == account || addresses[j] == key) counts[j] += 1;
                    vm.assertTrue(counts[j] <= 1);
                }
            }
        }
    }

    function expectNotProved(address taker, bytes memory proof) private {
        uint64 nonce = book.keyNonce(vm.addr(KEY));
        vm.expectRevert(abi.encodeWithSelector(ISigningKeys.NotProved.selector, vm.addr(KEY), nonce));
        vm.prank(taker);
        book.appointKey(vm.addr(KEY), proof);
    }
}
