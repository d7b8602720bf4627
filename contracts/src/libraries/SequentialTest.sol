// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

/// @notice What an accuracy is held against, in parts per million.
struct AccuracyTest {
    /// An accuracy that must not pass, p₀.
    uint32 failPpm;
    /// An accuracy that should pass, p₁ > p₀.
    uint32 passPpm;
    /// Greatest probability that accuracy p₀ or less passes, α.
    uint32 alphaPpm;
    /// Greatest probability that accuracy p₁ or more fails before the samples are used up, β.
    uint32 betaPpm;
}

/// @notice The test in integers, all in micro-nats: millionths of the natural logarithm's unit.
struct Thresholds {
    /// ⌊ln(p₁ / p₀)⌋, added for a right answer.
    uint64 gain;
    /// ⌈ln((1 − p₀) / (1 − p₁))⌉, taken away for a wrong one.
    uint64 loss;
    /// ⌈ln(1 / α)⌉: passed when the sum reaches it.
    uint64 passAt;
    /// ⌈ln(1 / β)⌉: failed when the sum reaches its negative.
    uint64 failAt;
}

/// @title Sequential probability ratio test
/// @notice The sum after n answers is at most ln of the likelihood ratio of p₁ over p₀. That ratio is a martingale at p₀,
///         so that it ever reaches 1/α with probability at most α, whatever ends the test (J. Ville, 1939); β likewise,
///         but for the rounding of n answers. Source of the test: A. Wald, "Sequential Tests of Statistical Hypotheses",
///         1945, whose bounds ln((1 − β)/α) and ln((1 − α)/β) keep α and β only approximately.
library SequentialTest {
    uint256 private constant PPM = 1_000_000;
    uint256 private constant SCALE = 1e36;
    /// ln 2 · 10^36, rounded down.
    uint256 private constant LN_2 = 693147180559945309417232121458176568;
    /// 10^36 nats over micro-nats.
    uint256 private constant MICRO = 1e30;

    /// @notice Computes the test's integers. Both probabilities of error and both accuracies must lie between 0 and 1.
    /// @param test The test.
    /// @return Its integers.
    function thresholds(AccuracyTest memory test) internal pure returns (Thresholds memory) {
        // No logarithm of a rational but that of 1 is rational: rounding up is rounding down and 1 more.
        return Thresholds({
            gain: lnMicros(test.passPpm, test.failPpm),
            loss: lnMicros(PPM - test.failPpm, PPM - test.passPpm) + 1,
            passAt: lnMicros(PPM, test.alphaPpm) + 1,
            failAt: lnMicros(PPM, test.betaPpm) + 1
        });
    }

    /// @notice ⌊10^6 · ln(a / b)⌋, by the series 2·artanh(z) = 2·(z + z³/3 + z⁵/5 + …) with z = (a − b)/(a + b), after
    ///         halving a / b to below 2. What is cut off is less than 10^−33, and micro-nats are never that close.
    /// @param a Numerator, at least b and below 2^32.
    /// @param b Denominator, at least 1.
    /// @return Micro-nats.
    // The terms of the series are rounded to 10^−36 on the way, as said above.
    // slither-disable-next-line divide-before-multiply
    function lnMicros(uint256 a, uint256 b) internal pure returns (uint64) {
        uint256 sum = 0;
        while (a >= 2 * b) {
            b *= 2;
            sum += LN_2;
        }
        uint256 z = (a - b) * SCALE / (a + b);
        uint256 square = z * z / SCALE;
        for (uint256 n = 1; z > 0; n += 2) {
            sum += 2 * z / n;
            z = z * square / SCALE;
        }
        // Below 33 · ln 2 nats.
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint64(sum / MICRO);
    }
}
