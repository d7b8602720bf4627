// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IPDPVerifier} from "../../src/interfaces/IPDPVerifier.sol";

/// @notice How a verifier can be false.
enum Deceit {
    None,
    Reverts,
    RevertsAtLength,
    SaysNothing,
    SaysTwo,
    SaysTooMuch,
    SaysAMegabyte,
    BurnsGas,
    Writes,
    ComesBack,
    /// Answers truly when it has used up almost all the gas that it has.
    Dawdles
}

/// @notice Answers as another verifier does, except to one function.
contract FalseVerifier {
    /// In place of a selector.
    bytes4 public constant ALL = 0xffffffff;

    IPDPVerifier private immutable _true;
    Deceit private _deceit;
    bytes4 private _selector;
    address private _target;

    constructor(IPDPVerifier true_) {
        _true = true_;
    }

    function deceive(Deceit deceit, bytes4 selector, address target) external {
        (_deceit, _selector, _target) = (deceit, selector, target);
    }

    fallback(bytes calldata input) external returns (bytes memory output) {
        if (msg.sig == _selector || _selector == ALL) {
            if (_deceit == Deceit.Reverts) revert();
            if (_deceit == Deceit.RevertsAtLength) _endWith(1_000_000, true);
            if (_deceit == Deceit.SaysNothing) return "";
            if (_deceit == Deceit.SaysTwo) return abi.encode(uint256(2));
            if (_deceit == Deceit.SaysTooMuch) return abi.encode(uint256(1), uint256(1));
            if (_deceit == Deceit.SaysAMegabyte) _endWith(1_000_000, false);
            if (_deceit == Deceit.BurnsGas) while (true) {}
            if (_deceit == Deceit.Dawdles) while (gasleft() > 40_000) {}
            if (_deceit == Deceit.Writes) _target = msg.sender;
            if (_deceit == Deceit.ComesBack) {
                // What it calls as would be the federation's own: nothing that changes anything succeeds.
                (bool success,) = _target.call(abi.encodeWithSignature("openRound()"));
                require(success);
            }
        }
        bool answered;
        (answered, output) = address(_true).staticcall(input);
        require(answered);
    }

    function _endWith(uint256 size, bool reverts) private pure {
        assembly ("memory-safe") {
            if reverts { revert(0, size) }
            return(0, size)
        }
    }
}
