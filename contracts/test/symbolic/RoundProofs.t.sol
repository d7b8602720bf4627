// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFederation} from "../../src/interfaces/IFederation.sol";
import {Round, RoundState} from "../../src/libraries/RoundLib.sol";
import {SymbolicFederation} from "./base/SymbolicFederation.sol";

/// @notice That the slots which the proofs about a federation read are its own (`make prove`).
contract RoundProofs is SymbolicFederation {
    /// @notice The slots that these proofs read are those of the federation.
    function check_theSlotsAreThoseOfTheFederation(uint64 roundId) external {
        _begin();
        uint256 word = _roundWord(roundId);
        vm.assume(_stateOf(word) >= uint256(RoundState.Final) && _stateOf(word) <= uint256(RoundState.Failed));
        Round memory round = federation.round(roundId);
        assert(uint256(round.state) == _stateOf(word));
        assert(round.until == _until(word) && round.attempt == _attempt(word));
        assert(round.accepted == _accepted(word) && round.waiting == _waiting(word));
        assert(round.rolledUp == _isRolledUp(word));
        assert(federation.currentRound() == _currentRound() && federation.coordinator() == _coordinator());
        assert(federation.owner() == _owner() && federation.disputes() == COURT);
        assert(federation.ruleBook() == RULE_BOOK);
        assert(
            federation.rollups() == _sidecar(ROLLUPS) && federation.directSubmissions() == _sidecar(DIRECT)
        );
        assert(federation.modelRoot() == bytes32(_word(address(federation), MODEL_ROOT)));
        assert(federation.rulesHash() == bytes32(_word(address(federation), RULES_HASH)));
    }
}
