"""What every part that speaks with an EVM must agree on, stated once: hashing, limits, gas, opcodes, selectors."""
