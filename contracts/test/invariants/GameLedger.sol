// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IHearing} from "../../src/interfaces/IHearing.sol";
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
        StrangersTrustRollups,
        LyingSideIsPaid,
        MoneyAppears
    }

    struct Posting {
        uint64 round;
        uint256 member;
        address demander;
    }

    /// Honest calls that a reorganisation turned into a lie.
    uint256 public turnedIntoLies;

    Broken internal broken;
    Posting[] internal postings;

    function setUp() public virtual override {
        super.setUp();
        beginAccounts();
    }

    function hearing() internal view override returns (IHearing) {
        return disputes;
    }

    /// @dev What is owed for posting vectors, and what was paid for it and is not settled.
    function ownedElsewhere(address account) internal view override returns (uint256 sum) {
        sum = direct.owed(account);
        for (uint256 i = 0; i < postings.length; ++i) {
            if (postings[i].demander == account) sum += POST_FEE;
        }
    }

    // --- what the invariants ask ---

    /// @return True when every wei of every contract belongs to somebody, or is burnt.
    function isSolvent() external view returns (bool) {
        uint256 posts = POST_FEE * postings.length;
        for (uint256 i = 0; i < actors.length; ++i) {
            posts += direct.owed(actors[i]);
        }
        return areCovered() && address(direct).balance == posts && address(court).balance == 0
            && address(book).balance == 0;
    }

    // --- parts ---

    /// @dev A proposal became final: of the fees of its questions half is whose it was, half is burnt.
    function concluded(Round memory round) internal {
        happened(isFalse() ? "false final" : isHonest(bondHolder) ? "honest final" : "liar's true final");
        if (bondHolder != federation.coordinator()) happened("final: another's");
        if (isFalse()) ++falseFinals;
        settleFees(roundId, round.attempt);
        base = tell(lie, lieSeed).model;
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
        if (bondHolder != federation.coordinator()) happened("fell: another's");
        if (!isHonest(bondHolder)) ++falls;
        ownerless += BOND;
        fallen.push(Fallen(roundId, attempt));
        // What is proposed next is another statement over the same updates.
        lie = Falsehood.None;
    }

    function settled(uint256 member) internal {
        for (uint256 i = 0; i < postings.length; ++i) {
            if (postings[i].round != roundId || postings[i].member != member) continue;
            postings[i] = postings[postings.length - 1];
            postings.pop();
            return;
        }
    }

    function isProposed() internal view returns (bool) {
        return round_().state == RoundState.Proposed;
    }
}
