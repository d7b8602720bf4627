// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice The cheatcodes of Halmos that the proofs use. Source: Halmos' own interface, `SVM.sol` of its cheatcodes.
interface Svm {
    function enableSymbolicStorage(address account) external;
    function createAddress(string calldata name) external pure returns (address);
    function createUint(uint256 bits, string calldata name) external pure returns (uint256);
    function createBytes32(string calldata name) external pure returns (bytes32);
    function createBytes(uint256 length, string calldata name) external pure returns (bytes memory);
    function createBool(string calldata name) external pure returns (bool);
    function createCalldata(string calldata contractName) external pure returns (bytes memory);
}
