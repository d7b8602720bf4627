"""FedVM: federated learning whose rules a contract enforces and whose model a contract runs."""

__version__ = "0.1.0"
