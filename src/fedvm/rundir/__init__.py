"""A run's directory: what lies where in it, who may write to it, and which contracts it belongs to."""
