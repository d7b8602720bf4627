"""What all code that deals with an EVM shares: hashing, limits, gas, opcodes, selectors."""
