// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {Create2} from "@openzeppelin/contracts/utils/Create2.sol";

import {IAggregationCourt} from "./interfaces/IAggregationCourt.sol";
import {IDirectSubmissions} from "./interfaces/IDirectSubmissions.sol";
import {IEpochs} from "./interfaces/IEpochs.sol";
import {FederationParameters, IFederation, Sidecars} from "./interfaces/IFederation.sol";
import {IFederationFactory, Implementations} from "./interfaces/IFederationFactory.sol";
import {IRollups} from "./interfaces/IRollups.sol";
import {IRuleBook} from "./interfaces/IRuleBook.sol";
import {ISealedCourt} from "./interfaces/ISealedCourt.sol";
import {ISealedRounds} from "./interfaces/ISealedRounds.sol";
import {SealedRules} from "./libraries/SealedRulesLib.sol";

/// @title FederationFactory
/// @notice Opens federations as minimal clones; see `IFederationFactory`.
contract FederationFactory is IFederationFactory {
    address private immutable _federation;
    address private immutable _disputes;
    address private immutable _rollups;
    address private immutable _ruleBook;
    address private immutable _directSubmissions;
    address private immutable _sealedDisputes;
    address private immutable _sealedRounds;
    address private immutable _sealedCourt;
    address private immutable _epochs;

    /// @param hashes keccak-256 of the init code of each implementation, in the order of `Implementations`. They decide the
    ///        addresses, with the factory's own.
    constructor(bytes32[9] memory hashes) {
        _federation = Create2.computeAddress(0, hashes[0]);
        _disputes = Create2.computeAddress(0, hashes[1]);
        _rollups = Create2.computeAddress(0, hashes[2]);
        _ruleBook = Create2.computeAddress(0, hashes[3]);
        _directSubmissions = Create2.computeAddress(0, hashes[4]);
        _sealedDisputes = Create2.computeAddress(0, hashes[5]);
        _sealedRounds = Create2.computeAddress(0, hashes[6]);
        _sealedCourt = Create2.computeAddress(0, hashes[7]);
        _epochs = Create2.computeAddress(0, hashes[8]);
    }

    /// @inheritdoc IFederationFactory
    function install(bytes calldata initCode) external returns (address implementation) {
        implementation = Create2.computeAddress(0, keccak256(initCode));
        require(
            implementation == _federation || implementation == _disputes || implementation == _rollups
                || implementation == _ruleBook || implementation == _directSubmissions
                || implementation == _sealedDisputes || implementation == _sealedRounds
                || implementation == _sealedCourt || implementation == _epochs,
            UnknownImplementation(keccak256(initCode))
        );
        if (implementation.code.length == 0) implementation = Create2.deploy(0, 0, initCode);
    }

    /// @inheritdoc IFederationFactory
    function create(FederationParameters calldata parameters, bytes32 salt)
        external
        returns (address federation)
    {
        Sidecars memory sidecars = Sidecars(_disputes, _rollups, _ruleBook, _directSubmissions);
        _requireInstalled(sidecars);
        federation = _open(parameters, salt, sidecars);
        IRollups(sidecars.rollups).initialize(IFederation(federation), parameters.rules.elements);
        IDirectSubmissions(sidecars.directSubmissions)
            .initialize(IFederation(federation), parameters.rules.elements, parameters.security.answerSeconds);
    }

    /// @inheritdoc IFederationFactory
    function createSealed(
        FederationParameters calldata parameters,
        SealedRules calldata sealedRules,
        bytes32 salt
    ) external returns (address federation) {
        Sidecars memory sidecars = Sidecars(_sealedDisputes, _sealedRounds, _ruleBook, _epochs);
        _requireInstalled(sidecars);
        require(_sealedCourt.code.length > 0, MissingImplementation("sealedCourt"));
        federation = _open(parameters, salt, sidecars);
        address court = Clones.cloneDeterministic(_sealedCourt, bytes32(uint256(uint160(federation))));
        ISealedCourt(court).initialize(IFederation(federation), parameters.rules.elements);
        ISealedRounds(sidecars.rollups).initialize(IFederation(federation), court);
        IEpochs(sidecars.directSubmissions)
            .initialize(IFederation(federation), parameters.rules, parameters.security, sealedRules);
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
            directSubmissions: _directSubmissions,
            sealedDisputes: _sealedDisputes,
            sealedRounds: _sealedRounds,
            sealedCourt: _sealedCourt,
            epochs: _epochs
        });
    }

    /// @dev Makes the clones of a federation, and initialises what both kinds have.
    /// @param sidecars Their implementations; afterwards the clones.
    function _open(FederationParameters calldata parameters, bytes32 salt, Sidecars memory sidecars)
        private
        returns (address federation)
    {
        bytes32 place = _place(msg.sender, salt);
        address taken = _addressAt(place);
        // Creating a contract where there is one would use up all gas and say nothing.
        require(taken.code.length == 0, AlreadyOpened(taken));
        federation = Clones.cloneDeterministicWithImmutableArgs(_federation, abi.encode(place), place);
        bytes32 own = bytes32(uint256(uint160(federation)));
        sidecars.disputes = Clones.cloneDeterministic(sidecars.disputes, own);
        sidecars.rollups = Clones.cloneDeterministic(sidecars.rollups, own);
        sidecars.ruleBook = Clones.cloneDeterministic(sidecars.ruleBook, own);
        sidecars.directSubmissions = Clones.cloneDeterministic(sidecars.directSubmissions, own);
        emit FederationOpened(federation, msg.sender, salt);
        IRuleBook(sidecars.ruleBook).initialize(IFederation(federation));
        IFederation(federation).initialize(parameters, sidecars);
        IAggregationCourt(sidecars.disputes)
            .initialize(IFederation(federation), parameters.rules.elements, parameters.security);
    }

    /// @dev The place is in the clone's code too: whoever reads the code can compute the address, and so sees that no
    ///      other init code ran there.
    function _addressAt(bytes32 place) private view returns (address) {
        return Clones.predictDeterministicAddressWithImmutableArgs(_federation, abi.encode(place), place);
    }

    /// @dev A clone of an address without code takes every call and does nothing.
    function _requireInstalled(Sidecars memory sidecars) private view {
        require(_federation.code.length > 0, MissingImplementation("federation"));
        require(sidecars.disputes.code.length > 0, MissingImplementation("disputes"));
        require(sidecars.rollups.code.length > 0, MissingImplementation("rollups"));
        require(sidecars.ruleBook.code.length > 0, MissingImplementation("ruleBook"));
        require(sidecars.directSubmissions.code.length > 0, MissingImplementation("directSubmissions"));
    }

    /// @dev Salt of a federation: everyone has salts of their own, so that nobody can take another's address.
    function _place(address creator, bytes32 salt) private pure returns (bytes32) {
        return keccak256(abi.encode(creator, salt));
    }
}
