"""Clients of the contracts on a chain: networks, keys, transactions, events, and programs run in revm."""
