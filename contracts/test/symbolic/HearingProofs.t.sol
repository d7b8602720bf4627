// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Disputes} from "../../src/Disputes.sol";
import {IAggregationCourt} from "../../src/interfaces/IAggregationCourt.sol";
import {IFederation} from "../../src/interfaces/IFederation.sol";
import {Answer, Hearing, IHearing, Question} from "../../src/interfaces/IHearing.sol";
import {IPullPayments} from "../../src/interfaces/IPullPayments.sol";
import {Round, RoundState} from "../../src/libraries/RoundLib.sol";
import {Security} from "../../src/libraries/SecurityLib.sol";
import {AnyFederation} from "./base/AnyFederation.sol";
import {SymbolicBase} from "./base/SymbolicBase.sol";

/// @notice The court's money, questions and shares (`make prove`): the court as a clone of it could be at any time, one call of anybody, beside a
///         federation that gives any answers.
/// @dev Assumed is what `SecurityLib` checks: fees and bonds below 2^96 wei.
contract HearingProofs is SymbolicBase {
    Disputes private constant COURT = Disputes(address(0xc0));
    AnyFederation private constant FEDERATION = AnyFederation(address(0xfed));
    uint256 private constant OWED = 0; // Disputes._owed
    uint256 private constant FEDERATION_SLOT = 1; // Disputes.federation
    uint256 private constant COMMITMENTS = 5; // Disputes._commitments
    uint256 private constant WON = 1 << 63;

    address private caller;
    uint256 private sent;

    function setUp() public {
        _place(address(COURT), address(new Disputes()));
        _place(address(FEDERATION), address(new AnyFederation()));
        uint256 rest = svm.createUint(96, "elements") << 160;
        vm.store(address(COURT), bytes32(FEDERATION_SLOT), bytes32(rest | uint160(address(FEDERATION))));
    }

    /// @notice The slots that these proofs read are those of the court.
    function check_theSlotsAreThoseOfTheCourt(address account) external {
        _begin();
        assert(COURT.owed(account) == _owed(account) && address(COURT.federation()) == address(FEDERATION));
    }

    /// @notice When a proposal is final its fees are divided to the wei: half to who made it, the rest burnt, at the federation's word alone.
    function check_feesAreDividedToTheWei(uint64 roundId, uint16 attempt, address holder, address other)
        external
    {
        _begin();
        vm.assume(other != holder && _owed(holder) < MOST_WEI && COURT.burntFees() < MOST_WEI);
        Hearing memory heard = COURT.hearing(roundId, attempt);
        (uint256 owed, uint256 beside, uint256 burnt) = (_owed(holder), _owed(other), COURT.burntFees());
        if (!_call(abi.encodeCall(IHearing.conclude, (roundId, attempt, holder)))) return;
        assert(caller == address(FEDERATION) && heard.open == 0);
        assert(_owed(holder) == owed + heard.fees / 2 && _owed(other) == beside);
        assert(_owed(holder) - owed + COURT.burntFees() - burnt == heard.fees);
    }

    /// @notice A question about a proposal that fell goes back to its asker at its price, once, and never about one that stands or is final.
    /// @dev Of one level, asked at the first price.
    function check_aQuestionGoesBackOnce(
        uint64 roundId,
        uint16 attempt,
        bytes32 hash,
        uint8 levels,
        address other
    ) external {
        _begin();
        Round memory round = FEDERATION.round(roundId);
        Question memory asked = COURT.question(roundId, attempt, hash, levels);
        vm.assume(other != asked.asker && _owed(asked.asker) < MOST_WEI && asked.exponent == 0 && levels == 1);
        (uint256 owed, uint256 beside) = (_owed(asked.asker), _owed(other));
        bytes memory data = abi.encodeCall(IHearing.reclaim, (roundId, attempt, hash, levels));
        if (!_call(data)) return;
        bool stands = round.state == RoundState.Proposed || round.state == RoundState.Final;
        assert(attempt < round.attempt || !stands);
        uint256 price = (uint256(COURT.demandFee()) << (levels - 1)) << asked.exponent;
        assert(_owed(asked.asker) == owed + price && _owed(other) == beside);
        assert(!_call(data));
    }

    /// @notice A challenger has its share once: a quarter divided by all of them, and a quarter more if it brought the proposal down.
    function check_aShareIsTakenOnce(uint64 roundId, uint16 attempt) external {
        _begin();
        Round memory round = FEDERATION.round(roundId);
        uint256 part = COURT.bond() / 4;
        bool won = _kept(roundId, attempt, caller) & WON != 0;
        bytes memory data = abi.encodeCall(IHearing.claimShare, (roundId, attempt));
        if (!_call(data)) return;
        bool stands = round.state == RoundState.Proposed || round.state == RoundState.Final;
        assert(attempt < round.attempt || !stands);
        assert(FEDERATION.paid() == caller && FEDERATION.share() <= (won ? 2 * part : part));
        assert(_kept(roundId, attempt, caller) == 0);
        assert(!_call(data));
    }

    /// @notice Who commits is counted among the challengers once, however often it commits.
    function check_aChallengerIsCountedOnce(uint64 roundId, bytes32 digest, bytes32 later) external {
        _begin();
        Round memory round = FEDERATION.round(roundId);
        uint24 before = COURT.hearing(roundId, round.attempt).challengers;
        vm.assume(before < 1 << 20);
        bool known = _kept(roundId, round.attempt, caller) != 0;
        if (!_call(abi.encodeCall(IHearing.commit, (roundId, digest)))) return;
        assert(COURT.hearing(roundId, round.attempt).challengers == before + (known ? 0 : 1));
        assert(_call(abi.encodeCall(IHearing.commit, (roundId, later))));
        assert(COURT.hearing(roundId, round.attempt).challengers == before + (known ? 0 : 1));
    }

    /// @notice A commitment counts from the next block on, for who made it.
    function check_aCommitmentCountsFromTheNextBlock(uint64 roundId, bytes32 digest, address other) external {
        _begin();
        uint16 attempt = FEDERATION.round(roundId).attempt;
        vm.assume(other != caller && uint256(digest) >> 64 != 0);
        bool beside = COURT.isCommitted(roundId, attempt, other, digest);
        if (!_call(abi.encodeCall(IHearing.commit, (roundId, digest)))) return;
        assert(!COURT.isCommitted(roundId, attempt, caller, digest));
        vm.roll(block.number + 1);
        assert(COURT.isCommitted(roundId, attempt, caller, digest));
        assert(
            beside || !COURT.isCommitted(roundId, attempt, other, digest)
                || _kept(roundId, attempt, other) != 0
        );
    }

    /// @notice A proposal falls for silence only where a question was asked, not answered, and its time is over.
    function check_silenceIsProvedWhenItsTimeIsOver(uint64 roundId, bytes32 hash, uint8 levels) external {
        _begin();
        Round memory round = FEDERATION.round(roundId);
        Question memory asked = COURT.question(roundId, round.attempt, hash, levels);
        vm.assume(FEDERATION.rejections() == 0);
        if (!_call(abi.encodeCall(IHearing.rejectUnanswered, (roundId, hash, levels)))) return;
        assert(round.state == RoundState.Proposed && asked.asker != address(0) && !asked.answered);
        assert(block.timestamp > asked.due);
        assert(FEDERATION.rejections() == 1 && FEDERATION.rejectedFor() == caller);
        assert(_kept(roundId, round.attempt, caller) & WON != 0);
    }

    /// @notice An answer in time closes its question, whoever gives it; one that is late does not, and one given twice closes nothing more.
    /// @dev One level, a preimage of 65 bytes.
    function check_anAnswerClosesItsQuestionOnce(uint64 roundId, bytes32 hash) external {
        _begin();
        Round memory round = FEDERATION.round(roundId);
        Question memory asked = COURT.question(roundId, round.attempt, hash, 1);
        uint24 open = COURT.hearing(roundId, round.attempt).open;
        vm.assume(!asked.answered && open > 0);
        bytes memory preimage = svm.createBytes(65, "preimage");
        bytes[] memory preimages = new bytes[](1);
        preimages[0] = preimage;
        Answer[] memory answers = new Answer[](1);
        answers[0] = Answer(hash, 1, preimages);
        bytes memory data = abi.encodeCall(IHearing.answerMany, (roundId, answers));
        if (!_call(data)) return;
        assert(asked.asker != address(0) && block.timestamp <= asked.due && keccak256(preimage) == hash);
        assert(COURT.question(roundId, round.attempt, hash, 1).answered);
        assert(COURT.hearing(roundId, round.attempt).open == open - 1);
        assert(_call(data) && COURT.hearing(roundId, round.attempt).open == open - 1);
    }

    /// @notice Whoever withdraws from the court gets what it is owed, once, and nobody else less.
    function check_whoWithdrawsFromTheCourtGetsAllOnce(address other) external {
        _begin();
        vm.assume(sent == 0 && other != caller && caller != address(FEDERATION));
        (uint256 owed, uint256 beside, uint256 held) = (_owed(caller), _owed(other), address(COURT).balance);
        if (!_call(abi.encodeCall(IPullPayments.withdraw, ()))) return;
        assert(owed > 0 && caller.balance == owed && address(COURT).balance == held - owed);
        assert(_owed(caller) == 0 && _owed(other) == beside);
    }

    /// @notice A court is initialised by its factory, once.
    function check_aCourtIsInitialisedOnce(address first, uint64 elements, Security calldata security)
        external
    {
        _begin();
        vm.store(address(COURT), bytes32(FEDERATION_SLOT), bytes32(0));
        vm.assume(first != address(0) && sent == 0);
        bytes memory data =
            abi.encodeCall(IAggregationCourt.initialize, (IFederation(first), elements, security));
        if (!_call(data)) return;
        assert(caller == COURT.factory() && address(COURT.federation()) == first);
        assert(!_call(data));
    }

    function _begin() private {
        _anyTime();
        caller = svm.createAddress("caller");
        vm.assume(caller != address(COURT) && caller != address(0));
        sent = svm.createUint(96, "sent");
        vm.deal(caller, sent);
        vm.deal(address(COURT), svm.createUint(96, "balance"));
    }

    function _call(bytes memory data) private returns (bool done) {
        uint256 value = bytes4(data) == IHearing.demand.selector ? sent : 0;
        vm.prank(caller);
        (done,) = address(COURT).call{value: value}(data);
    }

    function _owed(address account) private view returns (uint256) {
        return _entry(address(COURT), OWED, uint160(account));
    }

    function _kept(uint64 roundId, uint16 attempt, address account) private view returns (uint256) {
        bytes32 ofAttempt = keccak256(abi.encode((uint256(roundId) << 16) | attempt, COMMITMENTS));
        return uint256(vm.load(address(COURT), keccak256(abi.encode(account, ofAttempt))));
    }
}
