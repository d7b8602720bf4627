// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Round, RoundState} from "../../src/libraries/RoundLib.sol";
import {GameTrees} from "./GameTrees.sol";

/// @notice Who owns what in all contracts of the federation, and what may not happen.
abstract contract GameLedger is GameTrees {
    /// One rule of the honest that is broken, so that the counters can be seen to count.
    enum Broken {
        None,
        ChallengersSleep,
        AnswersComeLate,
        NobodyFinalises,
        VectorsAreNotPosted,
        HonestCoordinatorLies,
        RollupsMisjudge,
        LyingSideIsPaid,
        MoneyAppears
    }

    struct Asked {
        uint64 round;
        uint16 attempt;
        bytes32 hash;
        uint8 levels;
        uint256 price;
        address asker;
        bool answered;
    }

    struct Posting {
        uint64 round;
        uint256 member;
        address demander;
    }

    struct Fallen {
        uint64 round;
        uint16 attempt;
    }

    /// How often the money of an honest party fell.
    uint256 public honestLosses;
    /// False proposals that became final.
    uint256 public falseFinals;
    /// True proposals of the honest coordinator that stood longer than W + 2·A·k.
    uint256 public lateFinals;
    /// Proofs against what is true that were accepted, and proofs of what is false that were refused.
    uint256 public wrongVerdicts;
    /// Honest calls that a reorganisation turned into a lie.
    uint256 public turnedIntoLies;
    /// Calls that spoke for another and succeeded.
    uint256 public stolenVoices;
    uint256 public calls;
    /// Proposals of the lying coordinator that fell.
    uint256 public falls;
    /// How often things happened, so that a campaign can be seen to have reached them.
    string[] public events;
    mapping(string name => uint256) public reached;

    Broken internal broken;
    /// What each honest party owned at its best.
    mapping(address account => uint256) internal best;
    /// What the honest coordinator paid members for the gas of posting what it asked for.
    mapping(address account => uint256) internal spent;
    /// Of that, what the lying side got.
    uint256 internal gifts;
    /// Stakes that are announced to leave.
    mapping(address account => uint256) internal leaving;
    address internal bondHolder;
    Asked[] internal asked;
    Posting[] internal postings;
    Fallen[] internal fallen;
    /// Wei of the federation that are burnt, or of lost bonds and not claimed yet.
    uint256 internal ownerless;
    /// What the lying side lost beside half of its bonds: stakes, fees, the gas of honest members that posted for it, and
    /// what the honest claimed of its bonds.
    uint256 internal forgone;
    uint256 private _lyingSideAtFirst;

    /// @dev Counts the call, and compares what everyone owns with what it was.
    modifier watched() {
        _;
        ++calls;
        for (uint256 i = 0; i < HONEST_ACTORS; ++i) {
            address account = actors[i];
            uint256 owns = wealthOf(account) + spent[account];
            if (owns < best[account]) ++honestLosses;
            best[account] = owns;
        }
    }

    function setUp() public virtual override {
        super.setUp();
        for (uint256 i = 0; i < HONEST_ACTORS; ++i) {
            best[actors[i]] = wealthOf(actors[i]);
        }
        _lyingSideAtFirst = _lyingSide();
    }

    /// @dev All that a party owns in its purse and in the contracts, what is locked included.
    function wealthOf(address account) internal view returns (uint256 sum) {
        sum = account.balance + federation.owed(account) + disputes.owed(account) + direct.owed(account)
            + stakeOf(account);
        if (bondHolder == account) sum += federation.lockedBond();
        for (uint256 i = 0; i < asked.length; ++i) {
            if (asked[i].asker == account) sum += asked[i].price;
        }
        for (uint256 i = 0; i < postings.length; ++i) {
            if (postings[i].demander == account) sum += POST_FEE;
        }
    }

    function stakeOf(address account) internal view returns (uint256) {
        return leaving[account] > 0 ? leaving[account] : federation.stakeOf(account);
    }

    // --- what the invariants ask ---

    /// @return True when every wei of every contract belongs to somebody, or is burnt.
    function isSolvent() external view returns (bool) {
        uint256 bonds = federation.lockedBond() + ownerless;
        uint256 fees = disputes.burntFees();
        uint256 posts = POST_FEE * postings.length;
        for (uint256 i = 0; i < asked.length; ++i) {
            fees += asked[i].price;
        }
        for (uint256 i = 0; i < actors.length; ++i) {
            bonds += federation.owed(actors[i]) + stakeOf(actors[i]);
            fees += disputes.owed(actors[i]);
            posts += direct.owed(actors[i]);
        }
        return address(federation).balance == bonds && address(disputes).balance == fees
            && address(direct).balance == posts && address(court).balance == 0 && address(book).balance == 0;
    }

    /// @return True when the lying side as a whole has lost half a bond for each of its lies that was proved, whatever
    ///         its accomplices got.
    function liesCostHalf() external view returns (bool) {
        return _lyingSide() + falls * BOND / 2 + forgone <= _lyingSideAtFirst + gifts;
    }

    /// @return line All counters, as JSON.
    function diary() external view returns (string memory line) {
        line = string.concat(_field("campaign_calls", calls), _field("honest_losses", honestLosses));
        line = string.concat(line, _field("false_finals", falseFinals), _field("late_finals", lateFinals));
        for (uint256 i = 0; i < events.length; ++i) {
            line = string.concat(line, _field(events[i], reached[events[i]]));
        }
        return string.concat("{", line, '"runs":1}');
    }

    function _field(string memory name, uint256 value) private pure returns (string memory) {
        return string.concat('"', name, '":', vm.toString(value), ",");
    }

    // --- parts ---

    /// @dev A proposal became final: of the fees of its questions half is the coordinator's, half is burnt.
    function concluded(Round memory round) internal {
        happened(isFalse() ? "false final" : isHonestRound() ? "honest final" : "liar's true final");
        if (isFalse()) ++falseFinals;
        uint256 fees = 0;
        for (uint256 i = asked.length; i > 0; --i) {
            Asked memory question = asked[i - 1];
            if (question.round != roundId || question.attempt != round.attempt) continue;
            fees += question.price;
            if (!isHonest(question.asker)) forgone += question.price;
            _strike(i - 1);
        }
        if (!isHonestRound()) forgone -= fees / 2;
        base = tell(lie, lieSeed).model;
    }

    function happened(string memory name) internal {
        if (reached[name] == 0) events.push(name);
        ++reached[name];
    }

    /// @dev The proposal was brought down.
    function fell(uint16 attempt) internal {
        if (rollupLie != RollupLie.None) {
            happened(string.concat("fell: roll-up ", vm.toString(uint256(rollupLie))));
        } else if (badAt > 0) {
            happened("fell: bad update");
        } else {
            happened(string.concat("fell: proposal ", vm.toString(uint256(lie))));
        }
        if (!isHonestRound()) ++falls;
        ownerless += BOND;
        fallen.push(Fallen(roundId, attempt));
        // What is proposed next is another statement over the same updates.
        lie = Falsehood.None;
    }

    function reclaimAt(uint256 index) internal {
        Asked memory question = asked[index];
        try disputes.reclaim(question.round, question.attempt, question.hash, question.levels) {
            _strike(index);
            happened("fee reclaimed");
        } catch {}
    }

    function claimAt(uint256 index, address who) internal {
        Fallen memory attempt = fallen[index];
        uint256 before = federation.owed(who);
        vm.prank(who);
        try disputes.claimShare(attempt.round, attempt.attempt) {
            uint256 amount = federation.owed(who) - before;
            ownerless -= amount;
            if (isHonest(who)) forgone += amount;
            happened("share claimed");
        } catch {}
    }

    function settled(uint256 member) internal {
        for (uint256 i = 0; i < postings.length; ++i) {
            if (postings[i].round != roundId || postings[i].member != member) continue;
            postings[i] = postings[postings.length - 1];
            postings.pop();
            return;
        }
    }

    function isHonest(address account) internal view returns (bool) {
        for (uint256 i = 0; i < HONEST_ACTORS; ++i) {
            if (actors[i] == account) return true;
        }
        return false;
    }

    function isProposed() internal view returns (bool) {
        return round_().state == RoundState.Proposed;
    }

    function _lyingSide() private view returns (uint256 sum) {
        for (uint256 i = HONEST_ACTORS; i < actors.length; ++i) {
            sum += wealthOf(actors[i]);
        }
    }

    function _strike(uint256 index) private {
        asked[index] = asked[asked.length - 1];
        asked.pop();
    }
}
