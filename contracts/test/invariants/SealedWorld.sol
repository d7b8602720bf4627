// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Epochs} from "../../src/Epochs.sol";
import {RuleBook} from "../../src/RuleBook.sol";
import {SealedCourt} from "../../src/SealedCourt.sol";
import {SealedDisputes} from "../../src/SealedDisputes.sol";
import {SealedRounds} from "../../src/SealedRounds.sol";
import {FederationParameters} from "../../src/interfaces/IFederation.sol";
import {IHearing} from "../../src/interfaces/IHearing.sol";
import {ChaCha20} from "../../src/libraries/ChaCha20.sol";
import {Division, Groups} from "../../src/libraries/Groups.sol";
import {MerkleSumTree, UpdatePlace} from "../../src/libraries/MerkleSumTree.sol";
import {Round, RoundState} from "../../src/libraries/RoundLib.sol";
import {Rules} from "../../src/libraries/RulesLib.sol";
import {SealedRules} from "../../src/libraries/SealedRulesLib.sol";
import {GroupShape} from "../../src/libraries/SealedShape.sol";
import {Security} from "../../src/libraries/SecurityLib.sol";
import {VectorKind} from "../../src/libraries/VectorTree.sol";
import {VectorForest} from "../base/VectorForest.sol";
import {SealedCaller} from "../sealed/SealedCaller.sol";
import {Purses} from "./Purses.sol";

