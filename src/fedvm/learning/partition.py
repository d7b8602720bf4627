"""Divides the training examples among clients, with Flower's partitioners."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedvm.learning.data import Labels
from fedvm.learning.errors import PartitionError, unknown_name

if TYPE_CHECKING:
    from flwr_datasets.partitioner import Partitioner

Indices = npt.NDArray[np.int64]
VALIDATION_FRACTION = 0.1


@dataclass(frozen=True)
class Scheme:
    """How examples are divided.

    `name` is one of

    * `iid`: equal random shares;
    * `dirichlet`: each class split by a Dirichlet draw with concentration `alpha`; the smaller, the more unequal (T.-M.
      H. Hsu et al., arXiv:1909.06335);
    * `shard`: sorted by label and cut, `shards` pieces each (H. B. McMahan et al., arXiv:1602.05629); a
      remainder of fewer than clients · shards examples is left out;
    * `pathological`: `classes` classes each;
    * `linear`, `square`: sizes growing with the client's number, or with its square.

    Raises:
        PartitionError: unknown name, or a parameter out of range.
    """

    name: str = "iid"
    alpha: float = 0.5
    shards: int = 2
    classes: int = 2

    def __post_init__(self) -> None:
        if self.name not in SCHEMES:
            raise PartitionError(unknown_name("partition scheme", self.name, SCHEMES))
        if not 0 < self.alpha < float("inf"):
            raise PartitionError(f"the Dirichlet alpha must be positive, got {self.alpha}")
        if self.shards < 1 or self.classes < 1:
            raise PartitionError(
                f"shards and classes must be at least 1, got {self.shards} and {self.classes}"
            )


@dataclass(frozen=True)
class Partition:
    """One client's share, as ascending indices (int64) into the training split; the two do not overlap."""

    train_indices: Indices
    validation_indices: Indices

    def __len__(self) -> int:
        return len(self.train_indices) + len(self.validation_indices)


def partition(
    labels: Labels,
    clients: int,
    scheme: Scheme | None = None,
    *,
    seed: int,
    validation_fraction: float = VALIDATION_FRACTION,
) -> tuple[Partition, ...]:
    """Divide the examples among `clients`; the same arguments give the same partitions.

    Of a client's n examples max(1, floor(n · validation_fraction)) are kept for validation (none if the
    fraction is 0).

    Args:
        labels: int64 [N], of the training split.
        scheme: IID when None.

    Raises:
        PartitionError: a client would get no example to train on or none to validate on, or the scheme is impossible
            with these data.
    """
    how = scheme or Scheme()
    if clients < 1:
        raise PartitionError(f"there must be at least 1 client, got {clients}")
    if not 0 <= validation_fraction < 1:
        raise PartitionError(f"the validation fraction must be in [0, 1), got {validation_fraction}")
    least = 2 if validation_fraction else 1
    if len(labels) < clients * least:
        raise PartitionError(
            f"{len(labels)} examples are too few for {clients} clients with at least {least} each; "
            "use fewer clients or more data"
        )
    shares = _deal(labels, clients, how, seed)
    for client, share in enumerate(shares):
        if len(share) < least:
            raise PartitionError(
                f"scheme '{how.name}' gives client {client} {len(share)} examples but needs {least} "
                "(to train and to validate); use fewer clients, a larger alpha or another seed"
            )
    return tuple(
        _keep_validation(share, validation_fraction, np.random.default_rng((seed, client)))
        for client, share in enumerate(shares)
    )


def _deal(labels: Labels, clients: int, scheme: Scheme, seed: int) -> list[Indices]:
    from datasets import Dataset

    # The partitioners cut in order of the rows, and files are often sorted by class: shuffle first.
    order = np.random.default_rng(seed).permutation(len(labels))
    rows = Dataset.from_dict({"index": order, "label": labels[order]})
    try:
        with warnings.catch_warnings():
            # The Dirichlet partitioner warns of every draw it repeats. If no draw fits, an error is raised below.
            warnings.simplefilter("ignore")
            partitioner = SCHEMES[scheme.name](clients, scheme, seed)
            partitioner.dataset = rows
            parts = [partitioner.load_partition(i).with_format("numpy")["index"][:] for i in range(clients)]
    except (ValueError, IndexError) as error:
        raise PartitionError(
            f"scheme '{scheme.name}' cannot deal {len(labels)} examples out among {clients} clients: {error}"
        ) from error
    return [np.sort(np.asarray(part, np.int64)) for part in parts]


def _keep_validation(share: Indices, fraction: float, rng: np.random.Generator) -> Partition:
    kept = max(1, int(len(share) * fraction)) if fraction else 0
    mixed = rng.permutation(share)
    return Partition(np.sort(mixed[kept:]), np.sort(mixed[:kept]))


def _iid(clients: int, scheme: Scheme, seed: int) -> Partitioner:
    from flwr_datasets.partitioner import IidPartitioner

    return IidPartitioner(clients)


def _dirichlet(clients: int, scheme: Scheme, seed: int) -> Partitioner:
    from flwr_datasets.partitioner import DirichletPartitioner

    return DirichletPartitioner(
        clients, "label", scheme.alpha, min_partition_size=2, self_balancing=False, shuffle=True, seed=seed
    )


def _shard(clients: int, scheme: Scheme, seed: int) -> Partitioner:
    from flwr_datasets.partitioner import ShardPartitioner

    return ShardPartitioner(clients, "label", num_shards_per_partition=scheme.shards, shuffle=True, seed=seed)


def _pathological(clients: int, scheme: Scheme, seed: int) -> Partitioner:
    from flwr_datasets.partitioner import PathologicalPartitioner

    return PathologicalPartitioner(clients, "label", scheme.classes, shuffle=True, seed=seed)


def _linear(clients: int, scheme: Scheme, seed: int) -> Partitioner:
    from flwr_datasets.partitioner import LinearPartitioner

    return LinearPartitioner(clients)


def _square(clients: int, scheme: Scheme, seed: int) -> Partitioner:
    from flwr_datasets.partitioner import SquarePartitioner

    return SquarePartitioner(clients)


SCHEMES: Mapping[str, Callable[[int, Scheme, int], Partitioner]] = MappingProxyType(
    {
        "iid": _iid,
        "dirichlet": _dirichlet,
        "shard": _shard,
        "pathological": _pathological,
        "linear": _linear,
        "square": _square,
    }
)
