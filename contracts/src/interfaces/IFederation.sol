// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Round} from "../libraries/RoundLib.sol";
import {Refusal, Rules} from "../libraries/RulesLib.sol";
import {Submission, Update} from "../libraries/UpdateTypes.sol";

/// @title A federation: who trains together, by which rules, and what each round came to
/// @notice The owner sets members and the coordinator. The coordinator opens rounds, relays the updates that members
///         sign, and states what they aggregate to. The contract decides which updates count and how much.
///
///         Examples, accuracy and loss are attested by the clients, not proved. The model and aggregate roots of a
///         final round are stated by the coordinator; anyone can recompute them from the updates, whose roots,
///         weights and content addresses the events carry.
interface IFederation {
    /// @notice A federation exists.
    event FederationCreated(
        address indexed owner,
        address indexed coordinator,
        bytes32 indexed rulesHash,
        Rules rules,
        bytes32 modelRoot,
        bytes modelCid
    );
    /// @notice A member may now sign updates.
    event MemberAdded(address indexed member);
    /// @notice A member may no longer sign updates.
    event MemberRemoved(address indexed member);
    /// @notice The owner put another coordinator in place.
    event CoordinatorReplaced(address indexed previous, address indexed coordinator);
    /// @notice A round is open until its deadline (Unix seconds). Who is sampled follows from the seed.
    event RoundOpened(
        uint64 indexed round, bytes32 indexed baseRoot, bytes32 seed, bytes32 rulesHash, uint64 deadline
    );
    /// @notice An update counts with this weight.
    /// @dev With the round's base and the rules this holds every field of the typed data, so that the signature can
    ///      be checked again from events alone.
    event UpdateAccepted(
        uint64 indexed round,
        address indexed member,
        bytes32 indexed updateRoot,
        uint32 weight,
        uint32 examples,
        uint128 sumSquares,
        uint32 accuracyPpm,
        uint64 lossMicros,
        uint64 deadline,
        bytes cid,
        bytes signature
    );
    /// @notice An update does not count, and why.
    /// @dev `member` is whom the coordinator named; only for reasons after `BadSignature` is it known that this
    ///      member signed.
    event UpdateRefused(
        uint64 indexed round, address indexed member, Refusal indexed reason, bytes32 updateRoot, bytes cid
    );
    /// @notice A round came to a new model, whose binary CIDv1 is given.
    event RoundFinal(
        uint64 indexed round,
        bytes32 indexed modelRoot,
        bytes32 indexed aggregateRoot,
        uint64 totalWeight,
        uint32 accepted,
        bytes cid
    );
    /// @notice A round came to nothing; the next one opens over the same base.
    event RoundFailed(uint64 indexed round, address indexed by, uint32 accepted);

    /// @notice Only the coordinator may do this.
    error NotCoordinator(address caller);
    /// @notice An address, root or content address is empty or too long.
    /// @param what Name of the parameter.
    error InvalidParameter(string what);
    /// @notice The address is a member already.
    error AlreadyMember(address member);
    /// @notice The address is no member.
    error UnknownMember(address member);
    /// @notice Wait until the round is final or failed.
    error RoundStillOpen(uint64 roundId);
    /// @notice No such round was opened.
    error UnknownRound(uint64 roundId);

    /// @notice Lets a new member in, between rounds. Owner only.
    /// @param member Address of the key the member signs with.
    function addMember(address member) external;

    /// @notice Puts a member out, between rounds. Owner only.
    /// @param member Address of the member.
    function removeMember(address member) external;

    /// @notice Puts another coordinator in place, at any time: the way out when one vanished. Owner only.
    /// @param newCoordinator Address of the new coordinator.
    function replaceCoordinator(address newCoordinator) external;

    /// @notice Opens the next round over the current model. Coordinator only.
    /// @return roundId Number of the round; the first is 1.
    function openRound() external returns (uint64 roundId);

    /// @notice Relays signed updates. Each is accepted or refused with a reason, in an event. Coordinator only.
    /// @dev Members must come in ascending address order over all accepted updates of the round, as the aggregate
    ///      sums them; a member lower than the last accepted one reverts the call, the same one again is refused
    ///      as a duplicate.
    /// @param roundId Number of the open round.
    /// @param submissions Signed updates.
    function submit(uint64 roundId, Submission[] calldata submissions) external;

    /// @notice States what the accepted updates of a round aggregate to. Needs the quorum. Coordinator only.
    /// @param roundId Number of the open round.
    /// @param newModelRoot Root of base + floor(S / W).
    /// @param aggregateRoot Root of S = Σ wᵢ·dᵢ.
    /// @param cid Binary CIDv1 of the new model in the store.
    function finalizeRound(uint64 roundId, bytes32 newModelRoot, bytes32 aggregateRoot, bytes calldata cid)
        external;

    /// @notice Gives a round up: by the coordinator while it has no quorum, by anyone after its deadline.
    /// @param roundId Number of the open round.
    function failRound(uint64 roundId) external;

    /// @return Address that runs the rounds.
    function coordinator() external view returns (address);

    /// @return Rules in force.
    function rules() external view returns (Rules memory);

    /// @return keccak-256 of the rules' ABI encoding.
    function rulesHash() external view returns (bytes32);

    /// @return Root of the current model: that of the last final round, or the initial one.
    function modelRoot() external view returns (bytes32);

    /// @return Number of the latest round, 0 before the first.
    function currentRound() external view returns (uint64);

    /// @param roundId Number of a round.
    /// @return The round; state `None` if it was never opened.
    function round(uint64 roundId) external view returns (Round memory);

    /// @param roundId Number of an opened round.
    /// @return keccak(abi.encode(chainId, federation, roundId, baseRoot)), from which the sample follows.
    function roundSeed(uint64 roundId) external view returns (bytes32);

    /// @param roundId Number of a round.
    /// @param member Address of a member.
    /// @return Context that the leaves of this member's update in this round are bound to.
    function updateContext(uint64 roundId, address member) external view returns (bytes32);

    /// @param account Any address.
    /// @return True when it is a member.
    function isMember(address account) external view returns (bool);

    /// @return Number of members.
    function memberCount() external view returns (uint256);

    /// @return All members, in no order.
    function members() external view returns (address[] memory);

    /// @param update Statement to sign.
    /// @return EIP-712 digest that a member signs.
    function hashUpdate(Update calldata update) external view returns (bytes32);
}
