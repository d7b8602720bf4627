// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FederationParameters} from "./IFederation.sol";

/// @notice Contracts that a federation's clones run, deployed once.
struct Implementations {
    address federation;
    address disputes;
    address rollups;
    address ruleBook;
    address directSubmissions;
}

/// @title Where anyone opens a federation
/// @notice A federation and its sidecars are minimal clones (ERC-1167): proxies of 45 bytes that run the code of one
///         implementation for ever. They are made and initialised in one transaction, so that nobody can step between.
///         Nobody owns the factory, and nothing about it can be changed.
interface IFederationFactory {
    /// @notice `creator` opened a federation.
    event FederationOpened(address indexed federation, address indexed creator, bytes32 salt);

    /// @notice There is no code at the address of an implementation.
    /// @param what Which one.
    error MissingImplementation(string what);
    /// @notice The sender used this salt before.
    /// @param federation What it opened then.
    error AlreadyOpened(address federation);

    /// @notice Opens a federation.
    /// @param parameters What it is created with.
    /// @param salt Any that the sender did not use before; with the sender it decides the address.
    /// @return federation Its address.
    function create(FederationParameters calldata parameters, bytes32 salt)
        external
        returns (address federation);

    /// @param creator Account that opens the federation.
    /// @param salt Its salt.
    /// @return Address that the federation has, or will have.
    function addressOf(address creator, bytes32 salt) external view returns (address);

    /// @return Contracts that the clones run.
    function implementations() external view returns (Implementations memory);
}
