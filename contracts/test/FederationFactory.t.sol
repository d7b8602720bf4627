// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";

import {Disputes} from "../src/Disputes.sol";
import {Federation} from "../src/Federation.sol";
import {FederationFactory} from "../src/FederationFactory.sol";
import {IFactoryMade} from "../src/interfaces/IFactoryMade.sol";
import {FederationParameters} from "../src/interfaces/IFederation.sol";
import {IFederationFactory, Implementations} from "../src/interfaces/IFederationFactory.sol";
import {FederationFixture} from "./base/FederationFixture.sol";

/// @notice Federations as clones: where they are, and that they share nothing but code.
contract FederationFactoryTest is FederationFixture {
    bytes32 private constant SALT = keccak256("salt");
    /// Implementations that an open federation needs.
    uint256 private constant OPEN = 5;

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

    function test_installsEachImplementationOnceAtTheAddressOfItsCode() public {
        bytes[9] memory initCodes = implementationCodes();
        bytes32[9] memory hashes;
        for (uint256 i = 0; i < hashes.length; ++i) {
            hashes[i] = keccak256(initCodes[i]);
        }
        FederationFactory fresh = new FederationFactory(hashes);
        Implementations memory foreseen = fresh.implementations();
        address[9] memory addresses = [
            foreseen.federation,
            foreseen.disputes,
            foreseen.rollups,
            foreseen.ruleBook,
            foreseen.directSubmissions,
            foreseen.sealedDisputes,
            foreseen.sealedRounds,
            foreseen.sealedCourt,
            foreseen.epochs
        ];
        string[9] memory names = [
            "federation",
            "disputes",
            "rollups",
            "ruleBook",
            "directSubmissions",
            // What a sealed federation has in the place of these; of two that are missing the first is named.
            "disputes",
            "rollups",
            "directSubmissions",
            "directSubmissions"
        ];
        FederationParameters memory wanted = parameters();
        for (uint256 i = 0; i < addresses.length; ++i) {
            if (i == OPEN) fresh.create(wanted, SALT);
            vm.expectRevert(
                abi.encodeWithSelector(IFederationFactory.MissingImplementation.selector, names[i])
            );
            if (i < OPEN) fresh.create(wanted, SALT);
            else fresh.createSealed(wanted, defaultSealedRules(), keccak256("sealed"));
            vm.prank(stranger);
            vm.assertEq(fresh.install(initCodes[i]), addresses[i]);
            vm.assertEq(IFactoryMade(addresses[i]).factory(), address(fresh));
            vm.assertEq(fresh.install(initCodes[i]), addresses[i]);
        }
        fresh.createSealed(wanted, defaultSealedRules(), keccak256("sealed"));
    }

    function test_installsNothingElse() public {
        bytes memory other = abi.encodePacked(type(Federation).creationCode, hex"00");
        vm.expectRevert(
            abi.encodeWithSelector(IFederationFactory.UnknownImplementation.selector, keccak256(other))
        );
        factory.install(other);
    }

    function test_allAddressesFollowFromTheFactorys() public {
        vm.prank(stranger);
        Federation made = Federation(factory.create(parameters(), SALT));
        bytes32 place = keccak256(abi.encode(stranger, SALT));
        vm.assertEq(abi.decode(Clones.fetchCloneArgs(address(made)), (bytes32)), place);
        Implementations memory given = factory.implementations();
        bytes32 own = bytes32(uint256(uint160(address(made))));
        vm.assertEq(made.disputes(), sidecarAt(given.disputes, own));
        vm.assertEq(made.rollups(), sidecarAt(given.rollups, own));
        vm.assertEq(made.ruleBook(), sidecarAt(given.ruleBook, own));
        vm.assertEq(made.directSubmissions(), sidecarAt(given.directSubmissions, own));
    }

    function test_eachCloneHasItsOwnStateAndDomain() public {
        Federation other = createFederation(parameters());
        vm.prank(coordinator);
        other.openRound();
        vm.assertEq(uint256(other.currentRound()), 1);
        vm.assertEq(uint256(federation.currentRound()), 0);
        vm.assertTrue(other.disputes() != federation.disputes());
        vm.assertEq(address(Disputes(payable(other.disputes())).federation()), address(other));
        (, string memory name, string memory version, uint256 chainId, address verifying,,) =
            other.eip712Domain();
        vm.assertEq(bytes(name), "FedVM");
        vm.assertEq(bytes(version), "1");
        vm.assertEq(chainId, block.chainid);
        vm.assertEq(verifying, address(other));
        vm.assertTrue(other.hashUpdate(honestUpdate(1, 0)) != federation.hashUpdate(honestUpdate(1, 0)));
    }

    function sidecarAt(address implementation, bytes32 salt) private view returns (address) {
        return Clones.predictDeterministicAddress(implementation, salt, address(factory));
    }

    function parameters() private view returns (FederationParameters memory) {
        return parametersOf(defaultRules(), defaultSecurity());
    }
}
