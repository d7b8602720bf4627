// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Rules} from "../libraries/RulesLib.sol";
import {Security} from "../libraries/SecurityLib.sol";
import {IFederation} from "./IFederation.sol";
import {ISigningKeys} from "./ISigningKeys.sol";
import {IStoredEvidence} from "./IStoredEvidence.sol";

/// @title How the rules of a federation change
/// @notice The federation's owner announces other rules; after a notice, and between rounds, anyone can have the
///         federation adopt them. A member signs the hash of the rules with every update, so none counts under rules that
///         its member did not agree to; who does not agree leaves with its stake. The model's length and its fixed point
///         never change.
interface IRuleBook is ISigningKeys, IStoredEvidence {
    /// @notice These rules can be adopted from `adoptableAt` on (Unix seconds), in place of any announced before.
    event RulesAnnounced(bytes32 indexed rulesHash, Rules rules, uint64 adoptableAt);
    /// @notice The announced rules will not be adopted.
    event RulesCancelled(bytes32 indexed rulesHash);

    /// @notice Only the federation's owner may do this.
    error NotOwner(address caller);
    /// @notice No rules are announced.
    error NothingAnnounced();
    /// @notice The notice is not over.
    /// @param adoptableAt Unix time in seconds from which the rules can be adopted.
    error NoticeNotOver(uint64 adoptableAt);
    /// @notice The rules could be adopted until `until` (Unix seconds), and must be announced anew.
    error AnnouncementExpired(uint64 until);
    /// @notice No such round was opened.
    error UnknownRound(uint64 roundId);
    /// @notice This rule belongs to the model, and is fixed with it.
    /// @param rule Name of the field of `Rules`.
    error RuleFixed(string rule);

    /// @notice Ties the book to its federation, once, in the transaction that creates both.
    /// @param federation_ Federation whose rules it changes.
    function initialize(IFederation federation_) external;

    /// @notice Announces other rules, in their ranges, with rounds at least twice as long as `openSeconds`, and such that the present
    ///         members can overflow no aggregate and, where they are invited, reach the quorum. Owner only.
    /// @param next Rules to come, in place of any announced before; the notice begins anew.
    function announceRules(Rules calldata next) external;

    /// @notice Has the federation adopt the announced rules, between rounds, when their notice is over and for
    ///         `GRACE_SECONDS` after that: nobody needs to remember for longer what was once announced. Anyone may.
    function adoptRules() external;

    /// @notice Takes an announcement back. Owner only.
    function cancelRules() external;

    /// @return Federation whose rules it changes.
    function federation() external view returns (IFederation);

    /// @return Seconds in which rules can be adopted after their notice, the same for all federations: 14 days, as long as
    ///         Compound's Timelock keeps a change executable. It does not follow from the notice, since a round can be long
    ///         where the notice is short, and rules are adopted between rounds.
    // A constant's name.
    // slither-disable-next-line naming-convention
    function GRACE_SECONDS() external view returns (uint64);

    /// @return next Announced rules; all zero if there are none.
    /// @return adoptableAt Unix time in seconds from which they can be adopted; 0 if there are none.
    /// @return adoptableUntil Last Unix second in which they can be; 0 if there are none.
    function announcedRules()
        external
        view
        returns (Rules memory next, uint64 adoptableAt, uint64 adoptableUntil);

    /// @param roundId Number of a round that was opened.
    /// @return Hash of the rules that it was opened under.
    function roundRulesHash(uint64 roundId) external view returns (bytes32);

    /// @notice Reverts unless every field is in its range, and rounds are at least twice as long as `openSeconds`.
    /// @param rules Rules of a federation to be.
    /// @param security Its bond, stake, fees and windows.
    function check(Rules calldata rules, Security calldata security) external pure;
}
