// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModelService} from "../../src/ModelService.sol";
import {PromotionGate} from "../../src/PromotionGate.sol";
import {FeeTerms, IDecisions} from "../../src/interfaces/IDecisions.sol";
import {IModelService} from "../../src/interfaces/IModelService.sol";
import {GateTerms, IPromotionGate, Trial, TrialState} from "../../src/interfaces/IPromotionGate.sol";
import {IPullPayments} from "../../src/interfaces/IPullPayments.sol";
import {AggregationNode, AggregationStep} from "../../src/libraries/AggregationTree.sol";
import {Commitment} from "../../src/libraries/CommitmentTree.sol";
import {AccuracyTest} from "../../src/libraries/SequentialTest.sol";
import {AnyService} from "./base/AnyService.sol";
import {SymbolicBase} from "./base/SymbolicBase.sol";

/// @notice Who changes what serves, and where the money of a service and its gate goes (`make prove`): both as they could be at any time,
///         one call of anybody; the gate beside a service that gives any answers.
contract ServiceProofs is SymbolicBase {
    ModelService private constant SERVICE = ModelService(address(0x5e));
    PromotionGate private constant GATE = PromotionGate(address(0x6a));
    AnyService private constant ANY = AnyService(address(0x5a));

    address private caller;
    uint256 private sent;

    function setUp() public {
        ModelService made = new ModelService(address(this), _terms());
        _place(address(SERVICE), address(made));
        // A gate belongs to who creates it.
        vm.etch(address(ANY), address(new AnyService()).code);
        vm.prank(address(ANY));
        _place(address(GATE), address(new PromotionGate(_terms())));
        svm.enableSymbolicStorage(address(ANY));
    }

    /// @notice A version is promoted by the gate alone, and serves from then on.
    function check_aVersionIsPromotedByItsGate(uint256 versionId) external {
        _begin();
        if (!_call(address(SERVICE), abi.encodeCall(IModelService.promote, (versionId)))) return;
        assert(caller == address(SERVICE.gate()) && SERVICE.currentVersion() == versionId);
    }

    /// @notice A version is put back by the owner alone, and the fees of versions are its own to set: never more than half of one goes to a
    ///         treasury where others contributed.
    function check_theOwnerSetsFeesWithinTheirBound(
        uint256 versionId,
        FeeTerms calldata terms,
        bool rollsBack
    ) external {
        _begin();
        vm.assume(versionId < 1 << 128);
        address owner = SERVICE.owner();
        bytes memory data = rollsBack
            ? abi.encodeCall(IModelService.rollback, (versionId))
            : abi.encodeCall(IDecisions.setFee, (versionId, terms));
        if (!_call(address(SERVICE), data)) return;
        assert(caller == owner);
        if (rollsBack) {
            assert(SERVICE.currentVersion() == versionId);
            return;
        }
        FeeTerms memory set = SERVICE.feeTerms(versionId);
        assert(set.amount == terms.amount && set.treasury == terms.treasury);
        assert(set.treasuryPpm == terms.treasuryPpm && set.treasuryPpm <= 500_000);
        assert(set.amount == 0 || set.treasury != address(0));
    }

    /// @notice What an update has earned is owed to its member, once, to the wei.
    /// @dev Of a round with one update, whose leaf is the whole tree.
    function check_aContributionIsPaidOnce(uint256 versionId, Commitment calldata commitment, address other)
        external
    {
        _begin();
        vm.assume(other != commitment.member && _owed(address(SERVICE), commitment.member) < MOST_WEI);
        AggregationNode memory leaf;
        leaf.preimage = svm.createBytes(73, "leaf");
        leaf.path = new AggregationStep[](0);
        (uint256 perUpdate, uint256 collected) = SERVICE.earnings(versionId);
        vm.assume(perUpdate < MOST_WEI && collected < MOST_WEI);
        uint256 owed = _owed(address(SERVICE), commitment.member);
        uint256 beside = _owed(address(SERVICE), other);
        bytes memory data = abi.encodeCall(IDecisions.collect, (versionId, leaf, commitment));
        if (!_call(address(SERVICE), data)) return;
        (, uint256 after_) = SERVICE.earnings(versionId);
        uint256 paid = _owed(address(SERVICE), commitment.member) - owed;
        assert(paid > 0 && paid <= perUpdate && after_ == collected + paid);
        assert(_owed(address(SERVICE), other) == beside);
        assert(!_call(address(SERVICE), data));
    }

    /// @notice Whoever withdraws from a service or its gate gets what it is owed, once, and nobody else less.
    function check_whoWithdrawsFromAServiceGetsAllOnce(address other, bool fromGate) external {
        _begin();
        sent = 0;
        vm.assume(other != caller && caller != address(ANY));
        vm.deal(caller, 0);
        address payer = fromGate ? address(GATE) : address(SERVICE);
        (uint256 owed, uint256 beside, uint256 held) =
            (_owed(payer, caller), _owed(payer, other), payer.balance);
        bytes memory data = abi.encodeCall(IPullPayments.withdraw, ());
        if (!_call(payer, data)) return;
        assert(owed > 0 && caller.balance == owed && payer.balance == held - owed);
        assert(_owed(payer, caller) == 0 && _owed(payer, other) == beside);
        assert(!_call(payer, data));
    }

    /// @notice A trial is opened by the service alone, one at a time, under the bond of the terms; what was sent beyond it is owed to who
    ///         registered.
    function check_aTrialIsOpenedUnderItsBond(uint256 versionId, address registrant, address other) external {
        _begin();
        vm.assume(other != registrant && _owed(address(GATE), registrant) < MOST_WEI && versionId != 0);
        uint256 pending = GATE.pendingTrial();
        uint256 bond = GATE.terms().bond;
        uint256 owed = _owed(address(GATE), registrant);
        uint256 beside = _owed(address(GATE), other);
        vm.prank(caller);
        (bool done,) =
            address(GATE).call{value: sent}(abi.encodeCall(IPromotionGate.openTrial, (versionId, registrant)));
        if (!done) return;
        Trial memory opened = GATE.trial(versionId);
        assert(caller == address(ANY) && pending == 0 && GATE.pendingTrial() == versionId);
        assert(opened.state == TrialState.Registered && opened.bond == bond);
        assert(opened.registrant == registrant && opened.seedBlock == block.number + 132);
        assert(sent >= bond && _owed(address(GATE), registrant) == owed + sent - bond);
        assert(_owed(address(GATE), other) == beside && GATE.trialsLost() < GATE.terms().attempts);
    }

    /// @notice A trial lapses after its time alone: it is lost, its bond is burnt, and nobody is owed anything for it. It lapses once.
    function check_aTrialThatLapsesBurnsItsBond(address other) external {
        _begin();
        sent = 0;
        uint256 versionId = GATE.pendingTrial();
        Trial memory before = GATE.trial(versionId);
        // No version has the number 0.
        vm.assume(GATE.trial(0).state == TrialState.None);
        (uint256 burnt, uint256 lost, uint256 owed) =
            (GATE.burnt(), GATE.trialsLost(), _owed(address(GATE), other));
        vm.assume(burnt < MOST_WEI);
        bytes memory data = abi.encodeCall(IPromotionGate.lapse, ());
        if (!_call(address(GATE), data)) return;
        bool registered = before.state == TrialState.Registered;
        assert(registered || before.state == TrialState.Drawn);
        assert(registered ? block.number > uint256(before.seedBlock) + 8191 : block.timestamp > before.until);
        assert(GATE.burnt() == burnt + before.bond && GATE.trialsLost() == lost + 1);
        assert(GATE.pendingTrial() == 0 && GATE.trial(versionId).state == TrialState.Lapsed);
        assert(_owed(address(GATE), other) == owed);
        assert(!_call(address(GATE), data));
    }

    function _begin() private {
        _anyTime();
        caller = svm.createAddress("caller");
        vm.assume(caller != address(0) && caller != address(SERVICE) && caller != address(GATE));
        sent = svm.createUint(96, "sent");
        vm.deal(caller, sent);
        vm.deal(address(SERVICE), svm.createUint(96, "balance of the service"));
        vm.deal(address(GATE), svm.createUint(96, "balance of the gate"));
    }

    function _call(address where, bytes memory data) private returns (bool done) {
        vm.prank(caller);
        (done,) = where.call(data);
    }

    function _owed(address payer, address account) private view returns (uint256) {
        return IPullPayments(payer).owed(account);
    }

    function _terms() private pure returns (GateTerms memory) {
        AccuracyTest memory test =
            AccuracyTest({failPpm: 800_000, passPpm: 930_000, alphaPpm: 10_000, betaPpm: 1000});
        return GateTerms({
            samplesRoot: bytes32(uint256(1)),
            samples: 200,
            classes: 10,
            test: test,
            maxSamples: 120,
            margin: 3,
            attempts: 5,
            trialSeconds: 1 days,
            bond: 1 ether
        });
    }
}
