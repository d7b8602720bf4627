// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {Refusal} from "../libraries/RulesLib.sol";
import {Submission} from "../libraries/UpdateTypes.sol";
import {IFederation} from "./IFederation.sol";
import {IPullPayments} from "./IPullPayments.sol";
import {IRuleLimits} from "./IRuleLimits.sol";

/// @notice Where an update stands that its member submitted itself.
enum DirectState {
    None,
    /// Nothing can be proposed until it is included or forfeited; a roll-up must hold it.
    Waiting,
    /// It counts.
    Included,
    /// It was included, and the rules refused it.
    Refused,
    /// Its vector was demanded and did not come.
    Forfeited
}

/// @notice An update that did not come through the coordinator.
struct DirectUpdate {
    DirectState state;
    /// Whether the fee of a demand is paid, out or back.
    bool settled;
    /// Chunks posted so far, in order.
    uint32 posted;
    /// Unix time in seconds until which its vector must be posted; 0 while nobody demanded it.
    uint64 due;
    /// Σd² that its member signed.
    uint128 sumSquares;
    /// Root hash that its member signed.
    bytes32 updateRoot;
    /// Hash of what was submitted; see `SubmissionCode`.
    bytes32 submission;
    /// Who demanded the vector, and gets back what it does not cost.
    address demander;
    /// Wei that posting has cost since it was begun last.
    uint96 cost;
}

/// @title Updates that members submit themselves
/// @notice The way past a coordinator that ignores a member. While a round is open and not rolled up, a member may bring its
///         signed update itself, or let others bring it; from then on the coordinator must take it in: where updates are relayed,
///         nothing can be proposed before; where they are rolled up, leaving it out is a fraud (`Rollups.proveOmission`).
///
///         Only where members have a stake, because the data of such an update may be missing. The coordinator can demand
///         that the member post the vector here, at the coordinator's cost; one that does not in time loses the stake that the
///         federation asks for, and need not be taken in. So nobody can stall a round for free, and nobody has to be trusted to publish.
interface IDirectSubmissions is IPullPayments, IRuleLimits {
    /// @notice An update waits to be taken in.
    event SubmittedDirectly(uint64 indexed round, address indexed member, Submission submission);
    /// @notice The coordinator took an update in; `reason` says why it does not count, if it does not.
    event Included(uint64 indexed round, address indexed member, Refusal indexed reason);
    /// @notice The vector of a member's update is wanted before `due` (Unix seconds).
    event PostingDemanded(uint64 indexed round, address indexed member, uint64 due);
    /// @notice A chunk of an update's vector, as its member states it: packed big-endian int32.
    /// @dev Proved by `VectorPosted` alone; a later event for the same index replaces this one.
    event ChunkPosted(uint64 indexed round, address indexed member, uint32 index, bytes values);
    /// @notice The chunks posted last are the vector that the member signed.
    event VectorPosted(uint64 indexed round, address indexed member);
    /// @notice The vector did not come in time: the update will not count, and of the stake what is asked for is burnt.
    event VectorForfeited(uint64 indexed round, address indexed member);
    /// @notice The fee of a demand went back, since its round was over without the vector.
    event PostingReclaimed(uint64 indexed round, address indexed member);

    /// @notice The update would not count, and why.
    error UpdateNotAccepted(Refusal reason);
    /// @notice Neither the member nor its key sent the update or consented; `speaker` is who did.
    error NoConsent(address member, address speaker);
    /// @notice No such update of the member waits in this round.
    error NotWaiting(uint64 roundId, address member);
    /// @notice The vector was demanded before.
    error AlreadyDemanded(uint64 roundId, address member);
    /// @notice The vector was not demanded, or the demand is settled.
    error NotDemanded(uint64 roundId, address member);
    /// @notice Vectors could be demanded until then.
    error TooLate(uint64 until);
    /// @notice A demand costs exactly this.
    error WrongFee(uint256 sent, uint256 fee);
    /// @notice Chunks come in order: the next one, or the first to begin again.
    error ChunkOutOfOrder(uint32 first, uint32 next);
    /// @notice Whole chunks, at least one, and no more than the vector has.
    error WrongLength(uint256 length);
    /// @notice The chunks are not the vector that the member signed. Begin again with the first.
    error WrongVector(bytes32 root, uint128 sumSquares);
    /// @notice There is time until then.
    error NotDue(uint64 due);

