// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Expectation, Refusal, Rules, RulesLib} from "../../src/libraries/RulesLib.sol";
import {SealedRules, SealedRulesLib} from "../../src/libraries/SealedRulesLib.sol";
import {Masked, MaskedSubmission} from "../../src/libraries/SealedTypes.sol";
import {Security} from "../../src/libraries/SecurityLib.sol";
import {Update} from "../../src/libraries/UpdateTypes.sol";
import {TestBase} from "../base/TestBase.sol";
import {SealedCaller} from "./SealedCaller.sol";

/// @notice Ranges of the rules of sealed rounds, the width of a lane, the bound of a group, and what a member may sign.
contract SealedRulesTest is TestBase {
    uint128 private constant MOST_SQUARES = (uint128(1) << 62) - 1;

    SealedCaller private caller = new SealedCaller();

    function test_takesTheEdgesOfEveryRange() public view {
        (SealedRules memory self, Rules memory rules, Security memory security) = terms();
        caller.validate(self, rules, security);
        self.groupSize = 128;
        self.minGroups = 511;
        self.minRoster = 65_535;
        self.epochRounds = 65_535;
        self.groupNormPpm = 1_000_000;
        self.enrolSeconds = 30 days;
        self.keySeconds = 30 days;
        self.unmaskSeconds = 30 days;
        rules.roundSeconds = 30 days + security.openSeconds;
        rules.elements = uint64(1) << 35;
        caller.validate(self, rules, security);
        self = SealedRules(8, 1, 8, 1, 1, uint128(1) << 86, 60, 60, 60);
        rules.roundSeconds = 60 + security.openSeconds;
        rules.maxExamples = 1;
        rules.maxSumSquares = 1;
        caller.validate(self, rules, security);
    }

    function test_refusesWhatIsOutOfRange() public {
        (SealedRules memory self, Rules memory rules, Security memory security) = terms();
        self.groupSize = 7;
        requireRefused("groupSize", self, rules, security);
        self.groupSize = 129;
        self.minRoster = 2000;
        requireRefused("groupSize", self, rules, security);
        (self, rules, security) = terms();
        self.epochRounds = 0;
        requireRefused("epochRounds", self, rules, security);
        (self, rules, security) = terms();
        self.minGroups = 0;
        requireRefused("minGroups", self, rules, security);
        (self, rules, security) = terms();
        self.minRoster = 32 * 8 - 1;
        requireRefused("minRoster", self, rules, security);
        self.minRoster = 65_536;
        requireRefused("minRoster", self, rules, security);
        // No product of 16 bits wraps.
        self.groupSize = 128;
        self.minGroups = 65_535;
        self.minRoster = 65_535;
        requireRefused("minRoster", self, rules, security);
        (self, rules, security) = terms();
        self.groupNormPpm = 0;
        requireRefused("groupNormPpm", self, rules, security);
        self.groupNormPpm = 1_000_001;
        requireRefused("groupNormPpm", self, rules, security);
        (self, rules, security) = terms();
        self.noiseSquares = uint128(1) << 94;
        requireRefused("noiseSquares", self, rules, security);
        // The most that this rule alone allows is too wide for a lane.
        --self.noiseSquares;
        uint256 largest = 63 * (uint256(rules.maxExamples) * 327_680 + (1 << 47) - 1);
        vm.expectRevert(abi.encodeWithSelector(SealedRulesLib.LanesTooWide.selector, largest));
        caller.validate(self, rules, security);
    }

    function test_refusesSecondsOutOfRange() public {
        uint32[2] memory wrong = [uint32(59), 30 days + 1];
        for (uint256 i = 0; i < wrong.length; ++i) {
            (SealedRules memory self, Rules memory rules, Security memory security) = terms();
            self.enrolSeconds = wrong[i];
            requireRefused("enrolSeconds", self, rules, security);
            (self, rules, security) = terms();
            self.keySeconds = wrong[i];
            requireRefused("keySeconds", self, rules, security);
            (self, rules, security) = terms();
            self.unmaskSeconds = wrong[i];
            requireRefused("unmaskSeconds", self, rules, security);
        }
        (SealedRules memory late, Rules memory rules_, Security memory security_) = terms();
        rules_.roundSeconds = late.unmaskSeconds + security_.openSeconds;
        caller.validate(late, rules_, security_);
        --rules_.roundSeconds;
        requireRefused("unmaskSeconds", late, rules_, security_);
    }

    function test_refusesRulesThatSealedRoundsDoNotAllow() public {
        (SealedRules memory self, Rules memory rules, Security memory security) = terms();
        self.groupSize = 8;
        rules.maxExamples = 1;
        rules.maxSumSquares = MOST_SQUARES;
        caller.validate(self, rules, security);
        ++rules.maxSumSquares;
        requireRuleRefused("maxSumSquares", self, rules, security);
        (self, rules, security) = terms();
        rules.elements = (uint64(1) << 35) + 1;
        requireRuleRefused("elements", self, rules, security);
        (self, rules, security) = terms();
        // What audits alone recompute: they see the groups' sums.
        rules.aggregator = bytes32(uint256(1) << 240);
        caller.validate(self, rules, security);
        (self, rules, security) = terms();
        rules.maxExamples = type(uint32).max;
        rules.maxSumSquares = MOST_SQUARES;
        uint256 largest = 63 * (uint256(type(uint32).max) * ((1 << 31) - 1) + 1_816_186);
        self.noiseSquares = 1_816_186 ** 2;
        vm.expectRevert(abi.encodeWithSelector(SealedRulesLib.LanesTooWide.selector, largest));
        caller.validate(self, rules, security);
    }

    /// @dev Groups of 8: 15 · (weight · norm + noise) against 2^(8k − 1).
    function test_laneBytesAtTheirEdges() public view {
        (SealedRules memory self, Rules memory rules,) = terms();
        self.groupSize = 8;
        self.noiseSquares = 0;
        rules.maxSumSquares = 1;
        for (uint256 size = 1; size <= 4; ++size) {
            uint256 most = ((1 << (8 * size - 1)) - 1) / 15;
            rules.maxExamples = uint32(most);
            vm.assertEq(caller.laneBytes(self, rules), size);
            rules.maxExamples = uint32(most + 1);
            vm.assertEq(caller.laneBytes(self, rules), size + 1);
        }
        rules.maxExamples = 1;
        for (uint256 size = 1; size <= 6; ++size) {
            // The norm of one update is 1.
            uint256 most = ((1 << (8 * size - 1)) - 1) / 15 - 1;
            self.noiseSquares = uint128((most + 1) ** 2 - 1);
            vm.assertEq(caller.laneBytes(self, rules), size);
            self.noiseSquares = uint128((most + 1) ** 2);
            if (size < 6) vm.assertEq(caller.laneBytes(self, rules), size + 1);
        }
    }

    function test_laneBytesTakeTheCappedWeight() public view {
        (SealedRules memory self, Rules memory rules,) = terms();
        self.groupSize = 8;
        self.noiseSquares = 0;
        rules.maxSumSquares = 1;
        rules.minExamples = 1;
        rules.maxExamples = type(uint32).max;
        rules.minClients = 17;
        rules.maxSharePpm = 200_000;
        // floor(0.2 · 16 / 0.8) = 4, and 15 · 4 < 2^7.
        vm.assertEq(caller.laneBytes(self, rules), 1);
    }

    function testFuzz_laneBytesHoldTheLargestSum(uint8 size, uint32 weight, uint64 squares, uint96 noise)
        public
        view
    {
        (SealedRules memory self, Rules memory rules,) = terms();
        self.groupSize = uint16(bound(size, 8, 128));
        self.noiseSquares = uint128(bound(noise, 0, (1 << 94) - 1));
        rules.maxExamples = uint32(bound(weight, 1, 4096));
        rules.maxSumSquares = uint128(bound(squares, 1, 1 << 44));
        uint256 largest = (2 * uint256(self.groupSize) - 1)
            * (rules.maxExamples * root(rules.maxSumSquares) + root(self.noiseSquares));
        (bool isNarrow, bytes memory result) =
            address(caller).staticcall(abi.encodeCall(caller.laneBytes, (self, rules)));
        vm.assertTrue(isNarrow == (largest < 1 << 47));
        if (!isNarrow) return;
        uint256 found = abi.decode(result, (uint256));
        vm.assertTrue(largest < 1 << (8 * found - 1));
        vm.assertTrue(found == 1 || largest >= 1 << (8 * found - 9));
    }

    function testFuzz_isWithinNorm(
        uint64 weight,
        uint128 maxSquares,
        uint32 ppm,
        uint128 noise,
        uint8 included
    ) public view {
        (SealedRules memory self,,) = terms();
        self.groupNormPpm = uint32(bound(ppm, 1, 1_000_000));
        self.noiseSquares = uint128(bound(noise, 0, (1 << 94) - 1));
        maxSquares = uint128(bound(maxSquares, 1, (1 << 62) - 1));
        uint256 limit = uint256(weight) ** 2 * maxSquares * uint256(self.groupNormPpm) ** 2 / 1e12
            + uint256(self.noiseSquares) * included;
        vm.assertTrue(caller.isWithinNorm(self, maxSquares, limit, weight, included));
        vm.assertFalse(caller.isWithinNorm(self, maxSquares, limit + 1, weight, included));
        vm.assertFalse(caller.isWithinNorm(self, maxSquares, type(uint256).max, weight, included));
    }

    function test_squaresThatWouldWrapAreNotWithinNorm() public view {
        (SealedRules memory self,,) = terms();
        // Times 10^12 it is 2^256 and a little.
        uint256 squares = type(uint256).max / 1e12 + 1;
        vm.assertFalse(caller.isWithinNorm(self, 1 << 60, squares, type(uint64).max, 8));
        vm.assertFalse(caller.isWithinNorm(self, 1 << 60, squares - 1, type(uint64).max, 8));
    }

    /// @notice A masked update is refused for what an open one is refused for, in the same order.
    function testFuzz_refusesAsOpenRoundsDo(uint256 seed) public view {
        (, Rules memory rules,) = terms();
        rules.maxEpsilonMicros = seed % 3 == 0 ? 0 : 500;
        Expectation memory expected = Expectation(7, "rules", "base", 1000);
        Update memory open = update(rules);
        // Each field is wrong now and then.
        uint256 wrong = (seed >> 8) & (seed >> 40) & (seed >> 72);
        if (wrong & 0x001 != 0) open.round = 8;
        if (wrong & 0x002 != 0) open.rulesHash = "others";
        if (wrong & 0x004 != 0) open.baseRoot = "other";
        if (wrong & 0x008 != 0) open.cid = new bytes(seed % 2 == 0 ? 0 : 65);
        if (wrong & 0x010 != 0) open.deadline = 899;
        if (wrong & 0x020 != 0) open.examples = rules.minExamples - 1;
        if (wrong & 0x040 != 0) open.accuracyPpm = seed % 2 == 0 ? 1_000_001 : rules.minAccuracyPpm - 1;
        if (wrong & 0x080 != 0) open.lossMicros = rules.maxLossMicros + 1;
        if (wrong & 0x100 != 0) open.labels = rules.minLabels - 1;
        if (wrong & 0x200 != 0) open.epsilonMicros = seed % 2 == 0 ? 0 : 501;
        if (wrong & 0x400 != 0) expected.deadline = 899;
        vm.assertEq(
            uint256(caller.refusal(rules, masked(open), expected, "epoch", 900)),
            uint256(caller.openRefusal(rules, open, expected, 900))
        );
    }

    function test_refusesAtTheEdges() public view {
        (, Rules memory rules,) = terms();
        rules.maxEpsilonMicros = 500;
        requireRefusal(rules, update(rules), Refusal.None);
        Update memory open = update(rules);
        open.deadline = 899;
        requireRefusal(rules, open, Refusal.Expired);
        open = update(rules);
        open.examples = rules.minExamples - 1;
        requireRefusal(rules, open, Refusal.TooFewExamples);
        open = update(rules);
        open.accuracyPpm = 1_000_000;
        requireRefusal(rules, open, Refusal.None);
        open.accuracyPpm = 1_000_001;
        requireRefusal(rules, open, Refusal.AccuracyTooLow);
        open.accuracyPpm = rules.minAccuracyPpm - 1;
        requireRefusal(rules, open, Refusal.AccuracyTooLow);
        open = update(rules);
        open.lossMicros = rules.maxLossMicros + 1;
        requireRefusal(rules, open, Refusal.LossTooHigh);
        open = update(rules);
        open.labels = rules.minLabels - 1;
        requireRefusal(rules, open, Refusal.TooFewLabels);
        open = update(rules);
        open.epsilonMicros = 501;
        requireRefusal(rules, open, Refusal.BudgetSpent);
        open.epsilonMicros = 0;
        requireRefusal(rules, open, Refusal.BudgetSpent);
        open = update(rules);
        open.cid = new bytes(64);
        requireRefusal(rules, open, Refusal.None);
    }

    function test_refusesAnotherEpoch() public view {
        (, Rules memory rules,) = terms();
        Expectation memory expected = Expectation(7, "rules", "base", 1000);
        Masked memory other = masked(update(rules));
        other.epochRoot = "other";
        vm.assertEq(uint256(caller.refusal(rules, other, expected, "epoch", 900)), uint256(Refusal.WrongBase));
    }

    function test_knowsSubmissionsByTheirBytes() public view {
        for (uint256 size = 280; size <= 370; ++size) {
            bytes memory preimage = new bytes(size);
            vm.assertFalse(caller.isSubmission(preimage));
            preimage[0] = 0x3b;
            vm.assertTrue(caller.isSubmission(preimage) == (size >= 291 && size <= 354));
        }
        vm.assertFalse(caller.isSubmission(""));
        (, Rules memory rules,) = terms();
        Masked memory update_ = masked(update(rules));
        for (uint256 size = 63; size <= 67; ++size) {
            MaskedSubmission memory submission = MaskedSubmission(address(1), update_, new bytes(size));
            vm.assertTrue(caller.isPlausible(submission) == (size == 65));
        }
        update_.cid = "";
        vm.assertFalse(caller.isPlausible(MaskedSubmission(address(1), update_, new bytes(65))));
        update_.cid = new bytes(65);
        vm.assertFalse(caller.isPlausible(MaskedSubmission(address(1), update_, new bytes(65))));
    }

    function requireRefusal(Rules memory rules, Update memory open, Refusal reason) private view {
        Expectation memory expected = Expectation(7, "rules", "base", 900);
        vm.assertEq(uint256(caller.refusal(rules, masked(open), expected, "epoch", 900)), uint256(reason));
    }

    function requireRefused(
        string memory rule,
        SealedRules memory self,
        Rules memory rules,
        Security memory security
    ) private {
        vm.expectRevert(abi.encodeWithSelector(SealedRulesLib.InvalidSealedRule.selector, rule));
        caller.validate(self, rules, security);
    }

    function requireRuleRefused(
        string memory rule,
        SealedRules memory self,
        Rules memory rules,
        Security memory security
    ) private {
        vm.expectRevert(abi.encodeWithSelector(RulesLib.InvalidRule.selector, rule));
        caller.validate(self, rules, security);
    }

    function terms()
        private
        pure
        returns (SealedRules memory self, Rules memory rules, Security memory security)
    {
        self = SealedRules(32, 20, 256, 8, 900_000, 0, 600, 600, 600);
        rules.minClients = 16;
        rules.minExamples = 10;
        rules.maxExamples = 400;
        rules.maxSumSquares = 100 << 30;
        rules.elements = 61_706;
        rules.fractionBits = 16;
        rules.roundSeconds = 3600;
        rules.minAccuracyPpm = 100_000;
        rules.maxLossMicros = 5_000_000;
        rules.maxSharePpm = 1_000_000;
        rules.minLabels = 2;
        security.openSeconds = 600;
    }

    function update(Rules memory rules) private pure returns (Update memory open) {
        open.round = 7;
        open.rulesHash = "rules";
        open.baseRoot = "base";
        open.elements = rules.elements;
        open.fractionBits = rules.fractionBits;
        open.examples = rules.minExamples;
        open.accuracyPpm = rules.minAccuracyPpm;
        open.lossMicros = rules.maxLossMicros;
        open.labels = rules.minLabels;
        open.epsilonMicros = 500;
        open.deadline = 900;
        open.cid = "c";
    }

    function masked(Update memory open) private pure returns (Masked memory) {
        return Masked({
            round: open.round,
            rulesHash: open.rulesHash,
            baseRoot: open.baseRoot,
            epochRoot: "epoch",
            maskedRoot: open.updateRoot,
            seedsRoot: 0,
            examples: open.examples,
            accuracyPpm: open.accuracyPpm,
            lossMicros: open.lossMicros,
            labels: open.labels,
            epsilonMicros: open.epsilonMicros,
            deadline: open.deadline,
            cid: open.cid
        });
    }

    /// @dev Bit by bit.
    function root(uint256 square) private pure returns (uint256 found) {
        for (uint256 bit = 1 << 64; bit > 0; bit >>= 1) {
            if ((found + bit) ** 2 <= square) found += bit;
        }
    }
}
