// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable, Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";

import {Decisions} from "./Decisions.sol";
import {FeeTerms, IDecisions} from "./interfaces/IDecisions.sol";
import {IModelService} from "./interfaces/IModelService.sol";
import {Version} from "./interfaces/IVersions.sol";

/// @title ModelService
/// @notice Versions of a model, its predictions, and the decisions taken with it; see `IModelService`.
contract ModelService is IModelService, Decisions, Ownable2Step {
    /// @param owner_ Registers versions and sets fees; handed over in two steps.
    constructor(address owner_) Ownable(owner_) {}

    /// @inheritdoc IModelService
    function register(Version calldata version_) external onlyOwner returns (uint256 id) {
        id = _register(version_);
        _serve(id, decisionCount + 1);
    }

    /// @inheritdoc IDecisions
    function setFee(uint256 versionId, FeeTerms calldata terms) external onlyOwner {
        _setFee(versionId, terms);
    }
}
