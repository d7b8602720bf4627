// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DirectSubmissions} from "../../src/DirectSubmissions.sol";
import {DirectState, DirectUpdate, IDirectSubmissions} from "../../src/interfaces/IDirectSubmissions.sol";
import {IFederation} from "../../src/interfaces/IFederation.sol";
import {RoundState} from "../../src/libraries/RoundLib.sol";
import {Submission} from "../../src/libraries/UpdateTypes.sol";
import {AnyFederation} from "./base/AnyFederation.sol";
import {SymbolicBase} from "./base/SymbolicBase.sol";

/// @notice Updates that members submit themselves, and what posting their vectors costs (`make prove`): the contract as a clone of it could
///         be at any time, one call of anybody, beside a federation that gives any answers.
/// @dev Vectors of one element, so that the fee is `postFee`; a CID of 36 bytes and a signature of 65. Assumed is what `SecurityLib` checks, and that
///      fewer than 2^32 vectors were demanded in a round, since there are no more members.
/// @custom:halmos --array-lengths submission.signature=65,submission.update.cid=36
contract DirectProofs is SymbolicBase {
    DirectSubmissions private constant DIRECT = DirectSubmissions(address(0xd1));
    AnyFederation private constant FEDERATION = AnyFederation(address(0xfed));
    uint256 private constant OWED = 0; // DirectSubmissions._owed
    uint256 private constant FEDERATION_SLOT = 1; // DirectSubmissions.federation
    uint256 private constant DEMANDS = 3; // DirectSubmissions._demands
    uint64 private constant ELEMENTS = 1;

    address private caller;
    uint256 private sent;

    function setUp() public {
        _place(address(DIRECT), address(new DirectSubmissions()));
        _place(address(FEDERATION), address(new AnyFederation()));
        uint256 rest = (svm.createUint(32, "answerSeconds") << 224) | (uint256(ELEMENTS) << 160);
        vm.store(address(DIRECT), bytes32(FEDERATION_SLOT), bytes32(rest | uint160(address(FEDERATION))));
    }

    /// @notice The slots that these proofs read are those of the contract.
    function check_theSlotsAreThoseOfDirectSubmissions(address account) external {
        _begin();
        assert(DIRECT.owed(account) == _owed(account) && address(DIRECT.federation()) == address(FEDERATION));
        assert(DIRECT.elements() == ELEMENTS);
    }

    /// @notice A vector is demanded by the coordinator alone, at its fee to the wei, once, and the member has `answerSeconds` or more to post it.
    function check_aVectorIsDemandedOnce(uint64 roundId, address member) external {
        _begin();
        vm.assume(FEDERATION.round(roundId).deadline < LATEST);
        vm.assume(_entry(address(DIRECT), DEMANDS, roundId) < 1 << 32);
        DirectUpdate memory before = DIRECT.directUpdate(roundId, member);
        bytes memory data = abi.encodeCall(IDirectSubmissions.demandPosting, (roundId, member));
        if (!_call(data)) return;
        DirectUpdate memory wanted = DIRECT.directUpdate(roundId, member);
        assert(caller == FEDERATION.coordinator() && sent == DIRECT.postingFee());
        assert(before.state == DirectState.Waiting && before.due == 0);
        assert(wanted.demander == caller && wanted.due >= block.timestamp + DIRECT.answerSeconds());
        assert(FEDERATION.extendedTo() == wanted.due + DIRECT.answerSeconds());
        vm.deal(caller, sent);
        assert(!_call(data));
    }

    /// @notice An update is given up only after its vector was demanded and did not come in time; then the fee goes back, once, and the stake is
    ///         burnt, once.
    function check_anUpdateIsGivenUpOnce(uint64 roundId, address member, address other) external {
        _begin();
        sent = 0;
        DirectUpdate memory before = DIRECT.directUpdate(roundId, member);
        vm.assume(other != before.demander && _owed(before.demander) < MOST_WEI && FEDERATION.forfeits() == 0);
        (uint256 owed, uint256 beside) = (_owed(before.demander), _owed(other));
        bytes memory data = abi.encodeCall(IDirectSubmissions.forfeit, (roundId, member));
        if (!_call(data)) return;
        assert(before.state == DirectState.Waiting && before.due > 0 && block.timestamp > before.due);
        assert(!before.settled && FEDERATION.forfeits() == 1);
        assert(_owed(before.demander) == owed + DIRECT.postingFee() && _owed(other) == beside);
        assert(DIRECT.directUpdate(roundId, member).state == DirectState.Forfeited);
        assert(!_call(data));
    }

    /// @notice The fee of a demand goes back after its round, once, and never where it was settled before.
    function check_aFeeGoesBackOnce(uint64 roundId, address member, address other) external {
        _begin();
        sent = 0;
        DirectUpdate memory before = DIRECT.directUpdate(roundId, member);
        vm.assume(other != before.demander && _owed(before.demander) < MOST_WEI);
        (uint256 owed, uint256 beside) = (_owed(before.demander), _owed(other));
        bytes memory data = abi.encodeCall(IDirectSubmissions.reclaim, (roundId, member));
        if (!_call(data)) return;
        RoundState state = FEDERATION.round(roundId).state;
        assert(state == RoundState.Final || state == RoundState.Failed);
        assert(before.due > 0 && block.timestamp > before.due && !before.settled);
        assert(_owed(before.demander) == owed + DIRECT.postingFee() && _owed(other) == beside);
        assert(!_call(data));
    }

    /// @notice A demand that is settled pays nobody again, neither for posting, nor as it is given up, nor after its round.
    function check_aSettledDemandPaysNobody(uint64 roundId, address member, uint8 which) external {
        _begin();
        sent = 0;
        vm.assume(DIRECT.directUpdate(roundId, member).settled);
        if (which == 0) assert(!_call(abi.encodeCall(IDirectSubmissions.forfeit, (roundId, member))));
        if (which == 1) assert(!_call(abi.encodeCall(IDirectSubmissions.reclaim, (roundId, member))));
        if (which == 2) {
            assert(
                !_call(
                    abi.encodeCall(
                        IDirectSubmissions.post, (roundId, member, 0, svm.createBytes(4, "values"))
                    )
                )
            );
        }
    }

    /// @notice A whole vector is paid out of its fee: what posting cost to the member, the rest to who demanded it, together the fee to the wei.
    /// @dev A vector of one element.
    function check_aPostedVectorIsPaidToTheWei(uint64 roundId, address member, address other) external {
        _begin();
        sent = 0;
        DirectUpdate memory before = DIRECT.directUpdate(roundId, member);
        vm.assume(other != member && other != before.demander && member != before.demander);
        vm.assume(_owed(member) < MOST_WEI && _owed(before.demander) < MOST_WEI);
        uint256 owed = _owed(member) + _owed(before.demander);
        uint256 beside = _owed(other);
        bytes memory values = svm.createBytes(4, "values");
        if (!_call(abi.encodeCall(IDirectSubmissions.post, (roundId, member, 0, values)))) return;
        assert(_owed(member) + _owed(before.demander) == owed + DIRECT.postingFee() && _owed(other) == beside);
        assert(DIRECT.directUpdate(roundId, member).settled);
        assert(caller == member || FEDERATION.keyOf(member, roundId) == caller);
    }

    /// @notice A waiting update is taken in by the coordinator alone, and no call gives one up or takes it in that was not waiting.
    function check_onlyAWaitingUpdateMoves(uint64 roundId, address member, uint8 which) external {
        _begin();
        sent = 0;
        DirectState before = DIRECT.directUpdate(roundId, member).state;
        bytes memory data = which == 0
            ? abi.encodeCall(IDirectSubmissions.forfeit, (roundId, member))
            : which == 1
                ? abi.encodeCall(IDirectSubmissions.reclaim, (roundId, member))
                : abi.encodeCall(IDirectSubmissions.post, (roundId, member, 0, svm.createBytes(4, "values")));
        if (!_call(data)) return;
        DirectState state = DIRECT.directUpdate(roundId, member).state;
        assert(
            state == before || before == DirectState.Waiting && state == DirectState.Forfeited && which == 0
        );
    }

    /// @notice The contract is initialised by its factory, once.
    function check_directSubmissionsAreInitialisedOnce(address first, uint64 elements, uint64 answerSeconds)
        external
    {
        _begin();
        sent = 0;
        vm.store(address(DIRECT), bytes32(FEDERATION_SLOT), bytes32(0));
        vm.assume(first != address(0));
        bytes memory data =
            abi.encodeCall(IDirectSubmissions.initialize, (IFederation(first), elements, answerSeconds));
        if (!_call(data)) return;
        assert(caller == DIRECT.factory() && address(DIRECT.federation()) == first);
        assert(!_call(data));
    }

    function _begin() private {
        _anyTime();
        vm.fee(svm.createUint(64, "baseFee"));
        caller = svm.createAddress("caller");
        vm.assume(caller != address(DIRECT) && caller != address(0) && caller != address(FEDERATION));
        sent = svm.createUint(96, "sent");
        vm.deal(caller, sent);
        vm.deal(address(DIRECT), svm.createUint(96, "balance"));
        vm.assume(FEDERATION.security().postFee < MOST_WEI);
    }

    function _call(bytes memory data) private returns (bool done) {
        vm.prank(caller);
        (done,) = address(DIRECT).call{value: sent}(data);
    }

    function _owed(address account) private view returns (uint256) {
        return _entry(address(DIRECT), OWED, uint160(account));
    }
}
