// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {DirectSubmissions} from "../../src/DirectSubmissions.sol";
import {IDirectSubmissions} from "../../src/interfaces/IDirectSubmissions.sol";
import {IFederation} from "../../src/interfaces/IFederation.sol";
import {Commitment} from "../../src/libraries/CommitmentTree.sol";
import {SumNode} from "../../src/libraries/MerkleSumTree.sol";
import {Refusal} from "../../src/libraries/RulesLib.sol";
import {Submission, Update} from "../../src/libraries/UpdateTypes.sol";
import {DisputeFixture} from "./DisputeFixture.sol";
import {SumTree} from "./SumTree.sol";

/// @notice Members that submit updates themselves, and whose vectors are demanded.
abstract contract DirectFixture is DisputeFixture {
    /// Of three chunks.
    uint256 internal constant FEE = 3000;

    DirectSubmissions internal direct;

    function setUp() public virtual override {
        super.setUp();
        direct = DirectSubmissions(federation.directSubmissions());
        roundId = openRound();
    }

    function updateOf(uint256 index) internal view returns (Update memory update) {
        SumNode memory root = rootOf(updates[index], index);
        update = honestUpdate(roundId, index);
        update.elements = ELEMENTS;
        update.updateRoot = root.hash;
        update.sumSquares = root.sum;
    }

    function submissionOf(uint256 index) internal view returns (Submission memory) {
        return signed(index, updateOf(index));
    }

    function commitmentOf(uint256 index) internal view returns (Commitment memory) {
        Update memory update = updateOf(index);
        return Commitment(members[index], update.examples, update.updateRoot, update.sumSquares);
    }

    function rootOf(int256[] memory values, uint256 signer) internal view returns (SumNode memory) {
        return SumTree.rootOf(SumTree.build(SumTree.contextOf(federation, roundId, members[signer]), values));
    }

    function relay(uint256 first, uint256 count) internal {
        Submission[] memory submissions = new Submission[](count);
        for (uint256 i = 0; i < count; ++i) {
            submissions[i] = submissionOf(first + i);
        }
        submit(roundId, submissions);
    }

    function demanded(uint256 index) internal {
        bringOwn(direct, roundId, submissionOf(index));
        demand(index);
    }

    function failRound() internal {
        vm.warp(federation.round(roundId).until + 1);
        federation.failRound(roundId);
    }

    function include(Submission memory submission) internal {
        vm.prank(coordinator);
        direct.include(roundId, submission);
    }

    function demand(uint256 index) internal {
        vm.prank(coordinator);
        direct.demandPosting{value: FEE}(roundId, members[index]);
    }

    function post(uint256 index, uint32 first, bytes memory values) internal {
        vm.prank(members[index]);
        direct.post(roundId, members[index], first, values);
    }

    /// @dev Chunks first … end − 1 of a member's vector, packed.
    function chunks(uint256 index, uint256 first, uint256 end) internal view returns (bytes memory values) {
        uint256 last = end * 64 < ELEMENTS ? end * 64 : ELEMENTS;
        for (uint256 i = first * 64; i < last; ++i) {
            values = abi.encodePacked(values, int32(updates[index][i]));
        }
    }

    function chunksFrom(bytes memory values, uint256 from, uint256 to)
        internal
        pure
        returns (bytes memory part)
    {
        part = new bytes(to - from);
        for (uint256 i = 0; i < part.length; ++i) {
            part[i] = values[from + i];
        }
    }

    function expectWrongLength(bytes memory values) internal {
        vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.WrongLength.selector, values.length));
        post(0, 0, values);
    }

    function expectNotAccepted(Submission memory submission, Refusal reason) internal {
        vm.expectRevert(abi.encodeWithSelector(IDirectSubmissions.UpdateNotAccepted.selector, reason));
        bringOwn(direct, roundId, submission);
    }

    function expectAlreadySubmitted(uint256 index) internal {
        Submission memory submission = submissionOf(index);
        vm.expectRevert(
            abi.encodeWithSelector(IFederation.AlreadySubmitted.selector, roundId, members[index])
        );
        bringOwn(direct, roundId, submission);
    }
}
