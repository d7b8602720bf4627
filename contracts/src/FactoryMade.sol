// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFactoryMade} from "./interfaces/IFactoryMade.sol";

/// @title What a factory deploys and clones
/// @notice A clone can be initialised by the factory that deployed its code, once; see `IFactoryMade`.
/// @dev The factory is in the code that the clones run, so it costs no storage. A true clone that somebody else makes
///      names the true factory too, and stays empty for ever.
abstract contract FactoryMade is IFactoryMade {
    /// @inheritdoc IFactoryMade
    address public immutable factory = msg.sender;

    /// @dev Checks that the factory calls, and that nobody initialised this before.
    /// @param marker What initialisation sets to another address than 0: no slot of its own.
    function _requireNew(address marker) internal view {
        require(msg.sender == factory, NotFactory(msg.sender));
        require(marker == address(0), AlreadyInitialized());
    }
}
