// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.27;

import {IModelService} from "@fedvm/contracts/src/interfaces/IModelService.sol";
import {IProgram} from "@fedvm/contracts/src/interfaces/IProgram.sol";

/// @title A contract that sorts irises by what a model says of their measures
/// @notice `look` asks the compiled model itself: a view, so by `eth_call` it costs nothing. `sort` has the service that
///         serves the model decide, on record, and counts the flower.
contract FlowerSorter {
    /// The compiled model. It has no owner and never changes.
    IProgram public immutable program;
    /// The service, whose owner may let another version of the model serve.
    IModelService public immutable service;
    /// Flowers sorted, by species.
    mapping(uint256 species => uint256) public sorted;

    event Sorted(uint256 indexed decision, uint256 indexed species);

    error WrongFee(uint256 sent, uint256 fee);

    constructor(IProgram program_, IModelService service_) {
        program = program_;
        service = service_;
    }

    /// @param flower The measures as the model's bytes.
    /// @return species Number of the class with the greatest score.
    /// @return scores One integer a class.
    function look(bytes calldata flower) external view returns (uint256 species, int32[] memory scores) {
        species = program.classify(flower);
        scores = program.predict(flower);
    }

    /// @notice Sorts a flower, on record. Pays the service's fee, which the caller sends along to the wei: the service
    ///         owes what is sent beyond it to this contract, which could never get it out.
    /// @param flower The measures as the model's bytes; public for ever.
    /// @param version The version that shall decide; reverts where another serves by then.
    /// @return decision Number of the decision at the service, which knows where it comes from.
    /// @return species Number of the class with the greatest score.
    function sort(bytes calldata flower, uint256 version)
        external
        payable
        returns (uint256 decision, uint256 species)
    {
        uint256 fee = service.feeTerms(version).amount;
        if (msg.value != fee) revert WrongFee(msg.value, fee);
        int32[] memory scores;
        (decision, scores) = service.decide{value: fee}(flower, version, fee, uint64(block.timestamp));
        for (uint256 i = 1; i < scores.length; ++i) {
            if (scores[i] > scores[species]) species = i;
        }
        ++sorted[species];
        emit Sorted(decision, species);
    }
}
