"""Kernels: each module appends the code of one kind of layer to an assembler."""
