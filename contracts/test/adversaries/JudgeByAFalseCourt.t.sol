// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";

import {DirectSubmissions} from "../../src/DirectSubmissions.sol";
import {Disputes} from "../../src/Disputes.sol";
import {Federation} from "../../src/Federation.sol";
import {Rollups} from "../../src/Rollups.sol";
import {RuleBook} from "../../src/RuleBook.sol";
import {IFactoryMade} from "../../src/interfaces/IFactoryMade.sol";
import {FederationParameters, IFederation, Sidecars} from "../../src/interfaces/IFederation.sol";
import {Implementations} from "../../src/interfaces/IFederationFactory.sol";
import {Security} from "../../src/libraries/SecurityLib.sol";
import {FederationFixture} from "../base/FederationFixture.sol";

/// @notice The attacker wants a federation with the true code and a court that obeys the attacker: who trusts the code
///         deposits, and the court takes the deposits without a proof. So only the factory initialises, and only once.
contract JudgeByAFalseCourtTest is FederationFixture {
    /// @dev The attacker's own account can do all that a sidecar can.
    Sidecars private _false = Sidecars(stranger, stranger, stranger, stranger);

    function test_aTrueCloneOfSomebodyElseIsNeverInitialised() public {
        Implementations memory code = factory.implementations();
        Federation clone = Federation(Clones.clone(code.federation));
        vm.assertEq(clone.factory(), address(factory));
        requireClosed(clone, _false, stranger);
        requireClosed(clone, _false, address(this));
        requireClosed(clone, sidecarsOf(federation), stranger);
        vm.assertEq(clone.coordinator(), address(0));
    }

    function test_noTrueCloneOfASidecarIsInitialisedByAStranger() public {
        Implementations memory code = factory.implementations();
        requireClosed(
            Sidecars(
                Clones.clone(code.disputes),
                Clones.clone(code.rollups),
                Clones.clone(code.ruleBook),
                Clones.clone(code.directSubmissions)
            ),
            federation,
            stranger,
            notFactory(stranger)
        );
    }

    function test_nobodyInitialisesAnImplementation() public {
        Implementations memory code = factory.implementations();
        requireClosed(Federation(code.federation), _false, stranger);
        requireClosed(
            Sidecars(code.disputes, code.rollups, code.ruleBook, code.directSubmissions),
            federation,
            stranger,
            notFactory(stranger)
        );
        // Nobody can speak for the implementation, so that nobody can use what its owner may.
        vm.assertEq(Federation(code.federation).owner(), code.federation);
    }

    function test_strangersDoNotInitialiseAFederationAgain() public {
        Federation other = createFederation(defaultRules(), defaultSecurity());
        requireClosed(federation, _false, stranger);
        requireClosed(federation, _false, owner);
        requireClosed(federation, sidecarsOf(other), owner);
        requireClosed(sidecarsOf(federation), other, owner, notFactory(owner));
        requireClosed(sidecarsOf(federation), federation, owner, notFactory(owner));
    }

    /// @dev Not even a factory with other code at the factory's address could.
    function test_theFactoryInitialisesOnceOnly() public {
        Federation other = createFederation(defaultRules(), defaultSecurity());
        bytes memory again = abi.encodeWithSelector(IFactoryMade.AlreadyInitialized.selector);
        FederationParameters memory parameters = parametersOf(defaultRules(), defaultSecurity());
        Sidecars memory swapped = sidecarsOf(other);
        vm.expectRevert(again);
        vm.prank(address(factory));
        federation.initialize(parameters, swapped);
        requireClosed(sidecarsOf(federation), other, address(factory), again);
        requireClosed(sidecarsOf(other), federation, address(factory), again);
        requireOwnSidecars(federation);
        requireOwnSidecars(other);
    }

    /// @dev Initialised in the transaction that makes them: there is no moment for anybody to step between.
    function testFuzz_everyFederationHasSidecarsOfItsOwn(address creator, bytes32 salt) public {
        vm.prank(creator);
        requireOwnSidecars(Federation(factory.create(parametersOf(defaultRules(), defaultSecurity()), salt)));
    }

    function requireClosed(Federation target, Sidecars memory sidecars, address caller) private {
        FederationParameters memory parameters = parametersOf(defaultRules(), defaultSecurity());
        vm.expectRevert(notFactory(caller));
        vm.prank(caller);
        target.initialize(parameters, sidecars);
    }

    function requireClosed(Sidecars memory sidecars, IFederation for_, address caller, bytes memory reason)
        private
    {
        vm.expectRevert(reason);
        vm.prank(caller);
        Disputes(payable(sidecars.disputes)).initialize(for_, 1, defaultSecurity());
        vm.expectRevert(reason);
        vm.prank(caller);
        Rollups(sidecars.rollups).initialize(for_, 1);
        vm.expectRevert(reason);
        vm.prank(caller);
        RuleBook(sidecars.ruleBook).initialize(for_);
        vm.expectRevert(reason);
        vm.prank(caller);
        DirectSubmissions(sidecars.directSubmissions).initialize(for_, 1, 1);
    }

    function requireOwnSidecars(Federation target) private view {
        Sidecars memory sidecars = sidecarsOf(target);
        Security memory security = target.security();
        uint256 elements = target.rules().elements;
        Disputes disputes = Disputes(payable(sidecars.disputes));
        DirectSubmissions direct = DirectSubmissions(sidecars.directSubmissions);
        vm.assertEq(address(disputes.federation()), address(target));
        vm.assertEq(address(direct.federation()), address(target));
        vm.assertEq(address(Rollups(sidecars.rollups).federation()), address(target));
        vm.assertEq(address(RuleBook(sidecars.ruleBook).federation()), address(target));
        vm.assertEq(uint256(disputes.elements()), elements);
        vm.assertEq(uint256(direct.elements()), elements);
        vm.assertEq(uint256(Rollups(sidecars.rollups).elements()), elements);
        vm.assertEq(uint256(disputes.answerSeconds()), uint256(security.answerSeconds));
        vm.assertEq(uint256(direct.answerSeconds()), uint256(security.answerSeconds));
        vm.assertEq(disputes.demandFee(), uint256(security.demandFee));
        uint256 chunks = (elements + 63) / 64;
        vm.assertEq(direct.postingFee(), uint256(security.postFee) * chunks);
    }

    function sidecarsOf(Federation target) private view returns (Sidecars memory) {
        return Sidecars(target.disputes(), target.rollups(), target.ruleBook(), target.directSubmissions());
    }

    function notFactory(address caller) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IFactoryMade.NotFactory.selector, caller);
    }
}
