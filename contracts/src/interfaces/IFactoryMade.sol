// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

/// @title What a factory deploys and clones
/// @notice Has a function `initialize`, which the factory calls in the transaction that makes the clone.
interface IFactoryMade {
    /// @notice Only the factory may do this.
    error NotFactory(address caller);
    /// @notice This was initialised before.
    error AlreadyInitialized();

    /// @return Factory that deployed the code of this contract: the only one that initialises its clones.
    function factory() external view returns (address);
}
