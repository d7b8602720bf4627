// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FactoryMade} from "./FactoryMade.sol";
import {Enrolment, Epoch, EpochState, IEpochs, RosterProof} from "./interfaces/IEpochs.sol";
import {IFederation} from "./interfaces/IFederation.sol";
import {IRuleLimits} from "./interfaces/IRuleLimits.sol";
import {Bitmaps} from "./libraries/Bitmaps.sol";
import {BlockHeader} from "./libraries/BlockHeader.sol";
import {CommitmentTree, MAX_PEAKS} from "./libraries/CommitmentTree.sol";
import {Consent} from "./libraries/Consent.sol";
import {ContentId} from "./libraries/ContentId.sol";
import {Filecoin} from "./libraries/Filecoin.sol";
import {MemberSignature} from "./libraries/MemberSignature.sol";
import {RoundState} from "./libraries/RoundLib.sol";
import {Refusal, Rules} from "./libraries/RulesLib.sol";
import {SealedRules, SealedRulesLib} from "./libraries/SealedRulesLib.sol";
import {RosterEntry, SealedTrees} from "./libraries/SealedTrees.sol";
import {Enrol, SealedTypes} from "./libraries/SealedTypes.sol";
import {Security} from "./libraries/SecurityLib.sol";
import {Shuffle} from "./libraries/Shuffle.sol";

