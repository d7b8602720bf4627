"""fedvm.pipeline: from a configuration to a trained, deployed and checked model in a run directory."""
