"""Parts of bench_byzantine."""
