"""fedvm.audit: replays a run from its chain and its store, and names everything that does not follow."""
