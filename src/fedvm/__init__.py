"""FedVM: federated learning whose rules a contract enforces and whose model a contract runs."""

import os

__version__ = "0.1.0"

# web3 and py-evm hash through eth-hash, which chooses what hashes when it is first used. Its own first choice takes
# five times as long as the extension that `fedvm.evm.keccak` uses.
os.environ.setdefault("ETH_HASH_BACKEND", "pysha3")