/// @title Epochs
/// @notice Rosters, groups and readiness of one sealed federation; see `IEpochs`.
/// @dev Deployed once and cloned by `FederationFactory`.
contract Epochs is IEpochs, FactoryMade {
    using Bitmaps for bytes;
    using SealedRulesLib for SealedRules;

    /// Blocks after the closing one by whose beacon groups are drawn: two, so that who closes does not know its value.
    uint256 private constant DRAWN_AFTER = 2;
    /// More than it takes to find the hash of a past block.
    uint256 private constant GAS_TO_LOOK = 100_000;

    /// @inheritdoc IEpochs
    bool public immutable drawsByDrand = Filecoin.isHere();

    /// Federation whose rounds are sealed here.
    IFederation public federation;
    /// Seconds in which members set their own bit.
    uint64 public answerSeconds;
    /// @inheritdoc IEpochs
    bytes32 public sealedHash;
    /// @inheritdoc IEpochs
    mapping(address member => uint64 epochId) public enrolledIn;

    SealedRules private _sealed;
    Epoch private _epoch;
    bytes32[MAX_PEAKS] private _peaks;

    modifier onlyCoordinator() {
        require(msg.sender == federation.coordinator(), IFederation.NotCoordinator(msg.sender));
        _;
    }

    /// @inheritdoc IEpochs
    // The federation's events and the factory's say all of this.
    // slither-disable-next-line events-maths
    function initialize(
        IFederation federation_,
        Rules calldata rules,
        Security calldata security,
        SealedRules calldata sealedRules_
    ) external {
        _requireNew(address(federation));
        sealedRules_.validate(rules, security);
        federation = federation_;
        answerSeconds = security.answerSeconds;
        _sealed = sealedRules_;
        sealedHash = sealedRules_.hash();
    }

    /// @inheritdoc IEpochs
    // slither-disable-next-line timestamp
    function openEpoch() external onlyCoordinator returns (uint64 epochId) {
        Epoch storage last = _epoch;
        EpochState state = last.state;
        if (state != EpochState.None && state != EpochState.Failed) {
            // Rounds that are opened and given up count for nothing: nobody hastens the next draw of groups.
            uint64 until_ = last.until + _sealed.epochRounds * federation.rules().roundSeconds;
            bool over = last.closedRounds == _sealed.epochRounds;
            // forge-lint: disable-next-line(block-timestamp)
            over = over || block.timestamp > until_;
            require(last.readyHash != 0 && over, EpochNotOver(last.number, until_));
        }
        _requireBetweenRounds();
        epochId = last.number + 1;
        uint64 until = _now() + _sealed.enrolSeconds;
        delete _epoch;
        _epoch.number = epochId;
        _epoch.state = EpochState.Enrolling;
        _epoch.until = _time(until);
        emit EpochOpened(epochId, until);
    }

    /// @inheritdoc IEpochs
    // What is called is the federation, which calls nobody.
    // slither-disable-next-line timestamp,reentrancy-no-eth,reentrancy-events,calls-loop
    function enrol(uint64 epochId, Enrolment[] calldata enrolments) external {
        Epoch storage current = _in(epochId, EpochState.Enrolling);
        _requireWithin(current.until);
        uint32 count = current.members;
        bytes32[MAX_PEAKS] memory peaks = _peaksOf(count);
        uint256 stake = federation.security().stake;
        bytes32 rulesHash = federation.rulesHash();
        for (uint256 i = 0; i < enrolments.length; ++i) {
            Enrolment calldata one = enrolments[i];
            // Whoever brings one of them in front of this call must not make it fail.
            if (enrolledIn[one.member] == epochId) continue;
            Refusal reason = _refusal(epochId, one, rulesHash, stake);
            if (reason != Refusal.None) {
                emit EnrolmentRefused(epochId, one.member, reason);
                continue;
            }
            enrolledIn[one.member] = epochId;
            Enrol calldata keys = one.statement;
            CommitmentTree.append(
                peaks, count, SealedTrees.rosterLeaf(RosterEntry(one.member, keys.x25519, keys.mlkem))
            );
            emit Enrolled(epochId, one.member, count, keys.x25519, keys.mlkem);
            ++count;
        }
        require(count <= SealedRulesLib.MAX_ROSTER, RosterFull(SealedRulesLib.MAX_ROSTER));
        _keep(peaks, current.members, count);
        current.members = count;
    }

    /// @inheritdoc IEpochs
    // slither-disable-next-line timestamp
    function closeEnrolment(uint64 epochId) external {
        Epoch storage current = _in(epochId, EpochState.Enrolling);
        _requirePast(current.until);
        if (current.members < _sealed.minRoster) {
            _fail(current);
            return;
        }
        current.state = EpochState.Closed;
        // forge-lint: disable-next-line(unsafe-typecast)
        current.closedIn = uint48(block.number);
        bytes32 root = CommitmentTree.rangeHash(_peaks, current.members);
        current.rosterRoot = root;
        emit RosterClosed(epochId, root, current.members, uint64(block.number));
    }

    /// @inheritdoc IEpochs
    function draw(uint64 epochId, bytes calldata header) external {
        Epoch storage current = _in(epochId, EpochState.Closed);
        uint256 drawnBy = current.closedIn + DRAWN_AFTER;
        require(block.number > drawnBy, EpochTooEarly(0));
        (bool known, bytes32 value) = _beacon(drawnBy, header);
        // Whoever waited until nobody can show the value any more gets no draw.
        if (!known) {
            _fail(current);
            return;
        }
        bytes32 seed = SealedTrees.groupSeed(address(federation), epochId, current.rosterRoot, value);
        uint64 until = _now() + _sealed.keySeconds;
        current.state = EpochState.Drawn;
        current.groupSeed = seed;
        current.until = _time(until);
        emit GroupsDrawn(epochId, seed, until);
    }

    /// @inheritdoc IEpochs
    function beacon(uint256 number, bytes calldata header) external view returns (bool known, bytes32 value) {
        return _beacon(number, header);
    }

    /// @inheritdoc IEpochs
    // slither-disable-next-line timestamp
    function stateReady(uint64 epochId, bytes calldata ready) external onlyCoordinator {
        Epoch storage current = _in(epochId, EpochState.Drawn);
        require(current.readyHash == 0, ReadyAlreadyStated(epochId));
        _requireWithin(current.until);
        _requireBetweenRounds();
        require(ready.isSetOf(current.members), MalformedBitmap());
        uint64 until = _now() + answerSeconds;
        uint64 first = federation.currentRound() + 1;
        current.readyHash = keccak256(ready);
        current.firstRound = first;
        current.until = _time(until);
        emit ReadyStated(epochId, ready, first, until);
    }

    /// @inheritdoc IEpochs
    // slither-disable-next-line timestamp
    function addReady(uint64 epochId, bytes calldata ready, RosterProof calldata proof, bytes calldata cid)
        external
    {
        Epoch storage current = _in(epochId, EpochState.Drawn);
        require(keccak256(ready) == current.readyHash, OtherBitmap());
        _requireWithin(current.until);
        require(ContentId.isPlausible(cid), InvalidCid());
        require(
            MemberSignature.speaksFor(federation, current.firstRound, msg.sender, proof.entry.member),
            NotTheMember(msg.sender)
        );
        uint256 place = requireEnrolled(proof);
        current.readyHash = keccak256(ready.with(place));
        // forge-lint: disable-next-line(unsafe-typecast)
        emit ReadyAdded(epochId, proof.entry.member, uint32(place), cid);
    }

    /// @inheritdoc IEpochs
    // slither-disable-next-line timestamp
    function failEpoch(uint64 epochId) external {
        Epoch storage current = _in(epochId, EpochState.Drawn);
        require(current.readyHash == 0, ReadyAlreadyStated(epochId));
        _requirePast(current.until);
        _fail(current);
    }

    /// @inheritdoc IEpochs
    function countRound() external {
        require(msg.sender == federation.rollups(), IFederation.NotSidecar(msg.sender));
        _epoch.closedRounds += 1;
    }

    /// @inheritdoc IRuleLimits
    function requireAllowed(Rules calldata rules) external view {
        _sealed.validateRules(rules, federation.security());
    }

    /// @inheritdoc IEpochs
    // slither-disable-next-line timestamp,incorrect-equality
    function epochOf(uint64 roundId, uint64 openedAt) external view returns (Epoch memory current) {
        current = _epoch;
        require(
            current.readyHash != 0 && roundId >= current.firstRound && openedAt > current.until
                && current.state == EpochState.Drawn && current.closedRounds < _sealed.epochRounds,
            NoEpochForRound(roundId)
        );
    }

    /// @inheritdoc IEpochs
    function epoch() external view returns (Epoch memory) {
        return _epoch;
    }

    /// @inheritdoc IEpochs
    function epochRoot() external view returns (bytes32) {
        return SealedTrees.epochRoot(_epoch.rosterRoot, _epoch.groupSeed, _epoch.readyHash);
    }

    /// @inheritdoc IEpochs
    function sealedRules() external view returns (SealedRules memory) {
        return _sealed;
    }

    /// @inheritdoc IEpochs
    // slither-disable-next-line timestamp,incorrect-equality
    function requireEnrolled(RosterProof calldata proof) public view returns (uint256 place) {
        uint32 count = _epoch.members;
        require(proof.index < count, NotInRoster(proof.index));
        (uint256 level, uint256 position) = CommitmentTree.locate(count, proof.index);
        bytes32 leaf = SealedTrees.rosterLeaf(proof.entry);
        require(
            proof.siblings.length == level
                && CommitmentTree.climb(leaf, position, proof.siblings) == _peaks[level],
            NotInRoster(proof.index)
        );
        return Shuffle.placeOf(_epoch.groupSeed, proof.index, count);
    }

    /// @dev What the beacon gave for a past block. With the block's hash, whoever builds it would try as many draws as it can
    ///      compute; of PREVRANDAO it can only choose between having its block and not, of Filecoin's beacon nothing.
    function _beacon(uint256 number, bytes calldata header) private view returns (bool known, bytes32 value) {
        if (drawsByDrand) {
            (known, value) = Filecoin.beacon(number);
            require(known, NoBeacon(number));
            return (known, value);
        }
        // Else a call with little gas would find no hash, and end an epoch that can be drawn.
        require(gasleft() > GAS_TO_LOOK, TooLittleGas(GAS_TO_LOOK));
        bytes32 hash = BlockHeader.hashOf(number);
        if (hash == 0) return (false, 0);
        require(keccak256(header) == hash, WrongHeader(number, hash));
        value = BlockHeader.prevRandao(header);
        // Chains without a beacon have zero there.
        require(value != 0, NoBeacon(number));
        known = true;
    }

    /// @dev Why an enrolment is not taken. The federation and its rule book are the factory's own code.
    // slither-disable-next-line calls-loop,timestamp
    function _refusal(uint64 epochId, Enrolment calldata one, bytes32 rulesHash, uint256 stake)
        private
        view
        returns (Refusal)
    {
        if (!federation.isMember(one.member)) return Refusal.NotMember;
        Enrol calldata statement = one.statement;
        address signer = Consent.signerOf(federation, SealedTypes.structHash(statement), one.signature);
        if (!MemberSignature.speaksFor(federation, federation.currentRound() + 1, signer, one.member)) {
            return Refusal.BadSignature;
        }
        if (statement.epoch != epochId) return Refusal.WrongRound;
        if (statement.rulesHash != rulesHash || statement.sealedHash != sealedHash) {
            return Refusal.WrongRules;
        }
        if (statement.x25519 == 0 || statement.mlkem == 0) return Refusal.WrongShape;
        // The seconds that a block producer can shift do not matter.
        // forge-lint: disable-next-line(block-timestamp)
        if (block.timestamp > statement.deadline) return Refusal.Expired;
        return stake == 0 || federation.stakeOf(one.member) >= stake ? Refusal.None : Refusal.StakeTooLow;
    }

    /// @dev The peaks that stand; reading others would cost as much.
    function _peaksOf(uint32 count) private view returns (bytes32[MAX_PEAKS] memory peaks) {
        for (uint256 level = 0; (count >> level) > 0; ++level) {
            if ((count >> level) & 1 == 1) peaks[level] = _peaks[level];
        }
    }

    function _keep(bytes32[MAX_PEAKS] memory peaks, uint32 before, uint32 count) private {
        for (uint256 level = 0; (count >> level) > 0; ++level) {
            // A peak stands unchanged when the counts agree from its bit up.
            bool changed = before >> level != count >> level;
            if (changed && (count >> level) & 1 == 1) _peaks[level] = peaks[level];
        }
    }

    function _fail(Epoch storage current) private {
        current.state = EpochState.Failed;
        emit EpochFailed(current.number);
    }

    // slither-disable-next-line timestamp
    function _in(uint64 epochId, EpochState state) private view returns (Epoch storage current) {
        current = _epoch;
        require(current.number == epochId && current.state == state, WrongEpochState(epochId, current.state));
    }

    function _requireBetweenRounds() private view {
        uint64 latest = federation.currentRound();
        RoundState state = federation.round(latest).state;
        require(
            state == RoundState.None || state == RoundState.Final || state == RoundState.Failed,
            IFederation.RoundStillOpen(latest)
        );
    }

    // The seconds that a block producer can shift do not matter, here and below.
    // slither-disable-next-line timestamp
    function _requireWithin(uint64 until) private view {
        // forge-lint: disable-next-line(block-timestamp)
        require(block.timestamp <= until, EpochTooLate(until));
    }

    // slither-disable-next-line timestamp
    function _requirePast(uint64 until) private view {
        // forge-lint: disable-next-line(block-timestamp)
        require(block.timestamp > until, EpochTooEarly(until));
    }

    /// @dev Unix time fits 40 bits for 34,000 years.
    function _time(uint64 seconds_) private pure returns (uint40) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint40(seconds_);
    }

    function _now() private view returns (uint64) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint64(block.timestamp);
    }
}
