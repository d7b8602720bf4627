// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DirectUpdate} from "../../src/interfaces/IDirectSubmissions.sol";
import {Answer} from "../../src/interfaces/IHearing.sol";
import {Commitment} from "../../src/libraries/CommitmentTree.sol";
import {Record} from "../../src/libraries/RecordTree.sol";
import {Rollup} from "../../src/libraries/RollupLib.sol";
import {Proposal, Round, RoundState} from "../../src/libraries/RoundLib.sol";
import {Refusal} from "../../src/libraries/RulesLib.sol";
import {Submission, Update} from "../../src/libraries/UpdateTypes.sol";
import {HashTree} from "../base/HashTree.sol";
import {GameLedger} from "./GameLedger.sol";
import {Knowledge, Known} from "./Knowledge.sol";

/// @notice Two coordinators between whom the owner changes: one honest, one that lies or does not, as it likes.
abstract contract GameCoordinators is GameLedger {
    using Knowledge for Known;

    bytes internal constant JUNK = "no submission";

    /// A roll-up with all that was computed for it.
    struct Made {
        Submission[] received;
        Record[] records;
        Commitment[] counted;
        bytes32[] leaves;
        Rollup rollup;
        RollupLie kind;
        uint32 spot;
    }

    // --- whole steps ---

    /// @notice The present coordinator does what may come next.
    function coordinate(uint8 kind, uint8 mask, uint64 seed) external watched {
        _coordinate(kind, mask, seed);
    }

    /// @notice The same, so that rounds go on as often as everything else happens.
    function proceed(uint8 kind, uint8 mask, uint64 seed) external watched {
        _coordinate(kind, mask, seed);
    }

    function _coordinate(uint8 kind, uint8 mask, uint64 seed) private {
        Round memory round = round_();
        if (!isLive(round)) return openAny(seed);
        if (isForAll(round) && seed % 4 > 0) return takeOver(kind, seed);
        bool honest = isHonestRound();
        if (round.state == RoundState.Proposed) {
            if (isHonest(bondHolder) ? broken != Broken.AnswersComeLate : kind % 2 == 0) answerAll();
            else finalizeAny();
            return;
        }
        if (round.state == RoundState.Submitted) return proposeAny(honest, kind, seed);
        if (round.waiting > 0 && !round.rolledUp && kind % 4 < 2) return dealWithWaiting(honest, kind, seed);
        if (!round.rolledUp && round.accepted == 0 && kind % 2 == 0) {
            return rollUpAny(honest, mask | uint8(seed >> 8), seed);
        }
        if (!round.rolledUp && (kind % 3 == 1 || round.accepted < 2)) return relay(honest, mask, seed);
        proposeAny(honest, kind, seed);
    }

    /// @dev Between rounds rules are adopted, and most members that left come back.
    function openAny(uint64 seed) internal {
        if (seed % 3 == 0) {
            try book.adoptRules() {
                happened("rules adopted");
            } catch {}
        }
        for (uint256 i = 0; i < CLIENTS; ++i) {
            if ((seed >> (8 + 2 * i)) % 4 == 0) continue;
            if (!federation.isMember(members[i])) join(i, 0);
            else if (federation.stakeOf(members[i]) < STAKE) stake(i, STAKE);
        }
        address opener = seed % 2 == 0 ? coordinator : liar;
        for (uint256 i = 0; i < 2; ++i) {
            vm.prank(opener);
            try federation.openRound() returns (uint64 number) {
                roundId = number;
                delete counted;
                delete received;
                delete records;
                (lie, rollupLie, badAt) = (Falsehood.None, RollupLie.None, 0);
                return;
            } catch {
                opener = opener == liar ? coordinator : liar;
            }
        }
    }

    function join(uint256 i, uint64 amount) internal virtual;
    function stake(uint256 i, uint256 amount) internal virtual;

    function relay(bool honest, uint8 mask, uint64 seed) internal {
        for (uint256 i = 0; i < CLIENTS; ++i) {
            if ((mask >> i) & 1 == 0 || members[i] <= round_().lastMember) continue;
            relayOne(signedUpdate(i, !honest && i >= HONEST && (seed >> i) % 8 == 0));
        }
    }

    function relayOne(Submission memory submission) internal returns (bool) {
        address by = federation.coordinator();
        vm.prank(by);
        try federation.submit(roundId, one(submission)) returns (Refusal reason) {
            if (reason == Refusal.None) count(submission);
            happened(reason == Refusal.None ? "relayed" : "refused");
            return true;
        } catch {
            return false;
        }
    }

    function proposeAny(bool honest, uint8 kind, uint64 seed) internal {
        if (round_().accepted < federation.rules().minClients) return;
        // Of five proposals of the liar one is true.
        Falsehood next = (honest && broken != Broken.HonestCoordinatorLies) || kind % 5 == 0
            ? Falsehood.None
            : Falsehood(seed % (uint256(type(Falsehood).max) + 1));
        proposeThis(tell(next, seed).proposal, next, seed);
    }

    /// @dev Others propose in the coordinator's place: an honest party what follows, if it is over what is true; the lying side anything.
    function takeOver(uint8 kind, uint64 seed) internal {
        if (round_().accepted < federation.rules().minClients) return;
        bool honest = kind % 2 == 0;
        if (honest && isFalse() && broken != Broken.StrangersTrustRollups) return;
        Falsehood next = honest ? Falsehood.None : Falsehood(seed % (uint256(type(Falsehood).max) + 1));
        address by = honest ? (seed % 8 < 4 ? challenger : members[0]) : (seed % 8 < 4 ? stranger : liar);
        if (proposeAs(by, tell(next, seed).proposal, next, seed)) {
            happened(honest ? "taken over: honest" : "taken over: lying side");
        }
    }

    function proposeThis(Proposal memory proposal, Falsehood kind, uint64 seed) internal returns (bool) {
        return proposeAs(federation.coordinator(), proposal, kind, seed);
    }

    function proposeAs(address by, Proposal memory proposal, Falsehood kind, uint64 seed)
        internal
        returns (bool)
    {
        bool covered = bondHolder == by && federation.lockedBond() > 0;
        uint256 bond = covered || federation.owed(by) >= BOND ? 0 : BOND;
        vm.prank(by);
        try federation.propose{value: bond}(roundId, proposal) {
            (lie, lieSeed, proposedAt) = (kind, seed, uint64(block.timestamp));
            bondHolder = by;
            return true;
        } catch {
            return false;
        }
    }

    // --- direct submissions ---

    /// @dev The honest coordinator counts no vector that it does not have; the liar does as it likes.
    function dealWithWaiting(bool honest, uint8 kind, uint64 seed) internal {
        for (uint256 k = 0; k < CLIENTS; ++k) {
            uint256 i = (seed + k) % CLIENTS;
            if (!isWaiting(i)) continue;
            DirectUpdate memory update = direct.directUpdate(roundId, members[i]);
            bool has = i < HONEST || update.settled;
            if (honest ? has : kind % 8 < 4) return include(i);
            if (update.due == 0) return demandPosting(i);
            return forfeit(i);
        }
    }

    function include(uint256 i) internal {
        Submission memory submission = own[i];
        uint32 before = round_().accepted;
        address by = federation.coordinator();
        vm.prank(by);
        try direct.include(roundId, submission) {
            if (round_().accepted > before) count(submission);
            happened("included");
        } catch {}
    }

    function demandPosting(uint256 i) internal {
        address by = federation.coordinator();
        vm.prank(by);
        try direct.demandPosting{value: POST_FEE}(roundId, members[i]) {
            postings.push(Posting(roundId, i, by));
            happened("posting demanded");
        } catch {}
    }

    function forfeit(uint256 i) internal {
        uint256 left = leaving[members[i]];
        uint256 staked = stakeOf(members[i]);
        try direct.forfeit(roundId, members[i]) {
            settled(i);
            happened("forfeited");
            uint256 burnt = staked < STAKE ? staked : STAKE;
            ownerless += burnt;
            if (i >= HONEST) forgone += burnt;
            leaving[members[i]] = left < STAKE ? 0 : left - STAKE;
            // What is given up need not be in a roll-up.
            if (rollupLie == RollupLie.Omission && liedAt == i) rollupLie = RollupLie.None;
        } catch {}
    }

    // --- roll-ups ---

    function rollUpAny(bool honest, uint8 mask, uint64 seed) internal {
        if (honest && !holdsAllVectors()) return;
        RollupLie kind = honest || seed % 3 == 0
            ? RollupLie.None
            : RollupLie((seed >> 16) % (uint256(type(RollupLie).max) + 1));
        rollUpThis(makeRollup(mask, honest ? 0 : uint8(seed >> 24), kind, seed));
    }

    /// @dev Whether the honest coordinator can check every update that a roll-up must hold: an accomplice shows its vector
    ///      only when it posts it.
    function holdsAllVectors() internal view returns (bool) {
        for (uint256 i = HONEST; i < CLIENTS; ++i) {
            if (isWaiting(i) && !direct.directUpdate(roundId, members[i]).settled) return false;
        }
        return true;
    }

    function rollUpThis(Made memory made) internal returns (bool) {
        address by = federation.coordinator();
        vm.prank(by);
        try court.submit{value: BOND}(roundId, made.rollup) {
            bondHolder = by;
            (rollupLie, liedAt) = (made.kind, made.spot);
            happened("rolled up");
            for (uint256 i = 0; i < made.received.length; ++i) {
                received.push(made.received[i]);
                records.push(made.records[i]);
            }
            for (uint256 i = 0; i < made.counted.length; ++i) {
                counted.push(made.counted[i]);
                if (made.kind == RollupLie.None && _isBadCommitment(made.counted[i])) badAt = i + 1;
            }
            return true;
        } catch {
            return false;
        }
    }

    /// @dev Judges what the members of the mask sent, and what members submitted themselves.
    function makeRollup(uint8 mask, uint8 bad, RollupLie kind, uint64 seed)
        internal
        returns (Made memory made)
    {
        vm.roll(block.number + 1);
        Round memory round = round_();
        made.kind = kind;
        made.rollup.judgedAt =
            uint64(block.timestamp) < round.deadline ? uint64(block.timestamp) : round.deadline;
        _receive(made, mask, bad);
        if (made.received.length == 0) return made;
        made.spot = kind == RollupLie.Omission ? made.spot : uint32(seed % made.received.length);
        _judgeAll(made);
        _lieAboutRecords(made);
        _state(made, seed);
    }

    function _receive(Made memory made, uint8 mask, uint8 bad) private view {
        Submission[] memory list = new Submission[](CLIENTS);
        uint256 length = 0;
        bool omitted = false;
        for (uint256 i = 0; i < CLIENTS; ++i) {
            bool waits = isWaiting(i);
            if (!waits && (mask >> i) & 1 == 0) continue;
            if (waits && made.kind == RollupLie.Omission && !omitted) {
                (omitted, made.spot) = (true, uint32(i));
                continue;
            }
            list[length++] = waits ? own[i] : signedUpdate(i, i >= HONEST && (bad >> i) & 1 == 1);
        }
        if (!omitted && made.kind == RollupLie.Omission) made.kind = RollupLie.None;
        made.received = new Submission[](length);
        for (uint256 i = 0; i < length; ++i) {
            made.received[i] = list[i];
        }
    }

    function _judgeAll(Made memory made) private view {
        uint256 n = made.received.length;
        made.records = new Record[](n);
        Commitment[] memory list = new Commitment[](n);
        uint32 accepted = 0;
        uint64 total = 0;
        for (uint256 i = 0; i < n; ++i) {
            Submission memory submission = made.received[i];
            (uint8 reason, uint32 weight) = judge(submission, made.rollup.judgedAt);
            if (i == made.spot) (reason, weight) = _misjudged(made.kind, reason, weight);
            if (reason == 0) {
                Update memory update = submission.update;
                list[accepted++] = Commitment(submission.member, weight, update.updateRoot, update.sumSquares);
                total += weight;
            }
            made.records[i] =
                Record(submission.member, reason, weight, accepted, total, hashOfSubmission(submission));
        }
        made.counted = new Commitment[](accepted);
        for (uint256 i = 0; i < accepted; ++i) {
            made.counted[i] = list[i];
        }
    }

    function _misjudged(RollupLie kind, uint8 reason, uint32 weight) private pure returns (uint8, uint32) {
        if (kind == RollupLie.Reason) {
            return (uint8(reason == 0 ? uint8(Refusal.LossTooHigh) : 255), 0);
        }
        if (kind == RollupLie.Weight) return (reason, weight + 1);
        return (reason, weight);
    }

    /// @dev As the rules of this federation may refuse an update of its members.
    function judge(Submission memory submission, uint64 time) internal view returns (uint8, uint32) {
        address member = submission.member;
        Update memory update = submission.update;
        if (!federation.isMember(member)) return (uint8(Refusal.NotMember), 0);
        if (time > update.deadline) return (uint8(Refusal.Expired), 0);
        if (update.examples < federation.rules().minExamples) return (uint8(Refusal.TooFewExamples), 0);
        if (federation.stakeOf(member) < STAKE) return (uint8(Refusal.StakeTooLow), 0);
        uint32 most = federation.rules().maxExamples;
        return (0, update.examples < most ? update.examples : most);
    }

    function _lieAboutRecords(Made memory made) private pure {
        Record memory last = made.records[made.records.length - 1];
        if (made.kind == RollupLie.Sequence) last.total += 1;
        if (made.kind == RollupLie.Submission) made.records[made.spot].submission = keccak256(JUNK);
        if (made.kind == RollupLie.Commitment) {
            if (made.counted.length == 0) made.kind = RollupLie.None;
            else made.counted[made.counted.length - 1].updateRoot ^= bytes32(uint256(1));
        }
    }

    function _state(Made memory made, uint64 seed) private view {
        Rollup memory rollup = made.rollup;
        Record memory last = made.records[made.records.length - 1];
        made.leaves = leavesOf(made.records);
        if (made.kind == RollupLie.Malformed) made.leaves[made.spot] = keccak256(JUNK);
        rollup.recordsRoot = HashTree.rootOf(HashTree.build(0x0d, made.leaves));
        if (made.kind == RollupLie.Hidden) rollup.recordsRoot = keccak256(abi.encode(seed));
        rollup.records = uint32(made.records.length);
        rollup.accepted = last.accepted;
        rollup.totalWeight = last.total;
        rollup.journal = direct.journal(roundId);
        rollup.anchorNumber = uint64(block.number - 1);
        rollup.anchorHash = blockhash(block.number - 1);
        rollup.cid = cidOf("roll-up");
        bytes32[][][] memory trees = rangeOf(made.counted);
        rollup.peaks = new bytes32[](trees.length);
        for (uint256 i = 0; i < trees.length; ++i) {
            rollup.peaks[i] = HashTree.rootOf(trees[i]);
        }
    }

    function leavesOf(Record[] memory list) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](list.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            leaves[i] = keccak256(recordBytes(list[i]));
        }
    }

    function recordBytes(Record memory record) internal pure returns (bytes memory) {
        return abi.encodePacked(
            uint8(0x0c),
            record.member,
            record.reason,
            record.weight,
            record.accepted,
            record.total,
            record.submission
        );
    }

    function hashOfSubmission(Submission memory submission) internal pure returns (bytes32) {
        Update memory update = submission.update;
        return keccak256(
            bytes.concat(
                abi.encodePacked(uint8(0x0e), submission.signature, update.round, update.rulesHash),
                abi.encodePacked(update.baseRoot, update.updateRoot, update.sumSquares, update.elements),
                abi.encodePacked(update.fractionBits, update.examples, update.accuracyPpm, update.lossMicros),
                abi.encodePacked(update.labels, update.epsilonMicros, update.deadline, update.cid)
            )
        );
    }

    /// @dev The tree over the records as it was stated.
    function recordTree() internal view returns (bytes32[][] memory) {
        bytes32[] memory leaves = leavesOf(records);
        if (rollupLie == RollupLie.Malformed) leaves[liedAt] = keccak256(JUNK);
        return HashTree.build(0x0d, leaves);
    }

    // --- answers and the end ---

    /// @dev Answers what can be answered; of what is hidden nothing can.
    function answerAll() internal {
        if (!isProposed() || asked.length == 0) return;
        uint16 attempt = round_().attempt;
        Known memory known;
        for (uint256 i = 0; i < asked.length; ++i) {
            Asked storage question = asked[i];
            if (question.round != roundId || question.attempt != attempt || question.answered) continue;
            if (known.length == 0) known = knownHere();
            Answer[] memory answers = new Answer[](1);
            answers[0] = known.answer(question.hash, question.levels);
            address by = federation.coordinator();
            vm.prank(by);
            try disputes.answerMany(roundId, answers) {
                question.answered = true;
                happened("answered");
            } catch {
                happened("not answered");
            }
        }
    }

    function knownHere() internal view returns (Known memory) {
        bytes[] memory leaves = new bytes[](records.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            leaves[i] = rollupLie == RollupLie.Malformed && i == liedAt ? JUNK : recordBytes(records[i]);
        }
        bytes32[][] memory tree;
        if (leaves.length > 0) tree = recordTree();
        return knownOf(tell(lie, lieSeed), tree, leaves);
    }

    function finalizeAny() internal returns (bool) {
        Round memory round = round_();
        vm.prank(stranger);
        try federation.finalizeRound(roundId) {
            concluded(round);
            return true;
        } catch {
            return false;
        }
    }

    function _isBadCommitment(Commitment memory commitment) private view returns (bool) {
        uint256 index = indexOf(commitment.member);
        return commitment.sumSquares != treeOf(index)[1][0].sum;
    }
}
