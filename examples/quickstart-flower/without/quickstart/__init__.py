"""Ten clients learn to read digits."""
