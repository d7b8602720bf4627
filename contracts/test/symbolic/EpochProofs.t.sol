// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Epochs} from "../../src/Epochs.sol";
import {Enrolment, Epoch, EpochState, IEpochs} from "../../src/interfaces/IEpochs.sol";
import {IFederation} from "../../src/interfaces/IFederation.sol";
import {RoundState} from "../../src/libraries/RoundLib.sol";
import {Rules} from "../../src/libraries/RulesLib.sol";
import {SealedRules} from "../../src/libraries/SealedRulesLib.sol";
import {Security} from "../../src/libraries/SecurityLib.sol";
import {AnySealedFederation} from "./base/AnySealedFederation.sol";
import {SymbolicBase} from "./base/SymbolicBase.sol";

/// @notice Rosters, draws and readiness (`make prove`): the epochs as a clone of them could be at any time, one call of anybody, beside a
///         federation that gives any answers.
/// @dev Rosters of at most eight members, so that a set of them is a byte. An epoch's number stays below 2^48 since each takes a call.
/// @custom:halmos --array-lengths ready=1,enrolments=1,enrolments[0].signature=65
contract EpochProofs is SymbolicBase {
    Epochs private constant EPOCHS = Epochs(address(0xe0));
    AnySealedFederation private constant FEDERATION = AnySealedFederation(address(0xfed));
    uint256 private constant FEDERATION_SLOT = 0; // Epochs.federation

    address private caller;

    function setUp() public {
        _place(address(EPOCHS), address(new Epochs()));
        _place(address(FEDERATION), address(new AnySealedFederation()));
        uint256 rest = svm.createUint(32, "answerSeconds") << 160;
        vm.store(address(EPOCHS), bytes32(FEDERATION_SLOT), bytes32(rest | uint160(address(FEDERATION))));
    }

    /// @notice Epochs that work are never initialised again.
    function check_epochsAreInitialisedOnce(
        Rules calldata rules,
        Security calldata security,
        SealedRules calldata sealedRules
    ) external {
        _begin();
        assert(!_call(_initialisation(rules, security, sealedRules)));
    }

    /// @notice Nobody but the factory initialises them.
    function check_epochsAreInitialisedByTheirFactory(
        Rules calldata rules,
        Security calldata security,
        SealedRules calldata sealedRules
    ) external {
        _begin();
        vm.store(address(EPOCHS), bytes32(FEDERATION_SLOT), bytes32(0));
        vm.assume(caller != address(this));
        assert(!_call(_initialisation(rules, security, sealedRules)));
    }

    /// @notice An epoch is opened by the coordinator, between rounds, after the one before has failed or has had its rounds or their time;
    ///         it is the next, empty, and takes enrolments for as long as the rules say.
    function check_anEpochIsOpenedAfterTheOneBefore() external {
        _begin();
        Epoch memory last = EPOCHS.epoch();
        bool live = _isLive(FEDERATION.round(FEDERATION.currentRound()).state);
        uint256 rounds = EPOCHS.sealedRules().epochRounds;
        uint256 seconds_ = FEDERATION.rules().roundSeconds;
        vm.assume(seconds_ <= 365 days);
        if (!_call(abi.encodeCall(IEpochs.openEpoch, ()))) return;
        Epoch memory opened = EPOCHS.epoch();
        assert(caller == FEDERATION.coordinator() && !live);
        bool over = last.closedRounds == rounds || block.timestamp > last.until + rounds * seconds_;
        assert(
            last.state == EpochState.None || last.state == EpochState.Failed || over && last.readyHash != 0
        );
        assert(opened.number == last.number + 1 && opened.state == EpochState.Enrolling);
        assert(opened.members == 0 && opened.closedRounds == 0 && opened.readyHash == 0);
        assert(opened.firstRound == 0 && opened.groupSeed == 0 && opened.rosterRoot == 0);
        assert(opened.until == block.timestamp + EPOCHS.sealedRules().enrolSeconds);
    }

    /// @notice Enrolment is closed after its time, whoever closes it; with too few members the epoch has failed.
    /// @dev At most three members.
    function check_enrolmentIsClosedAfterItsTime(uint64 epochId) external {
        _begin();
        Epoch memory before = EPOCHS.epoch();
        vm.assume(before.members <= 3);
        if (!_call(abi.encodeCall(IEpochs.closeEnrolment, (epochId)))) return;
        Epoch memory closed = EPOCHS.epoch();
        assert(before.number == epochId && before.state == EpochState.Enrolling);
        assert(block.timestamp > before.until);
        bool few = before.members < EPOCHS.sealedRules().minRoster;
        assert(closed.state == (few ? EpochState.Failed : EpochState.Closed));
        assert(few || closed.closedIn == block.number);
        assert(closed.members == before.members && closed.number == epochId);
    }

    /// @notice Groups are drawn of a closed roster alone, once, and only after the block whose hash draws them: two blocks after the one in
    ///         which enrolment was closed, so that nobody knew it then.
    /// @dev What is drawn is not looked at: Halmos hands its solver no formula with the hash of a block.
    function check_groupsAreDrawnAfterTheirBlock(uint64 epochId, bytes calldata header) external {
        _begin();
        Epoch memory before = EPOCHS.epoch();
        bool mayBe = _and(before.number == epochId, before.state == EpochState.Closed);
        vm.assume(!_and(mayBe, block.number > uint256(before.closedIn) + 2));
        assert(!_call(abi.encodeCall(IEpochs.draw, (epochId, header))));
    }

    /// @notice Who is ready is stated by the coordinator alone, once, in time, between rounds; it counts from the next round on, and members
    ///         have `answerSeconds` to add themselves.
    function check_readinessIsStatedOnce(uint64 epochId, bytes calldata ready, bytes calldata other)
        external
    {
        _begin();
        Epoch memory before = EPOCHS.epoch();
        vm.assume(before.members <= 8);
        bool live = _isLive(FEDERATION.round(FEDERATION.currentRound()).state);
        if (!_call(abi.encodeCall(IEpochs.stateReady, (epochId, ready)))) return;
        Epoch memory stated = EPOCHS.epoch();
        assert(caller == FEDERATION.coordinator() && !live);
        assert(before.number == epochId && before.state == EpochState.Drawn && before.readyHash == 0);
        assert(block.timestamp <= before.until && uint256(uint8(ready[0])) < 1 << before.members);
        assert(stated.readyHash == keccak256(ready) && stated.firstRound == FEDERATION.currentRound() + 1);
        assert(stated.until == block.timestamp + EPOCHS.answerSeconds());
        assert(!_call(abi.encodeCall(IEpochs.stateReady, (epochId, other))));
    }

    /// @notice An epoch is given up only where keys were to be exchanged, nobody was stated to be ready, and the time for it is over.
    function check_anEpochIsGivenUpAfterItsTime(uint64 epochId) external {
        _begin();
        Epoch memory before = EPOCHS.epoch();
        if (!_call(abi.encodeCall(IEpochs.failEpoch, (epochId)))) return;
        assert(before.number == epochId && before.state == EpochState.Drawn && before.readyHash == 0);
        assert(block.timestamp > before.until);
        assert(EPOCHS.epoch().state == EpochState.Failed);
    }

    /// @notice Nobody draws, enrols, closes or gives up an epoch whose ready members were stated: its groups stand.
    function check_groupsStand(uint64 epochId, bytes calldata ready, bytes calldata header, uint8 which)
        external
    {
        _begin();
        Epoch memory before = EPOCHS.epoch();
        vm.assume(before.state == EpochState.Drawn && before.readyHash != 0 && which < 5);
        bytes memory data = which == 0
            ? abi.encodeCall(IEpochs.draw, (epochId, header))
            : which == 1
                ? abi.encodeCall(IEpochs.closeEnrolment, (epochId))
                : which == 2
                    ? abi.encodeCall(IEpochs.failEpoch, (epochId))
                    : which == 3
                        ? abi.encodeCall(IEpochs.stateReady, (epochId, ready))
                        : abi.encodeCall(IEpochs.enrol, (epochId, new Enrolment[](0)));
        assert(!_call(data));
    }

    /// @notice A round is counted by the contract of the rounds alone, one at a time, and nothing else of the epoch moves.
    function check_aRoundIsCountedByTheRounds() external {
        _begin();
        Epoch memory before = EPOCHS.epoch();
        if (!_call(abi.encodeCall(IEpochs.countRound, ()))) return;
        assert(caller == FEDERATION.rollups());
        before.closedRounds += 1;
        assert(keccak256(abi.encode(before)) == keccak256(abi.encode(EPOCHS.epoch())));
    }

    /// @notice A member is in the roster once, in time, as a member with its stake, and takes one place.
    /// @dev At most three members so far.
    function check_aMemberEnrolsOnce(uint64 epochId, Enrolment[] calldata enrolments) external {
        _begin();
        Epoch memory before = EPOCHS.epoch();
        vm.assume(before.members <= 3);
        address member = enrolments[0].member;
        bool wasIn = EPOCHS.enrolledIn(member) == epochId;
        bytes memory data = abi.encodeCall(IEpochs.enrol, (epochId, enrolments));
        if (!_call(data)) return;
        assert(before.number == epochId && before.state == EpochState.Enrolling);
        assert(block.timestamp <= before.until);
        bool isIn = EPOCHS.enrolledIn(member) == epochId;
        assert(isIn || !wasIn);
        uint256 members = EPOCHS.epoch().members;
        assert(members == uint256(before.members) + (isIn && !wasIn ? 1 : 0));
        if (!isIn || wasIn) return;
        assert(FEDERATION.isMember(member) && block.timestamp <= enrolments[0].statement.deadline);
        assert(FEDERATION.stakeOf(member) >= FEDERATION.security().stake);
        assert(_call(data) && EPOCHS.epoch().members == members);
    }

    function _begin() private {
        _anyTime();
        vm.assume(FEDERATION.currentRound() < 1 << 48 && EPOCHS.epoch().number < 1 << 48);
        caller = svm.createAddress("caller");
        vm.assume(caller != address(EPOCHS) && caller != address(FEDERATION));
    }

    function _call(bytes memory data) private returns (bool done) {
        vm.prank(caller);
        (done,) = address(EPOCHS).call(data);
    }

    function _initialisation(
        Rules calldata rules,
        Security calldata security,
        SealedRules calldata sealedRules
    ) private pure returns (bytes memory) {
        return abi.encodeCall(IEpochs.initialize, (IFederation(address(1)), rules, security, sealedRules));
    }

    function _isLive(RoundState state) private pure returns (bool) {
        return _within(uint256(state), uint256(RoundState.Open), 3);
    }
}
