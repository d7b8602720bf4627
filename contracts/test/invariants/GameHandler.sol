// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPullPayments} from "../../src/interfaces/IPullPayments.sol";
import {Phases} from "../../src/libraries/Phases.sol";
import {Proposal, Round, RoundState} from "../../src/libraries/RoundLib.sol";
import {Rules} from "../../src/libraries/RulesLib.sol";
import {Submission} from "../../src/libraries/UpdateTypes.sol";
import {GameMembers} from "./GameMembers.sol";
import {Knowledge} from "./Knowledge.sol";

/// @notice What strangers, a hostile owner, time and the chain itself do to a federation.
/// @dev Before time passes the end of a window the honest get to act: the coordinator answers, members post, a challenger
///      shows what is false, somebody makes final what is true.
contract GameHandler is GameMembers {
    function setUp() public override {
        super.setUp();
    }

    function breakRule(Broken rule) external {
        broken = rule;
    }

    // --- strangers ---

    function grief(uint8 kind, uint8 who, uint64 seed) external watched {
        harm(kind, who, seed);
    }

    function harm(uint8 kind, uint8 who, uint64 seed) internal {
        kind = kind % 10;
        if (kind < 3) return askAnything(seed);
        if (kind == 3) slanderBy(seed % 2 == 0 ? stranger : liar, seed, false);
        if (kind == 4) _commitBlindly(who, seed);
        if (kind == 5) _rejectAny(seed);
        if (kind == 6 && asked.length > 0) reclaimAt(seed % asked.length);
        if (kind == 7 && fallen.length > 0) claimAt(seed % fallen.length, actors[who % actors.length]);
        if (kind == 8) _speakFor(who % HONEST, seed);
        if (kind == 9) _end(seed, who % CLIENTS);
    }

    function askAnything(uint64 seed) internal {
        if (!isProposed()) return;
        Round memory round = round_();
        uint8 levels = uint8(seed % 6) + 1;
        uint256 which = (seed >> 8) % 6;
        bytes32 hash = [round.aggregationRoot, round.aggregateRoot, round.modelRoot][which % 3];
        bytes[] memory path = new bytes[](0);
        if (which == 3 && round.rolledUp) hash = court.latest().recordsRoot;
        if (which == 4 && lie != Falsehood.Hidden) {
            path = new bytes[](1);
            path[0] = topOf(tell(lie, lieSeed)).preimage;
            (hash,) = Knowledge.childrenOf(path[0]);
        }
        ask(seed % 3 == 0 ? liar : stranger, path, hash, levels);
    }

    function _commitBlindly(uint8 who, uint64 seed) private {
        if (!isProposed()) return;
        vm.prank(actors[honestActors + who % (actors.length - honestActors)]);
        disputes.commit(roundId, bytes32(uint256(seed)));
    }

    function _rejectAny(uint64 seed) private {
        if (asked.length == 0) return;
        Asked memory question = asked[seed % asked.length];
        uint16 attempt = round_().attempt;
        vm.prank(stranger);
        try disputes.rejectUnanswered(roundId, question.hash, question.levels) {
            fell(attempt);
        } catch {}
    }

    /// @dev What an honest member gave the coordinator to relay is brought directly, and its key is appointed by others.
    function _speakFor(uint256 i, uint64 seed) private {
        if (round_().state == RoundState.Open) {
            Submission memory submission = signedUpdate(i, false);
            vm.prank(seed % 2 == 0 ? liar : stranger);
            try direct.submit(roundId, submission, "") {
                ++stolenVoices;
            } catch {}
        }
        bytes memory proof_ = proofOf(keyFor(i), members[i]);
        address key = vm.addr(keyFor(i));
        vm.prank(members[HONEST]);
        try book.appointKey(key, proof_) {
            ++stolenVoices;
        } catch {}
    }

    /// @dev Whoever likes ends what can be ended.
    function _end(uint64 seed, uint256 i) private {
        if (seed % 4 == 0) return forfeit(i);
        if (seed % 4 == 1) {
            finalizeAny();
            return;
        }
        if (seed % 4 == 2) {
            vm.prank(stranger);
            try federation.failRound(roundId) {
                happened("round failed");
            } catch {}
            return;
        }
        for (uint256 k = postings.length; k > 0; --k) {
            try direct.reclaim(postings[k - 1].round, members[postings[k - 1].member]) {
                postings[k - 1] = postings[postings.length - 1];
                postings.pop();
            } catch {}
        }
    }

    // --- money ---

    function move(uint8 who, uint8 kind, uint64 amount) external watched {
        address account = actors[who % actors.length];
        if (kind % 4 == 0) {
            vm.prank(account);
            return federation.deposit{value: amount}();
        }
        IPullPayments payer =
            [IPullPayments(federation), IPullPayments(disputes), IPullPayments(direct)][kind % 3];
        if (payer.owed(account) == 0) return;
        vm.prank(account);
        payer.withdrawTo(payable(account));
    }

    // --- the owner ---

    function own_(uint8 kind, uint8 who, uint64 seed) external watched {
        kind = kind % 8;
        if (kind < 3) {
            vm.prank(owner);
            return federation.replaceCoordinator(seed % 2 == 0 ? coordinator : liar);
        }
        if (kind < 5) return _announce(seed);
        if (kind == 5) return _passLong(seed);
        _changeMembers(members[who % CLIENTS], kind == 6);
        if (seed % 16 > 0) return;
        vm.prank(owner);
        try book.cancelRules() {
            happened("rules cancelled");
        } catch {}
    }

    function _changeMembers(address account, bool add) private {
        address[] memory list = new address[](1);
        list[0] = account;
        vm.prank(owner);
        if (add) {
            try federation.addMembers(list) {} catch {}
        } else {
            try federation.removeMember(account) {} catch {}
        }
    }

    function _announce(uint64 seed) private {
        Rules memory next = federation.rules();
        next.minExamples = uint32(20 + seed % 84);
        next.maxExamples = uint32(next.minExamples + (seed >> 8) % 300);
        next.minClients = uint32(2 + (seed >> 16) % 2);
        next.roundSeconds = uint64(1800 + (seed >> 24) % 1800);
        vm.prank(owner);
        try book.announceRules(next) {} catch {}
    }

    // --- time ---

    function pass(uint16 time) external watched {
        _pass(uint64(block.timestamp) + time % 1000);
    }

    /// @dev Days in which nobody opens a round, so that announcements expire.
    function _passLong(uint64 time) private {
        if (isLive(round_()) || time % 4 > 0) return;
        vm.warp(block.timestamp + time % 20 days);
        vm.roll(block.number + 1);
    }

    function _pass(uint64 target) private {
        if (round_().state == RoundState.Open) _postInTime(target);
        bool isTrue = isHonest(bondHolder) && !isFalse();
        if (isProposed() && isHonest(bondHolder)) _answerInTime(target);
        if (isProposed() && isFalse()) _challengeInTime(target);
        if (isProposed() && target > round_().until) {
            if (block.timestamp <= round_().until) vm.warp(round_().until + 1);
            if (broken != Broken.NobodyFinalises && !finalizeAny() && isTrue) ++lateFinals;
        }
        if (block.timestamp < target) vm.warp(target);
        vm.roll(block.number + 1);
        uint64 longest = proposedAt + WINDOW + 2 * ANSWER * uint64(Phases.count(CLIENTS, ELEMENTS));
        if (isTrue && isProposed() && (block.timestamp > longest || round_().until > longest)) ++lateFinals;
        if (broken == Broken.MoneyAppears) vm.deal(address(disputes), address(disputes).balance + 1);
        if (broken == Broken.LyingSideIsPaid) vm.deal(liar, liar.balance + BOND);
    }

    function _postInTime(uint64 target) private {
        if (broken == Broken.VectorsAreNotPosted) return;
        for (uint256 i = 0; i < HONEST; ++i) {
            uint64 due = dueOf(i);
            if (due > 0 && due < target) post(i, true);
        }
    }

    function _answerInTime(uint64 target) private {
        if (broken == Broken.AnswersComeLate) return;
        for (uint256 i = 0; i < asked.length; ++i) {
            if (asked[i].round != roundId || asked[i].answered) continue;
            uint64 due = disputes.question(roundId, asked[i].attempt, asked[i].hash, asked[i].levels).due;
            if (due < target) return answerAll();
        }
    }

    /// @dev What is hidden is asked for within the window; what can be proved is proved when it is about to be final.
    function _challengeInTime(uint64 target) private {
        if (broken == Broken.ChallengersSleep) return;
        address by = target % 2 == 0 ? challenger : second;
        (, bytes memory call) = proof();
        if (call.length > 0) {
            if (target > round_().until) bringDown(by);
            return;
        }
        if (target <= proposedAt + WINDOW && target <= round_().until) return;
        // Asks, unless it was asked; and what is not answered falls.
        bringDown(by);
        if (!isProposed() || target <= round_().until) return;
        vm.warp(round_().until);
        bringDown(by);
    }

    // --- the chain ---

    /// @notice The chain turns to another history, in which somebody plays the honest coordinator's call again.
    function reorganise(uint8 kind, uint64 seed, uint8 mask) external watched {
        if (!isLive(round_())) openAny(seed);
        Round memory round = round_();
        bool isOpen = round.state == RoundState.Open && !round.rolledUp;
        if (!isOpen || !isHonestRound()) return;
        uint256 fork = block.number;
        uint256 snapshot = vm.snapshotState();
        // What it sends is computed before the fork, or on the branch that is lost.
        bool rollsUp = kind % 3 == 0;
        bool isEarly = seed % 2 == 0;
        Made memory made;
        if (rollsUp && isEarly) made = _ownRollup(mask, seed);
        _others(seed, rollsUp);
        if (rollsUp && round_().accepted == 0) {
            if (!isEarly) made = _ownRollup(mask, seed);
            _turn(snapshot, fork, seed, rollsUp);
            return _replayRollup(made);
        }
        if (kind % 3 == 1 && round_().accepted >= 2 && badAt == 0) {
            Proposal memory proposal = tell(Falsehood.None, 0).proposal;
            _turn(snapshot, fork, seed, rollsUp);
            return _replayProposal(proposal);
        }
        Submission memory submission = signedUpdate(mask % HONEST, false);
        _turn(snapshot, fork, seed, rollsUp);
        happened("replayed: submission");
        if (mask % 2 == 0) relayOne(submission);
        else submitThis(mask % HONEST, submission, false);
    }

    function _ownRollup(uint8 mask, uint64 seed) private returns (Made memory made) {
        if (!holdsAllVectors()) return made;
        bool misjudges = broken == Broken.RollupsMisjudge;
        made = makeRollup(mask, 0, misjudges ? RollupLie.Reason : RollupLie.None, seed);
        made.kind = RollupLie.None;
    }

    /// @dev Back to the fork, and on along another branch, whose blocks have other hashes.
    function _turn(uint256 snapshot, uint256 fork, uint64 seed, bool rollsUp) private {
        uint256 tip = block.number;
        vm.revertToState(snapshot);
        _others(seed >> 24, rollsUp);
        if (block.number <= tip) vm.roll(tip + 1);
        for (uint256 number = fork + 1; number <= tip; ++number) {
            vm.setBlockhash(number, keccak256(abi.encode(number, seed)));
        }
    }

    /// @dev Some moves of other parties, and some of the coordinator's own that the other branch may not hold.
    function _others(uint64 seed, bool rollsUp) private {
        for (uint256 k = 0; k < 1 + seed % 3; ++k) {
            vm.roll(block.number + 1);
            uint64 part = uint64(uint256(keccak256(abi.encode(seed, k))));
            if (part % 6 == 0 && !rollsUp) relay(true, uint8(part >> 8), part);
            else if (part % 6 == 1 && !rollsUp) dealWithWaiting(true, uint8(part >> 8), part >> 16);
            else if (part % 6 < 4) _bringOwn((part >> 8) % CLIENTS, part % 6 == 2);
            else act((part >> 8) % CLIENTS, uint8(part >> 16), part >> 24);
        }
    }

    function _bringOwn(uint256 i, bool bad) private {
        submitDirectly(i, false, bad && i >= HONEST);
    }

    function _replayRollup(Made memory made) private {
        if (made.received.length == 0) return;
        bool taken = rollUpThis(made);
        happened(taken ? "replayed: roll-up" : "replay refused: roll-up");
        if (!taken) return;
        if (round_().accepted < federation.rules().minClients) return;
        if (!proposeThis(tell(Falsehood.None, 0).proposal, Falsehood.None, 0)) return;
        if (slanderBy(stranger, made.rollup.judgedAt, true)) ++turnedIntoLies;
    }

    function _replayProposal(Proposal memory proposal) private {
        bool taken = proposeThis(proposal, Falsehood.None, 0);
        happened(taken ? "replayed: proposal" : "replay refused: proposal");
        if (!taken) return;
        Proposal memory truth = tell(Falsehood.None, 0).proposal;
        if (keccak256(abi.encode(proposal)) != keccak256(abi.encode(truth))) ++turnedIntoLies;
    }
}
