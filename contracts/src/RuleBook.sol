// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {FactoryMade} from "./FactoryMade.sol";
import {SigningKeys} from "./SigningKeys.sol";
import {StoredEvidence} from "./StoredEvidence.sol";
import {IFederation} from "./interfaces/IFederation.sol";
import {IRuleBook} from "./interfaces/IRuleBook.sol";
import {IRuleLimits} from "./interfaces/IRuleLimits.sol";
import {Rules, RulesLib} from "./libraries/RulesLib.sol";
import {Security, SecurityLib} from "./libraries/SecurityLib.sol";

/// @title RuleBook
/// @notice What holds from one round to the next: which rules a federation can have and how they change, see `IRuleBook`;
///         which keys sign for its members, see `ISigningKeys`; and where their evidence must be stored, see
///         `IStoredEvidence`.
/// @dev Deployed once and cloned by `FederationFactory`. Apart from the federation because of the size of its code.
contract RuleBook is IRuleBook, SigningKeys, StoredEvidence, FactoryMade {
    using RulesLib for Rules;
    using SecurityLib for Security;

    /// @inheritdoc IRuleBook
    uint64 public constant GRACE_SECONDS = 14 days;

    /// @inheritdoc IRuleBook
    IFederation public federation;

    /// @dev Rules that others took the place of, and the last round opened under them.
    struct Superseded {
        bytes32 rulesHash;
        uint64 lastRound;
    }

    Rules private _next;
    uint64 private _adoptableAt;
    Superseded[] private _superseded;

    modifier onlyOwner() {
        _requireOwner();
        _;
    }

    /// @inheritdoc IRuleBook
    function initialize(IFederation federation_) external {
        _requireNew(address(federation));
        federation = federation_;
    }

    /// @inheritdoc IRuleBook
    function announceRules(Rules calldata next) external onlyOwner {
        Rules memory present = federation.rules();
        require(next.elements == present.elements, RuleFixed("elements"));
        require(next.fractionBits == present.fractionBits, RuleFixed("fractionBits"));
        next.validate();
        next.validateMemberLimit(federation.memberCount());
        if (!federation.openMembership()) next.validateQuorum(federation.memberCount());
        Security memory security = federation.security();
        require(_leavesTime(security.openSeconds, next.roundSeconds), RulesLib.InvalidRule("roundSeconds"));
        // What it holds them against never changes.
        IRuleLimits(federation.directSubmissions()).requireAllowed(next);
        // Unix time fits 64 bits for longer than there will be blocks.
        // forge-lint: disable-next-line(unsafe-typecast)
        uint64 adoptableAt = uint64(block.timestamp) + security.noticeSeconds;
        _next = next;
        _adoptableAt = adoptableAt;
        emit RulesAnnounced(next.hash(), next, adoptableAt);
    }

    /// @inheritdoc IRuleBook
    // A notice is long; the seconds that a block producer can shift do not matter.
    // slither-disable-next-line timestamp
    function adoptRules() external {
        uint64 adoptableAt = _adoptableAt;
        require(adoptableAt > 0, NothingAnnounced());
        // forge-lint: disable-next-line(block-timestamp)
        require(block.timestamp >= adoptableAt, NoticeNotOver(adoptableAt));
        uint64 until = adoptableAt + GRACE_SECONDS;
        // forge-lint: disable-next-line(block-timestamp)
        require(block.timestamp <= until, AnnouncementExpired(until));
        Rules memory next = _next;
        _forget();
        // Members may have come since the announcement. Whether enough are left for a quorum is for them to say.
        next.validateMemberLimit(federation.memberCount());
        _superseded.push(Superseded(federation.rulesHash(), federation.currentRound()));
        federation.setRules(next);
    }

    /// @inheritdoc IRuleBook
    // slither-disable-next-line timestamp
    function cancelRules() external onlyOwner {
        require(_adoptableAt > 0, NothingAnnounced());
        bytes32 rulesHash = _next.hash();
        _forget();
        emit RulesCancelled(rulesHash);
    }

    /// @inheritdoc IRuleBook
    // Zero is what a slot holds when nothing is announced.
    // slither-disable-next-line incorrect-equality,timestamp
    function announcedRules()
        external
        view
        returns (Rules memory next, uint64 adoptableAt, uint64 adoptableUntil)
    {
        adoptableAt = _adoptableAt;
        return (_next, adoptableAt, adoptableAt == 0 ? 0 : adoptableAt + GRACE_SECONDS);
    }

    /// @inheritdoc IRuleBook
    function roundRulesHash(uint64 roundId) external view returns (bytes32) {
        require(roundId > 0 && roundId <= federation.currentRound(), UnknownRound(roundId));
        uint256 changes = _superseded.length;
        for (uint256 i = 0; i < changes; ++i) {
            if (roundId <= _superseded[i].lastRound) return _superseded[i].rulesHash;
        }
        return federation.rulesHash();
    }

    /// @inheritdoc IRuleBook
    function check(Rules calldata rules, Security calldata security) external pure {
        rules.validate();
        security.validate(rules.elements);
        require(
            _leavesTime(security.openSeconds, rules.roundSeconds), SecurityLib.InvalidSecurity("openSeconds")
        );
    }

    function _nextRound() internal view override returns (uint64) {
        return federation.currentRound() + 1;
    }

    function _federation() internal view override(SigningKeys, StoredEvidence) returns (IFederation) {
        return federation;
    }

    function _requireOwner() internal view override {
        require(msg.sender == Ownable(address(federation)).owner(), NotOwner(msg.sender));
    }

    /// @dev At least half of a round is left, for the coordinator to close it in.
    function _leavesTime(uint64 openSeconds, uint64 roundSeconds) private pure returns (bool) {
        return openSeconds <= roundSeconds / 2;
    }

    function _forget() private {
        delete _next;
        delete _adoptableAt;
    }
}
