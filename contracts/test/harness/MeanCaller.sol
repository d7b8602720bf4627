// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MeanLib} from "../../src/libraries/MeanLib.sol";

/// @notice The library's functions: calldata arguments need an external call.
contract MeanCaller {
    function follows(bytes calldata base, bytes calldata sums, bytes calldata model, uint64 weight)
        external
        pure
        returns (bool)
    {
        return MeanLib.follows(base, sums, model, weight);
    }

    function adds(bytes calldata sums, bytes calldata left, bool hasRight, bytes calldata right)
        external
        pure
        returns (bool)
    {
        return MeanLib.adds(sums, left, hasRight, right);
    }

    function multiplies(bytes calldata sums, bytes calldata update, uint32 weight)
        external
        pure
        returns (bool)
    {
        return MeanLib.multiplies(sums, update, weight);
    }
}
