// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPullPayments} from "../../src/interfaces/IPullPayments.sol";
import {Groups} from "../../src/libraries/Groups.sol";
import {Round, RoundState} from "../../src/libraries/RoundLib.sol";
import {Knowledge} from "./Knowledge.sol";
import {SealedCoordinators} from "./SealedCoordinators.sol";

/// @notice What all parties of a sealed federation do, in any order.
/// @dev Before time passes the end of a window the honest get to act: the coordinator answers, a challenger shows what is false or asks for
///      what is hidden, somebody makes final what is true.
contract SealedHandler is SealedCoordinators {
    /// Seeds that may not be asked for, and were.
    uint256 public secretsAsked;

    function setUp() public override {
        super.setUp();
    }

    function breakRule(Broken rule) external {
        broken = rule;
    }

    /// @return True when every wei of every contract belongs to somebody, or is burnt.
    function isSolvent() external view returns (bool) {
        return areCovered() && address(rounds).balance == 0 && address(epochs).balance == 0
            && address(sealedCourt).balance == 0 && address(book).balance == 0;
    }

    // --- coordinators ---

    /// @notice The present coordinator does what may come next.
    function coordinate(uint8 kind, uint64 seed) external watched {
        _coordinate(kind, seed);
    }

    /// @notice The same, so that rounds go on as often as everything else happens.
    function proceed(uint8 kind, uint64 seed) external watched {
        _coordinate(kind, seed);
    }

    function _coordinate(uint8 kind, uint64 seed) private {
        Round memory round = round_();
        if (!isLive(round)) {
            if (!epochServes()) settleEpoch(seed);
            if (epochServes()) openAny();
            return;
        }
        if (round.state == RoundState.Proposed) {
            if (isHonest(bondHolder) ? broken != Broken.AnswersComeLate : kind % 2 == 0) answerAll();
            else finalizeAny();
            return;
        }
        if (round.state == RoundState.Open && !round.rolledUp && round.accepted == 0) {
            return isClosed() ? rollUpAny(seed) : close(seed);
        }
        bool isForAll = round.rolledUp && block.timestamp > round.until;
        if (isForAll && seed % 4 > 0) takeOver(seed >> 2);
        else proposeAny(seed);
    }

    // --- challengers ---

    /// @notice A challenger, or the liar's accomplice that wants the reward, proves what is false, or goes on asking.
    function challenge(uint8 who) external watched {
        if (!isProposed() || !isFalse()) return;
        _bringDown([challenger, second, stranger, members[HONEST], liar][who % 5]);
    }

    function _bringDown(address by) private {
        (address where, bytes memory call) = proofOf(lie);
        if (call.length == 0) return _pursueHidden(by);
        uint16 attempt = round_().attempt;
        commitTo(by, call);
        // Who copies the call has not committed to it.
        if (by != stranger && show(stranger, where, call)) ++stolenVoices;
        if (show(by, where, call)) fell(attempt);
        else ++wrongVerdicts;
    }

    /// @dev Asks for what is hidden, or rejects what was not answered.
    function _pursueHidden(address by) private {
        uint16 attempt = round_().attempt;
        bytes32 hash = lie == Lie.CountsUnopened ? keccak256(commitmentTo(lieSeed, lieSeed)) : hiddenHash();
        if (disputes.question(roundId, attempt, hash, 1).asker == address(0)) {
            if (lie == Lie.CountsUnopened) askSeed(by, lieSeed, lieSeed);
            else ask(by, new bytes[](0), hash, 1);
            return;
        }
        vm.prank(by);
        try disputes.rejectUnanswered(roundId, hash, 1) {
            fell(attempt);
        } catch {}
    }

    // --- strangers ---

    function grief(uint8 kind, uint8 who, uint64 seed) external watched {
        kind = kind % 10;
        if (kind < 2) return _askAnything(seed);
        if (kind == 2) return _askAnySeed(seed);
        if (kind == 3) return _slander(seed % 2 == 0 ? stranger : liar, seed);
        if (kind == 4) return _commitBlindly(who, seed);
        if (kind == 5) return _rejectAny(seed);
        if (kind == 6 && asked.length > 0) reclaimAt(seed % asked.length);
        if (kind == 7 && fallen.length > 0) claimAt(seed % fallen.length, actors[who % actors.length]);
        if (kind == 8) _overstep(seed);
        if (kind == 9) _end();
    }

    function _askAnything(uint64 seed) private {
        if (!isProposed()) return;
        Round memory round = round_();
        uint256 which = (seed >> 8) % 5;
        bytes32 hash = [round.aggregationRoot, round.aggregateRoot, round.modelRoot][which % 3];
        bytes[] memory path = new bytes[](0);
        if (which == 3 && round.rolledUp && lie != Lie.HiddenTop) {
            path = new bytes[](1);
            path[0] = topOf(tell()).preimage;
            (hash,) = Knowledge.childrenOf(path[0]);
        }
        if (which == 4 && round.rolledUp) hash = federation.commitmentPeak(_highest(round.accepted));
        ask(seed % 3 == 0 ? liar : stranger, path, hash, uint8(seed % 6) + 1);
    }

    function _highest(uint32 accepted) private pure returns (uint256 level) {
        while (accepted >> (level + 1) > 0) ++level;
    }

    /// @dev Seeds that are revealed may be asked for, others may not.
    function _askAnySeed(uint64 seed) private {
        if (!isProposed() || isFalse()) return;
        uint256[] memory places = seats();
        uint256 place = places[seed % places.length];
        (uint256 first, uint256 end) = placesOf(Groups.groupOf(division, place));
        uint256 other = first + (seed >> 16) % (end - first);
        if (!has(ready, other)) return;
        bool taken = askSeed(stranger, place, other);
        if (taken && !isRevealed(place, other)) ++secretsAsked;
    }

    /// @dev Tries a proof of some rule against what is true.
    function _slander(address by, uint64 seed) private {
        if (!isProposed() || isFalse()) return;
        (address where, bytes memory call) = proofOf(Lie(1 + (seed >> 4) % uint256(Lie.NotSealed)));
        if (call.length == 0) return;
        uint16 attempt = round_().attempt;
        commitTo(by, call);
        if (!show(by, where, call)) return happened("slandered");
        ++wrongVerdicts;
        fell(attempt);
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

    /// @dev Calls that are for others alone.
    function _overstep(uint64 seed) private {
        uint64 epochId = epochs.epoch().number;
        address by = seed % 2 == 0 ? stranger : members[HONEST];
        bytes[6] memory tried = [
            abi.encodeCall(epochs.countRound, ()),
            abi.encodeCall(rounds.reject, (roundId, 1, by)),
            abi.encodeCall(rounds.close, (roundId, epochRoot, bitmap(ready), bitmap(ready))),
            abi.encodeCall(epochs.stateReady, (epochId, bitmap(ready))),
            abi.encodeCall(epochs.draw, (epochId, "")),
            abi.encodeCall(epochs.openEpoch, ())
        ];
        uint256 which = (seed >> 8) % 6;
        bool isOfRounds = which == 1 || which == 2;
        if (show(by, isOfRounds ? address(rounds) : address(epochs), tried[which])) ++stolenVoices;
    }

    /// @dev Whoever likes ends what can be ended.
    function _end() private {
        if (isProposed()) {
            finalizeAny();
            return;
        }
        vm.prank(stranger);
        try federation.failRound(roundId) {
            happened("round failed");
        } catch {}
    }

    // --- members, money, the owner ---

    function member(uint8 who, uint8 kind, uint64 amount) external watched {
        address account = members[who % MEMBERS];
        if (kind % 8 == 4) return _unstake(account);
        vm.prank(account);
        if (kind % 8 < 3) {
            federation.stake{value: amount}();
            leaving[account] = 0;
        } else if (kind % 8 == 3) {
            try federation.quit() {
                happened("quit");
            } catch {}
        } else {
            try federation.join{value: STAKE}() {
                leaving[account] = 0;
                happened("joined");
            } catch {}
        }
    }

    function _unstake(address account) private {
        (uint256 staked, uint256 before) = (stakeOf(account), federation.owed(account));
        vm.prank(account);
        try federation.unstake() {
            leaving[account] = federation.owed(account) > before ? 0 : staked;
            happened(leaving[account] == 0 ? "unstaked" : "unstaking announced");
        } catch {}
    }

    function move(uint8 who, uint8 kind, uint64 amount) external watched {
        address account = actors[who % actors.length];
        if (kind % 4 == 0) {
            vm.prank(account);
            return federation.deposit{value: amount}();
        }
        IPullPayments payer = kind % 2 == 0 ? IPullPayments(federation) : IPullPayments(disputes);
        if (payer.owed(account) == 0) return;
        vm.prank(account);
        payer.withdrawTo(payable(account));
    }

    function appoint(bool honest) external watched {
        vm.prank(owner);
        federation.replaceCoordinator(honest ? coordinator : liar);
    }

    // --- time ---

    function pass(uint16 time) external watched {
        uint64 target = uint64(block.timestamp) + time % 1000;
        bool isTrue = isHonest(bondHolder) && !isFalse();
        if (isProposed() && isHonest(bondHolder)) _answerInTime(target);
        if (isProposed() && isFalse()) _challengeInTime(target);
        if (isProposed() && target > round_().until) {
            if (block.timestamp <= round_().until) vm.warp(round_().until + 1);
            if (broken != Broken.NobodyFinalises && !finalizeAny()) {
                if (isTrue) ++lateFinals;
                _rejectSilence();
            }
        }
        if (block.timestamp < target) vm.warp(target);
        vm.roll(block.number + 1);
        if (isTrue && isProposed() && (block.timestamp > longest || round_().until > longest)) ++lateFinals;
        if (isLive(round_()) && !isProposed() && block.timestamp > round_().until) _end();
        if (broken == Broken.MoneyAppears) vm.deal(address(disputes), address(disputes).balance + 1);
        if (broken == Broken.LyingSideIsPaid) vm.deal(liar, liar.balance + BOND);
    }

    /// @dev What nobody answered in time falls.
    function _rejectSilence() private {
        uint16 attempt = round_().attempt;
        for (uint256 i = 0; i < asked.length && isProposed(); ++i) {
            if (asked[i].round != roundId || asked[i].attempt != attempt || asked[i].answered) continue;
            vm.prank(challenger);
            try disputes.rejectUnanswered(roundId, asked[i].hash, asked[i].levels) {
                fell(attempt);
            } catch {}
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
        bool isHidden = lie == Lie.HiddenRange || lie == Lie.HiddenTop || lie == Lie.CountsUnopened;
        if (!isHidden) {
            if (target > round_().until) _bringDown(by);
            return;
        }
        if (target <= proposedAt + WINDOW && target <= round_().until) return;
        _bringDown(by);
        if (!isProposed() || target <= round_().until) return;
        vm.warp(round_().until);
        _bringDown(by);
    }
}
