"""A federation over nodes that fail: one scenario, which has to end the same whatever happens to its requests."""
