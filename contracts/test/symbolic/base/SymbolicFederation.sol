// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Federation} from "../../../src/Federation.sol";
import {RoundState} from "../../../src/libraries/RoundLib.sol";
import {AnySidecar} from "./AnySidecar.sol";
import {SymbolicBase} from "./SymbolicBase.sol";

/// @notice A federation as a clone of it could be at any time: its code as it ships, any storage, any caller.
/// @dev Assumed is that rounds after the latest were never opened, which opening the next one keeps.
abstract contract SymbolicFederation is SymbolicBase {
    Federation internal constant federation = Federation(address(0xfed));
    address internal constant COURT = address(0xc0);
    address internal constant RULE_BOOK = address(0xb0);

    uint256 internal constant OWED = 0; // Federation._owed
    uint256 internal constant BOND = 1; // Federation._bond
    uint256 internal constant STAKES = 2; // Federation._stakes
    uint256 internal constant OWNER = 3; // Federation._owner
    uint256 internal constant MEMBERSHIP = 4; // Federation._pendingOwner
    uint256 internal constant MEMBERS = 5; // Federation._members
    uint256 internal constant COORDINATOR = 8; // Federation.coordinator
    uint256 internal constant MODEL_ROOT = 9; // Federation.modelRoot
    uint256 internal constant RULES_HASH = 10; // Federation.rulesHash
    uint256 internal constant DISPUTES = 12; // Federation.disputes
    uint256 internal constant ROLLUPS = 13; // Federation.rollups
    uint256 internal constant RULE_BOOK_SLOT = 14; // Federation.ruleBook
    uint256 internal constant DIRECT = 15; // Federation.directSubmissions
    uint256 internal constant RULES = 16; // Federation._rules
    uint256 internal constant SECURITY = 20; // Federation._security
    uint256 internal constant ROUNDS = 24; // Federation._rounds
    uint256 internal constant LATEST_ROUND = 25; // Federation._latest

    address internal caller;
    uint256 internal sent;

    function setUp() public virtual {
        _place(address(federation), address(new Federation()));
        address sidecar = address(new AnySidecar());
        _place(COURT, sidecar);
        _place(RULE_BOOK, sidecar);
        vm.store(address(federation), bytes32(DISPUTES), bytes32(uint256(uint160(COURT))));
        vm.store(address(federation), bytes32(RULE_BOOK_SLOT), bytes32(uint256(uint160(RULE_BOOK))));
    }

    /// @dev Any time, any balances, and anybody about to call. The federation works, and never calls itself.
    function _begin() internal {
        _anyTime();
        vm.assume(_coordinator() != address(0));
        vm.assume(_currentRound() < 1 << 48);
        vm.assume(_roundWord(_currentRound() + 1) == 0 && _roundWord(0) == 0);
        caller = svm.createAddress("caller");
        vm.assume(caller != address(federation) && caller != address(0));
        sent = svm.createUint(96, "sent");
        vm.deal(caller, sent);
        vm.deal(address(federation), svm.createUint(96, "balance"));
    }

    /// @dev Rounds other than the latest are not live, which `openRound` keeps.
    function _assumeOthersOver(uint64 roundId) internal view {
        vm.assume(_or(roundId == _currentRound(), !_isLive(_roundWord(roundId))));
    }

    /// @dev There is less money than that in the world.
    function _assumeCovered(address account) internal view {
        vm.assume(_owedWord(account) < MOST_WEI && _staked(account) < MOST_WEI);
    }

    function _due(address account) internal view returns (uint256) {
        return _owedWord(account) + _staked(account);
    }

    function _call(bytes memory data) internal returns (bool done) {
        vm.prank(caller);
        (done,) = address(federation).call{value: sent}(data);
    }

    function _coordinator() internal view returns (address) {
        return address(uint160(_word(address(federation), COORDINATOR)));
    }

    function _currentRound() internal view returns (uint64) {
        return uint64(_bits(_word(address(federation), COORDINATOR), 20, 64));
    }

    function _roundWord(uint64 roundId) internal view returns (uint256) {
        return _entry(address(federation), ROUNDS, roundId);
    }

    function _stateOf(uint256 word) internal pure returns (uint256) {
        return _bits(word, 0, 8);
    }

    /// @dev Open, Submitted and Proposed follow one another.
    function _isLive(uint256 word) internal pure returns (bool) {
        return _within(_stateOf(word), uint256(RoundState.Open), 3);
    }

    function _until(uint256 word) internal pure returns (uint256) {
        return _bits(word, 11, 40);
    }

    function _attempt(uint256 word) internal pure returns (uint256) {
        return _bits(word, 22, 8);
    }

    function _waiting(uint256 word) internal pure returns (uint256) {
        return _bits(word, 24, 16);
    }

    function _isRolledUp(uint256 word) internal pure returns (bool) {
        return _bits(word, 26, 8) != 0;
    }

    /// @dev Whether anyone may propose in a round after the coordinator's time.
    function _isForAll(uint256 word) internal view returns (bool) {
        return _and(_isRolledUp(word), _word(address(federation), RULES + 3) == 0);
    }

    function _accepted(uint256 word) internal pure returns (uint256) {
        return _bits(word, 27, 32);
    }

    /// @dev Model root that a round's last proposal stated.
    function _stated(uint64 roundId) internal view returns (uint256) {
        return
            uint256(
                vm.load(address(federation), bytes32(uint256(keccak256(abi.encode(roundId, ROUNDS))) + 1))
            );
    }

    /// @dev What holds of the latest round's proposals after every call.
    function _isSane(uint256 word) internal pure returns (bool sane) {
        uint256 state = _stateOf(word);
        uint256 attempt = _attempt(word);
        sane = word == 0;
        sane = _or(sane, _and(state == uint256(RoundState.Open), attempt == 0));
        sane = _or(sane, _and(state == uint256(RoundState.Submitted), _within(attempt, 1, 7)));
        // Proposed and Final follow one another.
        sane = _or(sane, _and(_within(state, uint256(RoundState.Proposed), 2), _within(attempt, 1, 8)));
        sane = _or(sane, _and(state == uint256(RoundState.Failed), attempt <= 8));
    }

    function _owner() internal view returns (address) {
        return address(uint160(_word(address(federation), OWNER)));
    }

    function _owedWord(address account) internal view returns (uint256) {
        return _entry(address(federation), OWED, uint160(account));
    }

    function _stakeWord(address account) internal view returns (uint256) {
        return _entry(address(federation), STAKES, uint160(account));
    }

    function _staked(address account) internal view returns (uint256) {
        return _bits(_stakeWord(account), 0, 120);
    }

    function _bondWord() internal view returns (uint256) {
        return _word(address(federation), BOND);
    }

    function _holder() internal view returns (address) {
        return address(uint160(_bondWord()));
    }

    function _bonded() internal view returns (uint256) {
        return _bits(_bondWord(), 20, 88);
    }

    function _isLocked() internal view returns (bool) {
        return _bits(_bondWord(), 31, 8) != 0;
    }

    function _sidecar(uint256 slot) internal view returns (address) {
        return address(uint160(_word(address(federation), slot)));
    }
}
