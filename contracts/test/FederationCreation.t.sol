// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {Disputes} from "../src/Disputes.sol";
import {Federation} from "../src/Federation.sol";
import {FederationParameters, IFederation} from "../src/interfaces/IFederation.sol";
import {IMembership} from "../src/interfaces/IMembership.sol";
import {Phases} from "../src/libraries/Phases.sol";
import {Rules, RulesLib} from "../src/libraries/RulesLib.sol";
import {Security, SecurityLib} from "../src/libraries/SecurityLib.sol";
import {FederationFixture} from "./base/FederationFixture.sol";

/// @notice What a federation is created with, and what it refuses to be created with.
contract FederationCreationTest is FederationFixture {
    function test_holdsWhatItWasCreatedWith() public view {
        vm.assertEq(federation.owner(), owner);
        vm.assertEq(federation.coordinator(), coordinator);
        vm.assertEq(federation.modelRoot(), INITIAL_ROOT);
        vm.assertEq(uint256(federation.currentRound()), 0);
        vm.assertEq(abi.encode(federation.rules()), abi.encode(defaultRules()));
        vm.assertEq(federation.rulesHash(), keccak256(abi.encode(defaultRules())));
        vm.assertEq(federation.memberCount(), MEMBERS);
        for (uint256 i = 0; i < MEMBERS; ++i) {
            vm.assertTrue(federation.isMember(members[i]));
        }
        for (uint256 i = 0; i < MEMBERS; ++i) {
            vm.assertTrue(federation.isMember(members[i]));
        }
        vm.assertFalse(federation.isMember(stranger));
    }

    function test_announcesItself() public {
        Rules memory rules = defaultRules();
        vm.expectEmit();
        emit IFederation.FederationCreated(
            owner, coordinator, keccak256(abi.encode(rules)), rules, INITIAL_ROOT, cidOf("initial"), false
        );
        vm.expectEmit();
        emit IFederation.CoordinatorReplaced(address(0), coordinator);
        vm.expectEmit();
        emit IMembership.MemberAdded(members[0]);
        create(rules);
    }

    function test_refusesEachRuleOutOfRange() public {
        Rules memory rules = defaultRules();
        rules.minClients = 0;
        expectInvalidRule(rules, "minClients");
        rules = defaultRules();
        rules.minExamples = 0;
        expectInvalidRule(rules, "minExamples");
        rules = defaultRules();
        rules.maxExamples = rules.minExamples - 1;
        expectInvalidRule(rules, "maxExamples");
        rules = defaultRules();
        rules.maxSumSquares = 0;
        expectInvalidRule(rules, "maxSumSquares");
        rules = defaultRules();
        rules.elements = 0;
        expectInvalidRule(rules, "elements");
        rules.elements = 64 * (uint64(1) << 32) + 1;
        expectInvalidRule(rules, "elements");
        rules = defaultRules();
        rules.fractionBits = 31;
        expectInvalidRule(rules, "fractionBits");
        rules = defaultRules();
        rules.roundSeconds = 0;
        expectInvalidRule(rules, "roundSeconds");
        rules.roundSeconds = 365 days + 1;
        expectInvalidRule(rules, "roundSeconds");
        rules = defaultRules();
        rules.minAccuracyPpm = 1_000_001;
        expectInvalidRule(rules, "minAccuracyPpm");
        rules = defaultRules();
        rules.maxLossMicros = 0;
        expectInvalidRule(rules, "maxLossMicros");
    }

    function test_refusesEachSecurityOutOfRange() public {
        Security memory security = defaultSecurity();
        security.challengeSeconds = 59;
        expectInvalidSecurity(security, "challengeSeconds");
        security.challengeSeconds = 30 days + 1;
        expectInvalidSecurity(security, "challengeSeconds");
        security = defaultSecurity();
        security.answerSeconds = 59;
        expectInvalidSecurity(security, "answerSeconds");
        security.answerSeconds = 30 days + 1;
        expectInvalidSecurity(security, "answerSeconds");
        security = defaultSecurity();
        security.noticeSeconds = 0;
        expectInvalidSecurity(security, "noticeSeconds");
        security.noticeSeconds = 30 days + 1;
        expectInvalidSecurity(security, "noticeSeconds");
        security = defaultSecurity();
        security.bond = 0;
        expectInvalidSecurity(security, "bond");
        security.bond = uint128(1) << 96;
        expectInvalidSecurity(security, "bond");
        security = defaultSecurity();
        security.demandFee = 0;
        expectInvalidSecurity(security, "demandFee");
        security.demandFee = uint128(1) << 96;
        expectInvalidSecurity(security, "demandFee");
        // 256 units must cost the bond.
        security.demandFee = defaultSecurity().demandFee;
        security.bond = 256 * security.demandFee + 1;
        expectInvalidSecurity(security, "demandFee");
        security = defaultSecurity();
        security.openSeconds = defaultRules().roundSeconds / 2 + 1;
        expectInvalidSecurity(security, "openSeconds");
    }

    function test_refusesATimeToSubmitOutOfRange() public {
        Rules memory rules = defaultRules();
        rules.roundSeconds = 61 days;
        Security memory security = defaultSecurity();
        security.openSeconds = 30 days + 1;
        vm.expectRevert(abi.encodeWithSelector(SecurityLib.InvalidSecurity.selector, "openSeconds"));
        createFederation(rules, security);
        security.openSeconds = 30 days;
        vm.assertEq(uint256(createFederation(rules, security).security().openSeconds), 30 days);
    }

    function test_takesEachSecurityAtItsLimit() public {
        uint256 longest = 30 days / (2 * Phases.count(type(uint32).max, defaultRules().elements));
        Security memory security = Security(
            30 days, uint64(longest), type(uint88).max, 0, type(uint96).max, type(uint128).max, 30 days, 1800
        );
        Federation created = createFederation(defaultRules(), security);
        vm.assertEq(abi.encode(created.security()), abi.encode(security));
        vm.assertEq(uint256(Disputes(payable(created.disputes())).answerSeconds()), longest);
        vm.assertEq(Disputes(payable(created.disputes())).demandFee(), type(uint96).max);
    }

    /// @dev However many take part: the phases of the largest round fit the longest window.
    function test_saysWhenVectorsAreTooLargeForItsWindows() public {
        Rules memory rules = defaultRules();
        Security memory security = defaultSecurity();
        rules.elements = 64;
        security.answerSeconds = uint64(uint256(30 days) / (2 * 7));
        createFederation(rules, security);
        rules.elements = 64 * 17;
        vm.expectRevert(abi.encodeWithSelector(SecurityLib.InvalidSecurity.selector, "answerSeconds"));
        createFederation(rules, security);
    }

    function test_hasAContractThatHearsItsDisputes() public view {
        Disputes disputes = Disputes(payable(federation.disputes()));
        vm.assertEq(address(disputes.federation()), address(federation));
        vm.assertEq(uint256(disputes.elements()), defaultRules().elements);
        vm.assertEq(uint256(disputes.answerSeconds()), defaultSecurity().answerSeconds);
    }

    function test_takesEachRuleAtItsLimit() public {
        Rules memory rules = defaultRules();
        rules.minClients = uint32(MEMBERS);
        rules.minExamples = rules.maxExamples = uint32((uint256(1) << 32) / MEMBERS - 1);
        rules.maxSumSquares = type(uint128).max;
        rules.elements = 64 * (uint64(1) << 32);
        rules.fractionBits = 30;
        rules.roundSeconds = 365 days;
        rules.minAccuracyPpm = 1_000_000;
        rules.maxLossMicros = type(uint64).max;
        rules.minLabels = rules.restRounds = type(uint32).max;
        rules.maxEpsilonMicros = type(uint64).max;
        rules.aggregator = bytes32(type(uint256).max);
        vm.assertEq(create(rules).rulesHash(), keccak256(abi.encode(rules)));
    }

    function test_refusesMoreWeightThanAnInt64Holds() public {
        Rules memory rules = defaultRules();
        rules.maxExamples = uint32((uint256(1) << 32) / MEMBERS);
        vm.expectRevert(
            abi.encodeWithSelector(RulesLib.AggregateCouldOverflow.selector, MEMBERS, rules.maxExamples)
        );
        create(rules);
    }

    function test_refusesQuorumOverMembers() public {
        Rules memory rules = defaultRules();
        rules.minClients = uint32(MEMBERS + 1);
        vm.expectRevert(abi.encodeWithSelector(RulesLib.QuorumUnreachable.selector, MEMBERS, MEMBERS + 1));
        create(rules);
    }

    function test_refusesZeroAndRepeatedMembers() public {
        members[3] = address(0);
        vm.expectRevert(abi.encodeWithSelector(IMembership.InvalidParameter.selector, "member"));
        create(defaultRules());
        members[3] = members[5];
        vm.expectRevert(abi.encodeWithSelector(IMembership.AlreadyMember.selector, members[5]));
        create(defaultRules());
    }

    function test_refusesEmptyParameters() public {
        FederationParameters memory parameters = parametersOf(defaultRules(), defaultSecurity());
        parameters.owner = address(0);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableInvalidOwner.selector, address(0)));
        createFederation(parameters);
        parameters = parametersOf(defaultRules(), defaultSecurity());
        parameters.coordinator = address(0);
        expectInvalidParameter(parameters, "coordinator");
        parameters = parametersOf(defaultRules(), defaultSecurity());
        parameters.modelRoot = 0;
        expectInvalidParameter(parameters, "modelRoot");
        parameters = parametersOf(defaultRules(), defaultSecurity());
        parameters.modelCid = "";
        expectInvalidParameter(parameters, "modelCid");
        parameters.modelCid = new bytes(65);
        expectInvalidParameter(parameters, "modelCid");
    }

    function create(Rules memory rules) private returns (Federation) {
        return createFederation(rules, defaultSecurity());
    }

    function expectInvalidParameter(FederationParameters memory parameters, string memory name) private {
        vm.expectRevert(abi.encodeWithSelector(IMembership.InvalidParameter.selector, name));
        createFederation(parameters);
    }

    function expectInvalidSecurity(Security memory security, string memory name) private {
        vm.expectRevert(abi.encodeWithSelector(SecurityLib.InvalidSecurity.selector, name));
        createFederation(defaultRules(), security);
    }

    function expectInvalidRule(Rules memory rules, string memory name) private {
        vm.expectRevert(abi.encodeWithSelector(RulesLib.InvalidRule.selector, name));
        create(rules);
    }
}
