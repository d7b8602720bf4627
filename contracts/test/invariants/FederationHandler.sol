// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IAggregationCourt} from "../../src/interfaces/IAggregationCourt.sol";
import {IDisputes, UpdateNode} from "../../src/interfaces/IDisputes.sol";
import {Answer} from "../../src/interfaces/IHearing.sol";
import {SumNode} from "../../src/libraries/MerkleSumTree.sol";
import {Phases} from "../../src/libraries/Phases.sol";
import {Proposal, Round, RoundState} from "../../src/libraries/RoundLib.sol";
import {DemandFixture} from "../base/DemandFixture.sol";
import {SumTree} from "../base/SumTree.sol";
import {Asked, Fallen, Falsehood} from "./FederationTypes.sol";

/// @notice Everything that members, coordinator and challengers can do to a federation, true and false, in any order
///         that forge's fuzzer picks. What it knows beside the contract is in `…Stake`, `isLie`, `wrongFinals` and so on.
/// @dev Rounds of the three members of `DisputeFixture`. Member 1 may sign a wrong sum of squares, which the coordinator
///      relays all the same; members 0 and 2 are honest. A lie that nobody looks at can become final: here somebody always looks before that.
contract FederationHandler is DemandFixture {
    /// What the proposal that stands lies about.
    Falsehood public falsehood;
    /// Finals whose model is not what the updates come to.
    uint256 public wrongFinals;
    /// Honest proposals that were rejected.
    uint256 public honestRejections;
    /// Proofs against what is true that were accepted.
    uint256 public falseProofs;
    /// Proofs of what is false that were refused.
    uint256 public refusedProofs;
    /// Proposals that left out an update which waits.
    uint256 public hastyProposals;
    uint256 public finals;
    uint256 public rejections;
    /// Fees of questions that are neither settled nor paid back.
    uint256 public openFees;
    /// Bonds and stakes lost, less what challengers have claimed of them.
    uint256 public lost;
    /// What of them nobody can claim.
    uint256 public burnt;
    /// Seconds that a proposal stood longer than the phases allow.
    uint256 public delayed;
    /// Stakes as the members know them.
    uint256[CLIENTS] public knownStake;
    address[] internal actors;
    /// Leaf whose sums are wrong, if the lie is about a leaf's.
    uint32 internal _lieLeaf;
    Asked[] internal asked;
    Fallen[] internal fallen;
    uint64 internal proposedAt;

    function setUp() public virtual override {
        super.setUp();
        for (uint256 i = 0; i < CLIENTS; ++i) {
            knownStake[i] = STAKE;
            vm.deal(members[i], 1000 ether);
            actors.push(members[i]);
        }
        vm.deal(coordinator, 1_000_000 ether);
        vm.deal(challenger, 1_000_000 ether);
        actors.push(coordinator);
        actors.push(challenger);
        actors.push(stranger);
    }

    // --- a round ---

    function open(bool memberOneLies) external {
        if (_live()) return;
        for (uint256 i = 0; i < CLIENTS; ++i) {
            if (federation.stakeOf(members[i]) < STAKE) _stake(i, STAKE);
        }
        signedTooMuch = memberOneLies ? 1 : 0;
        falsehood = Falsehood.None;
        begin();
    }

    function propose(uint8 kind, uint32 amount) external {
        RoundState state = _round().state;
        if (state != RoundState.Open && state != RoundState.Submitted) return;
        if (_round().waiting > 0) return _proposeTooEarly();
        // The fixture's tree has no place for a fourth update: such a round runs out.
        if (_round().accepted != CLIENTS) return;
        // One proposal in three is honest.
        falsehood = Falsehood(kind % 9 < 7 ? kind % 9 : 0);
        int256 off = int256(uint256(amount % 1000)) + 1;
        // Of an update whose own sum is false no product can be shown: that update is what is proved bad.
        _lieLeaf = signedTooMuch > 0 ? 2 * (amount % 2) : amount % 3;
        Lie memory lie;
        if (falsehood == Falsehood.LeafSums) lie.leafSums[_lieLeaf] = off;
        if (falsehood == Falsehood.NodeSums) lie.nodeSums = -off;
        if (falsehood == Falsehood.NodeWeight) lie.nodeWeight = uint64(uint256(off));
        if (falsehood == Falsehood.Commitment) lie.commitment = keccak256(abi.encode(amount));
        if (falsehood == Falsehood.EmptyLeaf) lie.lastIsEmpty = true;
        if (falsehood == Falsehood.Model) lie.model = off;
        proposeWith(lie);
        proposedAt = uint64(block.timestamp);
    }

    function finalize() external {
        Round memory round = _round();
        if (round.state != RoundState.Proposed || block.timestamp <= round.until) return;
        if (falsehood != Falsehood.None) return _prove();
        if (signedTooMuch > 0) return _proveBadUpdate(1, true);
        if (disputes.hearing(roundId, round.attempt).open > 0) return;
        federation.finalizeRound(roundId);
        _settle(round.attempt);
        ++finals;
        if (federation.modelRoot() != proposal.modelRoot) ++wrongFinals;
        base = model;
    }

    function fail(uint8 by) external {
        address sender = actors[by % actors.length];
        vm.prank(sender);
        try federation.failRound(roundId) {} catch {}
    }

    function pass(uint32 time) external {
        _answerIfHonest();
        vm.warp(block.timestamp + time % 2000);
        vm.roll(block.number + 1);
    }

    // --- disputes ---

    /// @notice Proves what is wrong with the proposal, or with member 1's update.
    function prove() external {
        if (_round().state != RoundState.Proposed) return;
        if (falsehood != Falsehood.None) _prove();
        else if (signedTooMuch > 0) _proveBadUpdate(1, true);
    }

    /// @notice Tries proofs of what is not so.
    function slander(uint8 kind) external {
        if (_round().state != RoundState.Proposed) return;
        if (kind % 2 == 0 && falsehood == Falsehood.None) {
            for (uint8 i = 1; i < 7; ++i) {
                if (_show(_proofOf(Falsehood(i)))) ++falseProofs;
            }
        }
        if (kind % 2 == 1) _proveBadUpdate(0, false);
    }

    function demand(uint8 which, uint8 levels, bool byStranger) external {
        if (_round().state != RoundState.Proposed) return;
        levels = levels % 6 + 1;
        bytes32 hash = [proposal.aggregationRoot, proposal.aggregateRoot, proposal.modelRoot][which % 3];
        address asker = byStranger ? stranger : challenger;
        uint256 price = disputes.demandPrice(roundId, levels);
        vm.deal(asker, asker.balance + price);
        vm.prank(asker);
        try disputes.demand{value: price}(roundId, new bytes[](0), hash, levels) {
            asked.push(Asked(roundId, _round().attempt, hash, levels, price, false));
            openFees += price;
        } catch {}
        uint64 longest = proposedAt + WINDOW + 2 * ANSWER * uint64(Phases.count(CLIENTS, ELEMENTS));
        if (_round().until > longest) ++delayed;
    }

    /// @notice An accomplice that wants its part of whatever falls.
    function accompany(bytes32 digest) external {
        if (_round().state != RoundState.Proposed) return;
        vm.prank(stranger);
        disputes.commit(roundId, digest);
    }

    function answerAll() external {
        if (_round().state == RoundState.Proposed) _answerAll();
    }

    function rejectUnanswered(uint8 which) external {
        if (asked.length == 0) return;
        Asked memory one_ = asked[which % asked.length];
        uint16 attempt = _round().attempt;
        vm.prank(stranger);
        try disputes.rejectUnanswered(roundId, one_.hash, one_.levels) {
            _fell(attempt, stranger);
            if (falsehood == Falsehood.None) ++honestRejections;
        } catch {}
    }

    function reclaim(uint8 which) external {
        if (asked.length > 0) _reclaim(which % asked.length);
    }

    function claim(uint8 which, bool byStranger) external {
        if (fallen.length > 0) _claim(which % fallen.length, byStranger ? stranger : challenger);
    }

    // --- money ---

    function stakeMore(uint8 who, uint64 amount) external {
        _stake(who % CLIENTS, amount);
    }

    function unstake(uint8 who) external {
        uint256 index = who % CLIENTS;
        vm.prank(members[index]);
        try federation.unstake() {
            knownStake[index] = 0;
        } catch {}
    }

    function deposit(uint8 who, uint64 amount) external {
        vm.prank(actors[who % actors.length]);
        try federation.deposit{value: amount}() {} catch {}
    }

    function withdraw(uint8 who) external {
        address actor = actors[who % actors.length];
        vm.prank(actor);
        try federation.withdraw() {} catch {}
        vm.prank(actor);
        try disputes.withdraw() {} catch {}
    }

    // --- what the invariants ask ---

    function balances() external view returns (uint256 held, uint256 explained) {
        held = address(federation).balance;
        explained = federation.lockedBond() + lost;
        for (uint256 i = 0; i < actors.length; ++i) {
            explained += federation.owed(actors[i]) + federation.stakeOf(actors[i]);
        }
    }

    function disputeBalances() external view returns (uint256 held, uint256 explained) {
        held = address(disputes).balance;
        explained = openFees + disputes.burntFees();
        for (uint256 i = 0; i < actors.length; ++i) {
            explained += disputes.owed(actors[i]);
        }
    }

    function stakeIsKnown(uint256 index) external view returns (bool) {
        return federation.stakeOf(members[index]) == knownStake[index];
    }

    /// @return True when the round's weight is that of the updates that count, each within the cap.
    function weightIsRight() external view returns (bool) {
        Round memory round = _round();
        // Of a round that is over no weight is kept.
        if (!_live()) return true;
        uint256 total = 0;
        for (uint32 i = 0; i < round.accepted; ++i) {
            if (commitments[i].weight > federation.rules().maxExamples) return false;
            total += commitments[i].weight;
        }
        return round.totalWeight == total;
    }

    /// @notice Anyone leaves: the round is brought to its end by strangers, everyone fetches all it has.
    function takeOutEverything() public virtual {
        for (uint256 i = 0; i < 4 && _live(); ++i) {
            vm.warp(block.timestamp + 30 days);
            vm.roll(block.number + 1);
            RoundState state = _round().state;
            vm.prank(stranger);
            if (state == RoundState.Proposed) _endProposal();
            else federation.failRound(roundId);
        }
        for (uint256 i = asked.length; i > 0; --i) {
            _reclaim(i - 1);
        }
        for (uint256 i = 0; i < fallen.length; ++i) {
            _claim(i, challenger);
            _claim(i, stranger);
        }
        for (uint256 i = 0; i < actors.length; ++i) {
            address actor = actors[i];
            if (federation.stakeOf(actor) > 0) {
                vm.prank(actor);
                federation.unstake();
            }
            if (federation.owed(actor) > 0) {
                vm.prank(actor);
                federation.withdraw();
            }
            if (disputes.owed(actor) > 0) {
                vm.prank(actor);
                disputes.withdraw();
            }
        }
    }

    /// @return fromFederation Wei left in the federation that are not burnt.
    /// @return fromDisputes Wei left in its disputes.
    function leftBehind() external view returns (uint256 fromFederation, uint256 fromDisputes) {
        return (address(federation).balance - burnt, address(disputes).balance - disputes.burntFees());
    }

    // --- parts ---

    function _proposeTooEarly() private {
        Proposal memory early = defaultProposal();
        vm.prank(coordinator);
        try federation.propose{value: BOND}(roundId, early) {
            ++hastyProposals;
        } catch {}
    }

    function _prove() private {
        // Nothing opens under a sum of squares that is wrong: then the update is what can be proved, and is proved first.
        if (falsehood == Falsehood.LeafSums && _lieLeaf == 1 && signedTooMuch > 0) {
            return _proveBadUpdate(1, true);
        }
        uint16 attempt = _round().attempt;
        if (_show(_proofOf(falsehood))) _fell(attempt, challenger);
        else ++refusedProofs;
    }

    function _proofOf(Falsehood kind) private view returns (bytes memory) {
        if (kind == Falsehood.LeafSums) return _wrongProduct(_lieLeaf);
        if (kind == Falsehood.NodeSums) {
            return abi.encodeCall(
                IAggregationCourt.proveWrongSum,
                (
                    roundId,
                    pairNode(),
                    leaves[0].preimage,
                    leaves[1].preimage,
                    1,
                    sumsChunk(pair, 1),
                    sumsChunk(leaves[0], 1),
                    sumsChunk(leaves[1], 1),
                    bytes32(0)
                )
            );
        }
        if (kind == Falsehood.NodeWeight) {
            return abi.encodeCall(
                IDisputes.proveWrongNode,
                (roundId, pairNode(), leaves[0].preimage, leaves[1].preimage, bytes32(0))
            );
        }
        if (kind == Falsehood.Commitment) {
            return
                abi.encodeCall(IDisputes.proveWrongLeaf, (roundId, leafNode(1), acceptedProof(1), bytes32(0)));
        }
        if (kind == Falsehood.EmptyLeaf) {
            return abi.encodeCall(
                IDisputes.proveWrongNode, (roundId, singleNode(), leaves[2].preimage, "", bytes32(0))
            );
        }
        return abi.encodeCall(
            IAggregationCourt.proveWrongMean,
            (roundId, 1, modelChunk(base, 1), sumsChunk(top, 1), modelChunk(model, 1), bytes32(0))
        );
    }

    function _wrongProduct(uint32 leaf) private view returns (bytes memory) {
        SumNode[][] memory levels = treeOf(leaf);
        return abi.encodeCall(
            IDisputes.proveWrongProduct,
            (
                roundId,
                leafNode(leaf),
                commitments[leaf],
                1,
                SumTree.chunkOf(updates[leaf], 1),
                SumTree.path(levels, 1),
                sumsChunk(leaves[leaf], 1),
                bytes32(0)
            )
        );
    }

    /// @dev The top of the member's tree, whose children's sums do not add up to what was signed; or do.
    function _proveBadUpdate(uint32 index, bool isBad) private {
        SumNode[][] memory levels = treeOf(index);
        uint256 last = levels.length - 1;
        UpdateNode memory node;
        node.preimage = abi.encodePacked(
            uint8(0x01),
            levels[last - 1][0].hash,
            levels[last - 1][0].sum,
            levels[last - 1][1].hash,
            levels[last - 1][1].sum
        );
        node.sum = commitments[index].sumSquares;
        uint16 attempt = _round().attempt;
        bool shown = _show(
            abi.encodeCall(IDisputes.proveBadUpdate, (roundId, acceptedProof(index), node, bytes32(0)))
        );
        if (shown != isBad) isBad ? ++refusedProofs : ++falseProofs;
        if (shown) _fell(attempt, challenger);
    }

    function _show(bytes memory call) private returns (bool success) {
        commitTo(challenger, call);
        vm.prank(challenger);
        (success,) = address(disputes).call(call);
    }

    function _stake(uint256 index, uint256 amount) private {
        if (members[index].balance < amount) return;
        vm.prank(members[index]);
        federation.stake{value: amount}();
        knownStake[index] += amount;
    }

    /// @dev An honest coordinator answers in time, so nobody can bring it down by asking.
    function _answerIfHonest() private {
        if (_round().state == RoundState.Proposed && falsehood == Falsehood.None) _answerAll();
    }

    function _answerAll() private {
        uint16 attempt = _round().attempt;
        for (uint256 i = 0; i < asked.length; ++i) {
            Asked storage one_ = asked[i];
            if (one_.round != roundId || one_.attempt != attempt || one_.answered) continue;
            learnProposal();
            Answer memory given = answerOf(one_.hash, one_.levels);
            try disputes.answerMany(roundId, one(given)) {
                one_.answered = true;
            } catch {}
        }
    }

    /// @dev What is left unanswered brings a proposal down; else it is final.
    function _endProposal() private {
        uint16 attempt = _round().attempt;
        if (disputes.hearing(roundId, attempt).open == 0) {
            federation.finalizeRound(roundId);
            return _settle(attempt);
        }
        for (uint256 i = 0; i < asked.length; ++i) {
            Asked memory one_ = asked[i];
            if (one_.round != roundId || one_.attempt != attempt || one_.answered) continue;
            vm.prank(stranger);
            disputes.rejectUnanswered(roundId, one_.hash, one_.levels);
            return _fell(attempt, stranger);
        }
    }

    /// @dev What the questions about a final proposal cost is the coordinator's, or burnt.
    function _settle(uint16 attempt) private {
        for (uint256 i = asked.length; i > 0; --i) {
            if (asked[i - 1].round == roundId && asked[i - 1].attempt == attempt) _strike(i - 1);
        }
    }

    function _fell(uint16 attempt, address by) private {
        ++rejections;
        lost += BOND;
        burnt += BOND - BOND / 2;
        fallen.push(Fallen(roundId, attempt, by, true));
    }

    function _reclaim(uint256 index) private {
        Asked memory one_ = asked[index];
        try disputes.reclaim(one_.round, one_.attempt, one_.hash, one_.levels) {
            _strike(index);
        } catch {}
    }

    function _claim(uint256 index, address who) private {
        Fallen storage attempt = fallen[index];
        uint256 challengers = disputes.hearing(attempt.round, attempt.attempt).challengers;
        uint256 before = federation.owed(who);
        vm.prank(who);
        try disputes.claimShare(attempt.round, attempt.attempt) {
            uint256 reward = attempt.hasReward && who == attempt.by ? BOND / 4 : 0;
            if (reward > 0) attempt.hasReward = false;
            uint256 share = federation.owed(who) - before - reward;
            // Who ends what others asked has no share.
            if (share != 0 || reward == 0) vm.assertEq(share, BOND / 4 / challengers);
            lost -= reward + share;
        } catch {}
    }

    function _strike(uint256 index) private {
        openFees -= asked[index].price;
        asked[index] = asked[asked.length - 1];
        asked.pop();
    }

    function _live() internal view returns (bool) {
        RoundState state = _round().state;
        return state == RoundState.Open || state == RoundState.Submitted || state == RoundState.Proposed;
    }

    function _round() internal view returns (Round memory) {
        return federation.round(roundId);
    }
}
