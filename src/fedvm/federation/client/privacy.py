"""Local differential privacy: a client clips its update and adds Gaussian noise before anyone else sees it.

The promise covers all of a client's data: whatever the data are, the updates that the client sent would have been
nearly as likely with any other data. Two clipped updates differ by at most 2 · clip and the noise has the standard
deviation noise_multiplier · clip, so a round is a Gaussian mechanism with σ/Δ = noise_multiplier / 2. Clipping to the
rules' norm and rounding to integers come after the noise and spend no more ε. docs/privacy.md says what is not covered.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message
from flwr.clientapp.typing import ClientAppCallable, Mod
from numpy.typing import NDArray

from fedvm.federation.arrays import named_arrays
from fedvm.federation.client.accountant import PrivacyBudget, Releases
from fedvm.federation.errors import SettingsError
from fedvm.federation.metrics import MetricNames
from fedvm.federation.reproducible import derive_seed
from fedvm.protocol.vector import length

Normal = Callable[[int], NDArray[np.float64]]
"""From a count to so many independent standard normal numbers."""
_STATE, _COUNT, _NOISE = "fedvm.privacy", "releases", "noise-multiplier"


@dataclass(frozen=True)
class LocalPrivacy(PrivacyBudget):
    """Local differential privacy of an update; clip: bound on its L2 norm."""

    def privatise(self, difference: NDArray[np.float64], normal: Normal) -> NDArray[np.float64]:
        """Clip a vector (elements,) to the L2 norm `clip` and add the noise."""
        norm = length(difference)
        kept = difference * min(1.0, self.clip / norm) if norm > 0 else difference
        return np.asarray(kept + self.noise_multiplier * self.clip * normal(difference.size))


def secure_normal(count: int) -> NDArray[np.float64]:
    """Standard normal numbers from the operating system's cryptographic generator (Box and Muller, 1958)."""
    pairs = (count + 1) // 2
    words = np.frombuffer(os.urandom(16 * pairs), dtype=np.uint64).reshape(2, pairs)
    radius, angle = (words.astype(np.float64) + 0.5) / 2.0**64
    length = np.sqrt(-2.0 * np.log(radius))
    both = np.concatenate([length * np.cos(2 * np.pi * angle), length * np.sin(2 * np.pi * angle)])
    return both[:count]


def dp_mod(privacy: LocalPrivacy, *, seed: int | None = None, names: MetricNames | None = None) -> Mod:
    """A mod for `ClientApp(mods=[fedvm_mod, dp_mod(...)])`: noise first, then the signature.

    It replaces the trained tensors by base + noisy clipped difference, and reports the ε spent so far as the metric
    `epsilon`, which `fedvm_mod` signs. The number of updates sent, and the least noise any of them had, are kept in the
    client's state; a client that has lost it counts an update in every earlier round. If an update would exceed the
    budget, PrivacyBudgetSpent is raised before training and nothing is sent. seed: makes the noise reproducible, **for
    simulations only**: whoever knows the seed can remove the noise. With None the noise comes from the operating
    system.
    """
    epsilon_name = (names or MetricNames()).epsilon

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        if not message.metadata.message_type.startswith("train"):
            return call_next(message, context)
        round_ = _round_of(message)
        releases = privacy.one_more(_releases(context), round_)
        spent = privacy.spend(releases)
        base = named_arrays(next(iter(message.content.array_records.values())))
        reply = call_next(message, context)
        if reply.has_error():
            return reply
        normal: Normal = secure_normal if seed is None else _seeded(seed, round_, context)
        for name, trained in reply.content.array_records.items():
            reply.content[name] = _privatised(privacy, base, trained, normal)
        for metrics in reply.content.metric_records.values():
            metrics[epsilon_name] = spent
        context.state[_STATE] = ConfigRecord({_COUNT: releases.count, _NOISE: releases.noise_multiplier})
        return reply

    return mod


def _privatised(
    privacy: LocalPrivacy, base: dict[str, NDArray[Any]], trained: ArrayRecord, normal: Normal
) -> ArrayRecord:
    arrays = named_arrays(trained)
    floats = [name for name, array in arrays.items() if np.issubdtype(array.dtype, np.floating)]
    if missing := [name for name in floats if name not in base]:
        raise SettingsError(f"the app returned a tensor {missing[0]!r} that it was not given")
    parts = [np.ravel(arrays[name]).astype(np.float64) - np.ravel(base[name]) for name in floats]
    noisy = privacy.privatise(np.concatenate([np.zeros(0), *parts]), normal)
    ends = np.cumsum([part.size for part in parts])[:-1]
    moved = {
        name: (base[name] + piece.reshape(base[name].shape)).astype(arrays[name].dtype)
        for name, piece in zip(floats, np.split(noisy, ends), strict=True)
    }
    return ArrayRecord({name: Array(np.asarray(moved.get(name, array))) for name, array in arrays.items()})


def _releases(context: Context) -> Releases | None:
    state = context.state.config_records.get(_STATE)
    return None if state is None else Releases(int(str(state[_COUNT])), float(str(state[_NOISE])))


def _round_of(message: Message) -> int:
    for config in message.content.config_records.values():
        if "server-round" in config:
            return int(str(config["server-round"]))
    raise SettingsError("the train message names no round (server-round), so ε cannot be counted")


def _seeded(seed: int, round_: int, context: Context) -> Normal:
    partition = context.node_config.get("partition-id")
    generator = np.random.default_rng(derive_seed(seed, "privacy", round_, partition))
    return lambda count: generator.standard_normal(count)
