// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DirectSubmissions} from "../../src/DirectSubmissions.sol";
import {Disputes} from "../../src/Disputes.sol";
import {Epochs} from "../../src/Epochs.sol";
import {Federation} from "../../src/Federation.sol";
import {FederationFactory} from "../../src/FederationFactory.sol";
import {Rollups} from "../../src/Rollups.sol";
import {RuleBook} from "../../src/RuleBook.sol";
import {SealedCourt} from "../../src/SealedCourt.sol";
import {SealedDisputes} from "../../src/SealedDisputes.sol";
import {SealedRounds} from "../../src/SealedRounds.sol";
import {FederationParameters, IFederation} from "../../src/interfaces/IFederation.sol";
import {GateTerms} from "../../src/interfaces/IPromotionGate.sol";
import {Proposal, Round} from "../../src/libraries/RoundLib.sol";
import {Refusal, Rules} from "../../src/libraries/RulesLib.sol";
import {SealedRules} from "../../src/libraries/SealedRulesLib.sol";
import {Security} from "../../src/libraries/SecurityLib.sol";
import {Submission, Update} from "../../src/libraries/UpdateTypes.sol";
import {Consents} from "./Consents.sol";
import {TestBase} from "./TestBase.sol";

/// @notice A federation of sixteen members with known keys, in ascending address order.
abstract contract FederationFixture is TestBase {
    uint256 internal constant MEMBERS = 16;
    /// Order of secp256k1.
    uint256 internal constant CURVE_ORDER =
        0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
    bytes32 internal constant INITIAL_ROOT = keccak256("initial model");
    bytes32 internal constant NEXT_ROOT = keccak256("next model");
    bytes32 internal constant AGGREGATE_ROOT = keccak256("aggregate");
    bytes32 internal constant AGGREGATION_ROOT = keccak256("aggregation");
    uint128 internal constant BOND = 256_000;

    address internal owner = address(0x0A11CE);
    address internal coordinator = address(0xC0FFEE);
    address internal stranger = address(0xBAD);
    uint256[] internal keys;
    address[] internal members;
    FederationFactory internal factory;
    Federation internal federation;
    uint256 private _created;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        _makeMembers();
        factory = newFactory();
        federation = createFederation(defaultRules(), defaultSecurity());
        vm.deal(coordinator, 100 * BOND);
    }

    /// @dev A factory with its implementations.
    function newFactory() internal returns (FederationFactory made) {
        bytes[9] memory initCodes = implementationCodes();
        bytes32[9] memory hashes;
        for (uint256 i = 0; i < hashes.length; ++i) {
            hashes[i] = keccak256(initCodes[i]);
        }
        made = new FederationFactory(hashes);
        for (uint256 i = 0; i < hashes.length; ++i) {
            made.install(initCodes[i]);
        }
    }

    function implementationCodes() internal pure returns (bytes[9] memory) {
        return [
            type(Federation).creationCode,
            type(Disputes).creationCode,
            type(Rollups).creationCode,
            type(RuleBook).creationCode,
            type(DirectSubmissions).creationCode,
            type(SealedDisputes).creationCode,
            type(SealedRounds).creationCode,
            type(SealedCourt).creationCode,
            type(Epochs).creationCode
        ];
    }

    function createFederation(Rules memory rules, Security memory security) internal returns (Federation) {
        return createFederation(parametersOf(rules, security));
    }

    function createFederation(FederationParameters memory parameters) internal returns (Federation) {
        return Federation(factory.create(parameters, bytes32(_created++)));
    }

    function createSealed(FederationParameters memory parameters, SealedRules memory sealedRules)
        internal
        returns (Federation)
    {
        return Federation(factory.createSealed(parameters, sealedRules, bytes32(_created++)));
    }

    function parametersOf(Rules memory rules, Security memory security)
        internal
        view
        virtual
        returns (FederationParameters memory)
    {
        return FederationParameters({
            owner: owner,
            coordinator: coordinator,
            rules: rules,
            security: security,
            openMembership: false,
            members: members,
            modelRoot: INITIAL_ROOT,
            modelCid: cidOf("initial")
        });
    }

    function defaultSecurity() internal pure returns (Security memory) {
        return Security({
            challengeSeconds: 600,
            answerSeconds: 120,
            bond: BOND,
            stake: 0,
            demandFee: 1000,
            postFee: 1000,
            noticeSeconds: 1 days,
            openSeconds: 0
        });
    }

    /// @dev Roots over what the latest round holds; it asks the federation, so call it before a cheatcode about a call.
    function defaultProposal() internal view returns (Proposal memory) {
        return proposalOf(AGGREGATION_ROOT, AGGREGATE_ROOT, NEXT_ROOT);
    }

    function proposalOf(bytes32 aggregationRoot, bytes32 aggregateRoot, bytes32 modelRoot)
        internal
        view
        returns (Proposal memory)
    {
        Round memory latest = federation.round(federation.currentRound());
        bytes memory range = abi.encodePacked(latest.accepted);
        for (uint256 level = 32; level > 0; --level) {
            if ((latest.accepted >> (level - 1)) & 1 == 0) continue;
            range = bytes.concat(range, federation.commitmentPeak(level - 1));
        }
        return Proposal(
            latest.accepted,
            latest.totalWeight,
            keccak256(range),
            0,
            0,
            aggregationRoot,
            aggregateRoot,
            modelRoot,
            cidOf("next")
        );
    }

    /// @dev Pays the bond, unless it came with a roll-up.
    function propose(uint64 roundId) internal {
        Round memory round = federation.round(roundId);
        propose(roundId, round.rolledUp && round.attempt == 0 ? 0 : BOND);
    }

    function propose(uint64 roundId, uint256 bond) internal {
        proposeAs(coordinator, roundId, bond);
    }

    function proposeAs(address by, uint64 roundId, uint256 bond) internal {
        Proposal memory proposal = defaultProposal();
        vm.prank(by);
        federation.propose{value: bond}(roundId, proposal);
    }

    function expectNoProposal(uint64 roundId, bytes memory reason) internal {
        Proposal memory proposal = defaultProposal();
        vm.expectRevert(reason);
        vm.prank(coordinator);
        federation.propose{value: BOND}(roundId, proposal);
    }

    /// @dev Proposes, and makes final when the window is over.
    function conclude(uint64 roundId) internal {
        propose(roundId);
        vm.warp(federation.round(roundId).until + 1);
        federation.finalizeRound(roundId);
    }

    /// @dev Versions serve as soon as they are registered.
    function noGate() internal pure returns (GateTerms memory terms) {}

    function defaultRules() internal pure returns (Rules memory) {
        return Rules({
            minClients: 10,
            minExamples: 20,
            maxExamples: 400,
            maxSumSquares: 107_374_182_400,
            elements: 61_706,
            fractionBits: 16,
            roundSeconds: 3600,
            minAccuracyPpm: 100_000,
            maxLossMicros: 5_000_000,
            maxSharePpm: 1_000_000,
            minLabels: 0,
            restRounds: 0,
            maxEpsilonMicros: 0,
            aggregator: 0
        });
    }

    function defaultSealedRules() internal pure returns (SealedRules memory) {
        return SealedRules({
            groupSize: 8,
            epochRounds: 4,
            minRoster: 8,
            minGroups: 1,
            groupNormPpm: 1_000_000,
            noiseSquares: 0,
            enrolSeconds: 600,
            keySeconds: 600,
            unmaskSeconds: 600
        });
    }

    /// @dev The bytes of a CIDv1, raw codec, keccak-256: SHA-256 is a precompile, and calling it would take the place
    ///      of the call that a cheatcode before it is about.
    function cidOf(bytes memory content) internal pure returns (bytes memory) {
        return abi.encodePacked(hex"01551b20", keccak256(content));
    }

    /// @dev Wei of the federation that are burnt, or of a lost bond and not claimed.
    /// @param accomplice Somebody beside the fixture's accounts who may be owed something.
    function nobodys(address accomplice) internal view returns (uint256 amount) {
        address[4] memory others = [coordinator, stranger, address(0xCA11), accomplice];
        amount = address(federation).balance - federation.lockedBond();
        for (uint256 i = 0; i < others.length; ++i) {
            amount -= federation.owed(others[i]) + federation.stakeOf(others[i]);
        }
        for (uint256 i = 0; i < members.length; ++i) {
            amount -= federation.owed(members[i]) + federation.stakeOf(members[i]);
        }
    }

    /// @dev Gives each of the first members something to stake, and stakes it.
    function stakeOfFirst(uint256 count, uint128 amount) internal {
        for (uint256 i = 0; i < count; ++i) {
            vm.deal(members[i], amount);
            vm.prank(members[i]);
            federation.stake{value: amount}();
        }
    }

    function openRound() internal returns (uint64 roundId) {
        vm.prank(coordinator);
        return federation.openRound();
    }

    function submit(uint64 roundId, Submission[] memory submissions) internal {
        vm.prank(coordinator);
        federation.submit(roundId, submissions);
    }

    function submitOne(uint64 roundId, Submission memory submission) internal {
        Submission[] memory submissions = new Submission[](1);
        submissions[0] = submission;
        submit(roundId, submissions);
    }

    /// @dev That a key is the member's, as the key signs it for its next appointment.
    function proofOf(uint256 key, address member) internal view returns (bytes memory) {
        uint64 nonce = RuleBook(federation.ruleBook()).keyNonce(vm.addr(key));
        bytes32 hash = Consents.keyHash(member, nonce);
        return Consents.sign(key, Consents.digest(block.chainid, address(federation), hash));
    }

    /// @dev The member appoints a key with its proof, or none if the key is 0.
    function appointKey(address member, uint256 key) internal {
        RuleBook book = RuleBook(federation.ruleBook());
        (address signer, bytes memory proof) =
            key == 0 ? (address(0), bytes("")) : (vm.addr(key), proofOf(key, member));
        vm.prank(member);
        book.appointKey(signer, proof);
    }

    /// @dev The member submits its update itself.
    function bringOwn(DirectSubmissions direct, uint64 roundId, Submission memory submission) internal {
        vm.prank(submission.member);
        direct.submit(roundId, submission, "");
    }

    /// @dev An update within all rules.
    function honestUpdate(uint64 roundId, uint256 index) internal view returns (Update memory) {
        return Update({
            round: roundId,
            rulesHash: federation.rulesHash(),
            baseRoot: federation.modelRoot(),
            updateRoot: keccak256(abi.encode("update", roundId, index)),
            sumSquares: uint128(1_000_000 + index),
            elements: 61_706,
            fractionBits: 16,
            examples: uint32(100 + index),
            accuracyPpm: 912_345,
            lossMicros: 301_234,
            labels: 10,
            epsilonMicros: 0,
            deadline: uint64(block.timestamp + 1800),
            cid: cidOf(abi.encode("update", roundId, index))
        });
    }

    function signature(uint256 key, Update memory update) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, federation.hashUpdate(update));
        return abi.encodePacked(r, s, v);
    }

    function signed(uint256 index, Update memory update) internal view returns (Submission memory) {
        return Submission(members[index], update, signature(keys[index], update));
    }

    /// @dev Honest updates of members first … first + count − 1.
    function honestSubmissions(uint64 roundId, uint256 first, uint256 count)
        internal
        view
        returns (Submission[] memory submissions)
    {
        submissions = new Submission[](count);
        for (uint256 i = 0; i < count; ++i) {
            submissions[i] = signed(first + i, honestUpdate(roundId, first + i));
        }
    }

    function expectRefusal(Submission memory submission, Refusal reason) internal {
        vm.expectEmit();
        emit IFederation.UpdateRefused(
            federation.currentRound(),
            submission.member,
            reason,
            submission.update.updateRoot,
            submission.update.cid
        );
    }

    function _makeMembers() private {
        for (uint256 i = 0; i < MEMBERS; ++i) {
            uint256 key = uint256(keccak256(abi.encode("member", i)));
            keys.push(key);
            // Insertion sort by address.
            for (uint256 j = i; j > 0 && vm.addr(keys[j - 1]) > vm.addr(keys[j]); --j) {
                (keys[j - 1], keys[j]) = (keys[j], keys[j - 1]);
            }
        }
        for (uint256 i = 0; i < MEMBERS; ++i) {
            members.push(vm.addr(keys[i]));
        }
    }
}
