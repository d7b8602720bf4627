// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DirectSubmissions} from "../../src/DirectSubmissions.sol";
import {Disputes} from "../../src/Disputes.sol";
import {Rollups} from "../../src/Rollups.sol";
import {RuleBook} from "../../src/RuleBook.sol";
import {FederationParameters} from "../../src/interfaces/IFederation.sol";
import {Commitment} from "../../src/libraries/CommitmentTree.sol";
import {SumNode} from "../../src/libraries/MerkleSumTree.sol";
import {Record} from "../../src/libraries/RecordTree.sol";
import {Round, RoundState} from "../../src/libraries/RoundLib.sol";
import {Rules} from "../../src/libraries/RulesLib.sol";
import {Security} from "../../src/libraries/SecurityLib.sol";
import {Submission, Update} from "../../src/libraries/UpdateTypes.sol";
import {VectorKind} from "../../src/libraries/VectorTree.sol";
import {SumTree} from "../base/SumTree.sol";
import {VectorForest} from "../base/VectorForest.sol";
import {Purses} from "./Purses.sol";

/// @notice The parties of the campaign, and what they know of the present round beside the contracts.
/// @dev Members 0 to 2 are honest, 3 to 5 accomplices of the lying coordinator. Whatever a handler does is first worked out
///      in memory and written down when it succeeded, so that a reorganisation can take it along.
abstract contract GameWorld is Purses {
    uint64 internal constant ELEMENTS = 65;
    uint256 internal constant CLIENTS = 6;
    uint256 internal constant HONEST = 3;
    uint128 internal constant STAKE = 128_000;
    uint64 internal constant WINDOW = 600;
    uint64 internal constant ANSWER = 120;
    uint64 internal constant NOTICE = 900;
    /// Of two chunks.
    uint256 internal constant POST_FEE = 2000;

    enum Falsehood {
        None,
        LeafSums,
        NodeSums,
        NodeWeight,
        WrongLeaf,
        EmptyLeaf,
        Model,
        MalformedRoot,
        MalformedVector,
        /// Roots whose preimages nobody knows.
        Hidden
    }

    enum RollupLie {
        None,
        Reason,
        Weight,
        Sequence,
        Commitment,
        Submission,
        Malformed,
        Hidden,
        Omission
    }

    address internal liar = address(0x11A2);
    address internal challenger = address(0xCA11);
    address internal second = address(0xCA12);
    Disputes internal disputes;
    Rollups internal court;
    DirectSubmissions internal direct;
    RuleBook internal book;

    uint64 internal roundId;
    int256[] internal base;
    /// What the range holds, in its order.
    Commitment[] internal counted;
    Submission[] internal received;
    Record[] internal records;
    /// What the proposal and the roll-up lie about, and how.
    Falsehood internal lie;
    uint256 internal lieSeed;
    RollupLie internal rollupLie;
    /// Record or member that the roll-up lies about.
    uint32 internal liedAt;
    /// One more than the index of an update whose own sum is false.
    uint256 internal badAt;
    uint64 internal proposedAt;
    /// Last direct submission of each member, and its round.
    mapping(uint256 member => Submission) internal own;
    mapping(uint256 member => uint64) internal ownIn;

    function setUp() public virtual override {
        super.setUp();
        base = new int256[](ELEMENTS);
        for (uint256 j = 0; j < ELEMENTS; ++j) {
            base[j] = int256((j * 5) % 41) + 11;
        }
        Rules memory rules = defaultRules();
        rules.minClients = 2;
        rules.elements = ELEMENTS;
        Security memory security = defaultSecurity();
        security.stake = STAKE;
        security.noticeSeconds = NOTICE;
        federation = createFederation(rules, security);
        disputes = Disputes(payable(federation.disputes()));
        court = Rollups(federation.rollups());
        direct = DirectSubmissions(federation.directSubmissions());
        book = RuleBook(federation.ruleBook());
        stakeOfFirst(CLIENTS, STAKE);
        actors.push(coordinator);
        for (uint256 i = 0; i < HONEST; ++i) {
            actors.push(members[i]);
        }
        actors.push(challenger);
        actors.push(second);
        // The coordinator, three members, two challengers.
        honestActors = actors.length;
        for (uint256 i = HONEST; i < CLIENTS; ++i) {
            actors.push(members[i]);
        }
        actors.push(liar);
        actors.push(stranger);
        actors.push(owner);
        for (uint256 i = 0; i < actors.length; ++i) {
            vm.deal(actors[i], RICHES);
        }
    }

    function parametersOf(Rules memory rules, Security memory security)
        internal
        view
        override
        returns (FederationParameters memory parameters)
    {
        parameters = super.parametersOf(rules, security);
        if (rules.elements != ELEMENTS) return parameters;
        parameters.openMembership = true;
        parameters.modelRoot = VectorForest.rootOf(VectorKind.Model, base);
        parameters.members = new address[](CLIENTS);
        for (uint256 i = 0; i < CLIENTS; ++i) {
            parameters.members[i] = members[i];
        }
    }

    // --- what is so ---

    function isFalse() internal view returns (bool) {
        return lie != Falsehood.None || rollupLie != RollupLie.None || badAt > 0;
    }

    /// @dev Whether the honest coordinator made the statements of this round. A round stays with who opened it.
    function isHonestRound() internal view returns (bool) {
        return federation.coordinator() == coordinator;
    }

    /// @dev Whether anyone may propose.
    function isForAll(Round memory round) internal view returns (bool) {
        bool takes = round.state == RoundState.Open || round.state == RoundState.Submitted;
        return takes && round.rolledUp && block.timestamp > round.until;
    }

    function round_() internal view returns (Round memory) {
        return federation.round(roundId);
    }

    function isLive(Round memory round) internal pure returns (bool) {
        RoundState state = round.state;
        return state == RoundState.Open || state == RoundState.Submitted || state == RoundState.Proposed;
    }

    /// @dev A member's change of the model in a round.
    function vectorOf(uint64 number, uint256 index) internal pure returns (int256[] memory values) {
        values = new int256[](ELEMENTS);
        for (uint256 j = 0; j < ELEMENTS; ++j) {
            values[j] = int256((j * (7 * index + 3) + number) % 41) - 20;
        }
    }

    function treeOf(uint256 index) internal view returns (SumNode[][] memory) {
        return SumTree.build(SumTree.contextOf(federation, roundId, members[index]), vectorOf(roundId, index));
    }

    function indexOf(address member) internal view returns (uint256 index) {
        while (members[index] != member) ++index;
    }

    /// @dev What a member signs, with its appointed key if it has one. A bad update states one too much.
    function signedUpdate(uint256 index, bool bad) internal view returns (Submission memory) {
        SumNode memory root = SumTree.rootOf(treeOf(index));
        Update memory update = honestUpdate(roundId, index);
        update.elements = ELEMENTS;
        update.updateRoot = root.hash;
        update.sumSquares = root.sum + (bad ? 1 : 0);
        bool hasKey = book.keyOf(members[index], roundId) == vm.addr(keyFor(index));
        return Submission(members[index], update, signature(hasKey ? keyFor(index) : keys[index], update));
    }

    function keyFor(uint256 index) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode("appointed", index)));
    }

    function isBad(Submission memory submission) internal view returns (bool) {
        return submission.update.sumSquares != SumTree.rootOf(treeOf(indexOf(submission.member))).sum;
    }

    /// @dev Writes down that an update counts.
    function count(Submission memory submission) internal {
        uint32 most = federation.rules().maxExamples;
        uint32 examples = submission.update.examples;
        counted.push(
            Commitment(
                submission.member,
                examples < most ? examples : most,
                submission.update.updateRoot,
                submission.update.sumSquares
            )
        );
        if (isBad(submission)) badAt = counted.length;
    }

    function isWaiting(uint256 index) internal view returns (bool) {
        return ownIn[index] == roundId && uint8(direct.directUpdate(roundId, members[index]).state) == WAITING;
    }

    uint8 internal constant WAITING = 1;

    function one(Submission memory submission) internal pure returns (Submission[] memory list) {
        list = new Submission[](1);
        list[0] = submission;
    }
}
