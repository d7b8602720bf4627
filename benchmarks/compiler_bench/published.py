"""What others report for predictions on a chain: constants to print beside what is measured here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """Gas of one prediction, or of verifying its proof. macs: of the network, None if not stated;
    prover: what is needed off chain ("" for nothing); source: where the figure is from."""

    name: str
    gas: int
    macs: int | None
    prover: str
    source: str


PUBLISHED = (
    Published(
        "evm-neural-network, MLP 400-32-16-10, computed",
        41_036_311,
        400 * 32 + 32 * 16 + 16 * 10,
        "",
        "README and MNISTClassifier.sol of github.com/duoxehyon/evm-neural-network, mean of 1,000 images",
    ),
    Published(
        "EZKL 23.0.5, LeNet CIFAR-10, proof verified, image public",
        3_479_896,
        651_720,
        "471 s, 22.5 GB of memory, 9.2 GB key",
        "github.com/zkonduit/ezkl, run once by FedVM's authors; not repeated by this script",
    ),
    Published(
        "EZKL 23.0.5, LeNet on 16×16 images, proof verified, image private",
        653_257,
        None,
        "yes, not timed",
        "github.com/zkonduit/ezkl, run once by FedVM's authors; not repeated by this script",
    ),
    Published(
        "circomlib-ml, LeNet-like CNN of 44 k parameters, Groth16 verified, image private",
        250_000,
        None,
        "60 s, 19 GB of memory",
        "github.com/socathie/circomlib-ml; 200,000 to 250,000, and some 6,000 for each public input",
    ),
)
