"""A Flower app of the deployment tests."""
