// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";

import {IFederation} from "./interfaces/IFederation.sol";
import {ISigningKeys} from "./interfaces/ISigningKeys.sol";
import {Consent} from "./libraries/Consent.sol";

/// @title SigningKeys
/// @notice See `ISigningKeys`.
abstract contract SigningKeys is ISigningKeys {
    using Checkpoints for Checkpoints.Trace160;

    /// @dev Whom a key signs for from the next round on, and how many proofs of it are spent.
    struct Holding {
        address member;
        uint64 nonce;
    }

    mapping(address key => Holding) private _holdings;
    mapping(address member => Checkpoints.Trace160) private _appointments;

    /// @inheritdoc ISigningKeys
    function appointKey(address key, bytes calldata proof) external {
        address former = address(_appointments[msg.sender].latest());
        if (key != former && former != address(0)) _holdings[former].member = address(0);
        if (key != address(0)) {
            _requireNoMember(key);
            Holding storage holding = _holdings[key];
            address holder = holding.member;
            require(holder == address(0) || holder == msg.sender, KeyTaken(key, holder));
            uint64 nonce = holding.nonce;
            address signer = Consent.signerOfKey(_federation(), msg.sender, nonce, proof);
            require(signer == key, NotProved(key, nonce));
            (holding.member, holding.nonce) = (msg.sender, nonce + 1);
        }
        _appoint(msg.sender, key);
    }

    /// @inheritdoc ISigningKeys
    function giveUpKey() external {
        Holding storage holding = _holdings[msg.sender];
        address holder = holding.member;
        (holding.member, holding.nonce) = (address(0), holding.nonce + 1);
        if (holder != address(0)) _appoint(holder, address(0));
    }

    /// @inheritdoc ISigningKeys
    function keyOf(address member, uint64 roundId) external view returns (address) {
        return address(_appointments[member].upperLookupRecent(roundId));
    }

    /// @inheritdoc ISigningKeys
    function appointedBy(address key) external view returns (address) {
        return _holdings[key].member;
    }

    /// @inheritdoc ISigningKeys
    function keyNonce(address key) external view returns (uint64) {
        return _holdings[key].nonce;
    }

    /// @dev Number of the round that will be opened next.
    function _nextRound() internal view virtual returns (uint64);

    /// @dev Federation whose members appoint keys.
    function _federation() internal view virtual returns (IFederation);

    // What pushing a checkpoint returns does not matter.
    // slither-disable-next-line unused-return
    function _appoint(address member, address key) private {
        uint64 fromRound = _nextRound();
        emit KeyAppointed(member, key, fromRound);
        _appointments[member].push(fromRound, uint160(key));
    }

    /// @dev A member signs for itself. One that becomes a member later gives the key up first, which the federation sees to.
    function _requireNoMember(address key) private view {
        require(key != msg.sender && !_federation().isMember(key), SignsForItself(key));
    }
}
