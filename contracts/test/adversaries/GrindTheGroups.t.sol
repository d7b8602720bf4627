// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Epochs} from "../../src/Epochs.sol";
import {IEpochs} from "../../src/interfaces/IEpochs.sol";
import {Filecoin} from "../../src/libraries/Filecoin.sol";
import {HeaderForest} from "../base/HeaderForest.sol";
import {TestBase} from "../base/TestBase.sol";

/// @notice Whoever builds the block that draws the groups of an epoch wants its accomplices together in one of them.
contract GrindTheGroupsTest is TestBase {
    uint256 private constant NUMBER = 1_000;
    Epochs private epochs = new Epochs();

    function setUp() public {
        vm.roll(NUMBER + 1);
    }

    /// @dev Everything that the builder of the block is free to choose gives the same draw. With the block's hash each of these
    ///      was another one.
    function test_whoBuildsTheBlockTriesInVain() public {
        for (uint256 i = 0; i < 13; ++i) {
            bytes memory header = HeaderForest.build(NUMBER, "value", abi.encodePacked("extra", uint8(i)));
            vm.setBlockhash(NUMBER, keccak256(header));
            (bool known, bytes32 value) = epochs.beacon(NUMBER, header);
            vm.assertTrue(known);
            vm.assertEq(value, bytes32("value"));
        }
    }

    function test_aHeaderOfOnesOwnIsRefused() public {
        bytes memory header = HeaderForest.build(NUMBER, "value", "extra");
        bytes32 hash = keccak256(header);
        vm.setBlockhash(NUMBER, hash);
        vm.expectRevert(abi.encodeWithSelector(IEpochs.WrongHeader.selector, NUMBER, hash));
        epochs.beacon(NUMBER, HeaderForest.build(NUMBER, "better", "extra"));
    }

    function test_aChainWithoutABeaconDrawsNothing() public {
        bytes memory header = HeaderForest.build(NUMBER, 0, "extra");
        vm.setBlockhash(NUMBER, keccak256(header));
        vm.expectRevert(abi.encodeWithSelector(IEpochs.NoBeacon.selector, NUMBER));
        epochs.beacon(NUMBER, header);
    }

    function test_whoWaitsUntilNobodyKnowsTheBlockGetsNoDraw() public {
        vm.roll(NUMBER + 300);
        (bool known,) = epochs.beacon(NUMBER, HeaderForest.build(NUMBER, "value", "extra"));
        vm.assertFalse(known);
    }

    /// @dev On Filecoin the value is the beacon's own, also of an epoch without a block, and no header counts. The code at the
    ///      precompile's address is a double of the network's: keccak of the epoch, and nothing for epochs to come.
    function test_onFilecoinTheBeaconDraws() public {
        vm.etch(Filecoin.GET_RANDOMNESS, hex"435f35116015575f355f5260205f205f5260205ff35b5f5ffd");
        Epochs there = new Epochs();
        vm.assertTrue(there.drawsByDrand());
        vm.roll(NUMBER + 10_000);
        (bool known, bytes32 value) = there.beacon(NUMBER, "anything");
        vm.assertTrue(known);
        vm.assertEq(value, keccak256(abi.encode(NUMBER)));
        vm.expectRevert(abi.encodeWithSelector(IEpochs.NoBeacon.selector, NUMBER + 10_001));
        there.beacon(NUMBER + 10_001, "anything");
    }

    /// @dev Who calls with so little gas that the block's hash is not found does not end an epoch that can be drawn.
    function test_littleGasEndsNoEpoch() public {
        bytes memory call = abi.encodeCall(epochs.beacon, (NUMBER, ""));
        vm.roll(NUMBER + 300);
        for (uint256 gas = 22_000; gas < 100_000; gas += 3_000) {
            (bool ended,) = address(epochs).call{gas: gas}(call);
            vm.assertFalse(ended);
        }
    }
}
