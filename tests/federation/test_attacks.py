"""Attacks that keep the rules: what they send, and that the contract has no reason to refuse it."""

from __future__ import annotations

import numpy as np
import pytest
from federation_bench import MODEL, SEED, MakeBench, client_data, mnist, rules

from fedvm.chain.federation_types import UpdateAccepted
from fedvm.federation import FederationSettings, image_nodes
from fedvm.federation.commitment import clip_and_quantize, norm_bound
from fedvm.federation.simulated.adversaries import ADVERSARIES
from fedvm.federation.simulated.attacks import a_little_is_enough, free_rider, gaussian, scaling, sign_flip
from fedvm.protocol import int32_from_bytes, sum_squares

RULES = rules()


def _difference(norm: float, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal(RULES.elements)
    return drawn * (norm / np.linalg.norm(drawn))


def _cosine(left: np.ndarray, right: np.ndarray) -> float:
    left, right = left.astype(np.float64), right.astype(np.float64)
    return float(left @ right / (np.linalg.norm(left) * np.linalg.norm(right)))


@pytest.mark.parametrize("norm", [0.01, 1.0, 500.0])
def test_stretched_attacks_use_the_whole_bound_and_no_more(norm: float) -> None:
    difference = _difference(norm)
    for attack, cosine in ((sign_flip, -1.0), (scaling, 1.0), (gaussian, 0.0)):
        update = attack(difference, RULES)
        assert 0.999 * RULES.max_sum_squares < sum_squares(update) <= RULES.max_sum_squares
        assert _cosine(update, difference) == pytest.approx(cosine, abs=0.06)
        assert np.array_equal(update, attack(difference, RULES))
    assert not np.array_equal(gaussian(difference, RULES), gaussian(_difference(norm, 1), RULES))


def test_a_client_that_learnt_nothing_has_nothing_to_stretch() -> None:
    nothing = np.zeros(RULES.elements)
    assert not sign_flip(nothing, RULES).any() and not scaling(nothing, RULES).any()
    assert not free_rider(_difference(1.0), RULES).any()


def test_a_little_is_enough_lies_where_the_paper_says() -> None:
    learnt = np.array([[1.0, 0.0], [3.0, 0.0], [5.0, 0.0]])
    # 20 clients, 8 of them colluding: s = 3 supporters, z = Φ⁻¹(9 / 12).
    crafted = a_little_is_enough(np.repeat(learnt, [3, 2, 3], axis=0), 20)
    assert crafted == pytest.approx([3.0 - 0.6744897501960817 * np.sqrt(3.0), 0.0])
    assert a_little_is_enough(learnt[:1], 3) == pytest.approx(
        learnt[0]
    )  # alone there is no deviation to hide in


def test_mirrored_labels_are_wrong_and_mirror_back() -> None:
    flip = ADVERSARIES["label_flip"].labels
    assert flip is not None
    once = flip(mnist())
    assert (once.labels == 9 - mnist().labels).all() and (flip(once).labels == mnist().labels).all()


@pytest.mark.slow
def test_the_contract_accepts_them_all_and_colluders_send_the_same(make_bench: MakeBench) -> None:
    bench = make_bench(8)
    hostile = dict(
        enumerate(["sign_flip", "scaling", "label_flip", "gaussian", "free_rider", "colluding", "colluding"])
    )
    settings = FederationSettings(
        clients=8, rounds=1, fraction_evaluate=0.0, min_evaluate_nodes=0, adversaries=hostile
    )
    record = bench.run(settings).records[0]
    assert len(record.accepted) == 8 and not record.refused and not record.failures
    updates = {
        verdict.member: int32_from_bytes(bench.store.get(verdict.cid), RULES.elements)
        for verdict in bench.ledger.history(1).verdicts
        if isinstance(verdict, UpdateAccepted)
    }
    sent = [updates[member] for member in bench.members]
    assert np.array_equal(sent[5], sent[6]) and not sent[4].any()
    honest_bench = make_bench(8, "honest")
    honest_bench.run(FederationSettings(clients=8, rounds=1, fraction_evaluate=0.0, min_evaluate_nodes=0))
    honest = [
        int32_from_bytes(honest_bench.store.get(verdict.cid), RULES.elements)
        for member in honest_bench.members
        for verdict in honest_bench.ledger.history(1).verdicts
        if verdict.member == member
    ]
    assert _cosine(sent[0], honest[0]) == pytest.approx(-1, abs=1e-3)
    assert _cosine(sent[1], honest[1]) == pytest.approx(1, abs=1e-3)
    assert np.array_equal(sent[7], honest[7])
    two = np.stack([update / 2.0**RULES.fraction_bits for update in honest[5:7]])
    crafted = clip_and_quantize(a_little_is_enough(two, 8), RULES)
    assert np.abs(sent[5] - crafted).max() <= 2  # they craft before rounding
    assert np.linalg.norm(honest[5] / 2.0**RULES.fraction_bits) < norm_bound(RULES)


def test_a_colluder_needs_its_accomplices_data(make_bench: MakeBench) -> None:
    bench = make_bench(3)

    def own_data_only(partition: int):
        if partition == 0:
            raise FileNotFoundError("partition 0 is not here")
        return client_data(partition)

    settings = FederationSettings(clients=3, rounds=1, adversaries={0: "colluding", 1: "colluding"})
    nodes = image_nodes(settings, model=MODEL, data=own_data_only, keys=bench.keys, seed=SEED)
    with pytest.raises(Exception, match="partition 0 is not here"):
        bench.run(settings, nodes=nodes)
