// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RuleBook} from "../../src/RuleBook.sol";
import {IFederation} from "../../src/interfaces/IFederation.sol";
import {IRuleBook} from "../../src/interfaces/IRuleBook.sol";
import {ISigningKeys} from "../../src/interfaces/ISigningKeys.sol";
import {Rules} from "../../src/libraries/RulesLib.sol";
import {AnyFederation} from "./base/AnyFederation.sol";
import {SymbolicBase} from "./base/SymbolicBase.sol";

/// @notice How rules change, and whom keys sign for (`make prove`): the rule book as a clone of it could be at any time, one call of anybody,
///         beside a federation that gives any answers.
/// @dev A member has appointed at most two keys so far, and the rules have changed at most twice.
contract RuleBookProofs is SymbolicBase {
    RuleBook private constant BOOK = RuleBook(address(0xb0));
    AnyFederation private constant FEDERATION = AnyFederation(address(0xfed));
    uint256 private constant APPOINTMENTS = 1; // RuleBook._appointments
    uint256 private constant FEDERATION_SLOT = 5; // RuleBook.federation
    uint256 private constant SUPERSEDED = 11; // RuleBook._superseded

    address private caller;

    function setUp() public {
        _place(address(BOOK), address(new RuleBook()));
        _place(address(FEDERATION), address(new AnyFederation()));
        vm.store(address(BOOK), bytes32(FEDERATION_SLOT), bytes32(uint256(uint160(address(FEDERATION)))));
    }

    /// @notice A book is initialised by its factory, once.
    function check_aBookIsInitialisedOnce(address first, address second) external {
        _begin();
        vm.store(address(BOOK), bytes32(FEDERATION_SLOT), bytes32(0));
        vm.assume(first != address(0));
        if (!_call(abi.encodeCall(IRuleBook.initialize, (IFederation(first))))) return;
        assert(caller == BOOK.factory() && address(BOOK.federation()) == first);
        assert(!_call(abi.encodeCall(IRuleBook.initialize, (IFederation(second)))));
    }

    /// @notice Rules are adopted only after their notice and within two weeks, as they were announced, once.
    function check_rulesAreAdoptedAfterTheirNotice() external {
        _begin();
        (Rules memory next, uint64 adoptableAt,) = BOOK.announcedRules();
        uint256 adoptions = FEDERATION.adoptions();
        vm.assume(adoptions < 1 << 48);
        if (!_call(abi.encodeCall(IRuleBook.adoptRules, ()))) return;
        assert(adoptableAt > 0 && block.timestamp >= adoptableAt);
        assert(block.timestamp <= uint256(adoptableAt) + 14 days);
        assert(FEDERATION.adopted() == keccak256(abi.encode(next)) && FEDERATION.adoptions() == adoptions + 1);
        assert(!_call(abi.encodeCall(IRuleBook.adoptRules, ())));
    }

    /// @notice Nobody but the owner announces rules or takes them back.
    function check_rulesAreAnnouncedByTheOwner(Rules calldata next, bool cancels) external {
        _begin();
        vm.assume(caller != FEDERATION.owner());
        bytes memory data = cancels
            ? abi.encodeCall(IRuleBook.cancelRules, ())
            : abi.encodeCall(IRuleBook.announceRules, (next));
        assert(!_call(data));
    }

    /// @notice A key that was given up signs for nobody in the rounds to come, and its proofs so far are spent.
    function check_aKeyThatIsGivenUpSignsForNobody() external {
        _begin();
        address holder = BOOK.appointedBy(caller);
        uint64 next = FEDERATION.currentRound() + 1;
        _assumeOrdered(holder, next);
        uint64 nonce = BOOK.keyNonce(caller);
        vm.assume(nonce < 1 << 48);
        if (!_call(abi.encodeCall(ISigningKeys.giveUpKey, ()))) return;
        assert(BOOK.appointedBy(caller) == address(0) && BOOK.keyNonce(caller) == nonce + 1);
        assert(holder == address(0) || BOOK.keyOf(holder, next) == address(0));
    }

    /// @notice A key signs for one member: nobody appoints one that signs for another, that is a member, or that is its own.
    /// @dev A proof of 65 bytes.
    function check_aKeySignsForOneMember(address key) external {
        _begin();
        address holder = BOOK.appointedBy(key);
        uint64 nonce = BOOK.keyNonce(key);
        vm.assume(nonce < 1 << 48);
        bytes memory proof = svm.createBytes(65, "proof");
        if (!_call(abi.encodeCall(ISigningKeys.appointKey, (key, proof)))) return;
        if (key == address(0)) return;
        assert(holder == address(0) || holder == caller);
        assert(key != caller && !FEDERATION.isMember(key));
        assert(BOOK.appointedBy(key) == caller && BOOK.keyNonce(key) == nonce + 1);
    }

    function _begin() private {
        _anyTime();
        vm.assume(FEDERATION.currentRound() < 1 << 48);
        vm.assume(_word(address(BOOK), SUPERSEDED) <= 2);
        (, uint64 adoptableAt,) = BOOK.announcedRules();
        vm.assume(adoptableAt < LATEST);
        caller = svm.createAddress("caller");
        vm.assume(caller != address(BOOK) && caller != address(FEDERATION));
        _assumeOrdered(caller, FEDERATION.currentRound() + 1);
    }

    function _call(bytes memory data) private returns (bool done) {
        vm.prank(caller);
        (done,) = address(BOOK).call(data);
    }

    /// @dev At most two appointments, of ascending rounds up to the next, which is all that is ever appended.
    function _assumeOrdered(address member, uint64 next) private view {
        bytes32 list = keccak256(abi.encode(member, APPOINTMENTS));
        uint256 count = uint256(vm.load(address(BOOK), list));
        vm.assume(count <= 2);
        uint256 first = uint96(uint256(vm.load(address(BOOK), keccak256(abi.encode(list)))));
        uint256 second =
            uint96(uint256(vm.load(address(BOOK), bytes32(uint256(keccak256(abi.encode(list))) + 1))));
        vm.assume(count < 1 || first <= next);
        vm.assume(count < 2 || first < second && second <= next);
    }
}
