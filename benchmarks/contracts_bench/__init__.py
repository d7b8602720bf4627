"""What `bench_contracts.py` measures, a kind of figure a module."""
