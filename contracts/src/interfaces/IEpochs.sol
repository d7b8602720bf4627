// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Refusal, Rules} from "../libraries/RulesLib.sol";
import {SealedRules} from "../libraries/SealedRulesLib.sol";
import {RosterEntry} from "../libraries/SealedTrees.sol";
import {Enrol} from "../libraries/SealedTypes.sol";
import {Security} from "../libraries/SecurityLib.sol";
import {IFederation} from "./IFederation.sol";
import {IRuleLimits} from "./IRuleLimits.sol";

/// @notice Where an epoch stands. `None`: there was none yet.
enum EpochState {
    None,
    /// Takes enrolments.
    Enrolling,
    /// The roster is complete; its groups are not drawn.
    Closed,
    /// Groups are drawn; keys are exchanged, and who is ready is stated.
    Drawn,
    Failed
}

/// @notice The roster that an epoch's rounds are sealed among, and its groups.
struct Epoch {
    EpochState state;
    uint64 number;
    /// Unix time in seconds after which the present state can be ended: enrolment, the exchange of keys, or the time in which
    /// members set their own bit. After the last one rounds can be opened.
    uint40 until;
    /// Block in which enrolment was closed.
    uint48 closedIn;
    /// Members enrolled.
    uint32 members;
    /// Rounds of this epoch that were rolled up.
    uint16 closedRounds;
    /// First round that can be sealed in it; 0 until the coordinator has stated who is ready.
    uint64 firstRound;
    /// Hash of the mountain range over the enrolments.
    bytes32 rosterRoot;
    /// Seed of the draw of groups.
    bytes32 groupSeed;
    /// keccak-256 of the bitmap of members that are ready, over their places.
    bytes32 readyHash;
}

/// @notice What a member signed to enrol.
struct Enrolment {
    /// Member who is said to have signed.
    address member;
    /// Signed statement.
    Enrol statement;
    /// ECDSA signature r ‖ s ‖ v of 65 bytes, by the member or its key.
    bytes signature;
}

/// @notice An enrolment in the roster, and the way to its peak.
struct RosterProof {
    uint32 index;
    RosterEntry entry;
    bytes32[] siblings;
}

/// @title Epochs of a sealed federation
/// @notice Members enrol with fresh keys; the roster is divided into groups by a draw that follows from it and from a beacon's
///         value that nobody knew when it was complete; within a group every two members that are ready share a key. Groups stay
///         together for `epochRounds` rounds, and nobody can end an epoch before.
/// @dev Works for its federation in the place of `DirectSubmissions`: nobody submits a sealed update without the coordinator.
interface IEpochs is IRuleLimits {
    /// @notice Enrolment in an epoch begins, until a Unix time in seconds.
    event EpochOpened(uint64 indexed epoch, uint64 until);
    /// @notice A member is in the roster, at an index, with the public keys for this epoch.
    event Enrolled(uint64 indexed epoch, address indexed member, uint32 index, bytes32 x25519, bytes32 mlkem);
    /// @notice An enrolment was refused.
    event EnrolmentRefused(uint64 indexed epoch, address indexed member, Refusal reason);
    /// @notice The roster is complete. Its groups are drawn by the beacon's value for block `closedIn` + 2.
    event RosterClosed(uint64 indexed epoch, bytes32 indexed rosterRoot, uint32 members, uint64 closedIn);
    /// @notice Groups are drawn. Keys are exchanged until a Unix time in seconds.
    event GroupsDrawn(uint64 indexed epoch, bytes32 groupSeed, uint64 until);
    /// @notice These members are ready, as a bitmap over places; others can set their own bit until a Unix time in seconds.
    event ReadyStated(uint64 indexed epoch, bytes ready, uint64 firstRound, uint64 until);
    /// @notice A member that was left out set its own bit, at its place; its messages are under `cid`.
    event ReadyAdded(uint64 indexed epoch, address indexed member, uint32 place, bytes cid);
    /// @notice No round is sealed in this epoch.
    event EpochFailed(uint64 indexed epoch);

    /// @notice The epoch is in another state.
    error WrongEpochState(uint64 epoch, EpochState state);
    /// @notice A content address is empty or too long.
    error InvalidCid();
    /// @notice An epoch is not cut short: `epochRounds` rounds are sealed in it, or as much time passes.
    error EpochNotOver(uint64 epoch, uint64 until);
    /// @notice No round is sealed in the epoch now: it is over, or was not ready when the round was opened.
    error NoEpochForRound(uint64 roundId);
    /// @notice Wait until then, Unix time in seconds.
    error EpochTooEarly(uint64 until);
    /// @notice It is too late, since then, Unix time in seconds.
    error EpochTooLate(uint64 until);
    /// @notice Who is ready was stated before.
    error ReadyAlreadyStated(uint64 epoch);
    /// @notice A roster holds so many members at most.
    error RosterFull(uint256 most);
    /// @notice A bitmap has another length than the roster asks for, or bits beyond it.
    error MalformedBitmap();
    /// @notice A bitmap is not the one that stands.
    error OtherBitmap();
    /// @notice The enrolment does not lead to the roster.
    error NotInRoster(uint32 index);
    /// @notice Neither the member nor its key.
    error NotTheMember(address caller);
    /// @notice Not the header of the block that draws.
    error WrongHeader(uint256 number, bytes32 blockHash);
    /// @notice The chain has no beacon: PREVRANDAO of this block is zero, or its header is not that of an Ethereum block.
    error NoBeacon(uint256 number);
    /// @notice A draw needs more gas than this.
    error TooLittleGas(uint256 gas);

