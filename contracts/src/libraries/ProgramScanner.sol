// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Whitelist of a program's opcodes
/// @notice A program may compute, read its input and its own code, and call or read its own parts, and nothing else: then
///         its code alone is the function. A part is called as PUSH20 address GAS STATICCALL (or DELEGATECALL) and read as
///         PUSH20 address EXTCODECOPY only; no jump can enter between these, so the address is the one in the code. Code
///         that begins with STOP is data: run, it would return nothing at once. An account that runs another's code is no
///         part: one that delegates (EIP-7702, 0xef0100 and an address), or a native actor of Filecoin or precompile of
///         Arbitrum, all of which have the one byte 0xfe.
library ProgramScanner {
    /// Bit b is set when opcode b is allowed anywhere: 0x00–0x0b, 0x10–0x1d, 0x35–0x39, 0x3d, 0x3e, 0x50–0x53, 0x56,
    /// 0x57, 0x5b, 0x5e–0x9f, 0xf3, 0xfd, 0xfe.
    // A set of 256, in hexadecimal.
    // slither-disable-next-line too-many-digits
    uint256 internal constant ALLOWED = 0x600800000000000000000000ffffffffffffffffc8cf000063e000003fff0fff;
    uint256 private constant STOP = 0x00;
    /// First byte of what is no code of the EVM's own (EIP-3541).
    uint256 private constant NO_OPCODE = 0xef;
    /// Fewer bytes are no program and no data.
    uint256 private constant MIN_CODE = 2;
    uint256 private constant EXTCODECOPY = 0x3c;
    uint256 private constant GAS = 0x5a;
    uint256 private constant PUSH20 = 0x73;
    uint256 private constant DELEGATECALL = 0xf4;
    uint256 private constant STATICCALL = 0xfa;

    /// @notice A byte of the code breaks the rule, or the code ends within a PUSH.
    /// @param account Contract that was scanned.
    /// @param position Position of the byte.
    error ForbiddenCode(address account, uint256 position);
    /// @notice The account has no code of its own, or what stands for code elsewhere.
    error NoCodeOfItsOwn(address account);

    /// @notice Reverts unless the code of a contract is data or keeps to the whitelist.
    /// @param account Contract with code.
    /// @param parts Contracts of the program.
    function requireAllowed(address account, address[] memory parts) internal view {
        bytes memory code = account.code;
        require(code.length >= MIN_CODE && uint8(code[0]) != NO_OPCODE, NoCodeOfItsOwn(account));
        if (uint8(code[0]) == STOP) return;
        uint256 position = 0;
        while (true) {
            position = _skipAllowed(code, position);
            if (position == code.length) return;
            uint256 width = _widthOfPart(code, position, parts);
            require(width > 0, ForbiddenCode(account, position));
            position += width;
        }
    }

    /// @dev Skips instructions that are allowed anywhere, up to the end of the code or to what names a part.
    // A loop over thousands of bytes: in assembly it costs a quarter.
    // slither-disable-next-line assembly
    function _skipAllowed(bytes memory code, uint256 from) private pure returns (uint256 position) {
        assembly ("memory-safe") {
            let data := add(code, 1)
            let end := mload(code)
            position := from
            for {} lt(position, end) {} {
                // The byte at the position is the last one of this word.
                let opcode := and(mload(add(data, position)), 0xff)
                if iszero(and(shr(opcode, ALLOWED), 1)) { break }
                let width := 1
                if eq(shr(5, opcode), 3) {
                    // PUSH1 is 0x60.
                    width := sub(opcode, 0x5e)
                    if and(eq(opcode, PUSH20), lt(add(position, 21), end)) {
                        let following := and(mload(add(data, add(position, 21))), 0xff)
                        if or(eq(following, GAS), eq(following, EXTCODECOPY)) { break }
                    }
                    if gt(add(position, width), end) { break }
                }
                position := add(position, width)
            }
        }
    }

    /// @dev Bytes of a lawful call or copy of a part at this position; 0 if there is none.
    function _widthOfPart(bytes memory code, uint256 position, address[] memory parts)
        private
        pure
        returns (uint256)
    {
        if (position + 22 > code.length || uint8(code[position]) != PUSH20) return 0;
        uint256 word = 0;
        // slither-disable-next-line assembly
        assembly ("memory-safe") {
            word := mload(add(add(code, 0x21), position))
        }
        // The word's first 20 bytes.
        // forge-lint: disable-next-line(unsafe-typecast)
        if (!_isOneOf(parts, address(bytes20(bytes32(word))))) return 0;
        if (uint8(code[position + 21]) == EXTCODECOPY) return 22;
        if (position + 23 > code.length) return 0;
        uint256 call = uint8(code[position + 22]);
        return call == STATICCALL || call == DELEGATECALL ? 23 : 0;
    }

    function _isOneOf(address[] memory parts, address account) private pure returns (bool) {
        for (uint256 i = 0; i < parts.length; ++i) {
            if (parts[i] == account) return true;
        }
        return false;
    }
}
