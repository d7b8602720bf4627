// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {SealedRules} from "../libraries/SealedRulesLib.sol";
import {FederationParameters} from "./IFederation.sol";

/// @notice Contracts that a federation's clones run: each at the address that its init code gives it.
struct Implementations {
    address federation;
    address disputes;
    address rollups;
    address ruleBook;
    address directSubmissions;
    /// What a sealed federation has in the place of `disputes`, `rollups` and `directSubmissions`.
    address sealedDisputes;
    address sealedRounds;
    address sealedCourt;
    address epochs;
}

/// @title Where anyone opens a federation
/// @notice A federation and its sidecars are minimal clones (ERC-1167): proxies that run the code of one implementation
///         for ever. The factory deploys the implementations, and makes and initialises the clones in one transaction;
///         nobody else can initialise a clone of them. Nobody owns the factory, and nothing about it can be changed.
/// @dev All addresses follow from the factory's (CREATE2, EIP-1014), so anyone checks a federation by hashing:
///      an implementation has salt 0 and its init code; a federation has its `place` (keccak-256 of the ABI encoding of
///      creator and salt) as salt, and as the 32 bytes behind its 45 bytes of code; a sidecar has the federation's
///      address as salt.
interface IFederationFactory {
    /// @notice `creator` opened a federation.
    event FederationOpened(address indexed federation, address indexed creator, bytes32 salt);

    /// @notice An implementation was not installed yet.
    /// @param what Which one.
    error MissingImplementation(string what);
    /// @notice No implementation of this factory has this init code.
    error UnknownImplementation(bytes32 hash);
    /// @notice The sender used this salt before.
    /// @param federation What it opened then.
    error AlreadyOpened(address federation);

    /// @notice Deploys an implementation; does nothing if it is there. Anyone may.
    /// @param initCode Its init code.
    /// @return implementation Its address.
    function install(bytes calldata initCode) external returns (address implementation);

    /// @notice Opens a federation.
    /// @param parameters What it is created with.
    /// @param salt Any that the sender did not use before; with the sender it decides the address.
    /// @return federation Its address.
    function create(FederationParameters calldata parameters, bytes32 salt)
        external
        returns (address federation);

    /// @notice Opens a federation whose rounds are sealed, for ever: nobody sees an update; see `ISealedRounds`.
    /// @param parameters What it is created with.
    /// @param sealedRules How its rounds are sealed.
    /// @param salt Any that the sender did not use before; with the sender it decides the address.
    /// @return federation Its address.
    function createSealed(
        FederationParameters calldata parameters,
        SealedRules calldata sealedRules,
        bytes32 salt
    ) external returns (address federation);

    /// @param creator Account that opens the federation.
    /// @param salt Its salt.
    /// @return Address that the federation has, or will have.
    function addressOf(address creator, bytes32 salt) external view returns (address);

    /// @return Contracts that the clones run.
    function implementations() external view returns (Implementations memory);
}
