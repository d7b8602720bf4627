"""Parts of the benchmark of the pages."""
