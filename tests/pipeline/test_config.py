"""The configuration: what is refused, and that each refusal names the key and the way out."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from fedvm.federation.settings import AdversaryKind, RulesSettings
from fedvm.federation.strategy_settings import STRATEGY_KEYS, StrategyName
from fedvm.learning.recipes import default_recipe
from fedvm.learning.schedule import Schedule
from fedvm.learning.settings import (
    AugmentationName,
    CriterionName,
    DeviceName,
    OptimizerName,
    PartitionScheme,
    ScheduleName,
)
from fedvm.pipeline.config_file import (
    differences,
    dump_config,
    load_config,
    parse_assignment,
    save_config,
    settings_by_key,
)
from fedvm.pipeline.errors import ConfigError, UsageError
from fedvm.protocol import max_sum_squares
from fedvm.protocol.aggregators import CoordinateMedian


def _write(folder: Path, text: str) -> Path:
    path = folder / "night.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_the_issue_s(tmp_path: Path) -> None:
    config = load_config(None)
    assert config.data.dataset == "mnist" and config.data.clients == 16 and config.data.partition == "iid"
    assert config.adversaries == {}


def test_file_names_the_run_and_flags_override_it(tmp_path: Path) -> None:
    path = _write(tmp_path, "[federation]\nrounds = 3\n[training]\nlr = 0.5\n")
    config = load_config(path, {"federation.rounds": 9})
    assert config.run.name == "night" and config.out == Path("runs/night")
    assert config.federation.rounds == 9 and config.training.lr == 0.5
    assert load_config(None, {"data.dataset": "owner/some set"}).out == Path("runs/owner-some-set")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('[model]\ntitle = "two\\nlines"\n', 1, ["title", "printable"]),
        ("[training]\nepohcs = 3\n", 2, ["training.epohcs", "did you mean epochs?"]),
        ("\n[trainig]\nepochs = 3\n", 2, ["trainig", "did you mean [training]?"]),
        ("[federation]\nmax_norm = 3\n", 2, ["federation.max_norm", "belongs in [rules]"]),
        ("[data]\nzzz = 3\n", 2, ["data.zzz", "[data] knows: dataset, path, clients"]),
        ("[data]\nclients = 'many'\n", 2, ["data.clients", "'many'"]),
        ("[data]\nclients = 0\n", 2, ["data.clients", "greater than or equal to 1"]),
        (
            "[data]\npartition = 'iidd'\n",
            2,
            ["data.partition", "did you mean 'iid'?", "'iid', 'dirichlet', 'shard'"],
        ),
        ("[training]\noptimizer = 'adm'\n", 2, ["training.optimizer", "did you mean 'adam'?"]),
        ("[training]\ncriterion = 'cross_entropi'\n", 2, ["did you mean 'cross_entropy'?"]),
        ("[training]\naugmentation = 'shif'\n", 2, ["did you mean 'shift'?"]),
        ("[training]\ndevice = 'tpu'\n", 2, ["training.device = 'tpu'", "'cpu'"]),
        ("[adversaries]\n3 = 'nice'\n", 2, ["adversaries.3", "inflated_examples"]),
    ],
)
def test_findings_name_the_key_the_line_and_the_way_out(
    tmp_path: Path, text: str, line: int, words: list[str]
) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert f"night.toml, line {line}: " in message
    for word in words:
        assert word in message


def test_training_takes_the_data_set_s_recipe_where_nothing_is_given() -> None:
    recipe = default_recipe("mnist")
    assert load_config(None, {"training.lr": 0.5}).training.epochs == recipe.epochs
    assert load_config(None, {"training.epochs": 9}).training.epochs == 9
    assert load_config(None, {"data.dataset": "cifar10"}).training.epochs == default_recipe("cifar10").epochs


def test_own_data_are_called_after_their_folder_or_file(tmp_path: Path) -> None:
    folder, file = tmp_path / "Mein Garten.v2", tmp_path / "birds.parquet"
    folder.mkdir()
    config = load_config(None, {"data.path": str(folder)})
    assert config.data.dataset == "Mein Garten.v2" and config.out == Path("runs/Mein-Garten.v2")
    assert load_config(None, {"data.path": str(file)}).data.dataset == "birds"
    named = load_config(None, {"data.path": str(folder), "data.dataset": "mnist"})
    assert named.data.dataset == "mnist" and named.out == Path("runs/mnist")
    assert load_config(None, {"data.path": str(tmp_path / "__")}).out == Path("runs/run")


def test_the_preparation_follows_the_data_set() -> None:
    assert load_config(None).data.preparation == "drawing"
    assert load_config(None, {"data.dataset": "cifar10"}).data.preparation == "photo"
    assert load_config(None, {"data.preparation": "raw"}).data.preparation == "raw"
    with pytest.raises(ConfigError, match=r"data\.preparation .*'sketch'"):
        load_config(None, {"data.preparation": "sketch"})


def test_a_size_is_of_both_sides() -> None:
    assert load_config(None).data.image_size is None
    assert load_config(None, {"data.size": 20}).data.image_size == (20, 20)
    for size in (0, 5000, "large"):
        with pytest.raises(ConfigError, match=r"data\.size"):
            load_config(None, {"data.size": size})


def test_spelt_out_names_are_the_known_ones() -> None:
    from fedvm.federation.coordinator.flower_strategies import STRATEGIES
    from fedvm.federation.simulated.adversaries import ADVERSARIES
    from fedvm.learning.augment import AUGMENTATIONS
    from fedvm.learning.device import DEVICES
    from fedvm.learning.optimisation import CRITERIA, OPTIMIZERS
    from fedvm.learning.partition import SCHEMES
    from fedvm.learning.schedule import SCHEDULES

    assert set(AdversaryKind) == set(ADVERSARIES)
    assert set(PartitionScheme) == set(SCHEMES)
    assert set(ScheduleName) == set(SCHEDULES)
    assert set(OptimizerName) == set(OPTIMIZERS)
    assert set(CriterionName) == set(CRITERIA)
    assert set(AugmentationName) == set(AUGMENTATIONS)
    assert set(DeviceName) == set(DEVICES)
    assert set(StrategyName) == set(STRATEGIES) == set(STRATEGY_KEYS)


def test_the_help_names_every_network() -> None:
    from fedvm.learning.models import ARCHITECTURES

    words = settings_by_key()["model.name"].setting.words
    assert all(name in words for name in ARCHITECTURES)


def test_training_arguments_are_a_recipe_and_its_schedule(tmp_path: Path) -> None:
    text = "[training]\nlr = 0.3\nschedule = 'step'\nwarmup_rounds = 2\nstep_rounds = 5\nstep_factor = 0.5\n"
    training = load_config(_write(tmp_path, text)).training
    assert training.recipe.lr == 0.3
    assert Schedule.of(training) == Schedule("step", warmup=2, every=5, factor=0.5)


EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    "file", sorted([*EXAMPLES.glob("*.toml"), *EXAMPLES.glob("recipes/*.toml")]), ids=lambda file: file.stem
)
def test_examples_are_valid_and_name_what_there_is(file: Path) -> None:
    from fedvm.learning.augment import AUGMENTATIONS
    from fedvm.learning.models import ARCHITECTURES

    config = load_config(file)
    assert config.run.name == file.stem
    assert config.model.name in ARCHITECTURES and config.training.augmentation in AUGMENTATIONS
    # The figures of the LeNets are stated for at most 50 rounds, ResNet-8's for an hour.
    assert config.federation.rounds <= (60 if config.model.name == "resnet8" else 50)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[strategy]\nbeta = 0.2\n", ["strategy.beta is a parameter of fedtrimmedavg", "is fedavg"]),
        ("[federation]\nstrategy = 'fedprox'\n", ["needs strategy.proximal_mu"]),
        ("[federation]\nstrategy = 'fedavgm'\n", ["needs strategy.server_momentum"]),
        ("[federation]\nstrategy = 'multikrum'\n", ["needs strategy.num_nodes_to_select"]),
        ("[federation]\nstrategy = 'fedxgbbagging'\n", ["federation.strategy", "'krum'"]),
        ("[federation]\nstrategy = 'qfedavg'\n", ["needs strategy.client_learning_rate"]),
        (
            "[federation]\nstrategy = 'bulyan'\n[strategy]\nnum_malicious_nodes = 2\n[rules]\nmin_clients = 10\n",
            ["num_malicious_nodes = 2 can be borne among 11 updates", "min_clients = 10"],
        ),
        ("[strategy]\nmomentum = 1\n", ["strategy.momentum", "server_momentum"]),
        (
            "[federation]\nstrategy = 'krum'\n[strategy]\nnum_malicious_nodes = 4\n[rules]\nmin_clients = 10\n",
            ["num_malicious_nodes = 4 can be borne among 11 updates", "min_clients = 10"],
        ),
    ],
)
def test_a_strategy_that_does_not_fit_its_parameters_is_refused(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(_write(tmp_path, text))
    assert all(word in str(caught.value) for word in words)


def test_a_strategy_becomes_the_rule_of_the_contract(tmp_path: Path) -> None:
    from fedvm.federation.errors import SettingsError
    from fedvm.pipeline.aggregation import aggregation_rule
    from fedvm.protocol.aggregators import ServerMomentum

    text = "[federation]\nstrategy = 'fedavgm'\n[strategy]\nserver_momentum = 0.85\n"
    config = load_config(_write(tmp_path, text))
    assert aggregation_rule(config) == ServerMomentum(1_000_000, 850_000)
    saved = tmp_path / "saved.toml"
    save_config(config, saved)
    assert load_config(saved) == config
    with pytest.raises(SettingsError, match="six decimals"):
        aggregation_rule(load_config(_write(tmp_path, text.replace("0.85", "0.8500001"))))


def test_every_finding_is_listed(tmp_path: Path) -> None:
    path = _write(tmp_path, "[training]\nepohcs = 3\nlr = -1\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("overrides", "word"),
    [
        ({"security.open_seconds": 301, "rules.round_seconds": 600}, "security.open_seconds = 301"),
        ({"data.clients": 4, "rules.min_clients": 5}, "rules.min_clients = 5"),
        ({"data.clients": 4, "federation.min_train_nodes": 5}, "federation.min_train_nodes = 5"),
        ({"data.clients": 4, "adversaries.4": "bad_signature"}, "adversaries.4"),
        ({"rules.min_examples": 9, "rules.max_examples": 8}, "max_examples = 8"),
        ({"rules.max_norm": 1e30, "rules.fraction_bits": 30}, "uint128"),
        ({"rules.max_norm": float("inf")}, "rules.max_norm"),
        ({"rules.min_clients": 4, "rules.max_share": 0.24}, "below 1 / min_clients = 1 / 4"),
        ({"rules.rest_rounds": 1}, "leaves 0 of 16 clients when 16 train"),
        ({"security.bond": 0}, "security.bond"),
        ({"consent.rules": "0x12"}, "consent.rules"),
        (
            {"consent.min_clients": 2, "federation.engine": "deployment", "rules.max_examples": 9},
            "say in their node config",
        ),
    ],
)
def test_impossible_federations_are_refused(overrides: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word.replace(".", r"\.")):
        load_config(None, overrides)


def test_broken_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(_write(tmp_path, "[run\n"))


def test_resolved_configuration_reads_back_equal(tmp_path: Path) -> None:
    config = load_config(None, {"adversaries.3": "exploded_update", "run.out": "x", "rules.max_examples": 4})
    save_config(config, tmp_path / "config.toml")
    assert load_config(tmp_path / "config.toml") == config
    assert '[adversaries]\n3 = "exploded_update"' in dump_config(config)


def test_differences_ignore_what_cannot_change_results() -> None:
    config = load_config(None)
    other = load_config(None, {"run.out": "elsewhere", "training.workers": 1, "training.lr": 0.5})
    assert differences(config, other) == ["training.lr: 0.01 → 0.5"]


def test_rounds_may_only_grow() -> None:
    config, more = load_config(None), load_config(None, {"federation.rounds": 8})
    assert differences(config, more) == [] and differences(more, config) == ["federation.rounds: 8 → 5"]


def test_bound_on_the_norm_is_exact_in_integers() -> None:
    assert RulesSettings(max_norm=1.5, fraction_bits=16).max_sum_squares == (3 << 15) ** 2
    assert RulesSettings(max_norm=0.7, fraction_bits=21).max_sum_squares == max_sum_squares(0.7, 21)
    assert (
        RulesSettings(max_norm=0.1, fraction_bits=30).max_sum_squares == 11529215046068471
    )  # the double 0.1


@pytest.mark.parametrize(
    ("text", "value"),
    [("a.b=3", 3), ("a.b=0.5", 0.5), ("a.b=word", "word"), ("a.b=true", True), ("a.b='w w'", "w w")],
)
def test_assignments(text: str, value: object) -> None:
    assert parse_assignment(text) == ("a.b", value)


def test_assignments_without_table_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"table\.key=value"):
        parse_assignment("rounds=3")


def test_privacy_is_a_table_and_its_budget_becomes_a_rule(tmp_path: Path) -> None:
    from fedvm.federation.client.privacy import LocalPrivacy
    from fedvm.pipeline.federate import federation_settings

    text = "[privacy]\nclip = 2.0\nnoise_multiplier = 4.0\nmax_epsilon = 9.0\n"
    settings = federation_settings(load_config(_write(tmp_path, text)))
    assert settings.privacy == LocalPrivacy(2.0, 4.0, max_epsilon=9.0) and settings.seeded_noise
    assert federation_settings(load_config(None)).privacy is None
    deployed = load_config(
        _write(tmp_path, text), {"federation.engine": "deployment", "rules.max_examples": 300}
    )
    assert not federation_settings(deployed).seeded_noise, "real clients never take noise from a shared seed"


SEALED_NOISE = (
    "[sealed]\ngroup_size = 8\n[privacy]\nclip = 1.0\nnoise_multiplier = 2.0\nmax_epsilon = 40.0\n"
    "[federation]\nfraction_train = 1.0\nfraction_evaluate = 0.0\n[evaluation]\nclients = false\n"
)


def test_noise_of_sealed_rounds_is_in_their_sums(tmp_path: Path) -> None:
    from fedvm.federation.client.distributed_privacy import DistributedPrivacy
    from fedvm.pipeline.federate import federation_settings, rules_for, sealing
    from fedvm.pipeline.rule_units import described_noise
    from fedvm.protocol.sealed.noise import sum_excess
    from fedvm.protocol.typed_data import NOT_ATTESTED_LOSS

    config = load_config(_write(tmp_path, SEALED_NOISE))
    privacy = DistributedPrivacy(1.0, 2.0, max_epsilon=40.0, assumed_corrupt=2)
    assert federation_settings(config).privacy == privacy
    rules = rules_for(config, max_examples=300, elements=500)
    assert (rules.max_loss_micros, rules.max_epsilon_micros) == (NOT_ATTESTED_LOSS, 40_000_000)
    sealed = sealing(config, rules)
    assert sealed is not None and sealed.noise_squares == privacy.room(rules, 8, 1_000_000) > 0
    plain = load_config(None, {"sealed.group_size": 8, "federation.fraction_train": 1.0})
    without = sealing(plain, rules_for(plain, max_examples=300, elements=500))
    assert without is not None and without.noise_squares == 0
    with pytest.raises(UsageError, match=r"sealed\.min_groups is 1"):
        sealing(plain, replace(rules, aggregator=CoordinateMedian().identifier))
    with pytest.raises(UsageError, match=r"too wide to be sealed .* lower privacy\.noise_multiplier"):
        sealing(config, rules_for(config, max_examples=300, elements=10**9))
    # The smallest group has eight ready, six of them in its sum, less two: each adds 2 / √4 of the longest update.
    told = described_noise(privacy, rules, 8, 5)
    assert f"after 5 rounds ε = {privacy.epsilon(5):.4g}" in told and "more than 2 of its group" in told
    assert f"norm {math.sqrt(500 / 8):.3g} or less, the longest update has 1" in told
    # Of noise that is narrow against the integers, more is told than that of a Gaussian: of 15 ready ten count.
    rules = replace(rules, max_examples=1)
    narrow = replace(privacy, clip=2.0**-rules.fraction_bits, noise_multiplier=1.0)
    excess = 5 * sum_excess(1, 10, 500)
    told = described_noise(narrow, rules, 8, 5)
    assert f"after 5 rounds ε = {narrow.epsilon(5) + excess:.4g}" in told and excess > 1


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"federation.fraction_evaluate": 0.5}, r"set federation\.fraction_evaluate = 0$"),
        ({"evaluation.clients": True, "rules.max_loss": 20.0}, r"clients = false, no rules\.max_loss$"),
        ({"rules.min_accuracy": 0.1}, r"set no rules\.min_accuracy$"),
        ({"federation.keep": "best", "stopping.patience": 2}, r'keep = "last", no \[stopping\]$'),
        ({"personal.epochs": 1}, r"personal\.epochs = 0$"),
        ({"sealed.assumed_corrupt": 6}, r"may hold 6 updates only; assume at most 5"),
    ],
)
def test_with_noise_in_sums_nothing_else_of_the_data_may_leave(
    tmp_path: Path, overrides: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(_write(tmp_path, SEALED_NOISE), overrides)
