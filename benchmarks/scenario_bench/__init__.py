"""One federation's life from its creation to an audit elsewhere, the same on every chain."""
