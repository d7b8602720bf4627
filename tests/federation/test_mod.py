"""The mod and strategy around somebody else's Flower app: two lines, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from eth_account import Account
from federation_bench import FRACTION_BITS, MakeBench, rules
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg, FedMedian, FedProx

import conditions
from fedvm.chain.federation import FederationContract
from fedvm.federation import (
    Accountable,
    ChainLedger,
    Federation,
    FederationSettings,
    InProcessGrid,
    fedvm_mod,
    make_nodes,
    publish_model,
)
from fedvm.federation.arrays import ModelCodec, named_arrays
from fedvm.federation.client.consent import Consent
from fedvm.federation.client.kept import read_kept_update
from fedvm.federation.commitment import Attestation, SignedUpdate, check_commitment, commit
from fedvm.federation.coordinator.sampling import choose_members
from fedvm.federation.engines.flower_task import set_server_identity
from fedvm.federation.errors import CommitmentError, FederationStalled, SettingsError, TermsError
from fedvm.federation.replies import read_reply, write_reply
from fedvm.federation.terms import RECORD, Briefing, RoundTerms
from fedvm.protocol import Domain, EncodingError, model_root, recover_signer
from fedvm.protocol.address import to_address
from fedvm.store import Cid, ContentStore

KEY = "0x" + "42" * 32
DOMAIN = Domain(31_415_926, to_address("0x" + "ab" * 20))
FEDERATION = DOMAIN.federation
STATE = {
    "weight": np.linspace(-1, 1, 70, dtype=np.float32).reshape(7, 10),
    "norm.num_batches_tracked": np.array(4, dtype=np.int64),
    "norm.running_mean": np.zeros(3, dtype=np.float32),
}
CODEC = ModelCodec.for_arrays(STATE, FRACTION_BITS)
BASE = CODEC.quantize(STATE)
RULES = rules(elements=73, max_loss_micros=2**64 - 1)


def own_app(**metrics: float) -> ClientApp:
    """An ordinary app by somebody who has never heard of FedVM, but for the mod."""
    app = ClientApp(mods=[fedvm_mod])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        arrays = named_arrays(message.content["arrays"])
        assert list(arrays) == list(STATE)
        assert RECORD not in message.content
        step = np.float32(0.01 * (1 + int(context.node_config.get("partition-id", 0))))
        arrays["weight"] = arrays["weight"] + step
        arrays["norm.num_batches_tracked"] = np.asarray(arrays["norm.num_batches_tracked"] + 1)
        content = RecordDict(
            {
                "arrays": ArrayRecord({name: Array(array) for name, array in arrays.items()}),
                "metrics": MetricRecord({"num-examples": 10, "train-loss": 0.5, **metrics}),
            }
        )
        return Message(content, reply_to=message)

    return app


def never() -> ClientApp:
    """An app that must not be asked to train."""
    app = ClientApp(mods=[fedvm_mod])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        raise AssertionError("it trained before the terms were checked")

    return app


def terms(**changes: object) -> RoundTerms:
    values = {
        "domain": DOMAIN,
        "round": 3,
        "rules": RULES,
        "base_root": model_root(BASE),
        "deadline": 2_000_000_000,
    }
    return RoundTerms(**{**values, **changes})  # type: ignore[arg-type]


def ask(app: ClientApp, asked: RoundTerms | None, **node_config: str | float) -> Message:
    set_server_identity(1)
    content = RecordDict({"arrays": CODEC.floats(BASE), "config": ConfigRecord({"server-round": 3})})
    if asked is not None:
        content[RECORD] = Briefing(asked).to_record()
    message = Message(content, dst_node_id=1000, message_type="train")
    config = {"fedvm-key": KEY, **node_config}
    return app(message, Context(1, 1000, {k: v for k, v in config.items() if v}, RecordDict(), {}))


def test_the_reply_is_a_signed_integer_update_of_the_trained_difference() -> None:
    signed = read_reply(
        ask(own_app(**{"validation-accuracy": 0.75, "validation-loss": 1.25}), terms()).content
    )
    assert signed.member == Account.from_key(KEY).address
    assert set(signed.vector[:70].tolist()) <= {
        int(0.01 * 2**16),
        int(0.01 * 2**16) + 1,
        int(0.01 * 2**16) - 1,
    }
    assert not signed.vector[70:].any()
    update = signed.update
    assert (update.examples, update.accuracy_ppm, update.loss_micros) == (10, 750_000, 1_250_000)
    assert (update.round, update.base_root, update.rules_hash) == (3, model_root(BASE), RULES.digest())
    assert recover_signer(update, DOMAIN, signed.signature) == signed.member
    check_commitment(signed, DOMAIN)


def test_metrics_that_are_not_measured_are_attested_as_the_worst() -> None:
    update = read_reply(ask(own_app(), terms()).content).update
    assert (update.accuracy_ppm, update.loss_micros) == (0, 2**64 - 1)
    nan = float("nan")
    diverged = own_app(**{"validation-accuracy": nan, "validation-loss": nan})
    update = read_reply(ask(diverged, terms()).content).update
    assert (update.accuracy_ppm, update.loss_micros) == (0, 2**64 - 1)


@pytest.mark.parametrize("count", [float("nan"), float("inf"), -1, 2.5, [3, 4]])
def test_a_number_of_examples_that_is_none_is_refused(count: float | list[int]) -> None:
    with pytest.raises(CommitmentError, match="whole number of 'num-examples'"):
        ask(own_app(**{"num-examples": count}), terms())  # type: ignore[dict-item]


def test_a_key_file_is_read_and_no_key_is_named_clearly(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("0x" + "43" * 32 + "\n")
    reply = ask(own_app(), terms(), **{"fedvm-key": "", "fedvm-key-file": str(file)})
    assert read_reply(reply.content).member == Account.from_key("0x" + "43" * 32).address
    with pytest.raises(TermsError, match="no signing key: set fedvm-key-file"):
        ask(own_app(), terms(), **{"fedvm-key": ""})
    file.write_text("secret words")
    with pytest.raises(TermsError, match="does not hold 32 bytes in hex") as caught:
        ask(own_app(), terms(), **{"fedvm-key": "", "fedvm-key-file": str(file)})
    assert "secret" not in str(caught.value)
    with pytest.raises(TermsError, match="cannot be read"):
        ask(own_app(), terms(), **{"fedvm-key": "", "fedvm-key-file": str(tmp_path / "none")})


def test_a_client_signs_only_rules_it_agreed_to() -> None:
    agreed = "0x" + RULES.digest().hex()
    ask(own_app(), terms(), **{"fedvm-rules": agreed})
    other = replace(RULES, min_examples=RULES.min_examples + 1)
    with pytest.raises(TermsError, match=f"agreed to the rules {agreed} only"):
        ask(own_app(), terms(rules=other), **{"fedvm-rules": agreed})


@pytest.mark.parametrize(
    ("own", "kept", "broken", "words"),
    [
        ({"fedvm-max-epsilon": 8}, {"max_epsilon_micros": 8_000_000}, {"max_epsilon_micros": 8_000_001}, "allow ε = 8"),
        ({"fedvm-max-epsilon": 0.5}, {"max_epsilon_micros": 1}, {"max_epsilon_micros": 0}, "have no privacy budget"),
        ({"fedvm-min-examples": 20}, {"min_examples": 20}, {"min_examples": 19}, "ask for 19: change fedvm-min-ex"),
        ({"fedvm-min-clients": 5}, {"min_clients": 5}, {"min_clients": 4}, "a quorum of at least 5 clients only"),
    ],
)  # fmt: skip
def test_a_client_signs_only_within_its_limits(
    own: dict[str, float], kept: dict[str, int], broken: dict[str, int], words: str
) -> None:
    ask(own_app(), terms(rules=replace(RULES, **kept)), **own)
    with pytest.raises(TermsError, match=words):
        ask(never(), terms(rules=replace(RULES, **broken)), **own)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"fedvm-max-epsilom": 3}, "has fedvm-max-epsilom, which means nothing; known: fedvm-data"),
        ({"fedvm-max-epsilon": "much"}, "give a number above 0"),
        ({"fedvm-max-epsilon": float("nan")}, "give a number above 0"),
        ({"fedvm-min-examples": 2.5}, "give a whole number above 0"),
        ({"fedvm-min-clients": -1}, "give a whole number above 0"),
        ({"fedvm-rules": "0x12"}, "fedvm-rules is '0x12' in this client's node config: give 0x and 64"),
        ({"fedvm-federation": "ab" * 20}, "give 0x and 40 hex digits"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused(own: dict[str, float | str], words: str) -> None:
    with pytest.raises(TermsError, match=words):
        ask(never(), terms(), **own)


def test_a_client_keeps_what_it_signs_where_its_node_config_says(tmp_path: Path) -> None:
    reply = ask(own_app(), terms(), **{"fedvm-keep": str(tmp_path)})
    kept = read_kept_update(tmp_path / FEDERATION / "round-3.json")
    assert kept.signed.submission == read_reply(reply.content).submission


def test_consent_and_node_config_say_the_same() -> None:
    consent = Consent(FEDERATION, "0x" + "12" * 32, 2.5, 30, 4)
    assert Consent.from_node_config(consent.node_config()) == consent
    assert Consent().node_config() == {} and Consent.from_node_config({"partition-id": 3}) == Consent()


def test_a_client_does_not_sign_for_another_base_or_federation() -> None:
    with pytest.raises(TermsError, match="not the one its terms name"):
        ask(own_app(), terms(base_root=bytes(32)))
    ask(own_app(), terms(), **{"fedvm-federation": FEDERATION.upper().replace("0X", "0x")})
    with pytest.raises(TermsError, match="signs for the federation"):
        ask(own_app(), terms(), **{"fedvm-federation": "0x" + "cd" * 20})


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"elements": 72}, "the rules speak of 72 parameters"),
        ({"elements": 74}, "the rules speak of 74 parameters"),
        ({"fraction_bits": FRACTION_BITS - 1}, "is not the one its terms name"),
    ],
)
def test_a_client_that_pins_nothing_does_not_sign_rules_of_another_model(
    named: dict[str, int], words: str
) -> None:
    with pytest.raises(TermsError, match=words):
        ask(never(), terms(rules=replace(RULES, **named)))


def test_a_server_cannot_make_the_model_another_by_its_message() -> None:
    smaller = {"weight": STATE["weight"][:6], "norm.running_mean": STATE["norm.running_mean"]}
    codec = ModelCodec.for_arrays(smaller, FRACTION_BITS)
    base = codec.quantize(smaller)
    content = RecordDict({"arrays": codec.floats(base), "config": ConfigRecord({"server-round": 3})})
    asked = terms(rules=replace(RULES, elements=codec.spec.elements), base_root=model_root(base))
    content[RECORD] = Briefing(asked).to_record()
    app = ClientApp(mods=[fedvm_mod])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        arrays = ArrayRecord({name: Array(array) for name, array in STATE.items()})  # the client's own model
        metrics = MetricRecord({"num-examples": 10, "train-loss": 0.5})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    message = Message(content, dst_node_id=1000, message_type="train")
    with pytest.raises(CommitmentError, match=r"returned 'weight' of shape \[7, 10\], it was sent \[6, 10\]"):
        app(message, Context(1, 1000, {"fedvm-key": KEY}, RecordDict(), {}))


def test_a_client_with_an_rpc_looks_before_it_trains() -> None:
    with pytest.raises(TermsError, match="does not sign, for what the chain says: no Ethereum RPC answers"):
        ask(never(), terms(), **{"fedvm-rpc": "http://127.0.0.1:1"})


@pytest.mark.parametrize("asked", [terms(), None], ids=["open round", "no round"])
def test_a_member_of_a_sealed_federation_trains_for_sealed_rounds_alone(asked: RoundTerms | None) -> None:
    # Else the server would only have to leave the record away that asks for a masked update, and see a plain one.
    with pytest.raises(TermsError, match="an update that is not sealed"):
        ask(never(), asked, **{"fedvm-sealed": "keys"})


def test_what_a_member_of_a_sealed_federation_evaluates_leaves_it_as_metrics_alone() -> None:
    set_server_identity(1)
    app = ClientApp(mods=[fedvm_mod])

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        metrics = {"metrics": MetricRecord({"num-examples": 10})}
        return Message(RecordDict(metrics | leaking), reply_to=message)

    def evaluated() -> Message:
        content = RecordDict({"arrays": CODEC.floats(BASE), "config": ConfigRecord({"server-round": 3})})
        message = Message(content, dst_node_id=1000, message_type="evaluate")
        config = {"fedvm-key": KEY, "fedvm-sealed": "keys"}
        return app(message, Context(1, 1000, config, RecordDict(), {}))

    leaking: dict[str, ArrayRecord] = {}
    assert evaluated().content.metric_records["metrics"]["num-examples"] == 10
    leaking["arrays"] = CODEC.floats(BASE)
    with pytest.raises(TermsError, match="nothing leaves but metrics"):
        evaluated()


def test_messages_of_another_strategy_are_refused() -> None:
    set_server_identity(1)
    content = RecordDict({"arrays": CODEC.floats(BASE)})
    message = Message(content, dst_node_id=1000, message_type="train")
    with pytest.raises(TermsError, match=r"wrap the server's strategy: Accountable"):
        own_app()(message, Context(1, 1000, {"fedvm-key": KEY}, RecordDict(), {}))


@pytest.mark.parametrize("kind", ["evaluate", "query", "query.histogram"])
def test_messages_of_other_kinds_pass_as_they_are(kind: str) -> None:
    set_server_identity(1)
    app = ClientApp(mods=[fedvm_mod])
    function, _, action = kind.partition(".")

    @getattr(app, function)(*filter(None, [action]))
    def answer(message: Message, context: Context) -> Message:
        assert list(message.content) == ["anything"]
        return Message(RecordDict({"metrics": MetricRecord({"n": [1, 2]})}), reply_to=message)

    message = Message(RecordDict({"anything": ConfigRecord({"a": 1})}), dst_node_id=1000, message_type=kind)
    reply = app(message, Context(1, 1000, {}, RecordDict(), {}))
    assert dict(reply.content) == {"metrics": MetricRecord({"n": [1, 2]})}


@pytest.mark.parametrize("examples", [-1, 1.5])
def test_examples_must_be_a_whole_number(examples: float) -> None:
    with pytest.raises(CommitmentError, match="whole number"):
        ask(own_app(**{"num-examples": examples}), terms())


def test_diverged_training_is_an_error_not_an_update() -> None:
    app = ClientApp(mods=[fedvm_mod])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        arrays = named_arrays(message.content["arrays"])
        arrays["weight"] = arrays["weight"] * np.float32("nan")
        content = RecordDict(
            {
                "arrays": ArrayRecord({name: Array(array) for name, array in arrays.items()}),
                "metrics": MetricRecord({"num-examples": 10}),
            }
        )
        return Message(content, reply_to=message)

    with pytest.raises(EncodingError, match="training diverged"):
        ask(app, terms())


def signed_update() -> SignedUpdate:
    vector = np.arange(-36, 37, dtype=np.int32)
    return commit(vector, terms(), Attestation(5, 0.5, 0.25), KEY)


@pytest.mark.parametrize("part", ["vector", "length", "round", "cid"])
def test_an_update_that_is_not_what_was_committed_to_is_found(part: str) -> None:
    signed = signed_update()
    changed = {
        "vector": replace(signed, vector=signed.vector + np.int32(1)),
        "length": replace(signed, vector=signed.vector[:-1]),
        "round": replace(signed, update=replace(signed.update, round=4)),
        "cid": replace(signed, update=replace(signed.update, cid=bytes([1, 0x55, 0x12, 32]) + bytes(32))),
    }[part]
    check_commitment(signed, DOMAIN)
    with pytest.raises(CommitmentError, match=signed.member):
        check_commitment(changed, DOMAIN)


def test_replies_and_briefings_survive_the_wire() -> None:
    signed = signed_update()
    content = RecordDict({"arrays": ArrayRecord(), "metrics": MetricRecord({"num-examples": 5})})
    write_reply(content, signed, arrays_key="arrays")
    read = read_reply(content)
    assert (read.member, read.update, read.signature) == (signed.member, signed.update, signed.signature)
    assert np.array_equal(read.vector, signed.vector)
    briefing = Briefing(terms(), "model", "weight", b"rest")
    assert Briefing.from_record(briefing.to_record()) == briefing
    content[RECORD] = ConfigRecord({"member": "x", "update": "{}", "signature": b""})
    with pytest.raises(CommitmentError, match="cannot be read"):
        read_reply(content)
    with pytest.raises(TermsError, match="cannot be read"):
        Briefing.from_record(ConfigRecord({"terms": "[["}))


def test_two_lines_make_a_flower_app_accountable(make_bench: MakeBench, tmp_path: Path) -> None:
    chain = make_bench(2).chain
    store = ContentStore(tmp_path / "own-store")
    root, cid = publish_model(store, BASE)
    accounts = [chain.account("member", index) for index in range(3)]
    contract, receipt = FederationContract.deploy(
        chain.w3,
        chain.account("owner"),
        coordinator=chain.account("coordinator").address,
        rules=RULES,
        security=conditions.security(),
        members=[account.address for account in accounts],
        model_root=root,
        model_cid=Cid.parse(cid).binary,
    )
    ledger = ChainLedger(
        contract,
        chain.account("coordinator"),
        first_block=receipt.block_number,
        pass_time=chain.advance_time,
    )
    nodes = make_nodes(own_app(), [{"fedvm-key": "0x" + bytes(account.key).hex()} for account in accounts])
    federation = Federation(
        ledger, store, {node.node_id: account.address for node, account in zip(nodes, accounts, strict=True)}
    )
    strategy = Accountable(FedProx(fraction_evaluate=0.0, proximal_mu=0.1), federation=federation)
    initial = ArrayRecord({name: Array(array) for name, array in STATE.items()})
    with InProcessGrid(nodes, seed=1) as grid:
        result = strategy.start(grid, initial, num_rounds=2)
    assert result.train_metrics_clientapp[2]["train-loss"] == pytest.approx(0.5)
    trained = named_arrays(result.arrays)
    assert list(trained) == list(STATE)
    assert trained["weight"] == pytest.approx(STATE["weight"] + 0.04, abs=1e-4)
    assert trained["norm.num_batches_tracked"] == 4  # counters keep the base's value
    assert contract.model_root() == model_root(strategy.accountability.vector)


def test_a_run_in_which_no_round_became_final_is_an_error(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    settings = FederationSettings(clients=2, rounds=1, adversaries={0: "exploded_update"})
    with pytest.raises(FederationStalled, match="1 accepted updates of the 2"):
        bench.run(settings)


def test_what_does_not_fit_the_federation_is_refused(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    nodes = dict(enumerate(bench.members))
    federation = Federation(bench.ledger, bench.store, nodes)
    with pytest.raises(SettingsError, match=r"FedMedian \(audit-only\), but .* rules say weighted mean"):
        Accountable(FedMedian(), federation=federation)
    with pytest.raises(SettingsError, match="same member address"):
        Federation(bench.ledger, bench.store, {1: bench.members[0], 2: bench.members[0].lower()})
    strategy = Accountable(FedAvg(), federation=federation)
    with pytest.raises(SettingsError, match="call begin"):
        _ = strategy.accountability.vector


def test_choosing_members() -> None:
    members = [f"0x{index:040x}" for index in range(1, 21)]
    chosen = choose_members(b"\x01" * 32, members, 5, purpose="train")
    assert chosen == choose_members(b"\x01" * 32, reversed(members), 5, purpose="train")
    assert list(chosen) == sorted(chosen) and len(set(chosen)) == 5
    assert chosen != choose_members(b"\x01" * 32, members, 5, purpose="evaluate")
    counts = np.zeros(20)
    for seed in range(400):
        for member in choose_members(seed.to_bytes(32), members, 5, purpose="train"):
            counts[int(member, 16) - 1] += 1
    assert counts.min() > 60 and counts.max() < 140  # 100 expected
    with pytest.raises(SettingsError, match="21 members are wanted"):
        choose_members(b"", members, 21, purpose="train")
