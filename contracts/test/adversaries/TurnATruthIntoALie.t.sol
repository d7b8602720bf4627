// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DirectSubmissions} from "../../src/DirectSubmissions.sol";
import {Proposal, RoundLib, RoundState} from "../../src/libraries/RoundLib.sol";
import {Submission} from "../../src/libraries/UpdateTypes.sol";
import {RollupFixture} from "../base/RollupFixture.sol";

/// @notice Something is changed under a statement that an honest coordinator has signed and not yet got into a block, so
///         that there it is a lie which costs the bond. Every such statement reverts instead.
contract TurnATruthIntoALieTest is RollupFixture {
    DirectSubmissions private direct;

    function setUp() public override {
        super.setUp();
        direct = DirectSubmissions(federation.directSubmissions());
        vm.deal(coordinator, 1000 * BOND);
    }

    /// @dev As many updates wait as before, but another one.
    function test_bySwappingAWaitingUpdate() public {
        begin();
        bringOwn(direct, roundId, received[0]);
        uint256 fee = direct.postingFee();
        vm.prank(coordinator);
        direct.demandPosting{value: fee}(roundId, members[0]);
        vm.warp(direct.directUpdate(roundId, members[0]).due + 1);
        build();
        direct.forfeit(roundId, members[0]);
        bringOwn(direct, roundId, received[4]);
        expectOther("journal");
    }

    function test_byBringingOneMore() public {
        begin();
        build();
        bringOwn(direct, roundId, received[2]);
        expectOther("journal");
    }

    /// @dev The block at which the coordinator read the chain is not in it any more, or never was.
    function testFuzz_byReorganisingTheChain(uint64 number, bytes32 hash) public {
        begin();
        build();
        (uint64 trueNumber, bytes32 trueHash) = (stated.anchorNumber, stated.anchorHash);
        if (hash == trueHash) return;
        stated.anchorHash = hash;
        expectOther("anchor");
        stated.anchorHash = 0;
        stated.anchorNumber = uint64(block.number);
        expectOther("anchor");
        (stated.anchorNumber, stated.anchorHash) = (number, trueHash);
        if (number != trueNumber) expectOther("anchor");
        stated.anchorNumber = trueNumber;
        vm.roll(block.number + 257);
        expectOther("anchor");
    }

    /// @dev Who is a member was read before the round began.
    function test_byAnAnchorBeforeTheOpening() public {
        vm.roll(block.number + 10);
        begin();
        build();
        stated.anchorNumber = federation.round(roundId).openedIn - 1;
        stated.anchorHash = blockhash(stated.anchorNumber);
        vm.assertTrue(stated.anchorHash != 0);
        expectOther("anchor");
        stated.anchorNumber += 1;
        stated.anchorHash = blockhash(stated.anchorNumber);
        submitStated();
    }

    /// @dev In the block that stays a member had left before its update was relayed.
    function test_byQuittingBeforeTheBatch() public {
        (Proposal memory signedProposal, Submission[] memory batch) = relay();
        vm.prank(members[5]);
        federation.quit();
        submit(roundId, batch);
        expectNothingProposed(signedProposal, "accepted");
    }

    /// @dev As many updates of the same weight, but another one among them.
    function test_bySwappingARelayedUpdate() public {
        (Proposal memory signedProposal, Submission[] memory batch) = relay();
        batch[3].update.lossMicros += 1;
        batch[3].update.sumSquares += 1;
        batch[3].signature = signature(keys[3], batch[3].update);
        submit(roundId, batch);
        expectNothingProposed(signedProposal, "range");
        signedProposal.totalWeight += 1;
        expectNothingProposed(signedProposal, "totalWeight");
    }

    /// @dev The owner's puppet rolls up a lie, and the honest coordinator is put in its place.
    function test_byLeavingAnothersRollupToIt() public {
        address honest = coordinator;
        coordinator = address(0xB0B);
        vm.deal(coordinator, 10 * BOND);
        vm.prank(owner);
        federation.replaceCoordinator(coordinator);
        begin();
        records[3].reason = 0;
        rollUp();
        vm.prank(owner);
        federation.replaceCoordinator(honest);
        vm.assertEq(federation.coordinator(), coordinator);
        vm.assertEq(federation.lockedBond(), BOND);
        // It goes on with a round of its own, and nothing of its is at risk.
        vm.warp(federation.round(roundId).until + defaultSecurity().challengeSeconds + 1);
        federation.failRound(roundId);
        vm.assertEq(federation.owed(coordinator), BOND);
        vm.assertEq(federation.lockedBond(), 0);
        coordinator = honest;
        vm.assertEq(uint256(openRound()), uint256(roundId) + 1);
    }

    /// @dev A roll-up without its bond would be free to lie in.
    function test_byStatingWithoutABond() public {
        begin();
        build();
        vm.prank(coordinator);
        (bool success,) =
            address(court).call{value: BOND - 1}(abi.encodeCall(court.submit, (roundId, stated)));
        vm.assertFalse(success);
        submitStated();
        propose(roundId);
        vm.assertEq(federation.lockedBond(), BOND);
        vm.prank(federation.disputes());
        federation.rejectProposal(roundId, challenger, false);
        vm.assertTrue(federation.round(roundId).state == RoundState.Submitted);
        // The next attempt is not free either.
        Proposal memory proposal = defaultProposal();
        vm.prank(coordinator);
        (success,) = address(federation).call{value: BOND - 1}(
            abi.encodeCall(federation.propose, (roundId, proposal))
        );
        vm.assertFalse(success);
    }

    function relay() private returns (Proposal memory signedProposal, Submission[] memory batch) {
        federation = createFederation(defaultRules(), defaultSecurity());
        roundId = openRound();
        batch = honestSubmissions(roundId, 0, MEMBERS);
        uint256 snapshot = vm.snapshotState();
        submit(roundId, batch);
        signedProposal = defaultProposal();
        vm.revertToState(snapshot);
    }

    function expectNothingProposed(Proposal memory proposal, string memory what) private {
        vm.expectRevert(abi.encodeWithSelector(RoundLib.OtherPremises.selector, what));
        vm.prank(coordinator);
        federation.propose{value: BOND}(roundId, proposal);
    }

    function expectOther(string memory what) private {
        vm.expectRevert(abi.encodeWithSelector(RoundLib.OtherPremises.selector, what));
        submitStated();
    }
}
