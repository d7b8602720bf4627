// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {Create2} from "@openzeppelin/contracts/utils/Create2.sol";

import {IDirectSubmissions} from "./interfaces/IDirectSubmissions.sol";
import {IDisputes} from "./interfaces/IDisputes.sol";
import {FederationParameters, IFederation, Sidecars} from "./interfaces/IFederation.sol";
import {IFederationFactory, Implementations} from "./interfaces/IFederationFactory.sol";
import {IRollups} from "./interfaces/IRollups.sol";
import {IRuleBook} from "./interfaces/IRuleBook.sol";

/// @title FederationFactory
/// @notice Opens federations as minimal clones; see `IFederationFactory`.
contract FederationFactory is IFederationFactory {
    address private immutable _federation;
    address private immutable _disputes;
    address private immutable _rollups;
    address private immutable _ruleBook;
    address private immutable _directSubmissions;

    /// @param hashes keccak-256 of the init code of each implementation: federation, disputes, rollups, rule book,
    ///        direct submissions. They decide the addresses, with the factory's own.
    constructor(bytes32[5] memory hashes) {
        _federation = Create2.computeAddress(0, hashes[0]);
        _disputes = Create2.computeAddress(0, hashes[1]);
        _rollups = Create2.computeAddress(0, hashes[2]);
        _ruleBook = Create2.computeAddress(0, hashes[3]);
        _directSubmissions = Create2.computeAddress(0, hashes[4]);
    }

    /// @inheritdoc IFederationFactory
    function install(bytes calldata initCode) external returns (address implementation) {
        implementation = Create2.computeAddress(0, keccak256(initCode));
        require(
            implementation == _federation || implementation == _disputes || implementation == _rollups
                || implementation == _ruleBook || implementation == _directSubmissions,
            UnknownImplementation(keccak256(initCode))
        );
        if (implementation.code.length == 0) implementation = Create2.deploy(0, 0, initCode);
    }

    /// @inheritdoc IFederationFactory
    function create(FederationParameters calldata parameters, bytes32 salt)
        external
        returns (address federation)
    {
        bytes32 place = _place(msg.sender, salt);
        address taken = _addressAt(place);
        // Creating a contract where there is one would use up all gas and say nothing.
        require(taken.code.length == 0, AlreadyOpened(taken));
        _requireInstalled();
        federation = Clones.cloneDeterministicWithImmutableArgs(_federation, abi.encode(place), place);
        bytes32 own = bytes32(uint256(uint160(federation)));
        Sidecars memory sidecars = Sidecars({
            disputes: Clones.cloneDeterministic(_disputes, own),
            rollups: Clones.cloneDeterministic(_rollups, own),
            ruleBook: Clones.cloneDeterministic(_ruleBook, own),
            directSubmissions: Clones.cloneDeterministic(_directSubmissions, own)
        });
        emit FederationOpened(federation, msg.sender, salt);
        IRuleBook(sidecars.ruleBook).initialize(IFederation(federation));
        IFederation(federation).initialize(parameters, sidecars);
        IDisputes(sidecars.disputes)
            .initialize(IFederation(federation), parameters.rules.elements, parameters.security);
        IRollups(sidecars.rollups).initialize(IFederation(federation), parameters.rules.elements);
        IDirectSubmissions(sidecars.directSubmissions)
            .initialize(IFederation(federation), parameters.rules.elements, parameters.security.answerSeconds);
    }

    /// @inheritdoc IFederationFactory
    function addressOf(address creator, bytes32 salt) external view returns (address) {
        return _addressAt(_place(creator, salt));
    }

    /// @inheritdoc IFederationFactory
    function implementations() external view returns (Implementations memory) {
        return Implementations({
            federation: _federation,
            disputes: _disputes,
            rollups: _rollups,
            ruleBook: _ruleBook,
            directSubmissions: _directSubmissions
        });
    }

    /// @dev The place is in the clone's code too: whoever reads the code can compute the address, and so sees that no
    ///      other init code ran there.
    function _addressAt(bytes32 place) private view returns (address) {
        return Clones.predictDeterministicAddressWithImmutableArgs(_federation, abi.encode(place), place);
    }

    /// @dev A clone of an address without code takes every call and does nothing.
    function _requireInstalled() private view {
        require(_federation.code.length > 0, MissingImplementation("federation"));
        require(_disputes.code.length > 0, MissingImplementation("disputes"));
        require(_rollups.code.length > 0, MissingImplementation("rollups"));
        require(_ruleBook.code.length > 0, MissingImplementation("ruleBook"));
        require(_directSubmissions.code.length > 0, MissingImplementation("directSubmissions"));
    }

    /// @dev Salt of a federation: everyone has salts of their own, so that nobody can take another's address.
    function _place(address creator, bytes32 salt) private pure returns (bytes32) {
        return keccak256(abi.encode(creator, salt));
    }
}
