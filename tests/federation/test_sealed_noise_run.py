"""A sealed federation whose members add noise: its audit is clean, and nothing else of the data leaves them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from federation_bench import FRACTION_BITS, MakeBench, rules
from flwr.app import Message
from test_sealed_rounds_run import CLIENTS, RULES, SETTINGS, nodes_with

from fedvm.audit.replay import audit
from fedvm.federation.client.distributed_privacy import DistributedPrivacy
from fedvm.federation.errors import FederationStalled
from fedvm.federation.sealed.messages import REPLY, MaskedReply
from fedvm.protocol import max_sum_squares
from fedvm.protocol.sealed.noise import certain_members, member_scale
from fedvm.protocol.typed_data import NOT_ATTESTED_LOSS

CLIP = 0.5
FREE = DistributedPrivacy(CLIP, 2.0, assumed_corrupt=2)
PRIVACY = replace(FREE, max_epsilon=FREE.epsilon(2))
NORM = {
    "max_sum_squares": max_sum_squares(CLIP, FRACTION_BITS),
    "max_loss_micros": NOT_ATTESTED_LOSS,
    "min_clients": 8,
}
BUDGET = {**NORM, "max_epsilon_micros": math.ceil(FREE.epsilon(2) * 1e6)}
NOISY = replace(RULES, noise_squares=FREE.room(rules(**NORM), RULES.group_size, RULES.group_norm_ppm))


@pytest.mark.slow
def test_a_run_with_noise_ends_with_its_budget_and_its_audit_is_clean(make_bench: MakeBench) -> None:
    settings = replace(SETTINGS, privacy=PRIVACY, seeded_noise=True, fraction_evaluate=0.0)
    bench = make_bench(CLIENTS, "noisy", sealed=NOISY, **BUDGET)
    noisy = bench.run(settings).vector.astype(np.int64)
    result = bench.run(replace(settings, rounds=4))
    assert [record.status for record in result.records] == ["final", "final", "failed"]
    assert str(result.stopped).startswith("the clients' privacy budgets are spent")
    for record, releases in zip(result.records[:2], (1, 2), strict=True):
        assert len(record.accepted) == CLIENTS
        assert all(one.epsilon == pytest.approx(FREE.epsilon(releases), abs=1e-6) for one in record.accepted)
        assert all(one.accuracy == 0 for one in record.accepted)
        assert record.train_loss is None and record.validation_loss is None
    found = audit(bench.chain.w3, bench.store, federation=bench.ledger.domain.federation, service=None)
    assert found.findings == () and found.passed["group norm"] == 4

    # What is between the first round's model and the one without noise is noise of the size that is promised.
    plain = make_bench(CLIENTS, "plain", sealed=RULES, **NORM).run(replace(settings, privacy=None))
    noise = (noisy - plain.vector).astype(np.float64)
    each = [member_scale(FREE.total(rules(**NORM)), certain_members(ready, 2)) for ready in (8, 9)]
    expected = math.sqrt(8 * each[0] ** 2 + 9 * each[1] ** 2) / (CLIENTS * 80)
    assert noise.std() == pytest.approx(expected, rel=0.05)
    assert abs(noise.mean()) < 4 * expected / math.sqrt(noise.size)


@pytest.mark.slow
def test_members_with_noise_answer_for_nothing_else(make_bench: MakeBench) -> None:
    bench = make_bench(CLIENTS, "noisy", sealed=NOISY, **BUDGET)
    seen: list[Message] = []

    def after(reply: Message, partition: int) -> None:
        if not reply.has_error() and REPLY in reply.content.config_records:
            seen.append(reply)

    result = bench.run(
        replace(SETTINGS, fraction_evaluate=1.0), nodes=nodes_with(bench, after=after, privacy=PRIVACY)
    )
    (record,) = result.records
    assert record.status == "final" and record.evaluated == 0, "clients evaluate for nobody"
    assert len(seen) == CLIENTS
    for reply in seen:
        (metrics,) = reply.content.metric_records.values()
        assert dict(metrics) == {"num-examples": 80}
        masked = MaskedReply.from_content(reply.content).submission.masked
        said = (masked.accuracy_ppm, masked.loss_micros, masked.labels)
        assert said == (0, NOT_ATTESTED_LOSS, 0)


def test_members_without_noise_take_no_part_in_sums_with_it(make_bench: MakeBench) -> None:
    bench = make_bench(CLIENTS, "noisy", sealed=NOISY, **BUDGET)
    with pytest.raises(FederationStalled, match="0 members enrolled"):
        bench.run(SETTINGS)
    opened = make_bench(CLIENTS, "open", **NORM)
    with pytest.raises(FederationStalled, match="answers nothing else"):
        opened.run(replace(SETTINGS, privacy=FREE, max_failed_rounds=1))
