// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FederationParameters, IFederation, Sidecars} from "../../src/interfaces/IFederation.sol";
import {Proposal, RoundState} from "../../src/libraries/RoundLib.sol";
import {Rules} from "../../src/libraries/RulesLib.sol";
import {SymbolicFederation} from "./base/SymbolicFederation.sol";

/// @notice Who moves a round, when, and to where (`make prove`): for each row of `RoundLib`'s table, what must have held if the call went
///         through. What is over no call moves: `SolvencyProofs`.
/// @dev A round that is proposed has at most three updates; a roll-up counts as many, in at most two peaks.
contract TransitionProofs is SymbolicFederation {
    /// @notice A round is opened by who runs the rounds, after the one before is over, for as long as the rules say.
    function check_aRoundIsOpenedByItsCoordinator() external {
        _begin();
        uint64 current = _currentRound();
        bool live = _isLive(_roundWord(current));
        uint256 roundSeconds = _bits(_word(address(federation), RULES + 1), 9, 64);
        vm.assume(roundSeconds <= 365 days);
        if (!_call(abi.encodeCall(IFederation.openRound, ()))) return;
        uint256 word = _roundWord(current + 1);
        assert(!live && caller == _coordinator() && _currentRound() == current + 1);
        assert(_stateOf(word) == uint256(RoundState.Open) && _accepted(word) == 0 && !_isRolledUp(word));
        assert(_bits(word, 1, 40) == block.timestamp && _until(word) == block.timestamp + roundSeconds);
    }

    /// @notice A round is final only after its window.
    function check_aRoundIsFinalAfterItsWindow(uint64 roundId) external {
        _begin();
        uint256 word = _roundWord(roundId);
        if (!_call(abi.encodeCall(IFederation.finalizeRound, (roundId)))) return;
        assert(_stateOf(word) == uint256(RoundState.Proposed) && block.timestamp > _until(word));
        assert(_stateOf(_roundWord(roundId)) == uint256(RoundState.Final));
    }

    /// @notice The court alone rejects a proposal; then another may follow, unless it was the eighth or none could be true.
    function check_aProposalIsRejectedByTheCourt(uint64 roundId, address challenger, bool isLast) external {
        _begin();
        uint256 word = _roundWord(roundId);
        if (!_call(abi.encodeCall(IFederation.rejectProposal, (roundId, challenger, isLast)))) return;
        assert(caller == COURT && _stateOf(word) == uint256(RoundState.Proposed));
        bool over = isLast || _attempt(word) >= 8;
        assert(_stateOf(_roundWord(roundId)) == uint256(over ? RoundState.Failed : RoundState.Submitted));
    }

    /// @notice Anyone fails a round only after its time, and after that in which anyone may propose; before, the coordinator does, without a
    ///         quorum.
    function check_aRoundIsFailedAfterItsTimeOrWithoutItsQuorum(uint64 roundId) external {
        _begin();
        uint256 word = _roundWord(roundId);
        if (!_call(abi.encodeCall(IFederation.failRound, (roundId)))) return;
        assert(_stateOf(word) == uint256(RoundState.Open) || _stateOf(word) == uint256(RoundState.Submitted));
        assert(_stateOf(_roundWord(roundId)) == uint256(RoundState.Failed));
        uint256 window = _bits(_word(address(federation), SECURITY), 0, 64);
        bool early = block.timestamp <= _until(word) + _where(_isForAll(word), window);
        uint256 quorum = _bits(_word(address(federation), RULES), 0, 32);
        assert(!early || caller == _coordinator() && _accepted(word) < quorum);
    }

    /// @notice Only the court gives a proposal time, and `DirectSubmissions` an open round, and never less than there was.
    function check_onlyTheirOwnGiveTime(uint64 roundId, uint64 until) external {
        _begin();
        vm.assume(until < 1 << 40);
        uint256 word = _roundWord(roundId);
        if (!_call(abi.encodeCall(IFederation.extendChallenge, (roundId, until)))) return;
        bool isDirect = caller == _sidecar(DIRECT);
        assert(isDirect || caller == COURT);
        assert(_stateOf(word) == uint256(isDirect ? RoundState.Open : RoundState.Proposed));
        uint256 end = _until(word);
        assert(_until(_roundWord(roundId)) == (until > end ? until : end));
    }

    /// @notice An update waits only for who has at stake what is asked for, once a round, in an open round that is relayed.
    function check_anUpdateWaitsUnderAStake(uint64 roundId, address member, uint64 until) external {
        _begin();
        uint256 word = _roundWord(roundId);
        uint256 asked = _bits(_word(address(federation), SECURITY + 1), 0, 128);
        bool held = _bits(_stakeWord(member), 16, 64) == roundId;
        vm.assume(_waiting(word) < type(uint16).max);
        if (!_call(abi.encodeCall(IFederation.hold, (roundId, member, until)))) return;
        assert(caller == _sidecar(DIRECT) && !held && asked > 0 && _staked(member) >= asked);
        assert(_stateOf(word) == uint256(RoundState.Open) && !_isRolledUp(word));
        assert(
            _bits(_stakeWord(member), 16, 64) == roundId
                && _waiting(_roundWord(roundId)) == _waiting(word) + 1
        );
    }

    /// @notice An update that is given up no longer waits.
    function check_anUpdateThatIsGivenUpNoLongerWaits(uint64 roundId, address member) external {
        _begin();
        uint256 word = _roundWord(roundId);
        if (!_call(abi.encodeCall(IFederation.forfeit, (roundId, member)))) return;
        assert(caller == _sidecar(DIRECT) && _stateOf(word) == uint256(RoundState.Open));
        assert(_waiting(_roundWord(roundId)) + 1 == _waiting(word));
    }

    /// @notice Rules are put in force by the rule book, between rounds, and `rulesHash` is theirs.
    function check_rulesAreSetByTheBookBetweenRounds(Rules calldata next) external {
        _begin();
        bool live = _isLive(_roundWord(_currentRound()));
        if (!_call(abi.encodeCall(IFederation.setRules, (next)))) return;
        assert(caller == RULE_BOOK && !live);
        assert(federation.rulesHash() == keccak256(abi.encode(next)));
        assert(federation.rulesHash() == keccak256(abi.encode(federation.rules())));
    }

    /// @notice A coordinator is replaced by the owner, at once between rounds, with the next round during one.
    function check_aCoordinatorIsReplacedBetweenRounds(address next) external {
        _begin();
        bool live = _isLive(_roundWord(_currentRound()));
        address before = _coordinator();
        if (!_call(abi.encodeCall(IFederation.replaceCoordinator, (next)))) return;
        assert(caller == _owner() && next != address(0));
        assert(_coordinator() == (live ? before : next));
    }

    /// @notice A federation that works is never initialised again.
    /// @dev One member, a CID of 36 bytes.
    function check_aFederationIsInitialisedOnce(
        FederationParameters calldata parameters,
        Sidecars calldata sidecars
    ) external {
        _begin();
        assert(!_call(abi.encodeCall(IFederation.initialize, (parameters, sidecars))));
    }

    /// @notice Nobody but the factory initialises a clone.
    /// @dev One member, a CID of 36 bytes.
    function check_aFederationIsInitialisedByItsFactory(
        FederationParameters calldata parameters,
        Sidecars calldata sidecars
    ) external {
        _begin();
        vm.store(address(federation), bytes32(COORDINATOR), bytes32(0));
        vm.assume(caller != address(this));
        assert(!_call(abi.encodeCall(IFederation.initialize, (parameters, sidecars))));
    }
}
