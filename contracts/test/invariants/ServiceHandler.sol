// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FeeTerms} from "../../src/interfaces/IDecisions.sol";
import {GateTerms, Trial, TrialState} from "../../src/interfaces/IPromotionGate.sol";
import {IPullPayments} from "../../src/interfaces/IPullPayments.sol";
import {Version} from "../../src/interfaces/IVersions.sol";
import {Sample} from "../../src/libraries/SampleTree.sol";
import {GateFixture} from "../base/GateFixture.sol";
import {HashTree} from "../base/HashTree.sol";
import {LinearProgram} from "../programs/LinearProgram.sol";

/// @notice Everything that owner, members, users and strangers can do to a gated service, in any order that forge's fuzzer
///         picks. Beside the contracts it keeps its own account of trials, decisions and versions, which the invariants
///         hold against theirs.
/// @dev The versions are programs of `GateFixture` and one more, over the fixture's final round or without lineage. Whatever the
///      contracts do otherwise than this account says is counted in `surprises`.
contract ServiceHandler is GateFixture {
    /// How a version fared by this handler's own account.
    struct Account {
        int32 bias;
        bytes32 code;
        bool federated;
        bool passed;
        /// The version that served at its registration, as an index of `accounts`; 0 if there was none.
        uint256 rival;
        uint256 asked;
        uint256 right;
        uint256 better;
        uint256 worse;
    }

    // The test of `GateFixture` in micro-nats: ln 1.5 rounded down, ln 4 and ln 20 rounded up.
    uint256 private constant GAIN = 405_465;
    uint256 private constant LOSS = 1_386_295;
    uint256 private constant DECIDED = 2_995_733;
    uint256 private constant MAX_SAMPLES = 20;
    uint32 private constant MARGIN = 0;
    uint32 private constant MOST_LOST = 12;
    uint256 private constant KINDS = 5;

    /// Calls that succeeded where they had to fail, or the other way round.
    uint256 public surprises;
    /// The version that serves by this account.
    uint256 public serving;
    /// Decisions by this account, and the version and hash of the lineage that each had when it was taken.
    uint256 public decisions;
    mapping(uint256 decision => uint256) public decidedBy;
    mapping(uint256 decision => bytes32) public lineageOf;
    /// How often things happened, so that a campaign can be seen to have reached them.
    uint256 public promotions;
    uint256 public rollbacks;
    uint256 public collections;

    /// Right but for inputs from 20 to 24: passes often, and often not beside `right`.
    LinearProgram internal most;
    address[] internal actors;
    address internal treasury = address(uint160(uint256(keccak256("treasury"))));
    /// By the version's number, from 1.
    Account[] internal accounts;
    /// Trials lost by this account, and code that failed.
    uint256 internal _lost;
    mapping(bytes32 code => bool) internal _failed;

    function setUp() public override {
        super.setUp();
        most = new LinearProgram(80);
        accounts.push();
        for (uint256 i = 0; i < CLIENTS; ++i) {
            actors.push(members[i]);
        }
        actors.push(owner);
        actors.push(treasury);
        actors.push(stranger);
        for (uint256 i = 0; i < actors.length; ++i) {
            vm.deal(actors[i], 1_000_000 ether);
        }
    }

    // --- versions and trials ---

    function register(uint8 kind, bool federated, uint8 digest, uint64 value) external {
        Account memory account;
        // The same answers by other code: inputs are four equal bytes, so their sum is a multiple of four.
        account.bias = [int32(100), 80, 80, 40, 0][kind % KINDS] - int32(uint32(digest % 4));
        account.federated = federated;
        account.rival = serving;
        address program = address(new LinearProgram(account.bias));
        account.code = keccak256(abi.encodePacked(program.codehash));
        Version memory version = federated ? federatedVersion(program) : standaloneVersion(program);
        version.integerOnnxDigest = keccak256(abi.encode(digest % 16));
        // One registration in eight sends too little.
        uint256 sent = value % 8 == 0 ? GATE_BOND - 1 : GATE_BOND + value;
        bool due = gate.pendingTrial() == 0 && gate.samplesRemaining() >= MAX_SAMPLES && sent >= GATE_BOND
            && _lost < MOST_LOST && !_failed[account.code];
        vm.prank(owner);
        try service.register{value: sent}(version) returns (uint256 id) {
            if (!due || id != accounts.length) ++surprises;
            accounts.push(account);
        } catch {
            if (due) ++surprises;
        }
    }

    function drawSamples() external {
        uint256 id = gate.pendingTrial();
        uint256 seedBlock = gate.trial(id).seedBlock;
        if (gate.trial(id).state == TrialState.Registered && block.number <= seedBlock) {
            vm.roll(seedBlock + 1);
        }
        bool due = gate.trial(id).state == TrialState.Registered && block.number <= seedBlock + 256;
        bytes memory header = due ? headerOf(seedBlock) : bytes("");
        try gate.draw(header) {
            if (!due) ++surprises;
        } catch {
            if (due) ++surprises;
        }
    }

    /// @notice Runs the next samples of the trial, until it is decided.
    function run(uint8 count) external {
        uint256 id = gate.pendingTrial();
        for (uint256 i = 0; i <= count % MAX_SAMPLES; ++i) {
            if (gate.trial(id).state != TrialState.Drawn) return;
            Sample[] memory drawn = next(1);
            gate.runSamples(gate.trial(id).asked, drawn);
            _ask(accounts[id], drawn[0]);
            TrialState expected = _verdict(accounts[id]);
            if (gate.trial(id).state != expected) ++surprises;
            if (expected == TrialState.Passed) {
                accounts[id].passed = true;
                serving = id;
                ++promotions;
            }
            if (expected == TrialState.Failed) {
                ++_lost;
                _failed[accounts[id].code] = true;
            }
        }
    }

    /// @notice Shows a sample of the set that is not the next one, asked before or not.
    function runAnother(uint8 which) external {
        Trial memory trial = gate.trial(gate.pendingTrial());
        if (trial.state != TrialState.Drawn) return;
        uint256 index = which % samples.length;
        uint256 place = uint256(keccak256(abi.encode(trial.seed, trial.asked))) % pool.length;
        if (pool[place] == index) return;
        Sample[] memory other = new Sample[](1);
        other[0] = samples[index];
        other[0].siblings = HashTree.path(levels, index);
        try gate.runSamples(trial.asked, other) {
            ++surprises;
        } catch {}
    }

    function lapse() external {
        Trial memory trial = gate.trial(gate.pendingTrial());
        bool due = trial.state == TrialState.Registered
            ? block.number > uint256(trial.seedBlock) + 8191
            : trial.state == TrialState.Drawn && block.timestamp > trial.until;
        try gate.lapse() {
            if (!due) ++surprises;
            ++_lost;
        } catch {
            if (due) ++surprises;
        }
    }

    function rollBack(uint8 which) external {
        uint256 id = which % (accounts.length + 1);
        bool due = id < accounts.length && accounts[id].passed;
        vm.prank(owner);
        try service.rollback(id) {
            if (!due) ++surprises;
            serving = id;
            ++rollbacks;
        } catch {
            if (due) ++surprises;
        }
    }

    /// @notice What only the owner, the gate and the service may do.
    function intrude(uint8 who, uint8 which, uint8 how) external {
        address actor = actors[who % actors.length];
        uint256 id = which % (accounts.length + 1);
        if (how % 4 > 0 && actor == owner) return;
        Version memory version = standaloneVersion(address(right));
        FeeTerms memory terms = FeeTerms(1, actor, 0);
        bytes memory call = abi.encodeCall(service.promote, (id));
        if (how % 4 == 1) call = abi.encodeCall(service.rollback, (id));
        if (how % 4 == 2) call = abi.encodeCall(service.register, (version));
        if (how % 4 == 3) call = abi.encodeCall(service.setFee, (id, terms));
        vm.prank(actor);
        (bool success,) = address(service).call(call);
        vm.prank(actor);
        try gate.openTrial{value: GATE_BOND}(id, actor) {
            success = true;
        } catch {}
        if (success) ++surprises;
    }

    // --- decisions and fees ---

    /// @notice One decision in three expects what is not so.
    function decide(uint8 who, uint8 count, uint32 value, uint8 mistake) external {
        address user = actors[who % actors.length];
        uint256 inputs = uint256(count % 3) + 1;
        uint256 fee = service.feeTerms(serving).amount;
        uint256 expected = mistake % 12 == 0 ? serving + 1 : serving;
        uint256 maxFee = mistake % 12 == 1 && fee > 0 ? fee - 1 : fee;
        uint256 sent = mistake % 12 == 2 && fee > 0 ? fee * inputs - 1 : fee * inputs + value;
        uint64 deadline = uint64(mistake % 12 == 3 ? block.timestamp - 1 : block.timestamp);
        bool due = serving != 0 && expected == serving && maxFee == fee && sent >= fee * inputs
            && deadline == block.timestamp;
        vm.prank(user);
        try service.decideMany{value: sent}(_inputs(inputs, value), expected, maxFee, deadline) returns (
            uint256 first, int32[][] memory
        ) {
            if (!due || first != decisions + 1) ++surprises;
            for (uint256 i = 0; i < inputs; ++i) {
                ++decisions;
                decidedBy[decisions] = serving;
                lineageOf[decisions] = keccak256(abi.encode(service.lineage(decisions)));
            }
        } catch {
            if (due) ++surprises;
        }
    }

    /// @notice Half the time of the version that serves.
    function setFee(uint8 which, uint32 amount, uint32 share) external {
        uint256 id = which % 2 == 0 ? serving : (which / 2) % (accounts.length + 1);
        bool due = id > 0 && id < accounts.length;
        vm.prank(owner);
        try service.setFee(id, FeeTerms(amount, treasury, share % 500_001)) {
            if (!due) ++surprises;
        } catch {
            if (due) ++surprises;
        }
    }

    function collect(uint8 which, uint8 position) external {
        uint256 id = which % 2 == 0 ? serving : (which / 2) % accounts.length;
        uint32 index = position % uint32(CLIENTS);
        try service.collect(id, leafNode(index), commitments[index]) {
            if (!accounts[id].federated) ++surprises;
            ++collections;
        } catch {}
    }

    function withdraw(uint8 who, bool fromGate) external {
        _fetch(fromGate ? IPullPayments(gate) : IPullPayments(service), actors[who % actors.length]);
    }

    function pass(uint32 time, uint16 blocks) external {
        vm.warp(block.timestamp + time % 3000);
        vm.roll(block.number + (blocks % 8 == 0 ? blocks % 9000 : blocks % 300));
    }

    // --- what the invariants ask ---

    function serviceBalances() external view returns (uint256 held, uint256 explained) {
        held = address(service).balance;
        explained = _owedBy(service);
        for (uint256 id = 1; id < accounts.length; ++id) {
            (uint256 perUpdate, uint256 collected) = service.earnings(id);
            explained += perUpdate * (accounts[id].federated ? CLIENTS : 0) - collected;
        }
    }

    function gateBalances() external view returns (uint256 held, uint256 explained) {
        held = address(gate).balance;
        explained = _owedBy(gate) + gate.burnt();
        if (gate.pendingTrial() != 0) explained += gate.trial(gate.pendingTrial()).bond;
    }

    /// @return True when what serves is what this account says, and has passed.
    function servesWhatPassed() external view returns (bool) {
        uint256 current = service.currentVersion();
        if (current != serving) return false;
        return current == 0 || (accounts[current].passed && gate.trial(current).state == TrialState.Passed);
    }

    /// @return True when a version answers exactly if it has passed.
    /// @param number Any number; a version is taken from it.
    function answersIfPassed(uint256 number) external view returns (bool) {
        uint256 id = number % accounts.length;
        try service.predictWith(id, hex"00000000") {
            return accounts[id].passed;
        } catch {
            return !accounts[id].passed;
        }
    }

    /// @return True when a decision's lineage is what it was when it was taken.
    /// @param number Any number; a decision is taken from it.
    function lineageStands(uint256 number) public view returns (bool) {
        if (service.decisionCount() != decisions) return false;
        if (decisions == 0) return true;
        uint256 id = number % decisions + 1;
        return service.lineage(id).version == decidedBy[id]
            && keccak256(abi.encode(service.lineage(id))) == lineageOf[id];
    }

    // --- the end ---

    /// @notice Strangers bring the trial to its end, shares are collected, and everyone fetches all it has.
    function takeOutEverything() external {
        if (gate.pendingTrial() != 0) {
            vm.warp(block.timestamp + 31 days);
            vm.roll(block.number + 9000);
            vm.prank(stranger);
            gate.lapse();
        }
        for (uint256 id = 1; id < accounts.length; ++id) {
            (uint256 perUpdate,) = service.earnings(id);
            for (uint32 i = 0; accounts[id].federated && perUpdate > 0 && i < CLIENTS; ++i) {
                // What was collected already is refused.
                try service.collect(id, leafNode(i), commitments[i]) {} catch {}
            }
        }
        for (uint256 i = 0; i < actors.length; ++i) {
            _fetch(IPullPayments(service), actors[i]);
            _fetch(IPullPayments(gate), actors[i]);
        }
    }

    /// @return fromService Wei left in the service.
    /// @return fromGate Wei left in the gate that are not burnt.
    function leftBehind() external view returns (uint256 fromService, uint256 fromGate) {
        return (address(service).balance, address(gate).balance - gate.burnt());
    }

    // --- parts ---

    function sampleCount() internal pure override returns (uint256) {
        return 220;
    }

    function defaultGate() internal view override returns (GateTerms memory terms) {
        terms = super.defaultGate();
        terms.margin = MARGIN;
        terms.attempts = MOST_LOST;
    }

    function _ask(Account storage account, Sample memory sample) private {
        bool isRight = _answers(account.bias, sample) == sample.label;
        account.asked += 1;
        if (isRight) account.right += 1;
        if (account.rival == 0) return;
        bool rivalIsRight = _answers(accounts[account.rival].bias, sample) == sample.label;
        if (isRight && !rivalIsRight) account.better += 1;
        if (rivalIsRight && !isRight) account.worse += 1;
    }

    function _verdict(Account storage account) private view returns (TrialState) {
        uint256 gained = account.right * GAIN;
        uint256 lost = (account.asked - account.right) * LOSS;
        if (gained >= lost + DECIDED) {
            return account.worse <= account.better + MARGIN ? TrialState.Passed : TrialState.Failed;
        }
        bool isOver = lost >= gained + DECIDED || account.asked == MAX_SAMPLES;
        return isOver ? TrialState.Failed : TrialState.Drawn;
    }

    /// @dev As `LinearProgram` classifies four equal bytes.
    function _answers(int32 bias, Sample memory sample) private pure returns (uint32) {
        return 4 * int256(uint256(uint8(sample.input[0]))) < bias ? 1 : 0;
    }

    function _inputs(uint256 count, uint32 value) private pure returns (bytes[] memory inputs) {
        inputs = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            inputs[i] = abi.encodePacked(value);
        }
    }

    function _owedBy(IPullPayments payer) private view returns (uint256 sum) {
        for (uint256 i = 0; i < actors.length; ++i) {
            sum += payer.owed(actors[i]);
        }
    }

    /// @dev Gives exactly what is owed, or nothing.
    function _fetch(IPullPayments payer, address actor) private {
        uint256 owed = payer.owed(actor);
        uint256 before = actor.balance;
        vm.prank(actor);
        try payer.withdraw() {} catch {}
        if (actor.balance != before + owed) ++surprises;
    }
}
