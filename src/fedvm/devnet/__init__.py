"""The embedded chain: a devnet in the process, kept in one SQLite file, with the limits of Filecoin's EVM."""

from typing import Final

CHAIN_FILE: Final = "chain.sqlite"
"""What the file is called in a directory."""
