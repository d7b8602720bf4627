// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DirectSubmissions} from "../../src/DirectSubmissions.sol";
import {MerkleSumTree} from "../../src/libraries/MerkleSumTree.sol";
import {PostingCost} from "../../src/libraries/PostingCost.sol";
import {Rules} from "../../src/libraries/RulesLib.sol";
import {Security} from "../../src/libraries/SecurityLib.sol";
import {Update} from "../../src/libraries/UpdateTypes.sol";
import {FederationFixture} from "../base/FederationFixture.sol";

/// @notice A coordinator that ignores all members lets them submit directly, and demands all of their vectors in one block. One
///         could be posted in the time that there is, as the federation's parameters promise; all of them do not fit its blocks.
contract BurnManyStakesAtOnceTest is FederationFixture {
    uint128 private constant STAKE = 0.5 ether;
    /// 3,000 chunks, which take all of the 120 seconds.
    uint64 private constant ELEMENTS = 192_000;

    DirectSubmissions private direct;
    uint64 private roundId;

    function setUp() public override {
        super.setUp();
        Rules memory rules = defaultRules();
        rules.elements = ELEMENTS;
        Security memory security = defaultSecurity();
        security.stake = STAKE;
        federation = createFederation(rules, security);
        direct = DirectSubmissions(federation.directSubmissions());
        stakeOfFirst(MEMBERS, STAKE);
        roundId = openRound();
        for (uint256 i = 0; i < MEMBERS; ++i) {
            Update memory update = honestUpdate(roundId, i);
            update.elements = ELEMENTS;
            bringOwn(direct, roundId, signed(i, update));
        }
    }

    /// @dev Whoever posts can count on some gas in a second; when all must post at once they share it.
    function test_asManyAsMustPostCanPostInTime() public {
        uint256 each = PostingCost.secondsFor(MerkleSumTree.chunkCount(ELEMENTS));
        uint256 fee = direct.postingFee();
        vm.deal(coordinator, MEMBERS * fee);
        for (uint256 i = 0; i < MEMBERS; ++i) {
            vm.prank(coordinator);
            direct.demandPosting{value: fee}(roundId, members[i]);
            uint64 due = direct.directUpdate(roundId, members[i]).due;
            vm.assertTrue(due >= block.timestamp + (i + 1) * each);
            // And the round waits for who is last.
            vm.assertTrue(federation.round(roundId).until >= due + 120);
        }
    }
}
