// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";

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

    /// @param implementations_ Contracts that the clones run.
    constructor(Implementations memory implementations_) {
        _federation = _requireCode(implementations_.federation, "federation");
        _disputes = _requireCode(implementations_.disputes, "disputes");
        _rollups = _requireCode(implementations_.rollups, "rollups");
        _ruleBook = _requireCode(implementations_.ruleBook, "ruleBook");
        _directSubmissions = _requireCode(implementations_.directSubmissions, "directSubmissions");
    }

    /// @inheritdoc IFederationFactory
    function create(FederationParameters calldata parameters, bytes32 salt)
        external
        returns (address federation)
    {
        bytes32 place = _place(msg.sender, salt);
        address taken = Clones.predictDeterministicAddress(_federation, place);
        // Creating a contract where there is one would use up all gas and say nothing.
        require(taken.code.length == 0, AlreadyOpened(taken));
        federation = Clones.cloneDeterministic(_federation, place);
        Sidecars memory sidecars = Sidecars({
            disputes: Clones.cloneDeterministic(_disputes, place),
            rollups: Clones.cloneDeterministic(_rollups, place),
            ruleBook: Clones.cloneDeterministic(_ruleBook, place),
            directSubmissions: Clones.cloneDeterministic(_directSubmissions, place)
        });
        emit FederationOpened(federation, msg.sender, salt);
        IRuleBook(sidecars.ruleBook).initialize(IFederation(federation));
        IFederation(federation).initialize(parameters, sidecars);
        IDisputes(sidecars.disputes)
            .initialize(
                IFederation(federation),
                parameters.rules.elements,
                parameters.security.answerSeconds,
                parameters.security.demandFee
            );
        IRollups(sidecars.rollups).initialize(IFederation(federation), parameters.rules.elements);
        IDirectSubmissions(sidecars.directSubmissions)
            .initialize(
                IFederation(federation),
                parameters.rules.elements,
                parameters.security.answerSeconds,
                parameters.security.demandFee
            );
    }

    /// @inheritdoc IFederationFactory
    function addressOf(address creator, bytes32 salt) external view returns (address) {
        return Clones.predictDeterministicAddress(_federation, _place(creator, salt));
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

    /// @dev Salt of the clones: everyone has salts of their own, so that nobody can take another's address.
    function _place(address creator, bytes32 salt) private pure returns (bytes32) {
        return keccak256(abi.encode(creator, salt));
    }

    /// @dev A clone of an address without code takes every call and does nothing.
    function _requireCode(address implementation, string memory what) private view returns (address) {
        require(implementation.code.length > 0, MissingImplementation(what));
        return implementation;
    }
}
