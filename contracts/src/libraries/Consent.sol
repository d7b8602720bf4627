// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {IFederation} from "../interfaces/IFederation.sol";
import {Update, UpdateTypes} from "./UpdateTypes.sol";

/// @title What a member or its key agrees to beside an update
/// @notice Each in a type of its own (EIP-712), so that a signature given for one purpose never serves another: who has a
///         member's signed update has not been told to submit it in the member's name.
library Consent {
    /// keccak-256 of the type by which a member, or its key, lets others submit an update directly.
    bytes32 internal constant DIRECT_TYPEHASH =
        keccak256("Direct(address member,uint64 round,bytes32 update)");
    /// keccak-256 of the type by which a key says whose it is.
    bytes32 internal constant KEY_TYPEHASH = keccak256("SigningKey(address member,uint64 nonce)");

    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    /// @param federation Federation that the update is for.
    /// @param member Whose update it is.
    /// @param update The update, which states its round.
    /// @param signature Over `Direct`, whose `update` is the update's own struct hash: this update and no other.
    /// @return Who signed; zero for a signature of nobody.
    function signerOfDirect(
        IFederation federation,
        address member,
        Update calldata update,
        bytes calldata signature
    ) internal view returns (address) {
        bytes32 hash = keccak256(
            abi.encode(DIRECT_TYPEHASH, member, update.round, UpdateTypes.structHash(update))
        );
        return signerOf(federation, hash, signature);
    }

    /// @param federation Federation that the key is to sign in.
    /// @param member Whom it is to sign for.
    /// @param nonce Number of this proof.
    /// @param signature Over `SigningKey`.
    /// @return Who signed; zero for a signature of nobody.
    function signerOfKey(IFederation federation, address member, uint64 nonce, bytes calldata signature)
        internal
        view
        returns (address)
    {
        return signerOf(federation, keccak256(abi.encode(KEY_TYPEHASH, member, nonce)), signature);
    }

    /// @param federation Federation that a statement is for.
    /// @param structHash `hashStruct` of the statement.
    /// @param signature Over it, in the federation's domain.
    /// @return signer Who signed; zero for a signature of nobody.
    function signerOf(IFederation federation, bytes32 structHash, bytes calldata signature)
        internal
        view
        returns (address signer)
    {
        // Why a recovery failed does not matter: it gives the zero address.
        // slither-disable-next-line unused-return
        (signer,,) = ECDSA.tryRecoverCalldata(
            MessageHashUtils.toTypedDataHash(_separator(federation), structHash), signature
        );
    }

    /// @dev The domain of `Federation`, which its clones share but for the address.
    function _separator(IFederation federation) private view returns (bytes32) {
        return keccak256(
            abi.encode(
                DOMAIN_TYPEHASH, keccak256("FedVM"), keccak256("1"), block.chainid, address(federation)
            )
        );
    }
}
