// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DirectUpdate} from "../../src/interfaces/IDirectSubmissions.sol";
import {RoundState} from "../../src/libraries/RoundLib.sol";
import {Submission} from "../../src/libraries/UpdateTypes.sol";
import {Consents} from "../base/Consents.sol";
import {SumTree} from "../base/SumTree.sol";
import {GameChallengers} from "./GameChallengers.sol";

/// @notice Three honest members and three accomplices: updates that they submit themselves, stakes, comings and goings, keys.
abstract contract GameMembers is GameChallengers {
    function member(uint8 who, uint8 kind, uint64 amount) external watched {
        act(who % CLIENTS, kind, amount);
    }

    function act(uint256 i, uint8 kind, uint64 amount) internal {
        kind = kind % 9;
        if (kind < 3) return submitDirectly(i, kind == 0, i >= HONEST && amount % 3 == 0);
        if (kind == 3) return quit(i);
        if (kind == 4) return join(i, amount);
        if (kind == 5) return stake(i, amount % 2 == 0 ? STAKE : amount);
        if (kind == 6) return unstake(i);
        if (kind == 7) return appoint(i, amount % 2 == 0);
        post(i, amount % 4 > 0 || i < HONEST);
    }

    /// @dev Itself, or by its consent through somebody else.
    function submitDirectly(uint256 i, bool byOther, bool bad) internal {
        if (round_().state != RoundState.Open) return;
        submitThis(i, signedUpdate(i, bad), byOther);
    }

    function submitThis(uint256 i, Submission memory submission, bool byOther) internal {
        bytes memory consent;
        if (byOther) {
            bytes32 hash = Consents.directHash(members[i], roundId, Consents.structHash(submission.update));
            consent = Consents.sign(keys[i], Consents.digest(block.chainid, address(federation), hash));
        }
        vm.prank(byOther ? stranger : members[i]);
        try direct.submit(roundId, submission, consent) {
            own[i] = submission;
            happened("submitted directly");
            ownIn[i] = roundId;
        } catch {}
    }

    function post(uint256 i, bool isTrue) internal {
        int256[] memory values = vectorOf(roundId, i);
        if (!isTrue) values[0] += 1;
        bytes memory data = bytes.concat(SumTree.chunkOf(values, 0), SumTree.chunkOf(values, 1));
        address demander = _demanderOf(i);
        if (demander == address(0)) return;
        uint256 before = direct.owed(members[i]);
        vm.fee(block.timestamp % 2);
        vm.prank(members[i]);
        try direct.post(roundId, members[i], 0, data) {
            uint256 cost = direct.owed(members[i]) - before;
            settled(i);
            happened("posted");
            if (demander == coordinator && cost <= POST_FEE) {
                spent[coordinator] += cost;
                if (i >= HONEST) gifts += cost;
            }
            if (demander == liar && i < HONEST) forgone += cost;
        } catch {}
        vm.fee(0);
    }

    function quit(uint256 i) internal {
        vm.prank(members[i]);
        try federation.quit() {
            happened("quit");
        } catch {}
    }

    function join(uint256 i, uint64 amount) internal override {
        vm.prank(members[i]);
        try federation.join{value: STAKE + amount}() {
            leaving[members[i]] = 0;
            happened("joined");
        } catch {}
    }

    function stake(uint256 i, uint256 amount) internal override {
        vm.prank(members[i]);
        federation.stake{value: amount}();
        leaving[members[i]] = 0;
    }

    function unstake(uint256 i) internal {
        uint256 staked = stakeOf(members[i]);
        uint256 before = federation.owed(members[i]);
        vm.prank(members[i]);
        try federation.unstake() {
            leaving[members[i]] = federation.owed(members[i]) > before ? 0 : staked;
            happened(leaving[members[i]] == 0 ? "unstaked" : "unstaking announced");
        } catch {}
    }

    function appoint(uint256 i, bool giveUp) internal {
        address key = vm.addr(keyFor(i));
        if (giveUp) {
            vm.prank(key);
            return book.giveUpKey();
        }
        bytes memory proof_ = proofOf(keyFor(i), members[i]);
        vm.prank(members[i]);
        try book.appointKey(key, proof_) {
            happened("key appointed");
        } catch {}
    }

    function dueOf(uint256 i) internal view returns (uint64) {
        DirectUpdate memory update = direct.directUpdate(roundId, members[i]);
        return update.settled ? 0 : update.due;
    }

    function _demanderOf(uint256 i) private view returns (address) {
        for (uint256 k = 0; k < postings.length; ++k) {
            if (postings[k].round == roundId && postings[k].member == i) return postings[k].demander;
        }
        return address(0);
    }
}
