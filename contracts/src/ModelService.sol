// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";

import {Decisions} from "./Decisions.sol";
import {PromotionGate} from "./PromotionGate.sol";
import {FeeTerms, IDecisions} from "./interfaces/IDecisions.sol";
import {IModelService} from "./interfaces/IModelService.sol";
import {GateTerms, IPromotionGate} from "./interfaces/IPromotionGate.sol";
import {Version} from "./interfaces/IVersions.sol";

/// @title ModelService
/// @notice Versions of a model, predictions, and the decisions taken with it; see `IModelService`.
contract ModelService is IModelService, Decisions, Ownable2Step {
    /// @inheritdoc IModelService
    IPromotionGate public immutable gate;

    /// @param owner_ Registers versions and sets fees; handed over in two steps.
    /// @param terms What versions must pass; without a `samplesRoot` they serve as soon as they are registered.
    constructor(address owner_, GateTerms memory terms) Ownable(owner_) {
        if (terms.samplesRoot != 0) gate = new PromotionGate(terms);
    }

    /// @inheritdoc IModelService
    function register(Version calldata version_) external payable onlyOwner returns (uint256 id) {
        id = _register(version_);
        if (gated()) {
            gate.openTrial{value: msg.value}(id, msg.sender);
        } else {
            if (msg.value > 0) _credit(msg.sender, msg.value);
            _serve(id, decisionCount + 1);
        }
    }

    /// @inheritdoc IModelService
    function promote(uint256 versionId) external {
        require(msg.sender == address(gate), NotGate(msg.sender));
        _serve(versionId, decisionCount + 1);
    }

    /// @inheritdoc IModelService
    function rollback(uint256 versionId) external onlyOwner {
        _requireServed(versionId);
        _serve(versionId, decisionCount + 1);
    }

    /// @inheritdoc IDecisions
    function setFee(uint256 versionId, FeeTerms calldata terms) external onlyOwner {
        _setFee(versionId, terms);
    }

    /// @inheritdoc IModelService
    function gated() public view returns (bool) {
        return address(gate) != address(0);
    }
}
