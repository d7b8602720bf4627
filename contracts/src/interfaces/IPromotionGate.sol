// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

import {Sample} from "../libraries/SampleTree.sol";
import {AccuracyTest, Thresholds} from "../libraries/SequentialTest.sol";
import {IPullPayments} from "./IPullPayments.sol";

/// @notice What a version must pass to serve. Fixed when the service is created.
struct GateTerms {
    /// Root of the validation set; see `SampleTree`.
    bytes32 samplesRoot;
    /// Samples in it.
    uint32 samples;
    /// Labels run from 0 to this, less 1; a program that returns more or fewer scores gives no answer.
    uint32 classes;
    AccuracyTest test;
    /// Samples after which a version that has not passed has failed.
    uint32 maxSamples;
    /// How many samples more a version may get wrong that the serving one got right than the other way round.
    uint32 margin;
    /// Trials that may be lost, failed or lapsed, as long as the gate lives. After these no version is tried any more.
    uint32 attempts;
    /// Seconds from the draw within which the trial must be decided.
    uint32 trialSeconds;
    /// Wei that registering a version locks: given back when it passes, burnt otherwise.
    uint96 bond;
}

/// @notice Where a trial stands.
enum TrialState {
    /// No such version was registered.
    None,
    /// Waits for the block whose beacon value draws the samples.
    Registered,
    /// Takes samples.
    Drawn,
    Passed,
    Failed,
    /// Not drawn or not decided in time.
    Lapsed
}

/// @notice The trial of a version.
struct Trial {
    TrialState state;
    /// Block whose beacon value draws the samples.
    uint48 seedBlock;
    /// Unix time in seconds after which a trial that is not decided lapses; 0 until it is drawn.
    uint48 until;
    /// Samples asked, and those answered rightly.
    uint32 asked;
    uint32 right;
    /// Samples that this version alone got right, and that the version serving when it was registered alone did.
    uint32 better;
    uint32 worse;
    /// Who registered the version, and gets the bond back.
    address registrant;
    uint96 bond;
    /// The version that served then, 0 if there was none.
    uint256 rival;
    /// Hash of the block's beacon value, this contract and the version.
    bytes32 seed;
}

/// @title Promotion gate of a model service
/// @notice A version serves only after this contract has run its program on samples of a validation set whose root was
///         fixed before the federation's first round. Which samples follows from a beacon's value for one block that is fixed
///         at the registration and comes after it; each is revealed when it is used and never used again. How many follows
///         from the answers (`SequentialTest`): a version whose true accuracy is p₀ or less passes with probability α at
///         most, provided that nobody who trained it knew the samples. Guessing again costs a bond each time, and a gate has
///         `attempts` trials to lose in its life, whoever trained what: such a version ever passes with probability
///         α · `attempts` at most.
/// @dev The beacon. On Filecoin drand's value of the epoch (`get_randomness`), which nobody can choose, of null rounds too.
///      Elsewhere PREVRANDAO of the block, read from its header against the block's hash: who draws, and when, changes
///      nothing. Who proposes the k last slots before it can choose among 2^k values at the price of a block each; a block's
///      hash could be tried for nothing by whoever builds that block, and PREVRANDAO of the block that calls could be
///      waited for. On a rollup the sequencer chooses it within what its chain allows.
interface IPromotionGate is IPullPayments {
    /// @notice From now on versions must pass this.
    event GateFixed(GateTerms terms, Thresholds thresholds);
    /// @notice A version's trial begins: `draw` is possible after `seedBlock`, for 8,191 blocks where the
    ///         chain keeps as many hashes (EIP-2935) and on Filecoin, for 256 elsewhere. `attempt`: trials lost, and 1.
    event TrialOpened(
        uint256 indexed version, uint256 indexed rival, uint32 attempt, uint256 seedBlock, uint256 bond
    );
    /// @notice Which samples are asked follows from the seed. The trial must be decided until a Unix time in seconds.
    event TrialDrawn(uint256 indexed version, bytes32 seed, uint256 until);
    /// @notice A sample was asked. An answer is the first of the greatest scores that `predict` returned, with
    ///         exactly the gas that the version's decisions are given; 2^32 − 1 is none: the program failed, or returned
    ///         anything but one score a class.
    /// @dev `number` counts the version's samples from 0; the sample itself is in the transaction's calldata.
    event SampleAsked(
        uint256 indexed version,
        uint32 indexed index,
        uint32 number,
        uint32 label,
        uint32 answer,
        uint32 rivalAnswer
    );
    /// @notice A trial is over: passed, failed or lapsed.
    event TrialEnded(
        uint256 indexed version,
        TrialState indexed outcome,
        uint32 asked,
        uint32 right,
        uint32 better,
        uint32 worse
    );

