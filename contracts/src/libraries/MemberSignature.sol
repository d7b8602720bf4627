// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

import {IFederation} from "../interfaces/IFederation.sol";
import {IRuleBook} from "../interfaces/IRuleBook.sol";
import {Submission} from "./UpdateTypes.sol";

/// @title Whether a member signed
/// @notice For the contracts beside a federation, which judge as it does.
library MemberSignature {
    /// @param federation Federation that the update is for.
    /// @param roundId Number of its round.
    /// @param submission Signed update.
    /// @return Whether the stated member signed, itself or by the key that it had appointed when the round was opened.
    function isSigned(IFederation federation, uint64 roundId, Submission calldata submission)
        internal
        view
        returns (bool)
    {
        // Why a recovery failed does not matter: it gives the zero address, which is never a member or key.
        // slither-disable-next-line unused-return
        (address signer,,) =
            ECDSA.tryRecoverCalldata(federation.hashUpdate(submission.update), submission.signature);
        return speaksFor(federation, roundId, signer, submission.member);
    }

    /// @param federation Federation of the member.
    /// @param roundId Number of a round.
    /// @param account Any address.
    /// @param member Any address.
    /// @return Whether the account is the member, or the key that it had appointed when the round was opened.
    function speaksFor(IFederation federation, uint64 roundId, address account, address member)
        internal
        view
        returns (bool)
    {
        // Who has appointed no key has appointed the zero address.
        if (account == address(0)) return false;
        return account == member || IRuleBook(federation.ruleBook()).keyOf(member, roundId) == account;
    }
}
