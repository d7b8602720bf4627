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
    uint256 private constant APPOINTMENTS = 1;
    uint256 private constant FEDERATION_SLOT = 2;
    uint256 private constant SUPERSEDED = 8;

    address private caller;
    bytes4 private selector;

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

    function _anyCall() private returns (bool done) {
        bytes memory data = svm.createCalldata("RuleBook");
        selector = bytes4(data);
        if (selector == ISigningKeys.giveUpKey.selector) {
            _assumeOrdered(BOOK.appointedBy(caller), FEDERATION.currentRound() + 1);
        }
        return _call(data);
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
