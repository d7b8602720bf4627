// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IHearing} from "../../src/interfaces/IHearing.sol";
import {IPullPayments} from "../../src/interfaces/IPullPayments.sol";
import {FederationFixture} from "../base/FederationFixture.sol";

/// @notice The parties of a campaign, what each of them owns in its purse and in the contracts, and what a campaign counts.
abstract contract Purses is FederationFixture {
    struct Asked {
        uint64 round;
        uint16 attempt;
        bytes32 hash;
        uint8 levels;
        uint256 price;
        address asker;
        bool answered;
    }

    struct Fallen {
        uint64 round;
        uint16 attempt;
    }

    uint256 internal constant RICHES = 1_000_000 ether;

    /// How often the money of an honest party fell.
    uint256 public honestLosses;
    /// False proposals that became final.
    uint256 public falseFinals;
    /// True proposals of an honest party that stood longer than W + 2·A·k.
    uint256 public lateFinals;
    /// Proofs against what is true that were accepted, and proofs of what is false that were refused.
    uint256 public wrongVerdicts;
    /// Calls that spoke for another and succeeded.
    uint256 public stolenVoices;
    uint256 public calls;
    /// Proposals of the lying side that fell.
    uint256 public falls;
    /// How often things happened, so that a campaign can be seen to have reached them.
    string[] public events;
    mapping(string name => uint256) public reached;

    /// Honest ones first.
    address[] internal actors;
    uint256 internal honestActors;
    /// What each honest party owned at its best.
    mapping(address account => uint256) internal best;
    /// What an honest party paid others for work that it had asked for.
    mapping(address account => uint256) internal spent;
    /// Stakes that are announced to leave.
    mapping(address account => uint256) internal leaving;
    /// Who made the last statement, a roll-up or a proposal.
    address internal bondHolder;
    Asked[] internal asked;
    Fallen[] internal fallen;
    /// Wei of the federation that are burnt, or of lost bonds and not claimed yet.
    uint256 internal ownerless;
    /// What the lying side lost beside half of its bonds, and what the honest claimed of these.
    uint256 internal forgone;
    /// Of what an honest party spent, what the lying side got.
    uint256 internal gifts;
    uint256 private _lyingSideAtFirst;

    /// @dev Counts the call, and compares what everyone owns with what it was.
    modifier watched() {
        _;
        ++calls;
        for (uint256 i = 0; i < honestActors; ++i) {
            address account = actors[i];
            uint256 owns = wealthOf(account) + spent[account];
            if (owns < best[account]) ++honestLosses;
            best[account] = owns;
        }
    }

    /// @dev Where questions are asked and shares are claimed.
    function hearing() internal view virtual returns (IHearing);

    /// @dev What an account owns in contracts beside the federation and the hearing.
    function ownedElsewhere(address account) internal view virtual returns (uint256);

    /// @dev From now on losses count.
    function beginAccounts() internal {
        for (uint256 i = 0; i < honestActors; ++i) {
            best[actors[i]] = wealthOf(actors[i]);
        }
        _lyingSideAtFirst = _lyingSide();
    }

    /// @dev All that a party owns in its purse and in the contracts, what is locked included.
    function wealthOf(address account) internal view returns (uint256 sum) {
        sum = account.balance + federation.owed(account) + IPullPayments(address(hearing())).owed(account)
            + stakeOf(account) + ownedElsewhere(account);
        if (bondHolder == account) sum += federation.lockedBond();
        for (uint256 i = 0; i < asked.length; ++i) {
            if (asked[i].asker == account) sum += asked[i].price;
        }
    }

    function stakeOf(address account) internal view returns (uint256) {
        return leaving[account] > 0 ? leaving[account] : federation.stakeOf(account);
    }

    /// @dev Whether every wei of the federation and the hearing belongs to somebody, or is burnt.
    function areCovered() internal view returns (bool) {
        IHearing court = hearing();
        uint256 bonds = federation.lockedBond() + ownerless;
        uint256 fees = court.burntFees();
        for (uint256 i = 0; i < asked.length; ++i) {
            fees += asked[i].price;
        }
        for (uint256 i = 0; i < actors.length; ++i) {
            bonds += federation.owed(actors[i]) + stakeOf(actors[i]);
            fees += IPullPayments(address(court)).owed(actors[i]);
        }
        return address(federation).balance == bonds && address(court).balance == fees;
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

    function happened(string memory name) internal {
        if (reached[name] == 0) events.push(name);
        ++reached[name];
    }

    function reclaimAt(uint256 index) internal {
        Asked memory question = asked[index];
        try hearing().reclaim(question.round, question.attempt, question.hash, question.levels) {
            strike(index);
            happened("fee reclaimed");
        } catch {}
    }

    function claimAt(uint256 index, address who) internal {
        Fallen memory attempt = fallen[index];
        uint256 before = federation.owed(who);
        vm.prank(who);
        try hearing().claimShare(attempt.round, attempt.attempt) {
            uint256 amount = federation.owed(who) - before;
            ownerless -= amount;
            if (isHonest(who)) forgone += amount;
            happened("share claimed");
        } catch {}
    }

    /// @dev Of the fees of a proposal's questions half is whose it was, half is burnt.
    /// @return fees All of them.
    function settleFees(uint64 roundId, uint16 attempt) internal returns (uint256 fees) {
        for (uint256 i = asked.length; i > 0; --i) {
            Asked memory question = asked[i - 1];
            if (question.round != roundId || question.attempt != attempt) continue;
            fees += question.price;
            if (!isHonest(question.asker)) forgone += question.price;
            strike(i - 1);
        }
        if (!isHonest(bondHolder)) forgone -= fees / 2;
    }

    function isHonest(address account) internal view returns (bool) {
        for (uint256 i = 0; i < honestActors; ++i) {
            if (actors[i] == account) return true;
        }
        return false;
    }

    function strike(uint256 index) internal {
        asked[index] = asked[asked.length - 1];
        asked.pop();
    }

    function _field(string memory name, uint256 value) private pure returns (string memory) {
        return string.concat('"', name, '":', vm.toString(value), ",");
    }

    function _lyingSide() private view returns (uint256 sum) {
        for (uint256 i = honestActors; i < actors.length; ++i) {
            sum += wealthOf(actors[i]);
        }
    }
}
