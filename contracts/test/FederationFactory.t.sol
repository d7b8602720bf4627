// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";

import {DirectSubmissions} from "../src/DirectSubmissions.sol";
import {Disputes} from "../src/Disputes.sol";
import {Federation} from "../src/Federation.sol";
import {FederationFactory} from "../src/FederationFactory.sol";
import {Rollups} from "../src/Rollups.sol";
import {FederationParameters, Sidecars} from "../src/interfaces/IFederation.sol";
import {IFederationFactory, Implementations} from "../src/interfaces/IFederationFactory.sol";
import {FederationFixture} from "./base/FederationFixture.sol";

/// @notice Federations as clones: where they are, who may initialise them, and that they share nothing but code.
contract FederationFactoryTest is FederationFixture {
    bytes32 private constant SALT = keccak256("salt");

    function test_anyoneOpensOneAtAKnownAddress() public {
        address expected = factory.addressOf(stranger, SALT);
        vm.expectEmit();
        emit IFederationFactory.FederationOpened(expected, stranger, SALT);
        vm.prank(stranger);
        vm.assertEq(factory.create(parameters(), SALT), expected);
        vm.snapshotGasLastCall("FederationFactory", "create, 16 members");
        vm.assertEq(Federation(expected).owner(), owner);
    }

    function test_everyoneHasSaltsOfTheirOwn() public {
        vm.prank(owner);
        address first = factory.create(parameters(), SALT);
        vm.prank(stranger);
        address second = factory.create(parameters(), SALT);
        vm.assertTrue(first != second);
        vm.assertEq(first, factory.addressOf(owner, SALT));
        vm.assertEq(second, factory.addressOf(stranger, SALT));
    }

    function test_refusesASaltUsedBefore() public {
        address first = factory.create(parameters(), SALT);
        vm.expectRevert(abi.encodeWithSelector(IFederationFactory.AlreadyOpened.selector, first));
        factory.create(parameters(), SALT);
    }

    function test_clonesCannotBeInitialisedAgain() public {
        bytes memory reason = abi.encodeWithSelector(Initializable.InvalidInitialization.selector);
        Disputes disputes = Disputes(federation.disputes());
        vm.expectRevert(reason);
        federation.initialize(parameters(), Sidecars(stranger, stranger, stranger, stranger));
        vm.expectRevert(reason);
        disputes.initialize(federation, 1, 1, 1);
        DirectSubmissions direct = DirectSubmissions(federation.directSubmissions());
        vm.expectRevert(reason);
        direct.initialize(federation, 1, 1, 1);
    }

    function test_implementationsCannotBeInitialised() public {
        bytes memory reason = abi.encodeWithSelector(Initializable.InvalidInitialization.selector);
        Implementations memory locked = factory.implementations();
        vm.expectRevert(reason);
        Federation(locked.federation)
            .initialize(parameters(), Sidecars(stranger, stranger, stranger, stranger));
        vm.expectRevert(reason);
        Disputes(locked.disputes).initialize(federation, 1, 1, 1);
        vm.expectRevert(reason);
        Rollups(locked.rollups).initialize(federation, 1);
        vm.expectRevert(reason);
        DirectSubmissions(locked.directSubmissions).initialize(federation, 1, 1, 1);
        // Nobody can speak for the implementation, so that nobody can use what its owner may.
        vm.assertEq(Federation(locked.federation).owner(), locked.federation);
    }

    function test_refusesImplementationsWithoutCode() public {
        Implementations memory given = factory.implementations();
        string[5] memory names = ["federation", "disputes", "rollups", "ruleBook", "directSubmissions"];
        for (uint256 i = 0; i < names.length; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IFederationFactory.MissingImplementation.selector, names[i])
            );
            new FederationFactory(
                Implementations(
                    i == 0 ? stranger : given.federation,
                    i == 1 ? stranger : given.disputes,
                    i == 2 ? stranger : given.rollups,
                    i == 3 ? stranger : given.ruleBook,
                    i == 4 ? stranger : given.directSubmissions
                )
            );
        }
    }

    function test_eachCloneHasItsOwnStateAndDomain() public {
        Federation other = createFederation(parameters());
        vm.prank(coordinator);
        other.openRound();
        vm.assertEq(uint256(other.currentRound()), 1);
        vm.assertEq(uint256(federation.currentRound()), 0);
        vm.assertTrue(other.disputes() != federation.disputes());
        vm.assertEq(address(Disputes(other.disputes()).federation()), address(other));
        (, string memory name, string memory version, uint256 chainId, address verifying,,) =
            other.eip712Domain();
        vm.assertEq(bytes(name), "FedVM");
        vm.assertEq(bytes(version), "1");
        vm.assertEq(chainId, block.chainid);
        vm.assertEq(verifying, address(other));
        vm.assertTrue(other.hashUpdate(honestUpdate(1, 0)) != federation.hashUpdate(honestUpdate(1, 0)));
    }

    function parameters() private view returns (FederationParameters memory) {
        return parametersOf(defaultRules(), defaultSecurity());
    }
}
