// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Enrolment, Epoch, EpochState} from "../../src/interfaces/IEpochs.sol";
import {Groups} from "../../src/libraries/Groups.sol";
import {Enrol} from "../../src/libraries/SealedTypes.sol";
import {Shuffle} from "../../src/libraries/Shuffle.sol";
import {Consents} from "../base/Consents.sol";
import {HeaderForest} from "../base/HeaderForest.sol";
import {SealedChallengers} from "./SealedChallengers.sol";

/// @notice How a roster comes about: members that enrol or do not, draws that are made or missed, and who is ready.
abstract contract SealedEpochs is SealedChallengers {
    /// @dev Whether a round that is opened now can be sealed.
    function epochServes() internal view returns (bool) {
        try epochs.epochOf(federation.currentRound() + 1, uint64(block.timestamp)) {
            return true;
        } catch {
            return false;
        }
    }

    /// @dev From one epoch to the next: all of it, unless the draw is missed, or nobody says who is ready.
    function settleEpoch(uint64 seed) internal {
        Epoch memory last = epochs.epoch();
        if (last.state != EpochState.None && last.state != EpochState.Failed) {
            uint256 over = uint256(last.until) + 4 * 3600 + 1;
            if (last.closedRounds < 4 && block.timestamp < over) vm.warp(over);
        }
        address by = federation.coordinator();
        vm.prank(by);
        uint64 epochId = epochs.openEpoch();
        _enrol(epochId, seed);
        vm.warp(epochs.epoch().until + 1);
        vm.prank(stranger);
        epochs.closeEnrolment(epochId);
        if (epochs.epoch().state == EpochState.Failed) return happened("epoch failed: few");
        bool missed = seed % 16 == 1;
        uint256 drawnBy = block.number + 2;
        vm.roll(block.number + (missed ? 300 : 3));
        bytes memory header = HeaderForest.build(drawnBy, keccak256(abi.encode("beacon", seed)), "geth");
        if (!missed) vm.setBlockhash(drawnBy, keccak256(header));
        epochs.draw(epochId, header);
        if (missed) return happened("epoch failed: draw missed");
        _deal();
        if (seed % 16 == 2) {
            vm.warp(epochs.epoch().until + 1);
            epochs.failEpoch(epochId);
            return happened("epoch failed: nobody ready");
        }
        _stateReady(epochId, by, seed);
        vm.warp(epochs.epoch().until + 1);
        epochRoot = epochs.epochRoot();
        happened("epoch");
    }

    /// @dev All members, or most of them. Somebody tries to enrol an honest one with keys of its own choice before.
    function _enrol(uint64 epochId, uint64 seed) private {
        Enrolment[] memory forged = new Enrolment[](1);
        forged[0] = _enrolment(epochId, seed % HONEST, 999, MEMBERS - 1);
        uint256 absent = seed % 2 == 0 ? 0 : (seed >> 8) & (seed >> 24) & 0xffff;
        Enrolment[] memory all = new Enrolment[](MEMBERS);
        uint256 found = 0;
        for (uint256 i = 0; i < MEMBERS; ++i) {
            if (!has(absent, i)) all[found++] = _enrolment(epochId, i, i + 1, i);
        }
        assembly ("memory-safe") {
            mstore(all, found)
        }
        epochs.enrol(epochId, forged);
        if (epochs.enrolledIn(forged[0].member) == epochId) ++stolenVoices;
        epochs.enrol(epochId, all);
        delete roster;
        for (uint256 i = 0; i < MEMBERS; ++i) {
            if (epochs.enrolledIn(members[i]) == epochId) roster.push(i);
        }
    }

    function _enrolment(uint64 epochId, uint256 index, uint256 key, uint256 signer)
        private
        view
        returns (Enrolment memory)
    {
        Enrol memory statement = Enrol(
            epochId,
            federation.rulesHash(),
            epochs.sealedHash(),
            bytes32(key),
            bytes32(index + 101),
            uint64(block.timestamp + 60)
        );
        bytes32 digest = Consents.digest(block.chainid, address(federation), libraries.enrolHash(statement));
        return Enrolment(members[index], statement, Consents.sign(keys[signer], digest));
    }

    function _deal() private {
        bytes32 seed = epochs.epoch().groupSeed;
        atPlace = new uint256[](roster.length);
        for (uint256 i = 0; i < roster.length; ++i) {
            atPlace[Shuffle.placeOf(seed, i, roster.length)] = roster[i];
        }
        division = Groups.divide(uint32(roster.length), GROUP);
    }

    /// @dev Some are left out; of these the honest add themselves.
    function _stateReady(uint64 epochId, address by, uint64 seed) private {
        uint256 all = (1 << roster.length) - 1;
        ready = all;
        if (seed % 3 == 0) ready &= ~((uint256(seed) >> 16) & (seed >> 32) & (seed >> 40));
        vm.prank(by);
        epochs.stateReady(epochId, bitmap(ready));
        for (uint256 spot = 0; spot < roster.length; ++spot) {
            uint256 place = Shuffle.placeOf(epochs.epoch().groupSeed, spot, roster.length);
            if (has(ready, place) || roster[spot] >= HONEST) continue;
            vm.prank(members[roster[spot]]);
            epochs.addReady(epochId, bitmap(ready), rosterProof(spot), cidOf("keys"));
            ready |= 1 << place;
            happened("added itself");
        }
    }
}
