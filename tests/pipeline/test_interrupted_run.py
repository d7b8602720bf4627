"""Which settings a resumed run takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedvm.pipeline.config_file import load_config, save_config
from fedvm.pipeline.errors import ConfigError
from fedvm.pipeline.resume import resumed_config
from fedvm.rundir.errors import RunDirectoryError
from fedvm.rundir.layout import RunDirectory


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """runs/mnist, begun with 7 rounds."""
    monkeypatch.chdir(tmp_path)
    config = load_config(None, {"federation.rounds": 7, "training.workers": 2})
    directory = RunDirectory(config.out)
    directory.path.mkdir(parents=True)
    save_config(config, directory.config)
    return tmp_path


def test_the_run_keeps_its_own_settings(begun: Path) -> None:
    config = resumed_config(None, {})
    assert config.federation.rounds == 7 and config.out == Path("runs/mnist")
    assert resumed_config(None, {"federation.rounds": 7, "training.workers": 1}).training.workers == 1


def test_other_settings_are_refused_by_name(begun: Path) -> None:
    with pytest.raises(ConfigError, match=r"federation\.rounds: 7 → 6"):
        resumed_config(None, {"federation.rounds": 6})
    assert resumed_config(None, {"federation.rounds": 8}).federation.rounds == 8
    file = begun / "mnist.toml"
    file.write_text("[federation]\nrounds = 7\n[rules]\nmax_norm = 2.0\n")
    with pytest.raises(ConfigError, match=r"rules\.max_norm: 10\.0 → 2\.0"):
        resumed_config(file, {})


def test_without_a_run_there_is_nothing_to_resume(begun: Path) -> None:
    with pytest.raises(RunDirectoryError, match="is no run directory"):
        resumed_config(None, {"data.dataset": "cifar10"})
