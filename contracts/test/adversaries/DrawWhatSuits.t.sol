// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ModelService} from "../../src/ModelService.sol";
import {PromotionGate} from "../../src/PromotionGate.sol";
import {IPromotionGate, TrialState} from "../../src/interfaces/IPromotionGate.sol";
import {BlockHeader} from "../../src/libraries/BlockHeader.sol";
import {Filecoin} from "../../src/libraries/Filecoin.sol";
import {GateFixture} from "../base/GateFixture.sol";
import {HeaderForest} from "../base/HeaderForest.sol";

/// @notice The library's functions on calldata.
contract HeaderReader {
    function prevRandao(bytes calldata header) external pure returns (bytes32) {
        return BlockHeader.prevRandao(header);
    }
}

/// @notice Whoever registers a version, draws its samples or builds blocks wants samples that suit it.
contract DrawWhatSuitsTest is GateFixture {
    /// @dev m-4: everything that the builder of the block is free to choose gives the same draw. With the block's hash each of
    ///      these was another one.
    function test_whoBuildsTheBlockTriesInVain() public {
        register(federatedVersion(address(right)));
        uint256 seedBlock = gate.trial(1).seedBlock;
        vm.roll(seedBlock + 1);
        bytes32 first = 0;
        for (uint256 i = 0; i < 13; ++i) {
            uint256 before = vm.snapshotState();
            bytes memory header =
                HeaderForest.build(seedBlock, randaoOf(seedBlock), abi.encodePacked("extra", uint8(i)));
            vm.setBlockhash(seedBlock, keccak256(header));
            gate.draw(header);
            bytes32 seed = gate.trial(1).seed;
            if (i == 0) first = seed;
            vm.assertEq(seed, first);
            vm.revertToState(before);
        }
        // Another value of the beacon is another draw.
        bytes memory other = HeaderForest.build(seedBlock, "another", "extra");
        vm.setBlockhash(seedBlock, keccak256(other));
        gate.draw(other);
        vm.assertTrue(gate.trial(1).seed != first);
    }

    /// @dev Whoever draws, in whatever block of the window: the draw is the same.
    function test_whoDrawsWaitsInVain() public {
        register(federatedVersion(address(right)));
        uint256 seedBlock = gate.trial(1).seedBlock;
        vm.roll(seedBlock + 1);
        bytes memory header = headerOf(seedBlock);
        bytes32 first = 0;
        uint256[4] memory blocks = [seedBlock + 1, seedBlock + 2, seedBlock + 77, seedBlock + 256];
        for (uint256 i = 0; i < 4; ++i) {
            uint256 before = vm.snapshotState();
            vm.roll(blocks[i]);
            vm.setBlockhash(seedBlock, keccak256(header));
            vm.warp(block.timestamp + 12 * i);
            vm.prank(i % 2 == 0 ? stranger : owner);
            gate.draw(header);
            if (i == 0) first = gate.trial(1).seed;
            vm.assertEq(gate.trial(1).seed, first);
            vm.revertToState(before);
        }
    }

    /// @dev A header of another block, an older one's, or one made up.
    function test_noOtherHeaderDraws() public {
        register(federatedVersion(address(right)));
        uint256 seedBlock = gate.trial(1).seedBlock;
        vm.roll(seedBlock + 2);
        bytes memory header = headerOf(seedBlock);
        bytes[5] memory others = [
            headerOf(seedBlock - 1),
            headerOf(seedBlock + 1),
            HeaderForest.build(seedBlock, "chosen", "geth"),
            abi.encodePacked(header, uint8(0)),
            bytes("")
        ];
        for (uint256 i = 0; i < 5; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IPromotionGate.WrongHeader.selector, seedBlock, keccak256(header))
            );
            gate.draw(others[i]);
        }
        gate.draw(header);
    }

    /// @dev A chain whose headers have no beacon value draws nothing, rather than what everybody knows.
    function test_noBeaconNoDraw() public {
        register(federatedVersion(address(right)));
        uint256 seedBlock = gate.trial(1).seedBlock;
        vm.roll(seedBlock + 1);
        bytes memory header = HeaderForest.build(seedBlock, 0, "bor");
        vm.setBlockhash(seedBlock, keccak256(header));
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.NoSeed.selector, seedBlock));
        gate.draw(header);
    }

    /// @dev Where the chain keeps older hashes (EIP-2935), a draw is possible for 8,191 blocks, with the same outcome. The code
    ///      at its address is a double of the chain's: it answers every block with one hash.
    function test_olderHashesAreAskedFor() public {
        register(federatedVersion(address(right)));
        uint256 seedBlock = gate.trial(1).seedBlock;
        bytes memory header = HeaderForest.build(seedBlock, randaoOf(seedBlock), "geth");
        answerWith(BlockHeader.HISTORY, keccak256(header));
        vm.roll(seedBlock + 8191);
        gate.draw(header);
        vm.assertEq(gate.trial(1).seed, keccak256(abi.encode(randaoOf(seedBlock), address(gate), uint256(1))));
    }

    /// @dev Little gas makes asking for the hash fail. Nothing but a revert may come of that, and no bond be lost.
    function test_littleGasLosesNoBond() public {
        register(federatedVersion(address(right)));
        uint256 seedBlock = gate.trial(1).seedBlock;
        bytes memory header = HeaderForest.build(seedBlock, randaoOf(seedBlock), "geth");
        answerWith(BlockHeader.HISTORY, keccak256(header));
        vm.roll(seedBlock + 5000);
        for (uint256 gas = 21_000; gas < 200_000; gas += 3_000) {
            (bool lapsed,) = address(gate).call{gas: gas}(abi.encodeCall(gate.lapse, ()));
            vm.assertFalse(lapsed);
            uint256 before = vm.snapshotState();
            (bool drawn,) = address(gate).call{gas: gas}(abi.encodeCall(gate.draw, (header)));
            vm.assertTrue(gate.trial(1).state == (drawn ? TrialState.Drawn : TrialState.Registered));
            vm.revertToState(before);
        }
    }

    /// @dev On Filecoin drand draws, whatever header is shown: a null round has a value, too. The code at the precompile's
    ///      address is a double of the network's: keccak of the epoch, and nothing for epochs to come.
    function test_drandDrawsOnFilecoin() public {
        becomeFilecoin();
        vm.assertTrue(gate.drawsByDrand());
        uint256 id = register(federatedVersion(address(right)));
        uint256 seedBlock = gate.trial(id).seedBlock;
        vm.assertEq(seedBlock, block.number + gate.FILECOIN_SEED_DELAY());
        vm.roll(seedBlock);
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.NoSeed.selector, seedBlock));
        gate.draw("");
        vm.roll(seedBlock + 1);
        bytes memory header = headerOf(seedBlock);
        bytes32 value = keccak256(abi.encode(seedBlock));
        vm.assertEq(gate.randomness(seedBlock, header), value);
        uint256 before = vm.snapshotState();
        gate.draw(header);
        vm.assertEq(gate.trial(id).seed, keccak256(abi.encode(value, address(gate), id)));
        vm.revertToState(before);
        vm.roll(seedBlock + 4000);
        gate.draw("");
        vm.assertEq(gate.trial(id).seed, keccak256(abi.encode(value, address(gate), id)));
    }

    /// @dev On Filecoin, too, a call with little gas costs nobody's bond.
    function test_littleGasLosesNoBondOnFilecoin() public {
        becomeFilecoin();
        uint256 id = register(federatedVersion(address(right)));
        vm.roll(gate.trial(id).seedBlock + 8191);
        for (uint256 gas = 21_000; gas < 200_000; gas += 3_000) {
            (bool lapsed,) = address(gate).call{gas: gas}(abi.encodeCall(gate.lapse, ()));
            vm.assertFalse(lapsed);
        }
        gate.draw("");
    }

    /// @dev Elsewhere an answer at that address would have to come from a contract, and there is none.
    function test_elsewhereNoDrandIsBelieved() public view {
        vm.assertFalse(gate.drawsByDrand());
        vm.assertFalse(Filecoin.isHere());
    }

    /// @dev Arbitrum's block numbers and hashes are the settlement chain's, loosely: no gate begins there. Its precompiles have
    ///      code of one byte.
    function test_noGateWhereBlocksAreNotTheChainsOwn() public {
        vm.etch(address(100), hex"fe");
        vm.expectRevert(abi.encodeWithSelector(IPromotionGate.NoRandomness.selector));
        new ModelService(owner, defaultGate());
    }

    /// @dev Registering when one happens to propose is early by four epochs: their proposers are not known yet.
    function test_theDelayIsLongerThanProposersAreKnown() public view {
        vm.assertTrue(gate.SEED_DELAY() > 4 * 32);
    }

    /// @dev Whatever is in a header around it, the beacon's value is read.
    function testFuzz_readsTheValue(uint64 number, bytes32 randao, bytes32 extra, uint8 length) public {
        HeaderReader reader = new HeaderReader();
        bytes memory text = abi.encodePacked(extra);
        uint256 kept = length % 33;
        assembly ("memory-safe") {
            mstore(text, kept)
        }
        bytes memory header = HeaderForest.build(number, randao, text);
        vm.assertEq(reader.prevRandao(header), randao);
    }

    /// @dev Bytes that are no header give a value or none, and never revert.
    function testFuzz_survivesAnyBytes(bytes calldata anything) public {
        HeaderReader reader = new HeaderReader();
        reader.prevRandao(anything);
        reader.prevRandao(abi.encodePacked(uint8(0xf9), anything));
    }

    function becomeFilecoin() private {
        // For an epoch to come: revert(0, 0). Else: mstore(0, epoch) mstore(0, keccak256(0, 32)) return(0, 32).
        vm.etch(Filecoin.GET_RANDOMNESS, hex"435f35116015575f355f5260205f205f5260205ff35b5f5ffd");
        use(defaultGate());
    }

    function answerWith(address account, bytes32 word) private {
        // push32 word, mstore(0, …), return(0, 32)
        vm.etch(account, abi.encodePacked(hex"7f", word, hex"5f5260205ff3"));
    }
}
