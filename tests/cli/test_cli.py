"""The commands as a user types them: what they print, and the status they end with."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_run import settings

from fedvm.cli import main
from fedvm.pipeline.results import RunReport


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Status, standard output and standard error of a command."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, captured.err


def flags(digits: Path, out: Path) -> list[str]:
    """The small run as flags."""
    return [f"--set={key}={value}" for key, value in settings(digits, out).items()]


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom fedvm.cli.entry import run\nassert run(['--help']) == 0\n"
        "heavy = {'torch', 'flwr', 'web3', 'onnx', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    for word in (
        "run",
        "predict",
        "decisions",
        "audit",
        "compile",
        "deploy",
        "networks",
        "fedvm audit --run runs/mnist",
    ):
        assert word in ended.stdout


@pytest.mark.parametrize(
    "command", ["run", "predict", "decisions", "collect", "audit", "compile", "deploy", "networks check"]
)
def test_every_command_teaches_with_examples(capsys: pytest.CaptureFixture[str], command: str) -> None:
    status, out, _ = call(capsys, *command.split(), "--help")
    assert status == 0 and "Examples:" in out and f"fedvm {command}" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--epohcs", "3"], "--epochs"),
        (["run", "--set", "training.epohcs=3"], "did you mean epochs?"),
        (["run", "--set", "rounds"], "table.key=value"),
        (["run", "--clients", "3", "--min-clients", "4"], "rules.min_clients = 4"),
        (["run", "nowhere.toml"], "nowhere.toml: no such file"),
        (["run", "--dataset", "mnits", "--out", "{tmp}/run"], "mnist"),
        (["run", "--data", "{tmp}/nothing", "--out", "{tmp}/run"], "no such file or folder"),
        (["run", "--resume", "--out", "{tmp}"], "is no run directory"),
        (["predict", "x.png", "--run", "{tmp}"], "holds no compiled model"),
        (["decisions", "--run", "{tmp}"], "deployment.json"),
        (["audit", "--run", "{tmp}"], "deployment.json"),
        (["compile", "{tmp}/model.onnx"], "cannot be read"),
        (["compile", "{text}"], "ONNX"),
        (["compile", "{text}", "--offset", "1"], "--offset needs --scale"),
        (["deploy", "{text}", "--rpc", "http://127.0.0.1:1", "--key-file", "{tmp}/none"], "cannot be read"),
        (["nonsense"], "nonsense"),
    ],
)
def test_bad_input_gives_one_message_and_status_2(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.delenv("PRIVATE_KEY", raising=False)
    text = tmp_path / "text.onnx"
    text.write_text("no model")
    filled = [word.format(tmp=tmp_path, text=text) for word in arguments]
    status, _, err = call(capsys, *filled)
    assert status == 2, err
    assert words in err and "Traceback" not in err


def test_debug_shows_where_an_error_comes_from(tmp_path: Path) -> None:
    from fedvm.rundir.errors import RunDirectoryError

    with pytest.raises(RunDirectoryError):
        main(["predict", "x.png", "--run", str(tmp_path), "--debug"])


def test_networks(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = call(capsys, "networks", "list")
    assert status == 0 and "314159" in out and "calibration" in out
    status, out, _ = call(capsys, "networks", "list", "--json")
    assert {network["chain_id"] for network in json.loads(out)} >= {314, 314159, 31337}


def test_run_prints_rounds_and_figures(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, digits: Path, finished: tuple[Path, RunReport]
) -> None:
    _, report = finished
    status, out, err = call(capsys, "run", *flags(digits, tmp_path / "run"))
    assert status == 0, err
    assert report.model.model_root in out and "scores unlike ONNX Runtime's 0" in " ".join(out.split())
    assert err.count("refused client 2") == 2 and "NormTooLarge" in err and err.count("counts 60") == 2
    assert "\x1b[" not in out + err
    status, _, err = call(capsys, "run", *flags(digits, tmp_path / "run"))
    assert status == 2 and "--resume" in err
    status, _, err = call(capsys, "run", "--out", str(tmp_path / "run"), "--resume", "--rounds", "1")
    assert status == 2 and "federation.rounds: 2 → 1" in err


def test_predict_record_list_audit(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    finished: tuple[Path, RunReport],
) -> None:
    run, report = shutil.copytree(finished[0], tmp_path / "copy"), finished[1]
    image = tmp_path / "image.png"
    pixels = np.random.default_rng(5).integers(0, 256, (16, 16), dtype=np.uint8)
    Image.fromarray(pixels).save(image)
    status, out, _ = call(capsys, "decisions", "--run", str(run))
    assert status == 0 and "No decision is recorded" in out
    status, out, _ = call(capsys, "predict", str(image), "--run", str(run), "--json")
    plain = json.loads(out)
    assert status == 0 and plain["class"] == report.data.class_names[plain["label"]]
    assert plain["scores"][plain["label"]] == max(plain["scores"]) and plain["decision"] is None
    status, out, _ = call(capsys, "predict", str(image), "--run", str(run), "--record")
    assert status == 0 and out.startswith(plain["class"]) and "Recorded as decision 1" in out
    status, out, _ = call(capsys, "decisions", "--run", str(run), "--json")
    (decision,) = json.loads(out)
    assert decision["scores"] == plain["scores"] and decision["class"] == plain["class"]
    with monkeypatch.context() as narrow:
        narrow.setenv("TTY_COMPATIBLE", "1")
        narrow.setenv("COLUMNS", "40")
        narrow.setenv("NO_COLOR", "1")
        status, out, _ = call(capsys, "decisions", "--run", str(run))
    lines = {re.sub(r"\x1b\[\d*m", "", line) for line in out.splitlines()}
    assert status == 0
    assert {
        decision["caller"],
        decision["input_hash"],
        decision["tx"],
        decision["lineage"]["onnx_cid"],
    } <= lines
    assert all(len(line) <= 40 or " " not in line for line in lines)
    status, out, _ = call(capsys, "audit", "--run", str(run))
    assert status == 0 and "Nothing found" in out


@pytest.mark.slow
def test_decisions_on_several_images_are_recorded_together(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, finished: tuple[Path, RunReport]
) -> None:
    from fedvm.chain.fees import FeeTerms
    from fedvm.evm.limits import MAX_CALLDATA_BYTES
    from fedvm.rundir.run import open_run

    run, folder = shutil.copytree(finished[0], tmp_path / "copy"), tmp_path / "images"
    folder.mkdir()
    count = MAX_CALLDATA_BYTES // (256 + 64) + 2  # more than fit one transaction
    rng = np.random.default_rng(5)
    for number in range(count):
        pixels = rng.integers(0, 256, (16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    with open_run(run, read_only=False) as opened:
        assert opened.chain is not None
        user = opened.chain.account("user").address
        opened.model_service.set_fee(1, FeeTerms(1000, user)).send(opened.chain.account("owner"))
        service, block = opened.model_service.address, opened.w3.eth.block_number
    asked = ("predict", str(folder), "--run", str(run), "--json")
    status, out, _ = call(capsys, *asked, "--record")
    assert status == 1 and "FeeTooHigh(1000, 0)" in json.loads(out)["error"]
    status, out, err = call(capsys, *asked, "--record", "--max-fee", "1000")
    assert status == 0, err
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["decision"] for answer in answers] == list(range(1, count + 1))
    transactions = [answer["tx"] for answer in answers]
    assert len(set(transactions)) == 2 and transactions == sorted(transactions, key=transactions.index)
    with open_run(run) as opened:
        assert opened.w3.eth.block_number == block + 2
        assert opened.w3.eth.get_balance(service) == 1000 * count  # type: ignore[arg-type]
    status, out, _ = call(capsys, *asked)
    plain = [json.loads(line) for line in out.splitlines()]
    assert [one["scores"] for one in plain] == [one["scores"] for one in answers]
    status, out, _ = call(capsys, "audit", "--run", str(run))
    assert status == 0 and "Nothing found" in out


def test_fees_are_collected_for_those_who_contributed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, finished: tuple[Path, RunReport]
) -> None:
    from fedvm.chain.fees import FeeTerms
    from fedvm.rundir.run import open_run

    run, image = shutil.copytree(finished[0], tmp_path / "copy"), tmp_path / "image.png"
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(image)
    status, out, _ = call(capsys, "collect", "--run", str(run))
    assert status == 0 and "earned nothing" in out
    with open_run(run, read_only=False) as opened:
        assert opened.chain is not None
        # A tenth is the treasury's, which is whoever runs the command.
        terms = FeeTerms(1000, opened.chain.account("user").address, 100_000)
        opened.model_service.set_fee(1, terms).send(opened.chain.account("owner"))
    status, _, err = call(capsys, "predict", str(image), "--run", str(run), "--record")
    assert status == 1 and "FeeTooHigh(1000, 0)" in err
    status, _, err = call(capsys, "predict", str(image), "--run", str(run), "--record", "--max-fee", "1000")
    assert status == 0, err
    (run / "store").rename(run / "moved")
    (run / "store").mkdir()
    status, _, err = call(capsys, "collect", "--run", str(run))
    assert status == 1 and "the update of 0x" in err
    (run / "store").rmdir()
    (run / "moved").rename(run / "store")
    status, out, err = call(capsys, "collect", "--run", str(run))
    # Three of the four clients counted.
    assert status == 0 and out.count("300 wei") == 3 and "fetched" not in out, err
    status, out, _ = call(capsys, "collect", "--run", str(run), "--version", "1", "--withdraw")
    assert status == 0 and "earned nothing" in out and "fetched 100 wei" in out
    status, out, _ = call(capsys, "collect", "--run", str(run), "--withdraw")
    assert status == 0 and "fetched 0 wei" in out
    with open_run(run) as opened:
        owed = {member: opened.model_service.owed(member) for member in opened.federation_contract.members()}
    assert sorted(owed.values()) == [0, 300, 300, 300]


def test_predict_prepares_images_and_names_all_that_it_cannot_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, finished: tuple[Path, RunReport]
) -> None:
    run, _ = finished
    image, folder = tmp_path / "big.png", tmp_path / "folder"
    Image.new("RGB", (40, 30), (250, 10, 10)).save(image)
    status, out, err = call(capsys, "predict", str(image), "--run", str(run))
    assert status == 0 and "scaled to 16×16, the middle kept (from 40×30)" in err
    assert "not sure: the picture is blank" in out and "What the contract sees of" in err
    folder.mkdir()
    status, _, err = call(capsys, "predict", str(folder), "--run", str(run))
    assert status == 2 and "holds no image files" in err
    Image.fromarray(np.eye(16, dtype=np.uint8) * 255).save(folder / "eye.png")
    status, out, _ = call(capsys, "predict", str(image), str(folder), "--run", str(run), "--json")
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and [Path(answer["image"]).name for answer in answers] == ["big.png", "eye.png"]
    assert all(abs(sum(answer["shares"]) - 1) < 1e-9 for answer in answers)
    (folder / "bad.png").write_text("no picture")
    (folder / "worse.png").write_bytes(b"")
    status, out, err = call(capsys, "predict", str(image), str(folder), "--run", str(run), "--record")
    assert status == 2 and not out
    assert "bad.png: not a readable image" in err and "worse.png: not a readable image" in err
    status, _, err = call(capsys, "predict", str(image), "--run", str(run), "--max-fee", "5")
    assert status == 2 and "--max-fee needs --record" in err


def test_names_come_from_the_file_that_the_chain_names(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, finished: tuple[Path, RunReport]
) -> None:
    run, image = shutil.copytree(finished[0], tmp_path / "copy"), tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(5).integers(0, 256, (16, 16), dtype=np.uint8)).save(image)
    asked = ["predict", str(image), "--run", str(run), "--json"]
    _, before, _ = call(capsys, *asked)
    # Whoever swaps names in what a run shows of itself changes no answer …
    for shown in (run / "report.json", run / "program" / "manifest.json"):
        text = shown.read_text()
        assert "digit-1" in text
        shown.write_text(
            text.replace("digit-1", "digit-x").replace("digit-7", "digit-1").replace("digit-x", "digit-7")
        )
    status, after, _ = call(capsys, *asked)
    assert status == 0 and after == before
    # … and whoever swaps them in the file itself is found out before an answer, and by the audit.
    cid = finished[1].model.onnx_cid
    swapped = 0
    for block in (run / "store").iterdir():
        if b"fedvm.description" in (content := block.read_bytes()):
            block.write_bytes(content.replace(b"digit-7", b"digit-9"))
            swapped += 1
    assert swapped
    status, out, _ = call(capsys, *asked)
    assert status != 0 and "hash to something else" in out
    status, out, _ = call(capsys, "audit", "--run", str(run))
    assert status == 1 and "onnx data" in out and cid in out


def test_a_compiled_program_is_asked_without_a_chain(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, finished: tuple[Path, RunReport]
) -> None:
    run, image, program = finished[0], tmp_path / "image.png", tmp_path / "program"
    Image.fromarray(np.random.default_rng(5).integers(0, 256, (16, 16), dtype=np.uint8)).save(image)
    _, out, _ = call(capsys, "predict", str(image), "--run", str(run), "--json")
    status, _, err = call(capsys, "compile", str(run / "model.onnx"), "-o", str(program))
    assert status == 0, err
    status, alone, err = call(capsys, "predict", str(image), "--run", str(program), "--json")
    assert status == 0, err
    of_run, of_program = json.loads(out), json.loads(alone)
    for key in ("class", "label", "scores", "shares", "class_names", "notes"):
        assert of_run[key] == of_program[key]
    assert of_program["version"] == 0 and of_program["class"].startswith("digit-")
    status, _, err = call(capsys, "predict", str(image), "--run", str(program), "--record")
    assert status == 2 and "on no chain" in err
    names = ",".join(f"n{index}" for index in range(10))
    (tmp_path / "names.txt").write_text("\n".join(names.split(",")) + "\n")
    status, _, err = call(
        capsys, "compile", str(run / "model.onnx"), "-o", str(tmp_path / "named"), "--classes",
        str(tmp_path / "names.txt"), "--preparation", "raw", "--title", "digits",
    )  # fmt: skip
    assert status == 0, err
    status, out, _ = call(capsys, "predict", str(image), "--run", str(tmp_path / "named"))
    assert status == 0 and out.startswith(f"n{of_run['label']}") and "run here, on no chain" in out
    for wrong, words in (
        ("a,b", "2 class names for 10 scores"),
        ("abc", "between commas"),
        (names + ",n0", "two"),
    ):
        status, _, err = call(capsys, "compile", str(run / "model.onnx"), "--classes", wrong)
        assert status == 2 and words in err


@pytest.mark.slow
def test_many_classes_are_not_all_listed(tmp_path: Path) -> None:
    from fedvm.learning.export import export_onnx
    from fedvm.learning.models import ModelSpec, build_model

    export_onnx(build_model(ModelSpec("linear", (1, 6, 6), 200), seed=1), (1, 6, 6), tmp_path / "m.onnx")
    names = ["grün", "[bold]x[/]", *(f"Δ{index}" for index in range(198))]
    (tmp_path / "names.txt").write_text("\n".join(names), encoding="utf-8")
    Image.fromarray(np.arange(36, dtype=np.uint8).reshape(6, 6) * 7).save(tmp_path / "a.png")
    fedvm = [sys.executable, "-m", "fedvm.cli.entry"]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    for command in (
        ["compile", "m.onnx", "--scale", "0.0078", "--offset", "-1", "--classes", "names.txt", "-o", "out"],
        ["predict", "-", "--run", "out"],
    ):
        with (tmp_path / "a.png").open("rb") as image:
            ended = subprocess.run(
                fedvm + command,
                stdin=image,
                capture_output=True,
                text=True,
                cwd=tmp_path,
                env=environment,
                check=False,
            )
        assert ended.returncode == 0, ended.stderr
    assert "and 190 more" in ended.stdout and ended.stdout.count("%") == 11
    assert "What the program sees of standard input" in ended.stderr


def test_audit_names_a_flipped_byte_and_ends_with_1(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, finished: tuple[Path, RunReport]
) -> None:
    from fedvm.chain.federation_types import UpdateAccepted
    from fedvm.rundir.run import open_run
    from fedvm.store import Cid

    copy = shutil.copytree(finished[0], tmp_path / "copy")
    with open_run(copy) as run:
        victim = next(e for e in run.federation_contract.events() if isinstance(e, UpdateAccepted))
        file = run.store.file_of(Cid.from_binary(victim.cid))
    data = bytearray(file.read_bytes())
    data[33] ^= 4
    file.write_bytes(data)
    status, out, _ = call(capsys, "audit", "--run", str(copy))
    assert status == 1 and victim.member in out and str(Cid.from_binary(victim.cid)) in out
    status, out, _ = call(capsys, "audit", "--run", str(copy), "--json")
    report = json.loads(out)
    assert status == 1 and not report["clean"] and report["findings"][0]["place"]["round"] == 1


def test_compile_checks_the_code(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, finished: tuple[Path, RunReport], digits: Path
) -> None:
    run, report = finished
    model, program = str(run / "model.onnx"), tmp_path / "program"
    status, out, err = call(capsys, "compile", model, "-o", str(program), "--check")
    assert status == 0 and "from the store beside it" in err and "0 unlike ONNX Runtime" in err
    assert f"{report.gas.predict_estimate:,} EVM gas" in out
    assert (program / "manifest.json").is_file() and (program / "entry.bin").is_file()
    status, _, err = call(capsys, "compile", model, "-o", str(program), "--check")
    assert status == 0 and "all code hashes are equal" in err
    manifest = json.loads((program / "manifest.json").read_text())
    del manifest["compiler"]  # as the first version wrote it
    (program / "manifest.json").write_text(json.dumps(manifest))
    status, _, err = call(capsys, "compile", model, "-o", str(program), "--check")
    assert status == 1 and "known faults" in err and "Compile the model again" in err
    status, out, _ = call(capsys, "compile", model, "--calibration", str(digits), "--emit", "manifest")
    assert status == 0 and json.loads(out)["calibration_samples"] == 240
    status, out, _ = call(capsys, "compile", model, "--emit", "asm")
    assert status == 0 and "MUL" in out