    /// @notice Makes a new clone that of one federation. `FederationFactory` calls it in the transaction that makes the
    ///         clone; nobody can call it again.
    /// @param federation Federation whose rounds are sealed.
    /// @param rules Its first rules.
    /// @param security Its security.
    /// @param sealedRules_ How its rounds are sealed, for ever.
    function initialize(
        IFederation federation,
        Rules calldata rules,
        Security calldata security,
        SealedRules calldata sealedRules_
    ) external;

    /// @notice Opens an epoch, between rounds, when the one before is over. Coordinator only.
    /// @return epochId Its number; the first is 1.
    function openEpoch() external returns (uint64 epochId);

    /// @notice Enrols members, with what they signed for this epoch. Anyone may bring it. One that the rules refuse is
    ///         refused in an event; who is enrolled already is passed over.
    /// @param epochId Number of the epoch.
    /// @param enrolments Signed enrolments.
    function enrol(uint64 epochId, Enrolment[] calldata enrolments) external;

    /// @notice Closes enrolment after its time, or ends the epoch if too few enrolled. Anyone may.
    /// @param epochId Number of the epoch.
    function closeEnrolment(uint64 epochId) external;

    /// @notice Draws the groups, from the third block after the closing one on, or ends the epoch when the block's hash is no
    ///         longer known. Anyone may.
    /// @param epochId Number of the epoch.
    /// @param header Header of the second block after the closing one, in RLP; of no account on Filecoin.
    function draw(uint64 epochId, bytes calldata header) external;

    /// @return Whether groups are drawn by Filecoin's beacon, which needs no header.
    function drawsByDrand() external view returns (bool);

    /// @param number Number of a past block.
    /// @param header Its header in RLP; of no account on Filecoin.
    /// @return known False when the chain no longer knows the block's hash.
    /// @return value What the beacon gave for it: PREVRANDAO, on Filecoin the epoch's value.
    function beacon(uint256 number, bytes calldata header) external view returns (bool known, bytes32 value);

    /// @notice States who is ready: whose messages to its group were there and well-formed. Coordinator only, once, between
    ///         rounds.
    /// @param epochId Number of the epoch.
    /// @param ready Bitmap over places.
    function stateReady(uint64 epochId, bytes calldata ready) external;

    /// @notice Sets the caller's own bit, if the coordinator left it out, for `answerSeconds` after it stated who is ready.
    /// @param epochId Number of the epoch.
    /// @param ready Bitmap that stands.
    /// @param proof Enrolment of the caller, or of the member whose key it is.
    /// @param cid Binary CIDv1 of its messages.
    function addReady(uint64 epochId, bytes calldata ready, RosterProof calldata proof, bytes calldata cid)
        external;

    /// @notice Ends an epoch in which nobody stated in time who is ready. Anyone may.
    /// @param epochId Number of the epoch.
    function failEpoch(uint64 epochId) external;

    /// @notice Counts a round of the epoch that is rolled up now. `SealedRounds` only. One that is closed and given up counts for
    ///         nothing: that costs nobody anything, and would hasten the next draw.
    function countRound() external;

    /// @notice Reverts if a round can be sealed in no epoch.
    /// @param roundId Number of an open round.
    /// @param openedAt Unix time in seconds of its opening.
    /// @return The epoch that it is sealed in.
    function epochOf(uint64 roundId, uint64 openedAt) external view returns (Epoch memory);

    /// @return The latest epoch.
    function epoch() external view returns (Epoch memory);

    /// @return What members sign beside an update: keccak(0x35 ‖ rosterRoot ‖ groupSeed ‖ readyHash) of the latest epoch.
    function epochRoot() external view returns (bytes32);

    /// @return How rounds are sealed.
    function sealedRules() external view returns (SealedRules memory);

    /// @return keccak-256 of their ABI encoding.
    function sealedHash() external view returns (bytes32);

    /// @param member Any address.
    /// @return Latest epoch that it enrolled in; 0 if none.
    function enrolledIn(address member) external view returns (uint64);

    /// @notice Reverts unless an enrolment is in the latest roster.
    /// @param proof Enrolment and the way to its peak.
    /// @return place Its place.
    function requireEnrolled(RosterProof calldata proof) external view returns (uint256 place);
}
