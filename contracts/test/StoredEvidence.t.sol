// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {RuleBook} from "../src/RuleBook.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {IFederation} from "../src/interfaces/IFederation.sol";
import {IPDPVerifier, PieceCid} from "../src/interfaces/IPDPVerifier.sol";
import {IRuleBook} from "../src/interfaces/IRuleBook.sol";
import {EvidenceRule, IStoredEvidence, NamedEvidence} from "../src/interfaces/IStoredEvidence.sol";
import {RoundLib, RoundState} from "../src/libraries/RoundLib.sol";
import {Security} from "../src/libraries/SecurityLib.sol";
import {LocalPDPVerifier} from "../src/local/LocalPDPVerifier.sol";
import {FederationFixture} from "./base/FederationFixture.sol";
import {Deceit, FalseVerifier} from "./harness/FalseVerifier.sol";

/// @notice A result is taken only while the verifier says that the evidence is stored; and whatever a verifier does, no more follows
///         than that a round has no result.
contract StoredEvidenceTest is FederationFixture {
    uint64 private constant MAX_AGE = 100;
    uint256 private constant MOST_GAS = 11_000_000;

    RuleBook private book;
    LocalPDPVerifier private verifier;
    FalseVerifier private liar;
    address private provider = address(0x5707E);
    uint256 private set;
    uint64 private roundId;
    uint256 private added;

    function setUp() public override {
        super.setUp();
        vm.roll(1_000_000);
        book = RuleBook(federation.ruleBook());
        verifier = new LocalPDPVerifier();
        liar = new FalseVerifier(verifier);
        set = newSet();
        add(3);
        demand(ruleOf(address(verifier)));
        roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, 10));
    }

    function test_aResultIsTakenWhileItsEvidenceIsStored() public {
        vm.expectEmit();
        emit IStoredEvidence.EvidenceNamed(roundId, 0, set, coordinator, ids(0, 2), cids(0, 2));
        name(0, 2);
        NamedEvidence memory named = book.namedEvidence(coordinator);
        vm.assertEq(uint256(named.round), uint256(roundId));
        vm.assertEq(abi.encode(named.pieceIds), abi.encode(ids(0, 2)));
        book.checkEvidence(roundId, coordinator);
        conclude(roundId);
        vm.assertEq(federation.modelRoot(), NEXT_ROOT);
    }

    function test_whoAsksForNothingGetsNothingChecked() public {
        fail();
        EvidenceRule memory none;
        vm.expectEmit();
        emit IStoredEvidence.EvidenceRequired(address(0), 0, false, none.dataSets);
        demand(none);
        roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, 10));
        vm.expectRevert(abi.encodeWithSelector(IStoredEvidence.NoEvidenceRequired.selector));
        name(0, 2);
        conclude(roundId);
    }

    /// @dev The honest cannot lose: a round without a result takes nothing from anybody.
    function test_aRoundThatCannotBeProposedFailsWithoutLoss() public {
        uint256 before = coordinator.balance + federation.owed(coordinator);
        refused(abi.encodeWithSelector(IStoredEvidence.EvidenceNotNamed.selector, roundId));
        fail();
        vm.assertEq(uint256(federation.round(roundId).state), uint256(RoundState.Failed));
        vm.assertEq(federation.modelRoot(), INITIAL_ROOT);
        vm.assertEq(coordinator.balance + federation.owed(coordinator), before);
        vm.assertEq(uint256(federation.lockedBond()), 0);
        // And the federation goes on.
        roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, 10));
        name(0, 1);
        conclude(roundId);
        vm.assertEq(federation.modelRoot(), NEXT_ROOT);
    }

    /// @dev A stake is held for an accepted update until its round is over.
    function test_stakesAreFreeWhenTheRoundHasFailed() public {
        Security memory security = defaultSecurity();
        security.stake = 1000;
        federation = createFederation(defaultRules(), security);
        book = RuleBook(federation.ruleBook());
        stakeOfFirst(10, 1000);
        demand(ruleOf(address(verifier)));
        roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, 10));
        refused(abi.encodeWithSelector(IStoredEvidence.EvidenceNotNamed.selector, roundId));
        vm.prank(members[0]);
        federation.quit();
        vm.expectRevert(abi.encodeWithSelector(IEscrow.StakeLocked.selector, roundId));
        vm.prank(members[0]);
        federation.unstake();
        fail();
        vm.prank(members[0]);
        federation.unstake();
        vm.assertEq(federation.owed(members[0]), 1000);
    }

    function test_nothingElseCanBeNamed() public {
        uint256[] memory two = ids(0, 2);
        bytes[] memory named = cids(0, 2);
        unnamed(set + 1, two, named, abi.encodeWithSelector(IStoredEvidence.OtherDataSet.selector, set + 1));
        unnamed(set, new uint256[](0), new bytes[](0), invalid("pieceIds"));
        unnamed(set, ids(0, 17), cids(0, 17), invalid("pieceIds"));
        unnamed(set, two, cids(0, 1), invalid("cids"));
        two[0] = 1;
        unnamed(set, two, named, invalid("pieceIds"));
        named[1] = "";
        unnamed(set, ids(0, 2), named, invalid("cids"));
        named[1] = new bytes(65);
        unnamed(set, ids(0, 2), named, invalid("cids"));
        vm.expectRevert(abi.encodeWithSelector(RoundLib.WrongState.selector, roundId + 1, RoundState.None));
        vm.prank(coordinator);
        book.nameEvidence(roundId + 1, set, ids(0, 2), cids(0, 2));
    }

    /// @dev Who names something in front of a proposal changes nothing for whose it is not.
    function test_whatAnotherNamesCountsForItAlone() public {
        name(0, 2);
        vm.prank(stranger);
        book.nameEvidence(roundId, set, ids(2, 2), cids(2, 2));
        vm.assertEq(abi.encode(book.namedEvidence(coordinator).pieceIds), abi.encode(ids(0, 2)));
        vm.assertEq(abi.encode(book.namedEvidence(stranger).pieceIds), abi.encode(ids(2, 2)));
        vm.expectRevert(abi.encodeWithSelector(IStoredEvidence.PieceNotLive.selector, set, 3));
        book.checkEvidence(roundId, stranger);
        vm.expectRevert(abi.encodeWithSelector(IStoredEvidence.EvidenceNotNamed.selector, roundId));
        book.checkEvidence(roundId, owner);
        conclude(roundId);
    }

    /// @dev As many pieces as can be named, with the longest CIDs, and each read three times.
    function test_asManyPiecesAsCanBeNamed() public {
        fail();
        EvidenceRule memory rule = ruleOf(address(verifier));
        rule.challenged = true;
        demand(rule);
        PieceCid[] memory pieces = new PieceCid[](16);
        bytes[] memory long = new bytes[](16);
        for (uint256 i = 0; i < 16; ++i) {
            long[i] = abi.encodePacked(keccak256(abi.encode(i)), keccak256(abi.encode(i, i)));
            pieces[i] = PieceCid(long[i]);
        }
        vm.prank(provider);
        verifier.addPieces(set, address(0), pieces, "");
        period();
        roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, 10));
        vm.prank(coordinator);
        book.nameEvidence(roundId, set, ids(3, 16), long);
        propose(roundId);
        vm.assertLe(vm.lastCallGas().gasTotalUsed, 1_500_000);
    }

    function test_whatIsNamedLastCounts() public {
        bytes[] memory wrong = new bytes[](1);
        wrong[0] = cidOf("other");
        vm.prank(coordinator);
        book.nameEvidence(roundId, set, ids(0, 1), wrong);
        refused(abi.encodeWithSelector(IStoredEvidence.OtherPiece.selector, set, 0));
        name(0, 1);
        propose(roundId);
    }

    function test_nothingIsNamedForAResultThatStands() public {
        name(0, 1);
        propose(roundId);
        vm.expectRevert(abi.encodeWithSelector(RoundLib.WrongState.selector, roundId, RoundState.Proposed));
        name(1, 1);
        refused(abi.encodeWithSelector(RoundLib.WrongState.selector, roundId, RoundState.Proposed));
    }

    /// @dev Another result is another model, and has other evidence.
    function test_eachProposalHasItsOwn() public {
        name(0, 1);
        propose(roundId);
        vm.prank(federation.disputes());
        federation.rejectProposal(roundId, stranger, false);
        refused(abi.encodeWithSelector(IStoredEvidence.EvidenceNotNamed.selector, roundId));
        vm.expectEmit();
        emit IStoredEvidence.EvidenceNamed(roundId, 1, set, coordinator, ids(1, 1), cids(1, 1));
        name(1, 1);
        propose(roundId);
    }

    function test_whatWasNamedForARoundIsNotForTheNext() public {
        name(0, 1);
        fail();
        roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, 10));
        refused(abi.encodeWithSelector(IStoredEvidence.EvidenceNotNamed.selector, roundId));
    }

    function test_aDeadDataSet() public {
        name(0, 1);
        vm.prank(provider);
        verifier.deleteDataSet(set, "");
        refused(abi.encodeWithSelector(IStoredEvidence.DataSetNotLive.selector, set));
    }

    function test_aDeadPiece() public {
        name(0, 2);
        vm.prank(provider);
        verifier.schedulePieceDeletions(set, ids(1, 1), "");
        // It is there until the next period.
        book.checkEvidence(roundId, coordinator);
        period();
        refused(abi.encodeWithSelector(IStoredEvidence.PieceNotLive.selector, set, 1));
    }

    function test_aPieceThatNeverWas() public {
        name(2, 2);
        refused(abi.encodeWithSelector(IStoredEvidence.PieceNotLive.selector, set, 3));
    }

    function test_aStaleProof() public {
        period();
        vm.roll(block.number + 1);
        vm.prank(provider);
        verifier.prove(set);
        uint256 proven = block.number;
        name(0, 1);
        vm.roll(proven + MAX_AGE + 1);
        refused(abi.encodeWithSelector(IStoredEvidence.ProofTooOld.selector, set, proven));
        vm.roll(proven - 1);
        refused(abi.encodeWithSelector(IStoredEvidence.ProofTooOld.selector, set, proven));
        vm.roll(proven + MAX_AGE);
        propose(roundId);
    }

    function test_aPieceThatNoProofIsAskedOf() public {
        fail();
        EvidenceRule memory rule = ruleOf(address(verifier));
        rule.challenged = true;
        demand(rule);
        roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, 10));
        name(0, 1);
        refused(unreadable(address(verifier), IPDPVerifier.pieceChallengable.selector));
        period();
        add(1);
        name(3, 1);
        refused(abi.encodeWithSelector(IStoredEvidence.PieceNotChallenged.selector, set, 3));
        period();
        propose(roundId);
    }

    function test_theRuleStandsStillInARound() public {
        EvidenceRule memory none;
        bytes memory open = abi.encodeWithSelector(IFederation.RoundStillOpen.selector, roundId);
        undemanded(none, open);
        name(0, 1);
        propose(roundId);
        undemanded(none, open);
        vm.prank(federation.disputes());
        federation.rejectProposal(roundId, stranger, false);
        undemanded(none, open);
        vm.assertEq(book.evidenceRule().verifier, address(verifier));
    }

    function test_onlyTheOwnerAsksAndForSomethingWhole() public {
        fail();
        EvidenceRule memory rule = ruleOf(address(verifier));
        vm.expectRevert(abi.encodeWithSelector(IRuleBook.NotOwner.selector, coordinator));
        vm.prank(coordinator);
        book.requireEvidence(rule);
        rule.verifier = stranger;
        undemanded(rule, invalid("verifier"));
        rule.verifier = address(0);
        undemanded(rule, invalid("maxAge"));
        rule.maxAge = 0;
        undemanded(rule, invalid("dataSets"));
        delete rule.dataSets;
        rule.challenged = true;
        undemanded(rule, invalid("verifier"));
        rule = ruleOf(address(verifier));
        rule.maxAge = 0;
        undemanded(rule, invalid("maxAge"));
        rule.maxAge = MAX_AGE;
        rule.dataSets = new uint256[](0);
        undemanded(rule, invalid("dataSets"));
        rule.dataSets = ids(0, 17);
        undemanded(rule, invalid("dataSets"));
        rule.dataSets = new uint256[](2);
        undemanded(rule, invalid("dataSets"));
    }

    /// @dev Whatever a verifier answers with, and to whichever question.
    function test_aFalseVerifierCanOnlyRefuse() public {
        fail();
        EvidenceRule memory rule = ruleOf(address(liar));
        rule.challenged = true;
        demand(rule);
        period();
        roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, 10));
        name(0, 2);
        bytes4[5] memory asked = [
            IPDPVerifier.dataSetLive.selector,
            IPDPVerifier.getDataSetLastProvenEpoch.selector,
            IPDPVerifier.pieceLive.selector,
            IPDPVerifier.getPieceCid.selector,
            IPDPVerifier.pieceChallengable.selector
        ];
        for (uint256 i = 0; i < asked.length; ++i) {
            for (uint8 deceit = 1; deceit < uint8(Deceit.Dawdles); ++deceit) {
                liar.deceive(Deceit(deceit), asked[i], address(federation));
                bytes memory reason = unreadable(address(liar), asked[i]);
                if (asked[i] == IPDPVerifier.getPieceCid.selector && says(Deceit(deceit))) {
                    reason = abi.encodeWithSelector(IStoredEvidence.OtherPiece.selector, set, 0);
                }
                if (
                    asked[i] == IPDPVerifier.getDataSetLastProvenEpoch.selector
                        && Deceit(deceit) == Deceit.SaysTwo
                ) {
                    reason = abi.encodeWithSelector(IStoredEvidence.ProofTooOld.selector, set, 2);
                }
                vm.expectRevert(reason);
                book.checkEvidence(roundId, coordinator);
                refused(reason);
            }
        }
        liar.deceive(Deceit.None, 0, address(0));
        propose(roundId);
    }

    /// @dev It answers everything in the end, with as many pieces as can be named.
    function test_whatAVerifierCanBurnIsBounded() public {
        fail();
        EvidenceRule memory rule = ruleOf(address(liar));
        rule.challenged = true;
        demand(rule);
        add(13);
        period();
        roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, 10));
        name(0, 16);
        liar.deceive(Deceit.Dawdles, liar.ALL(), address(0));
        propose(roundId);
        vm.assertLe(vm.lastCallGas().gasTotalUsed, MOST_GAS);
        vm.assertLe(MOST_GAS / 2, vm.lastCallGas().gasTotalUsed);
    }

    function test_gas() public {
        fail();
        demand(ruleOf(address(verifier)));
        vm.snapshotGasLastCall("StoredEvidence", "require, one data set");
        roundId = openRound();
        submit(roundId, honestSubmissions(roundId, 0, 10));
        name(0, 1);
        vm.snapshotGasLastCall("StoredEvidence", "name, one piece");
        propose(roundId);
        vm.snapshotGasLastCall("StoredEvidence", "propose, one piece");
    }

    function says(Deceit deceit) private pure returns (bool) {
        return deceit == Deceit.SaysNothing || deceit == Deceit.SaysTwo || deceit == Deceit.SaysTooMuch;
    }

    function ruleOf(address asked) private view returns (EvidenceRule memory rule) {
        rule.verifier = asked;
        rule.maxAge = MAX_AGE;
        rule.dataSets = new uint256[](1);
        rule.dataSets[0] = set;
    }

    function demand(EvidenceRule memory rule) private {
        vm.prank(owner);
        book.requireEvidence(rule);
    }

    function undemanded(EvidenceRule memory rule, bytes memory reason) private {
        vm.expectRevert(reason);
        demand(rule);
    }

    function newSet() private returns (uint256) {
        vm.prank(provider);
        return verifier.createDataSet(address(0), "");
    }

    function add(uint256 count) private {
        uint256 first = added;
        PieceCid[] memory pieces = new PieceCid[](count);
        for (uint256 i = 0; i < count; ++i) {
            pieces[i] = PieceCid(cids(first + i, 1)[0]);
        }
        vm.prank(provider);
        verifier.addPieces(set, address(0), pieces, "");
        added = first + count;
    }

    function period() private {
        vm.prank(provider);
        verifier.nextProvingPeriod(set, block.number, "");
    }

    function name(uint256 first, uint256 count) private {
        vm.prank(coordinator);
        book.nameEvidence(roundId, set, ids(first, count), cids(first, count));
    }

    function unnamed(uint256 dataSet, uint256[] memory pieceIds, bytes[] memory named, bytes memory reason)
        private
    {
        vm.expectRevert(reason);
        vm.prank(coordinator);
        book.nameEvidence(roundId, dataSet, pieceIds, named);
    }

    function refused(bytes memory reason) private {
        expectNoProposal(roundId, reason);
    }

    function fail() private {
        vm.warp(federation.round(roundId).until + 1);
        federation.failRound(roundId);
    }

    function ids(uint256 first, uint256 count) private pure returns (uint256[] memory listed) {
        listed = new uint256[](count);
        for (uint256 i = 0; i < count; ++i) {
            listed[i] = first + i;
        }
    }

    /// @dev Of pieces as `add` adds them.
    function cids(uint256 first, uint256 count) private pure returns (bytes[] memory listed) {
        listed = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            listed[i] = cidOf(abi.encode("piece", first + i));
        }
    }

    function invalid(string memory field) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IStoredEvidence.InvalidEvidence.selector, field);
    }

    function unreadable(address asked, bytes4 selector) private pure returns (bytes memory) {
        return abi.encodeWithSelector(IStoredEvidence.VerifierUnreadable.selector, asked, selector);
    }
}