    /// @notice Makes a new clone work for one federation. `FederationFactory` calls it in the transaction that makes
    ///         the clone; nobody can call it again.
    /// @param federation Federation whose members submit here.
    /// @param elements Length of the model's vector.
    /// @param answerSeconds Seconds to post a vector.
    function initialize(IFederation federation, uint64 elements, uint64 answerSeconds) external;

    /// @notice Brings an update to an open round that is not rolled up, in the member's name: the caller is the member or the
    ///         key that signs for it in this round, or shows that one of them consented. That an update is signed is no
    ///         consent, since the coordinator has the signed updates of all. The member's stake is held for the round. Reverts
    ///         where the rules would refuse the update, and when one of the member counts already.
    /// @param roundId Number of the open round.
    /// @param submission Signed update.
    /// @param consent Nothing where the caller is the member or its key; else the signature of one of them over
    ///        `Direct(address member,uint64 round,bytes32 update)` in the federation's domain, `update` being the
    ///        struct hash of the update.
    function submit(uint64 roundId, Submission calldata submission, bytes calldata consent) external;

    /// @notice Takes a waiting update in: it counts from now on, after all accepted so far, whatever its member's address.
    ///         Its deadlines were kept when it was submitted. Coordinator only, so that nobody else changes what it is about to propose.
    /// @param roundId Number of the open round.
    /// @param submission The same signed update.
    function include(uint64 roundId, Submission calldata submission) external;

    /// @notice Demands the vector of a waiting update for `postingFee`, which also keeps its round from being failed
    ///         meanwhile. Coordinator only, and no later than one `answerSeconds` after the round's deadline. The vector must be
    ///         posted within `answerSeconds`, or within the time that all vectors demanded in the round so far take one after the
    ///         other (`PostingCost.secondsFor`) if that is longer.
    /// @param roundId Number of the open round.
    /// @param member Who signed.
    function demandPosting(uint64 roundId, address member) external payable;

    /// @notice Posts chunks of a member's vector: the member does, or the key that signs for it in the round. With the last one
    ///         it must be what was signed. Then the member is owed what posting cost, at most the fee: the gas of these calls
    ///         since chunk 0, at their blocks' base fees, without tips; the demander is owed the rest. So withholding a vector
    ///         earns nothing. What a contract spends around these calls is not seen.
    /// @param roundId Number of the round.
    /// @param member Whose vector it is.
    /// @param first Index of the first of these chunks.
    /// @param values Chunks one after the other, each whole: packed big-endian int32.
    function post(uint64 roundId, address member, uint32 first, bytes calldata values) external;

    /// @notice Gives an update up whose vector did not come in time, and burns the stake that the federation asks for; what
    ///         its signer has beyond that stays. Anyone may, while the round is open.
    /// @param roundId Number of the round.
    /// @param member Who signed.
    function forfeit(uint64 roundId, address member) external;

    /// @notice Pays the fee of a demand back whose round is over and whose vector did not come in time.
    /// @param roundId Number of the round.
    /// @param member Who signed.
    function reclaim(uint64 roundId, address member) external;

    /// @notice Running hash over what became of the updates submitted directly in a round: keccak(the hash before ‖ state:u8 ‖
    ///         member ‖ submission:32) for each update that waits, is included, refused or given up; 0 before the first. A
    ///         roll-up names it, so that it holds for one set of waiting updates only.
    /// @param roundId Number of a round.
    /// @return The hash.
    function journal(uint64 roundId) external view returns (bytes32);

    /// @param roundId Number of a round.
    /// @param member Any address.
    /// @return Its direct update; all zero if there is none.
    function directUpdate(uint64 roundId, address member) external view returns (DirectUpdate memory);

    /// @return Wei that the demand for a vector costs, `Security.postFee` a chunk.
    function postingFee() external view returns (uint256);
}