    /// @notice A field of the gate's terms is out of range.
    /// @param field Name of the field of `GateTerms`.
    error InvalidGate(string field);
    /// @notice Only the service that created this gate may do this.
    error NotService(address caller);
    /// @notice The gate was not fixed before the federation's first round was opened.
    error FixedAfterTraining(address federation);
    /// @notice The bond was not sent along.
    error BondNotSent(uint256 sent, uint256 bond);
    /// @notice As many trials were lost as may be.
    error AttemptsUsedUp(uint32 attempts);
    /// @notice A program of exactly this code has failed here: trying it again would be guessing.
    error CodeFailed(bytes32 code);
    /// @notice The chain's blocks are not its own (Arbitrum), so nothing can be drawn by them.
    error NoRandomness();
    /// @notice Too few samples were not used yet for another trial.
    error SamplesUsedUp(uint32 remaining, uint32 wanted);
    /// @notice Another version's trial is not over.
    error TrialPending(uint256 version);
    /// @notice No trial is in the state that the call needs.
    error NoSuchTrial(uint256 version, TrialState state);
    /// @notice The block has not come, its hash is no longer known, or it has no beacon value.
    error NoSeed(uint256 seedBlock);
    /// @notice Not the header of the block that draws.
    error WrongHeader(uint256 seedBlock, bytes32 blockHash);
    /// @notice The trial can still be drawn, or decided.
    error TrialNotLapsed(uint256 version);
    /// @notice Not the sample of this index in the validation set, or not with its way to the root.
    error WrongSample(uint32 index);
    /// @notice The samples from number `asked` to before `first` were not asked yet.
    error SamplesMissing(uint32 first, uint32 asked);
    /// @notice The trial is decided, and would reveal samples for nothing.
    error SamplesLeftOver(uint256 count);

    /// @notice Begins a version's trial, under the bond that is sent along. What is sent beyond that is owed to the
    ///         registrant. Service only.
    /// @param versionId Version that was registered.
    /// @param registrant Who registered it.
    function openTrial(uint256 versionId, address registrant) external payable;

    /// @notice Draws the samples of the pending trial, by the beacon's value for its block. Anyone may, with the same
    ///         outcome.
    /// @param header The block's header in RLP; on Filecoin nothing.
    function draw(bytes calldata header) external;

    /// @notice Asks the pending trial's version, and the one that served, about the next samples. Anyone may who has them.
    ///         Those that were asked meanwhile are skipped, so nobody stops a call by asking in front of it; what is asked of
    ///         a trial does not depend on who asks. The trial ends with the sample that decides it, which must be the last
    ///         one given. Reverts when the trial has ended meanwhile (`NoSuchTrial`), which changes nothing.
    /// @param first Number of the first of these samples in the trial, from 0: at most as many as were asked.
    /// @param samples The samples, in the order of the draw.
    function runSamples(uint32 first, Sample[] calldata samples) external;

    /// @notice Ends the pending trial when its draw was missed, or its time is over. Its bond is burnt. Anyone may.
    function lapse() external;

    /// @param seedBlock A block.
    /// @param header Its header in RLP; on Filecoin nothing.
    /// @return The beacon's value that a trial would be drawn by. Reverts as `draw` does.
    function randomness(uint256 seedBlock, bytes calldata header) external view returns (bytes32);

    /// @return True on Filecoin, where drand's value of an epoch draws.
    function drawsByDrand() external view returns (bool);

    /// @return Trials that were lost, failed or lapsed.
    function trialsLost() external view returns (uint32);

    /// @return Service whose versions it holds back.
    function service() external view returns (address);

    /// @return What versions must pass.
    function terms() external view returns (GateTerms memory);

    /// @return The test's integers.
    function thresholds() external view returns (Thresholds memory);

    /// @return Unix time in seconds when the gate was fixed.
    function fixedAt() external view returns (uint256);

    /// @return Version whose trial is not over, 0 if there is none.
    function pendingTrial() external view returns (uint256);

    /// @param versionId Number of a version.
    /// @return Its trial.
    function trial(uint256 versionId) external view returns (Trial memory);

    /// @param versionId Number of a version.
    /// @param label A class.
    /// @return asked Samples of this class that the version was asked.
    /// @return right Those it answered rightly.
    function classCounts(uint256 versionId, uint32 label) external view returns (uint32 asked, uint32 right);

    /// @return Samples that were not used yet.
    function samplesRemaining() external view returns (uint32);

    /// @return Wei of bonds that are burnt; they stay in this contract.
    function burnt() external view returns (uint256);
}
