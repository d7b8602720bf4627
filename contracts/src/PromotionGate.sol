// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {PullPayments} from "./PullPayments.sol";
import {IFederation} from "./interfaces/IFederation.sol";
import {IModelService} from "./interfaces/IModelService.sol";
import {GateTerms, IPromotionGate, Trial, TrialState} from "./interfaces/IPromotionGate.sol";
import {IVersions, Version} from "./interfaces/IVersions.sol";
import {BlockHeader} from "./libraries/BlockHeader.sol";
import {BoundedCall} from "./libraries/BoundedCall.sol";
import {Filecoin} from "./libraries/Filecoin.sol";
import {ProgramCode} from "./libraries/ProgramCode.sol";
import {Pool, SamplePool} from "./libraries/SamplePool.sol";
import {Sample, SampleTree} from "./libraries/SampleTree.sol";
import {Scores} from "./libraries/Scores.sol";
import {AccuracyTest, SequentialTest, Thresholds} from "./libraries/SequentialTest.sol";

/// @title PromotionGate
/// @notice See `IPromotionGate`.
contract PromotionGate is IPromotionGate, PullPayments {
    using ProgramCode for *;
    using SamplePool for Pool;

    /// @dev How a class fared.
    struct ClassCount {
        uint32 asked;
        uint32 right;
    }

    /// @dev A program and the gas that it is served with.
    struct Asked {
        address program;
        uint64 gas;
    }

    /// @dev What asking a sample needs, read once for a batch.
    struct Asking {
        uint256 versionId;
        Asked version;
        /// Nothing when none served.
        Asked rival;
        uint32 samples;
        uint32 classes;
        bytes32 samplesRoot;
    }

    /// Blocks between the registration and the one whose beacon value draws: four epochs of Ethereum and a little, since
    /// its proposers are known for two, so that nobody registers where it proposes the last blocks before.
    uint256 public constant SEED_DELAY = 132;
    /// The same on Filecoin, whose beacon nobody can choose: only a reorganisation this deep could register after the value
    /// is known.
    uint256 public constant FILECOIN_SEED_DELAY = 20;
    /// Arbitrum's own precompile. Numbers and hashes of blocks are not its own there.
    address private constant ARB_SYS = address(100);
    /// Longest that a trial may take.
    uint32 public constant MAX_TRIAL_SECONDS = 30 days;
    /// What stands for no answer.
    uint32 private constant NONE = 0xffffffff;
    uint32 private constant PPM = 1_000_000;

    /// @inheritdoc IPromotionGate
    address public immutable service;
    /// @inheritdoc IPromotionGate
    uint256 public immutable fixedAt;
    /// @inheritdoc IPromotionGate
    bool public immutable drawsByDrand = Filecoin.isHere();
    /// Gas beside what an answer is given, in the chain's own.
    uint256 private immutable _spareGas = BoundedCall.overhead();

    /// @inheritdoc IPromotionGate
    uint256 public pendingTrial;
    /// @inheritdoc IPromotionGate
    uint256 public burnt;
    /// @inheritdoc IPromotionGate
    uint32 public trialsLost;

    GateTerms private _terms;
    Thresholds private _thresholds;
    Pool private _pool;
    mapping(uint256 versionId => Trial) private _trials;
    mapping(bytes32 code => bool) private _codeFailed;
    mapping(uint256 versionId => mapping(uint32 label => ClassCount)) private _classes;

    /// @dev Belongs to the contract that creates it.
    /// @param terms_ What versions must pass.
    constructor(GateTerms memory terms_) {
        _requireInRange(terms_);
        Thresholds memory thresholds_ = SequentialTest.thresholds(terms_.test);
        // Right answers alone must suffice, or nothing could ever pass.
        require(
            uint256(thresholds_.gain) * terms_.maxSamples >= thresholds_.passAt, InvalidGate("maxSamples")
        );
        require(ARB_SYS.code.length == 0, NoRandomness());
        service = msg.sender;
        fixedAt = block.timestamp;
        _terms = terms_;
        _thresholds = thresholds_;
        _pool.remaining = terms_.samples;
        emit GateFixed(terms_, thresholds_);
    }

    /// @inheritdoc IPromotionGate
    function openTrial(uint256 versionId, address registrant) external payable {
        require(msg.sender == service, NotService(msg.sender));
        require(pendingTrial == 0, TrialPending(pendingTrial));
        uint256 bond = _terms.bond;
        require(msg.value >= bond, BondNotSent(msg.value, bond));
        if (msg.value > bond) _credit(registrant, msg.value - bond);
        uint32 remaining = _pool.remaining;
        require(remaining >= _terms.maxSamples, SamplesUsedUp(remaining, _terms.maxSamples));
        _requireMayTry(IVersions(service).version(versionId));

        pendingTrial = versionId;
        uint256 rival = IVersions(service).currentVersion();
        Trial storage opened = _trials[versionId];
        opened.state = TrialState.Registered;
        uint256 seedBlock = block.number + (drawsByDrand ? FILECOIN_SEED_DELAY : SEED_DELAY);
        // Block numbers fit 48 bits for longer than there will be blocks; the terms hold the bond in 96.
        // forge-lint: disable-next-line(unsafe-typecast)
        opened.seedBlock = uint48(seedBlock);
        opened.registrant = registrant;
        // forge-lint: disable-next-line(unsafe-typecast)
        opened.bond = uint96(bond);
        opened.rival = rival;
        emit TrialOpened(versionId, rival, trialsLost + 1, seedBlock, bond);
    }

    /// @inheritdoc IPromotionGate
    // No time is compared.
    // slither-disable-next-line timestamp
    function draw(bytes calldata header) external {
        (uint256 versionId, Trial storage current) = _pending(TrialState.Registered);
        bytes32 value = _randomness(current.seedBlock, header);
        bytes32 seed = keccak256(abi.encode(value, address(this), versionId));
        uint256 until = block.timestamp + _terms.trialSeconds;
        current.state = TrialState.Drawn;
        current.seed = seed;
        // Unix time fits 48 bits for longer than there will be blocks.
        // forge-lint: disable-next-line(unsafe-typecast)
        current.until = uint48(until);
        emit TrialDrawn(versionId, seed, until);
    }

    /// @inheritdoc IPromotionGate
    function runSamples(uint32 first, Sample[] calldata samples) external {
        (uint256 versionId, Trial storage stored) = _pending(TrialState.Drawn);
        Trial memory current = stored;
        require(first <= current.asked, SamplesMissing(first, current.asked));
        Asking memory asking = _asking(versionId, current.rival);
        TrialState outcome = TrialState.Drawn;
        // Whoever asks some of them in front of this call must not make it fail.
        for (uint256 i = current.asked - first; i < samples.length; ++i) {
            require(outcome == TrialState.Drawn, SamplesLeftOver(samples.length - i));
            _askOne(asking, current, samples[i]);
            outcome = _outcome(current);
        }
        stored.asked = current.asked;
        stored.right = current.right;
        stored.better = current.better;
        stored.worse = current.worse;
        if (outcome != TrialState.Drawn) _end(versionId, stored, outcome);
    }

    /// @inheritdoc IPromotionGate
    // A trial's time is minutes or more; the seconds that a block producer can shift do not matter.
    // slither-disable-next-line timestamp
    function lapse() external {
        uint256 versionId = pendingTrial;
        Trial storage current = _trials[versionId];
        bool over = current.state == TrialState.Registered
            ? block.number > current.seedBlock + BlockHeader.WINDOW
            // forge-lint: disable-next-line(block-timestamp)
            : current.state == TrialState.Drawn && block.timestamp > current.until;
        require(over, TrialNotLapsed(versionId));
        _end(versionId, current, TrialState.Lapsed);
    }

    /// @inheritdoc IPromotionGate
    function randomness(uint256 seedBlock, bytes calldata header) external view returns (bytes32) {
        return _randomness(seedBlock, header);
    }

    /// @inheritdoc IPromotionGate
    function terms() external view returns (GateTerms memory) {
        return _terms;
    }

    /// @inheritdoc IPromotionGate
    function thresholds() external view returns (Thresholds memory) {
        return _thresholds;
    }

    /// @inheritdoc IPromotionGate
    function trial(uint256 versionId) external view returns (Trial memory) {
        return _trials[versionId];
    }

    /// @inheritdoc IPromotionGate
    function classCounts(uint256 versionId, uint32 label) external view returns (uint32 asked, uint32 right) {
        ClassCount storage count = _classes[versionId][label];
        return (count.asked, count.right);
    }

    /// @inheritdoc IPromotionGate
    function samplesRemaining() external view returns (uint32) {
        return _pool.remaining;
    }

    function _askOne(Asking memory asking, Trial memory current, Sample calldata sample) private {
        uint32 index = _pool.draw(uint256(keccak256(abi.encode(current.seed, current.asked))));
        require(SampleTree.rootOf(asking.samples, index, sample) == asking.samplesRoot, WrongSample(index));
        uint32 label = sample.label;
        uint32 answer = _answer(asking.version, asking.classes, sample.input);
        uint32 rivalAnswer = NONE;
        if (asking.rival.program != address(0)) {
            rivalAnswer = _answer(asking.rival, asking.classes, sample.input);
        }
        // A label that is no class would make failing an answer.
        bool right = answer == label && label < asking.classes;
        emit SampleAsked(asking.versionId, index, current.asked, label, answer, rivalAnswer);

        ClassCount storage count = _classes[asking.versionId][label];
        count.asked += 1;
        current.asked += 1;
        if (right) {
            count.right += 1;
            current.right += 1;
        }
        if (asking.rival.program != address(0)) {
            bool rivalRight = rivalAnswer == label && label < asking.classes;
            if (right && !rivalRight) current.better += 1;
            if (rivalRight && !right) current.worse += 1;
        }
    }

    function _end(uint256 versionId, Trial storage ended, TrialState outcome) private {
        uint256 bond = ended.bond;
        pendingTrial = 0;
        ended.state = outcome;
        emit TrialEnded(versionId, outcome, ended.asked, ended.right, ended.better, ended.worse);
        if (outcome == TrialState.Passed) {
            _credit(ended.registrant, bond);
            IModelService(service).promote(versionId);
            return;
        }
        burnt += bond;
        trialsLost += 1;
        if (outcome == TrialState.Failed) {
            _codeFailed[ProgramCode.hashOf(IVersions(service).version(versionId).parts)] = true;
        }
    }

    // Two times that blocks had are compared, neither of them this one's.
    // slither-disable-next-line timestamp
    function _requireMayTry(Version memory version_) private view {
        require(trialsLost < _terms.attempts, AttemptsUsedUp(_terms.attempts));
        bytes32 code = ProgramCode.hashOf(version_.parts);
        require(!_codeFailed[code], CodeFailed(code));
        if (version_.federation == address(0)) return;
        // Times of different blocks: what was fixed in the block that opened the round may have come after it.
        require(
            IFederation(version_.federation).round(1).openedAt > fixedAt,
            FixedAfterTraining(version_.federation)
        );
    }

    function _randomness(uint256 seedBlock, bytes calldata header) private view returns (bytes32 value) {
        bool found = block.number > seedBlock;
        if (found && drawsByDrand) {
            (found, value) = Filecoin.beacon(seedBlock);
        } else if (found) {
            bytes32 known = BlockHeader.hashOf(seedBlock);
            require(known == 0 || keccak256(header) == known, WrongHeader(seedBlock, known));
            value = BlockHeader.prevRandao(header);
            // Chains without a beacon have zero there.
            found = known != 0 && value != 0;
        }
        require(found, NoSeed(seedBlock));
    }

    function _pending(TrialState wanted) private view returns (uint256 versionId, Trial storage current) {
        versionId = pendingTrial;
        current = _trials[versionId];
        require(current.state == wanted, NoSuchTrial(versionId, current.state));
    }

    function _asking(uint256 versionId, uint256 rival) private view returns (Asking memory asking) {
        Version memory candidate = IVersions(service).version(versionId);
        candidate.parts.requirePinned();
        asking.versionId = versionId;
        asking.version = Asked(candidate.program, candidate.gas);
        if (rival != 0) {
            Version memory serving = IVersions(service).version(rival);
            serving.parts.requirePinned();
            asking.rival = Asked(serving.program, serving.gas);
        }
        asking.samples = _terms.samples;
        asking.classes = _terms.classes;
        asking.samplesRoot = _terms.samplesRoot;
    }

    /// @dev The class that the version's decisions would show: the greatest of exactly as many scores as there are
    ///      classes. Why a program failed does not matter.
    // slither-disable-next-line unused-return
    function _answer(Asked memory asked, uint32 classes, bytes calldata input) private view returns (uint32) {
        (bool answered, int32[] memory scores,) =
            Scores.ask(asked.program, asked.gas, _spareGas, input, classes);
        return answered && scores.length == classes ? Scores.label(scores) : NONE;
    }

    function _outcome(Trial memory current) private view returns (TrialState) {
        Thresholds memory test = _thresholds;
        uint256 gained = uint256(current.right) * test.gain;
        uint256 lost = uint256(current.asked - current.right) * test.loss;
        if (gained >= lost + test.passAt) {
            bool keepsUp = current.worse <= uint256(current.better) + _terms.margin;
            return keepsUp ? TrialState.Passed : TrialState.Failed;
        }
        bool failed = lost >= gained + test.failAt || current.asked >= _terms.maxSamples;
        return failed ? TrialState.Failed : TrialState.Drawn;
    }

    function _requireInRange(GateTerms memory wanted) private pure {
        AccuracyTest memory test = wanted.test;
        require(wanted.samplesRoot != 0, InvalidGate("samplesRoot"));
        require(wanted.classes > 1 && wanted.classes <= Scores.MAX, InvalidGate("classes"));
        require(test.failPpm > 0, InvalidGate("failPpm"));
        require(test.passPpm > test.failPpm && test.passPpm < PPM, InvalidGate("passPpm"));
        require(test.alphaPpm > 0 && test.alphaPpm < PPM, InvalidGate("alphaPpm"));
        require(test.betaPpm > 0 && test.betaPpm < PPM, InvalidGate("betaPpm"));
        require(wanted.maxSamples > 0 && wanted.maxSamples <= wanted.samples, InvalidGate("maxSamples"));
        require(wanted.attempts > 0, InvalidGate("attempts"));
        require(
            wanted.trialSeconds > 0 && wanted.trialSeconds <= MAX_TRIAL_SECONDS, InvalidGate("trialSeconds")
        );
    }
}
