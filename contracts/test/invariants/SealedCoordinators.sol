// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Answer} from "../../src/interfaces/IHearing.sol";
import {SealedRollup, Seat} from "../../src/interfaces/ISealedRounds.sol";
import {Groups} from "../../src/libraries/Groups.sol";
import {Phases} from "../../src/libraries/Phases.sol";
import {Proposal, Round, RoundState} from "../../src/libraries/RoundLib.sol";
import {Submission, Update} from "../../src/libraries/UpdateTypes.sol";
import {HashTree} from "../base/HashTree.sol";
import {Knowledge, Known} from "./Knowledge.sol";
import {SealedEpochs} from "./SealedEpochs.sol";

/// @notice Two coordinators between whom the owner changes, one honest, one that lies or does not, and the members of their rounds: silent
///         ones, ones whose shares do not come, and accomplices that submit what is wrong.
abstract contract SealedCoordinators is SealedEpochs {
    using Knowledge for Known;

    /// One rule of the honest that is broken, so that the counters can be seen to count.
    enum Broken {
        None,
        ChallengersSleep,
        AnswersComeLate,
        NobodyFinalises,
        HonestCoordinatorLies,
        HonestCountsUnopened,
        LyingSideIsPaid,
        MoneyAppears
    }

    Broken internal broken;

    // --- rounds ---

    function openAny() internal {
        address by = federation.coordinator();
        vm.prank(by);
        try federation.openRound() returns (uint64 opened) {
            _begun(opened);
        } catch {
            vm.prank(by == liar ? coordinator : liar);
            _begun(federation.openRound());
        }
    }

    function _begun(uint64 opened) private {
        roundId = opened;
        lie = Lie.None;
        lieSeed = 0;
        (included, withheld, counting) = (0, 0, 0);
        happened("round");
    }

    /// @dev States whose updates came. An accomplice submits something wrong now and then; an honest coordinator takes nothing malformed.
    function close(uint64 seed) internal {
        bool honest = isHonestRound();
        lie = Lie.None;
        if (!honest && seed % 8 == 0) return _relay();
        for (uint256 i = HONEST; i < MEMBERS; ++i) {
            uint256 part = uint256(keccak256(abi.encode(seed, i)));
            faults[i] = part % 4 > 0 ? Fault.None : Fault(1 + (part >> 8) % 3);
        }
        uint256 silent = uint256(keccak256(abi.encode(seed, "silent")));
        included = ready;
        for (uint256 k = 0; k < seed % 4; ++k) {
            included &= ~(uint256(1) << ((silent >> (8 * k)) % roster.length));
        }
        for (uint256 place = 0; place < roster.length; ++place) {
            if (!has(included, place)) continue;
            if (honest && faults[atPlace[place]] == Fault.MaskedLeaf) {
                included &= ~(uint256(1) << place);
                happened("malformed: left out");
            }
        }
        stateClosed();
    }

    /// @dev Those included submit, and the coordinator closes the round.
    function stateClosed() internal {
        for (uint256 place = 0; place < roster.length; ++place) {
            if (!has(included, place)) continue;
            masked[place] = seal(place);
            submitted[place] = keccak256(bytesOf(submissionAt(place)));
        }
        (bytes memory readyBits, bytes memory includedBits) = (bitmap(ready), bitmap(included));
        vm.prank(federation.coordinator());
        try rounds.close(roundId, epochRoot, readyBits, includedBits) {
            happened("closed");
        } catch {}
    }

    /// @dev Updates of accomplices that are not sealed.
    function _relay() private {
        Submission[] memory list = new Submission[](MEMBERS - HONEST);
        for (uint256 i = 0; i < list.length; ++i) {
            Update memory update = honestUpdate(roundId, HONEST + i);
            update.elements = ELEMENTS;
            list[i] = signed(HONEST + i, update);
        }
        vm.prank(liar);
        try federation.submit(roundId, list) {
            lie = Lie.NotSealed;
        } catch {}
    }

    /// @dev Rolls up what can be opened, or lies about it.
    function rollUpAny(uint64 seed) internal {
        uint256 bits = uint256(keccak256(abi.encode(seed, "withheld")));
        withheld = 0;
        for (uint256 k = 0; k < seed % 5; ++k) {
            withheld |= uint256(1) << ((bits >> (8 * k)) % roster.length);
        }
        counting = _countable();
        bool honest = isHonestRound();
        if (!honest && seed % 2 == 0) _lieAboutRollup(seed >> 3);
        if (honest && broken == Broken.HonestCountsUnopened) _countUnopened();
        if (counting == 0) return happened("no group counts");
        if (!stateRollup()) lie = Lie.None;
    }

    /// @dev Rolls up as is known, or as is lied.
    function stateRollup() internal returns (bool taken) {
        uint256[] memory places = seats();
        SealedRollup memory rollup = SealedRollup({
            ready: bitmap(ready),
            included: bitmap(included),
            counting: groupBitmap(counting),
            accepted: uint32(places.length),
            totalWeight: uint64(statedWeight()),
            peaks: _peaks(),
            cid: cidOf("roll-up")
        });
        address by = federation.coordinator();
        vm.prank(by);
        try rounds.submit{value: BOND}(roundId, rollup) {
            bondHolder = by;
            happened(lie == Lie.None ? "rolled up" : "rolled up: lie");
            return true;
        } catch {}
    }

    function _peaks() private view returns (bytes32[] memory peaks) {
        bytes32[][][] memory trees = recordTrees();
        peaks = new bytes32[](trees.length);
        for (uint256 i = 0; i < trees.length; ++i) {
            peaks[i] = HashTree.rootOf(trees[i]);
        }
        if (lie == Lie.HiddenRange) peaks[0] = hiddenHash();
    }

    /// @dev What nobody knows the preimage of.
    function hiddenHash() internal view returns (bytes32) {
        return keccak256(abi.encode(lieSeed));
    }

    /// @dev Groups whose sum is known and within its bound.
    function _countable() private view returns (uint256 groups) {
        for (uint256 group = 0; group < division.groups; ++group) {
            if (_mayCount(group) && _isOpened(group) && !_hasFault(group, Fault.None)) groups |= 1 << group;
        }
    }

    function _mayCount(uint256 group) private view returns (bool) {
        (uint256 first, uint256 end) = placesOf(group);
        uint256 present = countIn(ready, first, end);
        return
            10 * present >= 9 * (end - first)
                && countIn(included, first, end) >= Groups.leastIncluded(present);
    }

    /// @dev Whether enough shares came: who is silent gives none either.
    function _isOpened(uint256 group) private view returns (bool) {
        (uint256 first, uint256 end) = placesOf(group);
        return countIn(included & ~withheld, first, end) >= Groups.threshold(countIn(ready, first, end));
    }

    /// @dev Whether one that is included has a fault; any if none is named.
    function _hasFault(uint256 group, Fault fault) private view returns (bool) {
        (uint256 first, uint256 end) = placesOf(group);
        for (uint256 place = first; place < end; ++place) {
            if (!has(included, place)) continue;
            Fault own = faults[atPlace[place]];
            if (own != Fault.None && (fault == Fault.None || own == fault)) return true;
        }
        return false;
    }

    function _lieAboutRollup(uint64 seed) private {
        lieSeed = seed >> 4;
        uint256 kind = seed % 9;
        if (kind < 5) {
            // The first group's sum is needed, so that all but the lie is true.
            if (counting != 0) lie = Lie(uint256(Lie.RecordWeight) + kind);
            return;
        }
        if (kind == 8) return _countUnopened();
        // A member with such a fault counts, and no other that is wrong.
        Fault fault = Fault(kind - 4);
        for (uint256 group = 0; group < division.groups; ++group) {
            bool wrong = _hasFault(group, fault);
            for (uint256 k = 1; k < 4; ++k) {
                if (Fault(k) != fault && _hasFault(group, Fault(k))) wrong = false;
            }
            if (!wrong || !_mayCount(group) || !_isOpened(group)) continue;
            counting |= 1 << group;
            lie = Lie(uint256(Lie.CountsMaskedLeaf) + kind - 5);
            return;
        }
    }

    function _countUnopened() private {
        for (uint256 group = 0; group < division.groups; ++group) {
            if (!_mayCount(group) || _isOpened(group) || _hasFault(group, Fault.None)) continue;
            counting |= 1 << group;
            (uint256 first,) = placesOf(group);
            while (!has(included, first)) ++first;
            (lie, lieSeed) = (Lie.CountsUnopened, first);
            return;
        }
    }

    function proposeAny(uint64 seed) internal {
        bool lies = isHonestRound() ? broken == Broken.HonestCoordinatorLies : seed % 4 > 0;
        _propose(federation.coordinator(), lies, seed);
    }

    /// @dev Others propose in the coordinator's place: an honest party what follows, if it is over what is true; the lying side anything.
    function takeOver(uint64 seed) internal {
        bool honest = seed % 2 == 0;
        if (honest && isFalse()) return;
        address by = honest ? challenger : seed % 4 == 1 ? stranger : members[HONEST];
        if (!_propose(by, !honest && seed % 8 < 6, seed)) return;
        happened(honest ? "taken over: honest" : "taken over: lying side");
    }

    function _propose(address by, bool lies, uint64 seed) private returns (bool taken) {
        if (lie == Lie.None && lies) {
            lieSeed = seed >> 6;
            lie = Lie(uint256(Lie.Lane) + (seed >> 2) % 8);
        }
        taken = stateProposal(by);
        if (!taken && lie >= Lie.Lane && lie != Lie.NotSealed) lie = Lie.None;
    }

    function stateProposal() internal returns (bool taken) {
        return stateProposal(federation.coordinator());
    }

    /// @dev Proposes what follows, or what is lied.
    function stateProposal(address by) internal returns (bool taken) {
        Round memory round = round_();
        Proposal memory proposal = lie == Lie.NotSealed ? defaultProposal() : tell().proposal;
        bool covered = bondHolder == by && federation.lockedBond() > 0;
        vm.prank(by);
        try federation.propose{value: covered ? 0 : BOND}(roundId, proposal) {
            bondHolder = by;
            proposedAt = uint64(block.timestamp);
            uint256 leaves = round.rolledUp ? rounds.recordCount() : round.accepted;
            longest = proposedAt + WINDOW + 2 * ANSWER * uint64(Phases.count(leaves, ELEMENTS));
            happened(lie == Lie.None ? "proposed" : "proposed: lie");
            return true;
        } catch {}
    }

    // --- what comes of a proposal ---

    function finalizeAny() internal returns (bool) {
        Round memory round = round_();
        vm.prank(stranger);
        try federation.finalizeRound(roundId) {
            happened(isFalse() ? "false final" : isHonest(bondHolder) ? "honest final" : "liar's true final");
            if (bondHolder != federation.coordinator()) happened("final: another's");
            if (isFalse()) ++falseFinals;
            settleFees(roundId, round.attempt);
            if (lie != Lie.NotSealed) base = tell().model;
            return true;
        } catch {
            return false;
        }
    }

    /// @dev The proposal was brought down. What is proposed next is another statement over the same roll-up.
    function fell(uint16 attempt) internal {
        happened(string.concat("fell: ", vm.toString(uint256(lie))));
        if (bondHolder != federation.coordinator()) happened("fell: another's");
        if (!isHonest(bondHolder)) ++falls;
        ownerless += BOND;
        fallen.push(Fallen(roundId, attempt));
        if (lie >= Lie.Lane && lie != Lie.NotSealed) lie = Lie.None;
    }

    function answerAll() internal {
        if (!isProposed() || asked.length == 0 || lie == Lie.NotSealed) return;
        uint16 attempt = round_().attempt;
        Known memory known;
        for (uint256 i = 0; i < asked.length; ++i) {
            Asked storage question = asked[i];
            if (question.round != roundId || question.attempt != attempt || question.answered) continue;
            if (known.length == 0) known = knownHere();
            Answer[] memory answers = new Answer[](1);
            answers[0] = known.answer(question.hash, question.levels);
            vm.prank(federation.coordinator());
            try disputes.answerMany(roundId, answers) {
                question.answered = true;
                happened("answered");
            } catch {
                happened("not answered");
            }
        }
    }

    // --- questions and proofs ---

    function ask(address by, bytes[] memory path, bytes32 hash, uint8 levels) internal {
        uint256 price = disputes.demandPrice(roundId, levels);
        uint16 attempt = round_().attempt;
        vm.prank(by);
        try disputes.demand{value: price}(roundId, path, hash, levels) {
            happened("asked");
            asked.push(Asked(roundId, attempt, hash, levels, price, by, false));
        } catch {}
    }

    /// @dev Asks for the seed that the one at a place shares with another.
    function askSeed(address by, uint256 place, uint256 other) internal returns (bool taken) {
        uint256 index = 0;
        while (seats()[index] != place) ++index;
        (uint256 first,) = placesOf(Groups.groupOf(division, place));
        bytes32 commitment = keccak256(commitmentTo(place, other));
        bytes32[] memory siblings = HashTree.path(seedTree(place), other - first);
        Seat memory seat = seatAt(index);
        uint256 price = disputes.demandPrice(roundId, 1);
        uint16 attempt = round_().attempt;
        vm.prank(by);
        try disputes.demandSeed{value: price}(roundId, shape(), seat, uint32(other), commitment, siblings) {
            happened("seed asked");
            asked.push(Asked(roundId, attempt, commitment, 1, price, by, false));
            return true;
        } catch {}
    }

    function commitTo(address sender, bytes memory call) internal {
        vm.prank(sender);
        disputes.commit(roundId, keccak256(abi.encode(sender, keccak256(call))));
        vm.roll(block.number + 1);
    }

    function show(address by, address where, bytes memory call) internal returns (bool success) {
        vm.prank(by);
        (success,) = where.call(call);
    }
}
