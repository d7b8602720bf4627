// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Disputes} from "../../src/Disputes.sol";
import {Rollups} from "../../src/Rollups.sol";
import {IAggregationCourt} from "../../src/interfaces/IAggregationCourt.sol";
import {IDisputes} from "../../src/interfaces/IDisputes.sol";
import {IHearing} from "../../src/interfaces/IHearing.sol";
import {IRollups} from "../../src/interfaces/IRollups.sol";
import {AnySealedFederation} from "./base/AnySealedFederation.sol";
import {SymbolicBase} from "./base/SymbolicBase.sol";

/// @notice Who is heard against a proposal and a roll-up (`make prove`): both contracts as clones of them could be at any time, one call of
///         anybody, beside a federation that gives any answers.
contract CommitmentProofs is SymbolicBase {
    Disputes private constant COURT = Disputes(address(0xc0));
    Rollups private constant ROLLUPS = Rollups(address(0x40));
    AnySealedFederation private constant FEDERATION = AnySealedFederation(address(0xfed));
    uint256 private constant FEDERATION_SLOT_OF_COURT = 1; // Disputes.federation
    uint256 private constant COMMITMENTS = 5; // Disputes._commitments
    uint256 private constant FEDERATION_SLOT_OF_ROLLUPS = 0; // Rollups.federation

    address private caller;

    function setUp() public {
        _place(address(COURT), address(new Disputes()));
        _place(address(ROLLUPS), address(new Rollups()));
        _place(address(FEDERATION), address(new AnySealedFederation()));
        bytes32 word = bytes32(uint256(uint160(address(FEDERATION))));
        vm.store(address(COURT), bytes32(FEDERATION_SLOT_OF_COURT), word);
        vm.store(address(ROLLUPS), bytes32(FEDERATION_SLOT_OF_ROLLUPS), word);
    }

    /// @notice No proof against a proposal is heard of who has not committed to a call in this attempt.
    function check_aProofTakesACommitment() external {
        _begin();
        bytes memory data = svm.createCalldata("Disputes");
        bytes4 selector = bytes4(data);
        bool isProof = _or(
            _or(
                _or(
                    selector == IDisputes.proveWrongProduct.selector,
                    selector == IDisputes.proveWrongNode.selector
                ),
                _or(
                    selector == IDisputes.proveWrongLeaf.selector,
                    selector == IDisputes.proveBadUpdate.selector
                )
            ),
            _or(
                _or(
                    selector == IAggregationCourt.proveWrongMean.selector,
                    selector == IAggregationCourt.proveWrongSum.selector
                ),
                _or(
                    selector == IAggregationCourt.proveMalformedRoot.selector,
                    selector == IAggregationCourt.proveMalformedVector.selector
                )
            )
        );
        vm.assume(isProof);
        vm.assume(_kept(_roundOf(data)) == 0);
        assert(!_call(address(COURT), data));
    }

    /// @notice A commitment of this block, or of another call, does not count.
    function check_aProofTakesItsOwnCommitmentOfAnEarlierBlock(uint64 roundId, bytes32 digest) external {
        _begin();
        vm.assume(uint256(digest) >> 64 != 0);
        uint16 attempt = FEDERATION.round(roundId).attempt;
        bool isThis = COURT.isCommitted(roundId, attempt, caller, digest);
        uint256 kept = _kept(roundId);
        assert(!isThis || kept >> 64 == uint256(digest) >> 64 && uint64(kept) < block.number);
    }

    /// @notice No proof against a roll-up is heard of who has not committed.
    function check_aProofAboutARollupTakesACommitment() external {
        _begin();
        vm.assume(FEDERATION.disputes() == address(FEDERATION) && !FEDERATION.hasCommitted(caller));
        bytes memory data = svm.createCalldata("Rollups");
        bytes4 selector = bytes4(data);
        vm.assume(selector != IRollups.initialize.selector && selector != IRollups.submit.selector);
        assert(!_call(address(ROLLUPS), data));
    }

    /// @notice A roll-up falls at the word of the contract of roll-ups alone, for the challenger that it names, for good.
    function check_aRollupFallsAtItsContractsWord(uint64 roundId, uint16 attempt, address challenger)
        external
    {
        _begin();
        vm.assume(FEDERATION.rejections() == 0);
        if (!_call(address(COURT), abi.encodeCall(IHearing.rejectRollup, (roundId, attempt, challenger)))) {
            return;
        }
        assert(caller == FEDERATION.rollups());
        assert(FEDERATION.rejections() == 1 && FEDERATION.rejectedFor() == challenger);
    }

    function _begin() private {
        _anyTime();
        caller = svm.createAddress("caller");
        vm.assume(caller != address(0) && caller != address(COURT) && caller != address(ROLLUPS));
    }

    function _call(address where, bytes memory data) private returns (bool done) {
        vm.prank(caller);
        (done,) = where.call(data);
    }

    function _roundOf(bytes memory data) private pure returns (uint64 roundId) {
        assembly ("memory-safe") {
            roundId := and(mload(add(data, 36)), 0xffffffffffffffff)
        }
    }

    function _kept(uint64 roundId) private view returns (uint256) {
        uint256 attempt = FEDERATION.round(roundId).attempt;
        bytes32 ofAttempt = keccak256(abi.encode((uint256(roundId) << 16) | attempt, COMMITMENTS));
        return uint256(vm.load(address(COURT), keccak256(abi.encode(caller, ofAttempt))));
    }
}
