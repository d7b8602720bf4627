"""What `bench_compiler.py` is made of: models, measurement, a Solidity network to compare with, table and plot."""
