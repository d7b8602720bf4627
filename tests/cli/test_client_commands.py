"""What the clients of a deployment are given: a key each, and a file of images each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from eth_account import Account
from small_run import settings, small_config
from test_cli import call

from fedvm.cli import main
from fedvm.federation import ClientData
from fedvm.learning.errors import DataError
from fedvm.pipeline.client_data import load_client_data, save_client_data
from fedvm.pipeline.config_file import save_config
from fedvm.pipeline.data import prepare_data
from fedvm.pipeline.federate import client_data
from fedvm.rundir.run import open_run


def test_a_key_is_made_shown_by_its_address_and_kept_private(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "client.key"
    status, made, _ = call(capsys, "keys", "new", "--out", str(file))
    key = file.read_text().strip()
    assert status == 0 and made.strip() == Account.from_key(key).address and key not in made
    assert file.stat().st_mode & 0o777 == 0o600
    assert call(capsys, "keys", "show", str(file))[:2] == (0, made)
    status, _, complaint = call(capsys, "keys", "new", "--out", str(file))
    assert status == 2 and "never overwritten" in complaint


def test_split_writes_what_a_run_deals_out(
    tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_config(digits, tmp_path / "run")
    save_config(config, tmp_path / "small.toml")
    status, printed, _ = call(capsys, "split", str(tmp_path / "small.toml"), "--out", str(tmp_path / "parts"))
    assert status == 0 and len(printed.splitlines()) == 4
    data = prepare_data(config)
    for index in range(4):
        own, dealt = load_client_data(tmp_path / f"parts/client-{index:03}.npz"), client_data(data, index)
        assert np.array_equal(own.train.images, dealt.train.images)
        assert np.array_equal(own.train.labels, dealt.train.labels)
        assert np.array_equal(own.validation.images, dealt.validation.images)
        assert np.array_equal(own.validation.labels, dealt.validation.labels)


def test_a_file_that_is_no_clients_is_named(tmp_path: Path, digits: Path) -> None:
    own = client_data(prepare_data(small_config(digits, tmp_path / "run")), 0)
    save_client_data(tmp_path / "own.npz", ClientData(own.train, own.validation))
    np.savez(tmp_path / "other.npz", images=own.train.images)
    (tmp_path / "text.npz").write_text("not an archive")
    for name in ("other.npz", "text.npz", "none.npz"):
        with pytest.raises(DataError, match=name):
            load_client_data(tmp_path / name)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (("--engine", "flowers"), "'--engine': 'flowers' is not one of 'inprocess'"),
        (("--set", 'deployment.members=["0x1", "0x2"]'), "names 2 members but data.clients = 4"),
        (("--engine", "deployment"), "adversaries can be simulated only"),
        (("--engine", "deployment", "--baseline"), "leave baseline out"),
    ],
)
def test_engines_that_cannot_be_are_refused_before_anything_is_made(
    changes: tuple[str, ...],
    complaint: str,
    tmp_path: Path,
    digits: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    flags = [f"--set={key}={value}" for key, value in settings(digits, out).items()]
    status, _, said = call(capsys, "run", *flags, *changes)
    assert status == 2 and complaint in said and not out.exists()


def test_help_names_the_engines(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    assert "flower-simulation" in capsys.readouterr().out


MODEL = "def model():\n    import torch\n\n    torch.manual_seed(0)\n    return torch.nn.Linear(3, 2)\n"


def test_create_makes_a_federation_for_a_model_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    wanted = ("--model", "own_model:model", "--max-examples", "9")
    status, said, _ = call(
        capsys, "create", "made", *wanted, "--clients", "3", "--set", "rules.min_clients=3"
    )
    assert status == 0 and f'fedvm-directory="{tmp_path / "made"}"' in said
    assert sorted(file.name for file in (tmp_path / "made" / "keys").iterdir()) == [
        "000.key",
        "001.key",
        "002.key",
    ]
    with open_run(tmp_path / "made") as run:
        rules = run.federation_contract.rules()
        assert (rules.elements, rules.max_examples, rules.min_clients) == (8, 9, 3)
        assert run.federation_contract.address in said and run.deployment.stores == ("store",)
    elsewhere = ("create", "other", *wanted, "--clients", "2", "--store")
    status, _, complaint = call(capsys, *elsewhere, "nowhere://blocks")
    assert (
        status == 1 and "no store is known for nowhere://" in complaint and not (tmp_path / "other").exists()
    )
    assert call(capsys, *elsewhere, str(tmp_path / "blocks"), "--store", "mirror")[0] == 0
    with open_run(tmp_path / "other") as run:
        assert (
            run.deployment.stores == (str(tmp_path / "blocks"), "mirror")
            and run.federation_contract.member_count() == 2
        )
    kept, mirrored = (
        sorted(file.name for file in folder.iterdir())
        for folder in (tmp_path / "blocks", tmp_path / "other" / "mirror")
    )
    assert kept == mirrored != [] and not (tmp_path / "other" / "store").exists()


@pytest.mark.parametrize(
    "given",
    [
        (),
        ("--clients", "2", "--rpc", "http://127.0.0.1:1"),
        ("--rpc", "http://127.0.0.1:1"),
        ("--member", "0x1"),
    ],
)
def test_create_wants_simulated_clients_or_members_on_a_network(
    given: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ("--model", "own_model:model", "--max-examples", "9")
    status, _, complaint = call(capsys, "create", str(tmp_path / "made"), *wanted, *given)
    assert status == 2 and "--member for each client" in complaint and not (tmp_path / "made").exists()
