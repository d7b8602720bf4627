// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.23;

/// @notice A contract that a program consists of, and the code it must have.
struct ProgramPart {
    address account;
    /// keccak-256 of its runtime code (EXTCODEHASH).
    bytes32 codeHash;
}

/// @title Code that can be nothing but a function
/// @notice Whoever runs programs has their code scanned first (`ProgramScanner`), here in one home.
interface IScannedCode {
    /// @notice A part of the program has other code than registered, or none.
    error CodeHashMismatch(address account, bytes32 expected, bytes32 actual);

    /// @notice Scans one part of a program, so that registering it needs less gas: the code of all parts is scanned
    ///         for what programs may do, either here beforehand or when they are registered. Anyone may.
    /// @param parts All parts of the program, or of one stage, in the order in which they will be registered.
    /// @param index Part to scan.
    function scanPart(ProgramPart[] calldata parts, uint256 index) external;
}
