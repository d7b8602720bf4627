// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {SealedCourt} from "../../src/SealedCourt.sol";
import {SealedDisputes} from "../../src/SealedDisputes.sol";
import {SealedRounds} from "../../src/SealedRounds.sol";
import {IAggregationCourt} from "../../src/interfaces/IAggregationCourt.sol";
import {IFederation} from "../../src/interfaces/IFederation.sol";
import {ISealedCourt} from "../../src/interfaces/ISealedCourt.sol";
import {ISealedDisputes} from "../../src/interfaces/ISealedDisputes.sol";
import {ISealedRounds, SealedRollup, SealedSummary} from "../../src/interfaces/ISealedRounds.sol";
import {Round, RoundState} from "../../src/libraries/RoundLib.sol";
import {Security} from "../../src/libraries/SecurityLib.sol";
import {AnySealedFederation} from "./base/AnySealedFederation.sol";
import {SymbolicBase} from "./base/SymbolicBase.sol";

/// @notice How sealed rounds are closed and rolled up, and who is heard against them (`make prove`): the contracts as clones of them could be
///         at any time, one call of anybody, beside a federation and epochs that give any answers.
/// @dev Rosters of at most eight members, so that a set of them is a byte; a CID of 36 bytes.
/// @custom:halmos --array-lengths ready=1,included=1,rollup.ready=1,rollup.included=1,rollup.counting=1,rollup.cid=36
contract SealedRoundProofs is SymbolicBase {
    SealedRounds private constant ROUNDS = SealedRounds(address(0x50));
    SealedCourt private constant COURT = SealedCourt(address(0x5c));
    SealedDisputes private constant DISPUTES = SealedDisputes(address(0x5d));
    AnySealedFederation private constant FEDERATION = AnySealedFederation(address(0xfed));
    uint256 private constant FEDERATION_SLOT = 0; // SealedRounds.federation
    /// `SealedDisputes` has what is owed before it.
    uint256 private constant FEDERATION_SLOT_OF_DISPUTES = 1; // SealedDisputes.federation
    uint256 private constant COMMITMENTS_OF_DISPUTES = 5; // SealedDisputes._commitments

    address private caller;

    function setUp() public {
        _place(address(ROUNDS), address(new SealedRounds()));
        _place(address(COURT), address(new SealedCourt()));
        _place(address(DISPUTES), address(new SealedDisputes()));
        _place(address(FEDERATION), address(new AnySealedFederation()));
        _belongTo(address(FEDERATION));
    }

    /// @notice The slots that these proofs write are those of the contracts.
    function check_theSlotsAreThoseOfTheSealedContracts() external {
        _begin();
        assert(address(ROUNDS.federation()) == address(FEDERATION));
        assert(address(COURT.federation()) == address(FEDERATION));
        assert(address(DISPUTES.federation()) == address(FEDERATION));
    }

    /// @notice The contracts of sealed rounds are initialised by their factory, once.
    function check_sealedRoundsAreInitialisedOnce(address first, address court) external {
        _begin();
        _belongTo(address(0));
        vm.assume(first != address(0));
        bytes memory data = abi.encodeCall(ISealedRounds.initialize, (IFederation(first), court));
        if (!_call(address(ROUNDS), data)) return;
        assert(caller == ROUNDS.factory() && address(ROUNDS.federation()) == first);
        assert(ROUNDS.court() == court);
        assert(!_call(address(ROUNDS), data));
    }

    /// @notice So is the court of sealed rounds.
    function check_aSealedCourtIsInitialisedOnce(address first, uint64 elements) external {
        _begin();
        _belongTo(address(0));
        vm.assume(first != address(0));
        bytes memory data = abi.encodeCall(ISealedCourt.initialize, (IFederation(first), elements));
        if (!_call(address(COURT), data)) return;
        assert(caller == COURT.factory() && address(COURT.federation()) == first);
        assert(!_call(address(COURT), data));
    }

    /// @notice And so is the contract that hears questions about them.
    function check_sealedDisputesAreInitialisedOnce(
        address first,
        uint64 elements,
        Security calldata security
    ) external {
        _begin();
        _belongTo(address(0));
        vm.assume(first != address(0));
        bytes memory data =
            abi.encodeCall(IAggregationCourt.initialize, (IFederation(first), elements, security));
        if (!_call(address(DISPUTES), data)) return;
        assert(caller == DISPUTES.factory() && address(DISPUTES.federation()) == first);
        assert(!_call(address(DISPUTES), data));
    }

    /// @notice A round is closed by the coordinator, once, while it is open and in its time, over the groups as they were drawn, with nobody
    ///         included who was not ready.
    function check_aRoundIsClosedOnce(
        uint64 roundId,
        bytes32 epochRoot,
        bytes calldata ready,
        bytes calldata included
    ) external {
        _begin();
        vm.assume(FEDERATION.epoch().members <= 8);
        Round memory round = FEDERATION.round(roundId);
        uint64 before = ROUNDS.latest().round;
        bytes memory data = abi.encodeCall(ISealedRounds.close, (roundId, epochRoot, ready, included));
        if (!_call(address(ROUNDS), data)) return;
        SealedSummary memory closed = ROUNDS.latest();
        assert(caller == FEDERATION.coordinator() && round.state == RoundState.Open && before != roundId);
        assert(block.timestamp >= uint256(round.openedAt) + FEDERATION.security().openSeconds);
        assert(block.timestamp <= round.deadline && epochRoot == FEDERATION.epochRoot());
        assert(keccak256(ready) == FEDERATION.epoch().readyHash && included[0] & ~ready[0] == 0);
        assert(closed.round == roundId && closed.closedAt == block.timestamp && closed.accepted == 0);
        assert(closed.includedHash == keccak256(included) && closed.shapeHash == 0);
        assert(!_call(address(ROUNDS), data));
    }

    /// @notice A round is rolled up by the coordinator, after its close, over who was ready and included then; it is counted for its epoch and
    ///         handed on once, and what came with it goes on to the wei.
    /// @dev A norm bound of 2^36, no noise, and a weight cap of 400: the bytes of a lane take a square root.
    function check_aRollupIsOfItsClose(uint64 roundId, SealedRollup calldata rollup) external {
        _begin();
        _assumeBounds();
        uint256 sent = svm.createUint(96, "sent");
        vm.deal(caller, sent);
        Round memory round = FEDERATION.round(roundId);
        SealedSummary memory closed = ROUNDS.latest();
        uint256 held = address(ROUNDS).balance;
        vm.assume(FEDERATION.counts() == 0 && FEDERATION.rollUps() == 0 && FEDERATION.received() == 0);
        vm.prank(caller);
        (bool done,) =
            address(ROUNDS).call{value: sent}(abi.encodeCall(ISealedRounds.submit, (roundId, rollup)));
        if (!done) return;
        assert(caller == FEDERATION.coordinator() && round.state == RoundState.Open);
        assert(closed.round == roundId && block.timestamp <= round.until);
        assert(keccak256(rollup.ready) == closed.readyHash);
        assert(keccak256(rollup.included) == closed.includedHash);
        assert(FEDERATION.counts() == 1 && FEDERATION.rollUps() == 1);
        assert(FEDERATION.received() == sent && address(ROUNDS).balance == held);
    }

    /// @notice Of a round that is not closed nothing is rolled up.
    function check_nothingIsRolledUpBeforeTheClose(uint64 roundId, SealedRollup calldata rollup) external {
        _begin();
        vm.assume(ROUNDS.latest().round != roundId);
        assert(!_call(address(ROUNDS), abi.encodeCall(ISealedRounds.submit, (roundId, rollup))));
    }

    /// @notice A sealed round is rejected at its court's word alone, for the challenger that the court names.
    function check_aSealedRoundIsRejectedByItsCourt(uint64 roundId, uint16 attempt, address challenger)
        external
    {
        _begin();
        vm.assume(FEDERATION.rollupRejections() == 0 && FEDERATION.disputes() == address(FEDERATION));
        bytes memory data = abi.encodeCall(ISealedRounds.reject, (roundId, attempt, challenger));
        if (!_call(address(ROUNDS), data)) return;
        assert(caller == ROUNDS.court());
        assert(FEDERATION.rollupRejections() == 1 && FEDERATION.rollupRejectedFor() == challenger);
    }

    /// @notice Updates that are not sealed count for nothing: a proposal over them falls to whoever has committed to say so, for good.
    function check_anOpenRoundFallsInASealedFederation(uint64 roundId, bytes32 salt) external {
        _begin();
        Round memory round = FEDERATION.round(roundId);
        bool committed = _kept(roundId, round.attempt) != 0;
        vm.assume(FEDERATION.rejections() == 0);
        if (!_call(address(DISPUTES), abi.encodeCall(ISealedDisputes.proveNotSealed, (roundId, salt)))) {
            return;
        }
        assert(round.state == RoundState.Proposed && !round.rolledUp && committed);
        assert(FEDERATION.rejections() == 1 && FEDERATION.rejectedFor() == caller);
    }

    /// @notice Nobody is heard about what was submitted who has not committed to the call before.
    function check_aProofAboutSubmissionsTakesACommitment() external {
        _begin();
        _assumeUncommitted();
        bytes memory data = svm.createCalldata("SealedRounds");
        bytes4 selector = bytes4(data);
        vm.assume(
            _or(
                selector == ISealedRounds.proveWrongRecord.selector,
                selector == ISealedRounds.proveMalformedRange.selector
            )
        );
        assert(!_call(address(ROUNDS), data));
    }

    /// @notice Nobody is heard by the court of sealed rounds who has not committed to the call before.
    function check_aProofAboutMasksTakesACommitment() external {
        _begin();
        _assumeUncommitted();
        bytes memory data = svm.createCalldata("SealedCourt");
        vm.assume(bytes4(data) != ISealedCourt.initialize.selector);
        assert(!_call(address(COURT), data));
    }

    function _begin() private {
        _anyTime();
        caller = svm.createAddress("caller");
        vm.assume(caller != address(0) && caller != address(FEDERATION));
        vm.assume(caller != address(ROUNDS) && caller != address(COURT) && caller != address(DISPUTES));
    }

    function _belongTo(address federation) private {
        bytes32 word = bytes32(uint256(uint160(federation)));
        vm.store(address(ROUNDS), bytes32(FEDERATION_SLOT), word);
        vm.store(address(COURT), bytes32(FEDERATION_SLOT), word);
        vm.store(address(DISPUTES), bytes32(FEDERATION_SLOT_OF_DISPUTES), word);
    }

    function _assumeUncommitted() private view {
        vm.assume(FEDERATION.disputes() == address(FEDERATION) && !FEDERATION.hasCommitted(caller));
    }

    function _assumeBounds() private view {
        vm.assume(FEDERATION.epoch().members <= 8 && FEDERATION.epoch().members > 0);
        vm.assume(FEDERATION.sealedRules().groupSize == 8 && FEDERATION.sealedRules().noiseSquares == 0);
        vm.assume(FEDERATION.rules().maxSumSquares == 1 << 36 && FEDERATION.rules().maxExamples == 400);
        vm.assume(FEDERATION.rules().minExamples == 1 && FEDERATION.rules().maxSharePpm == 1_000_000);
    }

    function _call(address where, bytes memory data) private returns (bool done) {
        vm.prank(caller);
        (done,) = where.call(data);
    }

    function _kept(uint64 roundId, uint16 attempt) private view returns (uint256) {
        bytes32 ofAttempt = keccak256(abi.encode((uint256(roundId) << 16) | attempt, COMMITMENTS_OF_DISPUTES));
        return uint256(vm.load(address(DISPUTES), keccak256(abi.encode(caller, ofAttempt))));
    }
}