/// @notice A sealed federation of sixteen members, and what its parties know of the present epoch and round beside the contracts.
/// @dev Members 0 to 11 are honest, 12 to 15 accomplices of the lying coordinator.
abstract contract SealedWorld is Purses {
    uint64 internal constant ELEMENTS = 65;
    uint256 internal constant HONEST = 12;
    uint128 internal constant STAKE = 128_000;
    uint64 internal constant WINDOW = 600;
    uint64 internal constant ANSWER = 120;
    uint16 internal constant GROUP = 8;
    /// Bytes of a lane: 400 · √maxSumSquares · 15 < 2^31.
    uint8 internal constant LANE_BYTES = 4;
    int256 internal constant MODULUS = int256(1) << (8 * uint256(LANE_BYTES));

    /// What may be wrong with what an accomplice submits.
    enum Fault {
        None,
        /// A chunk of the masked vector is too long.
        MaskedLeaf,
        /// What stands for the commitment to its own seed is something else.
        Commitment,
        /// Its update is so large that the group's sum passes its bound.
        Spoilt
    }

    enum Lie {
        None,
        // About the roll-up.
        RecordWeight,
        RecordPlace,
        ForgedSubmission,
        MalformedRecord,
        HiddenRange,
        // What an accomplice submitted, and a group that cannot be opened, counts.
        CountsMaskedLeaf,
        CountsCommitment,
        CountsSpoilt,
        CountsUnopened,
        // About the proposal.
        Lane,
        Reading,
        Squares,
        NodeWeight,
        NodeSums,
        Leaf,
        Model,
        HiddenTop,
        /// Updates that are not sealed.
        NotSealed
    }

    address internal liar = address(0x11A2);
    address internal challenger = address(0xCA11);
    address internal second = address(0xCA12);
    SealedCaller internal libraries = new SealedCaller();
    Epochs internal epochs;
    SealedRounds internal rounds;
    SealedCourt internal sealedCourt;
    SealedDisputes internal disputes;
    RuleBook internal book;

    /// Members of the present epoch in the order in which they enrolled, and by place.
    uint256[] internal roster;
    uint256[] internal atPlace;
    Division internal division;
    /// One bit a place: who is ready.
    uint256 internal ready;
    bytes32 internal epochRoot;

    uint64 internal roundId;
    int256[] internal base;
    /// One bit a place: who is included, whose shares do not come, and one a group: which counts.
    uint256 internal included;
    uint256 internal withheld;
    uint256 internal counting;
    /// By member.
    mapping(uint256 member => Fault) internal faults;
    /// Masked vector of each place, as lanes.
    mapping(uint256 place => int256[]) internal masked;
    /// Hash of what each place submitted.
    mapping(uint256 place => bytes32) internal submitted;
    Lie internal lie;
    uint256 internal lieSeed;
    uint64 internal proposedAt;
    /// Longest that a true proposal may stand.
    uint64 internal longest;

    function setUp() public virtual override {
        super.setUp();
        for (uint256 j = 0; j < ELEMENTS; ++j) {
            base.push(int256((j * 5) % 41) + 11);
        }
        Rules memory rules = defaultRules();
        rules.minClients = 4;
        rules.elements = ELEMENTS;
        Security memory security = defaultSecurity();
        security.stake = STAKE;
        SealedRules memory sealedRules = defaultSealedRules();
        sealedRules.enrolSeconds = 60;
        sealedRules.keySeconds = 60;
        FederationParameters memory parameters = parametersOf(rules, security);
        parameters.openMembership = true;
        parameters.modelRoot = VectorForest.rootOf(VectorKind.Model, base);
        federation = createSealed(parameters, sealedRules);
        disputes = SealedDisputes(payable(federation.disputes()));
        rounds = SealedRounds(federation.rollups());
        sealedCourt = SealedCourt(rounds.court());
        epochs = Epochs(federation.directSubmissions());
        book = RuleBook(federation.ruleBook());
        stakeOfFirst(MEMBERS, STAKE);
        _nameActors();
        beginAccounts();
    }

    function _nameActors() private {
        actors.push(coordinator);
        actors.push(challenger);
        actors.push(second);
        for (uint256 i = 0; i < HONEST; ++i) {
            actors.push(members[i]);
        }
        honestActors = actors.length;
        for (uint256 i = HONEST; i < MEMBERS; ++i) {
            actors.push(members[i]);
        }
        actors.push(liar);
        actors.push(stranger);
        actors.push(owner);
        for (uint256 i = 0; i < actors.length; ++i) {
            vm.deal(actors[i], RICHES);
        }
    }

    function hearing() internal view override returns (IHearing) {
        return disputes;
    }

    /// @dev Nothing else of a sealed federation holds money.
    function ownedElsewhere(address) internal pure override returns (uint256) {
        return 0;
    }

    // --- what is so ---

    function isFalse() internal view returns (bool) {
        return lie != Lie.None;
    }

    function isHonestRound() internal view returns (bool) {
        return federation.coordinator() == coordinator;
    }

    function round_() internal view returns (Round memory) {
        return federation.round(roundId);
    }

    function isProposed() internal view returns (bool) {
        return round_().state == RoundState.Proposed;
    }

    function isLive(Round memory round) internal pure returns (bool) {
        RoundState state = round.state;
        return state == RoundState.Open || state == RoundState.Submitted || state == RoundState.Proposed;
    }

    function isClosed() internal view returns (bool) {
        return roundId > 0 && rounds.latest().round == roundId;
    }

    // --- groups ---

    function shape() internal view returns (GroupShape memory) {
        return GroupShape(bitmap(ready), bitmap(included), groupBitmap(counting));
    }

    /// @dev A set of places as bytes.
    function bitmap(uint256 bits) internal view returns (bytes memory) {
        return _packed(bits, (roster.length + 7) / 8);
    }

    function groupBitmap(uint256 bits) internal pure returns (bytes memory) {
        return _packed(bits, 1);
    }

    function has(uint256 bits, uint256 place) internal pure returns (bool) {
        return (bits >> place) & 1 == 1;
    }

    function placesOf(uint256 group) internal view returns (uint256 first, uint256 end) {
        return (Groups.firstOf(division, group), Groups.firstOf(division, group + 1));
    }

    /// @dev How many places of a range are in a set.
    function countIn(uint256 bits, uint256 first, uint256 end) internal pure returns (uint256 total) {
        for (uint256 place = first; place < end; ++place) {
            if (has(bits, place)) ++total;
        }
    }

    /// @dev Places that count, in their order.
    function seats() internal view returns (uint256[] memory places) {
        places = new uint256[](roster.length);
        uint256 found = 0;
        for (uint256 group = 0; group < division.groups; ++group) {
            if (!has(counting, group)) continue;
            (uint256 first, uint256 end) = placesOf(group);
            for (uint256 place = first; place < end; ++place) {
                if (has(included, place)) places[found++] = place;
            }
        }
        assembly ("memory-safe") {
            mstore(places, found)
        }
    }

    function memberAt(uint256 place) internal view returns (address) {
        return members[atPlace[place]];
    }

    // --- vectors and masks ---

    function weightOf(uint256 index) internal pure returns (uint32) {
        return uint32(100 + index);
    }

    /// @dev A member's weighted update.
    function vectorOf(uint256 index) internal view returns (int256[] memory values) {
        values = new int256[](ELEMENTS);
        int256 weight = int256(uint256(weightOf(index)));
        for (uint256 j = 0; j < ELEMENTS; ++j) {
            values[j] = weight * (int256((j * (7 * index + 3) + roundId) % 41) - 20);
        }
        if (faults[index] == Fault.Spoilt) values[0] = weight * 8_000_000;
    }

    function ownSeed(uint256 index) internal view returns (bytes32) {
        return keccak256(abi.encode("own", roundId, index));
    }

    function pairSeed(uint256 one, uint256 other) internal view returns (bytes32) {
        (uint256 less, uint256 more) = one < other ? (one, other) : (other, one);
        return keccak256(abi.encode("pair", roundId, less, more));
    }

    function seedBetween(uint256 place, uint256 other) internal view returns (bytes32) {
        return place == other ? ownSeed(atPlace[place]) : pairSeed(atPlace[place], atPlace[other]);
    }

    /// @dev Adds a mask to lanes, or takes it off.
    function mask(int256[] memory lanes, bytes32 seed, bool add) internal pure {
        uint256 limit = uint256(MODULUS) - 1;
        for (uint256 first = 0; first < lanes.length; first += 8) {
            (uint256 left, uint256 right) = ChaCha20.lanes(seed, first / 8);
            for (uint256 j = 0; j < 8 && first + j < lanes.length; ++j) {
                uint256 lane = ((j < 4 ? left : right) >> (64 * (3 - j % 4))) & limit;
                int256 sum = lanes[first + j] + (add ? int256(lane) : MODULUS - int256(lane));
                lanes[first + j] = sum & int256(limit);
            }
        }
    }

    /// @dev What a member publishes: its vector, its own mask, and one for every other ready member of its group.
    function seal(uint256 place) internal view returns (int256[] memory lanes) {
        lanes = vectorOf(atPlace[place]);
        (uint256 first, uint256 end) = placesOf(Groups.groupOf(division, place));
        for (uint256 other = first; other < end; ++other) {
            if (!has(ready, other)) continue;
            mask(lanes, seedBetween(place, other), other >= place);
        }
    }

    /// @dev What is left of it once the masks that do not cancel are off.
    function unseal(uint256 place) internal view returns (int256[] memory lanes) {
        lanes = masked[place];
        (uint256 first, uint256 end) = placesOf(Groups.groupOf(division, place));
        for (uint256 other = first; other < end; ++other) {
            if (isRevealed(place, other)) mask(lanes, seedBetween(place, other), other < place);
        }
    }

    function isRevealed(uint256 place, uint256 other) internal view returns (bool) {
        return place == other || (has(ready, other) && !has(included, other));
    }

    function contextOf(uint256 place) internal view returns (bytes32) {
        return MerkleSumTree.context(
            UpdatePlace(block.chainid, address(federation), roundId, memberAt(place), ELEMENTS)
        );
    }

    function _packed(uint256 bits, uint256 length) private pure returns (bytes memory packed) {
        packed = new bytes(length);
        for (uint256 i = 0; i < length; ++i) {
            packed[i] = bytes1(uint8(bits >> (8 * i)));
        }
    }
}
