// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FactoryMade} from "./FactoryMade.sol";
import {PullPayments} from "./PullPayments.sol";
import {DirectState, DirectUpdate, IDirectSubmissions} from "./interfaces/IDirectSubmissions.sol";
import {IFederation} from "./interfaces/IFederation.sol";
import {IRuleLimits} from "./interfaces/IRuleLimits.sol";
import {Consent} from "./libraries/Consent.sol";
import {Circumstances, JudgeLib} from "./libraries/JudgeLib.sol";
import {MemberSignature} from "./libraries/MemberSignature.sol";
import {MerkleSumTree, SumNode, UpdatePlace} from "./libraries/MerkleSumTree.sol";
import {PostingCost} from "./libraries/PostingCost.sol";
import {RoundState} from "./libraries/RoundLib.sol";
import {Expectation, Refusal, Rules, RulesLib} from "./libraries/RulesLib.sol";
import {SubmissionCode} from "./libraries/SubmissionCode.sol";
import {FRONTIER_LEVELS, SumFrontier} from "./libraries/SumFrontier.sol";
import {Submission} from "./libraries/UpdateTypes.sol";

/// @title DirectSubmissions
/// @notice Updates that members submit themselves, and the vectors that they post; see `IDirectSubmissions`.
/// @dev Deployed once and cloned by `FederationFactory`. Apart from the federation because of the size of its code.
contract DirectSubmissions is IDirectSubmissions, PullPayments, FactoryMade {
    using RulesLib for Rules;

    /// Federation whose members submit here.
    IFederation public federation;
    /// Length of the model's vector.
    uint64 public elements;
    /// Seconds to post a vector.
    uint32 public answerSeconds;

    /// @inheritdoc IDirectSubmissions
    mapping(uint64 roundId => bytes32) public journal;

    /// Vectors demanded in a round so far.
    mapping(uint64 roundId => uint256) private _demands;
    mapping(uint64 roundId => mapping(address member => DirectUpdate)) private _updates;
    // Written through a storage reference.
    // slither-disable-next-line uninitialized-state
    mapping(uint64 roundId => mapping(address member => SumNode[FRONTIER_LEVELS])) private _frontiers;

    modifier onlyCoordinator() {
        require(msg.sender == federation.coordinator(), IFederation.NotCoordinator(msg.sender));
        _;
    }

    /// @inheritdoc IDirectSubmissions
    // The federation's events say all of this.
    // slither-disable-next-line events-maths
    function initialize(IFederation federation_, uint64 elements_, uint64 answerSeconds_) external {
        _requireNew(address(federation));
        federation = federation_;
        elements = elements_;
        // `SecurityLib` bounds it by thirty days.
        // forge-lint: disable-next-line(unsafe-typecast)
        answerSeconds = uint32(answerSeconds_);
    }

    /// @inheritdoc IDirectSubmissions
    // The federation is the one that the factory gave; it calls nobody.
    // slither-disable-next-line reentrancy-benign,reentrancy-no-eth,reentrancy-events,incorrect-equality,timestamp
    function submit(uint64 roundId, Submission calldata submission, bytes calldata consent) external {
        address member = submission.member;
        address speaker = consent.length == 0
            ? msg.sender
            : Consent.signerOfDirect(federation, member, submission.update, consent);
        require(MemberSignature.speaksFor(federation, roundId, speaker, member), NoConsent(member, speaker));
        federation.hold(roundId, member, _now() + answerSeconds);
        Refusal reason = _refusal(roundId, submission);
        require(reason == Refusal.None, UpdateNotAccepted(reason));
        DirectUpdate storage waiting = _updates[roundId][member];
        waiting.sumSquares = submission.update.sumSquares;
        waiting.updateRoot = submission.update.updateRoot;
        waiting.submission = SubmissionCode.hash(submission);
        _enter(roundId, member, waiting, DirectState.Waiting);
        emit SubmittedDirectly(roundId, member, submission);
    }

    /// @inheritdoc IDirectSubmissions
    // slither-disable-next-line reentrancy-benign,reentrancy-no-eth,reentrancy-events
    function include(uint64 roundId, Submission calldata submission) external onlyCoordinator {
        DirectUpdate storage waiting = _waiting(roundId, submission.member);
        require(
            SubmissionCode.isPlausible(submission) && SubmissionCode.hash(submission) == waiting.submission,
            NotWaiting(roundId, submission.member)
        );
        Submission[] memory one = new Submission[](1);
        one[0] = submission;
        Refusal reason = federation.submit(roundId, one);
        DirectState state = reason == Refusal.None ? DirectState.Included : DirectState.Refused;
        _enter(roundId, submission.member, waiting, state);
        emit Included(roundId, submission.member, reason);
    }

    /// @inheritdoc IDirectSubmissions
    // The seconds that a block producer can shift do not matter.
    // slither-disable-next-line timestamp,incorrect-equality,reentrancy-events
    function demandPosting(uint64 roundId, address member) external payable onlyCoordinator {
        uint256 fee = postingFee();
        require(msg.value == fee, WrongFee(msg.value, fee));
        DirectUpdate storage waiting = _waiting(roundId, member);
        require(waiting.due == 0, AlreadyDemanded(roundId, member));
        uint64 until = federation.round(roundId).deadline + answerSeconds;
        // forge-lint: disable-next-line(block-timestamp)
        require(block.timestamp <= until, TooLate(until));
        uint64 due = _now() + _postingSeconds(roundId);
        waiting.due = due;
        waiting.demander = msg.sender;
        federation.extendChallenge(roundId, due + answerSeconds);
        emit PostingDemanded(roundId, member, due);
    }

    /// @inheritdoc IDirectSubmissions
    // What is called are the federation and its rule book, which call nobody.
    // slither-disable-next-line reentrancy-no-eth,reentrancy-benign,reentrancy-events
    function post(uint64 roundId, address member, uint32 first, bytes calldata values) external {
        uint256 gasBefore = gasleft();
        require(
            MemberSignature.speaksFor(federation, roundId, msg.sender, member), NoConsent(member, msg.sender)
        );
        DirectUpdate storage wanted = _demanded(roundId, member);
        require(first == 0 || first == wanted.posted, ChunkOutOfOrder(first, wanted.posted));
        SumNode[FRONTIER_LEVELS] storage kept = _frontiers[roundId][member];
        SumNode[FRONTIER_LEVELS] memory nodes = first == 0 ? _empty() : kept;
        uint32 next = _append(nodes, roundId, member, first, values);
        wanted.posted = next;
        bool isWhole = next == MerkleSumTree.chunkCount(elements);
        if (isWhole) {
            SumNode memory root = SumFrontier.root(nodes, next);
            require(
                root.hash == wanted.updateRoot && root.sum == wanted.sumSquares,
                WrongVector(root.hash, root.sum)
            );
            wanted.settled = true;
            emit VectorPosted(roundId, member);
        } else {
            for (uint256 level = 0; (next >> level) > 0; ++level) {
                kept[level] = nodes[level];
            }
        }
        // Who begins again is paid for the last time only.
        uint256 cost =
            (first == 0 ? 0 : wanted.cost) + PostingCost.used(gasBefore - gasleft()) * block.basefee;
        // forge-lint: disable-next-line(unsafe-typecast)
        wanted.cost = cost < type(uint96).max ? uint96(cost) : type(uint96).max;
        if (isWhole) _pay(wanted, member);
    }

    /// @inheritdoc IDirectSubmissions
    // slither-disable-next-line reentrancy-events
    function forfeit(uint64 roundId, address member) external {
        DirectUpdate storage wanted = _waiting(roundId, member);
        _overdue(roundId, member);
        _enter(roundId, member, wanted, DirectState.Forfeited);
        federation.forfeit(roundId, member);
        emit VectorForfeited(roundId, member);
    }

    /// @inheritdoc IDirectSubmissions
    function reclaim(uint64 roundId, address member) external {
        RoundState state = federation.round(roundId).state;
        require(state == RoundState.Final || state == RoundState.Failed, IFederation.RoundStillOpen(roundId));
        _overdue(roundId, member);
        emit PostingReclaimed(roundId, member);
    }

    /// @inheritdoc IRuleLimits
    function requireAllowed(Rules calldata) external pure {}

    /// @inheritdoc IDirectSubmissions
    function directUpdate(uint64 roundId, address member) external view returns (DirectUpdate memory) {
        return _updates[roundId][member];
    }

    /// @inheritdoc IDirectSubmissions
    function postingFee() public view returns (uint256) {
        return uint256(federation.security().postFee) * MerkleSumTree.chunkCount(elements);
    }

    /// @dev Puts an update into a state, and writes that down in the journal of its round.
    function _enter(uint64 roundId, address member, DirectUpdate storage update, DirectState state) private {
        update.state = state;
        journal[roundId] =
            keccak256(abi.encodePacked(journal[roundId], uint8(state), member, update.submission));
    }

    /// @dev Hashes chunks into the nodes, and returns how many there are then.
    function _append(
        SumNode[FRONTIER_LEVELS] memory nodes,
        uint64 roundId,
        address member,
        uint32 first,
        bytes calldata values
    ) private returns (uint32 next) {
        require(values.length > 0, WrongLength(0));
        bytes32 context =
            MerkleSumTree.context(UpdatePlace(block.chainid, address(federation), roundId, member, elements));
        next = first;
        for (uint256 begin = 0; begin < values.length; ++next) {
            uint256 length = MerkleSumTree.chunkLength(elements, next) * MerkleSumTree.ELEMENT_BYTES;
            require(length > 0 && begin + length <= values.length, WrongLength(values.length));
            bytes memory chunk = values[begin:begin + length];
            uint128 sum = MerkleSumTree.sumOfSquares(chunk);
            SumFrontier.append(nodes, next, SumNode(MerkleSumTree.leafHash(context, next, sum, chunk), sum));
            emit ChunkPosted(roundId, member, next, chunk);
            begin += length;
        }
    }

    /// @dev Seconds to post in: those that all vectors demanded in the round so far take, one after the other, if they are more
    ///      than `answerSeconds`. Else a coordinator could demand more at once than fits the blocks.
    function _postingSeconds(uint64 roundId) private returns (uint64) {
        uint256 demands = _demands[roundId] + 1;
        _demands[roundId] = demands;
        uint256 needed = demands * PostingCost.secondsFor(MerkleSumTree.chunkCount(elements));
        // Of at most 2^32 members, each within the thirty days that `answerSeconds` has.
        // forge-lint: disable-next-line(unsafe-typecast)
        return needed > answerSeconds ? uint64(needed) : answerSeconds;
    }

    /// @dev Closes a demand whose time is over, and pays its fee back.
    // The seconds that a block producer can shift do not matter.
    // slither-disable-next-line timestamp
    function _overdue(uint64 roundId, address member) private {
        DirectUpdate storage wanted = _demanded(roundId, member);
        // forge-lint: disable-next-line(block-timestamp)
        require(block.timestamp > wanted.due, NotDue(wanted.due));
        wanted.settled = true;
        _credit(wanted.demander, postingFee());
    }

    /// @dev Pays what posting cost out of the fee, and the rest back.
    function _pay(DirectUpdate storage wanted, address member) private {
        uint256 fee = postingFee();
        uint256 cost = wanted.cost < fee ? wanted.cost : fee;
        _credit(member, cost);
        _credit(wanted.demander, fee - cost);
    }

    /// @dev Why the update would not count; its stake aside, which the federation has looked at.
    // slither-disable-next-line timestamp,unused-return
    function _refusal(uint64 roundId, Submission calldata submission) private view returns (Refusal reason) {
        address member = submission.member;
        Rules memory rules = federation.rules();
        Circumstances memory around = Circumstances({
            rules: rules,
            maxWeight: rules.maxWeight(),
            expected: Expectation(
                roundId, federation.rulesHash(), federation.modelRoot(), federation.round(roundId).deadline
            ),
            time: _now(),
            isMember: federation.isMember(member),
            // The federation has held its stake for this update, and would not have done so twice.
            isDuplicate: false,
            isSigned: MemberSignature.isSigned(federation, roundId, submission),
            rests: _rests(member, rules.restRounds, roundId),
            hasStake: true
        });
        (reason,) = JudgeLib.judge(submission.update, around);
    }

    /// @dev Whether a member must still sit out, as `Federation` sees it.
    function _rests(address member, uint32 rest, uint64 roundId) private view returns (bool) {
        if (rest == 0) return false;
        uint64 last = federation.lastAccepted(member);
        return last > 0 && roundId - last <= rest && federation.round(last).state != RoundState.Failed;
    }

    // A demand holds a time beside what is compared here.
    // slither-disable-next-line timestamp
    function _demanded(uint64 roundId, address member) private view returns (DirectUpdate storage wanted) {
        wanted = _updates[roundId][member];
        require(wanted.due > 0 && !wanted.settled, NotDemanded(roundId, member));
    }

    function _waiting(uint64 roundId, address member) private view returns (DirectUpdate storage waiting) {
        waiting = _updates[roundId][member];
        require(waiting.state == DirectState.Waiting, NotWaiting(roundId, member));
    }

    function _empty() private pure returns (SumNode[FRONTIER_LEVELS] memory nodes) {}

    function _now() private view returns (uint64) {
        // Unix time fits 64 bits for longer than there will be blocks.
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint64(block.timestamp);
    }
}
