"""What a release publishes: the same bytes wherever it is built, and a package that needs no checkout."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "tools" / "release.py"
PACKAGE = ROOT / "src" / "fedvm"
TAG = "manylinux_2_17_x86_64"
EPOCH = "1700000000"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a release is of a commit: needs a git checkout"),
]


def run(
    *command: str | Path, cwd: Path = ROOT, fails: bool = False, **environment: str
) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env=known | environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done


def release(directory: Path, *options: str, **environment: str) -> None:
    run(sys.executable, RELEASE, directory, *options, **{"SOURCE_DATE_EPOCH": EPOCH, **environment})


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("release") / "dist"
    release(directory)
    return directory


@pytest.fixture(scope="module")
def wheel(released: Path) -> Path:
    (found,) = released.glob("*.whl")
    return found


def sums(directory: Path) -> Mapping[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def test_another_build_elsewhere_has_the_same_bytes(released: Path, tmp_path: Path) -> None:
    again = tmp_path / "a much longer name of a directory" / "dist"
    previous = os.umask(0o077)
    try:
        release(again, TMPDIR=str(tmp_path))
    finally:
        os.umask(previous)
    assert sums(again) == sums(released)
    listed = dict(reversed(line.split()) for line in (released / "SHA256SUMS").read_text().splitlines())
    assert listed == {name: digest for name, digest in sums(released).items() if name != "SHA256SUMS"}
    other = tmp_path / "other"
    release(other, SOURCE_DATE_EPOCH="1700000002")
    assert all(sums(other)[name] != sums(released)[name] for name in sums(released)), (
        "times are not the epoch's"
    )


def test_the_wheel_holds_all_that_the_package_reads(wheel: Path, released: Path) -> None:
    tracked = run("git", "ls-files", "src/fedvm").stdout.split()
    wanted = {path.removeprefix("src/") for path in tracked if not path.endswith(".c")}
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert len(wanted) > 500 and wanted - packed == set()
    assert any(name.startswith("fedvm/evm/_keccak.abi3") for name in packed)
    (archive,) = released.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        held = {name.partition("/")[2] for name in source.getnames()}
    assert set(tracked) <= held and not any(name.startswith("tests/") for name in held)


def test_the_bill_of_materials_names_what_is_needed_and_the_wheel(released: Path, wheel: Path) -> None:
    (path,) = released.glob("*.cdx.json")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(path.read_text()) is None
    bom = json.loads(path.read_text())
    root = bom["metadata"]["component"]
    assert root["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}]
    assert bom["metadata"]["timestamp"].startswith("2023-11-14T22:13:20")
    versions = {one["name"]: one["version"] for one in bom["components"]}
    pins = [line.partition("==") for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pinned = {name.lower().replace("_", "-"): version for name, _, version in pins}
    wrong = {
        name: version
        for name, version in versions.items()
        if pinned[name.replace(".", "-") if name not in pinned else name] != version.partition("+")[0]
    }
    assert not wrong and {"torch", "web3", "pycryptodome"} <= versions.keys()
    assert "pytest" not in versions, "a tool of the development is no part of the product"
    needs = {one["ref"]: one.get("dependsOn", []) for one in bom["dependencies"]}
    assert f"web3@{versions['web3']}" in needs[root["bom-ref"]]
    assert f"pycryptodome@{versions['pycryptodome']}" in needs[f"eth-hash@{versions['eth-hash']}"]


def test_a_wheel_for_an_index_states_a_platform(tmp_path: Path) -> None:
    release(tmp_path / "dist", "--platform", TAG)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert wheel.name.endswith(f"cp311-abi3-{TAG}.whl")


def test_refuses_a_directory_in_use_and_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    done = run(sys.executable, RELEASE, tmp_path, fails=True)
    assert "is not empty" in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_tool_installed_from_the_wheel_compiles_and_predicts(wheel: Path, tmp_path: Path) -> None:
    """With uv, offline: what the wheel needs is lent by this environment, since none of it can be fetched."""
    environment = {
        "UV_TOOL_DIR": str(tmp_path / "tools"),
        "UV_TOOL_BIN_DIR": str(tmp_path / "bin"),
        "UV_CACHE_DIR": str(tmp_path / "cache"),
    }
    left_out = tmp_path / "overrides.txt"
    needed = json.loads(next(wheel.parent.glob("*.cdx.json")).read_text())["components"]
    left_out.write_text("".join(f"{one['name']}; python_version < '3'\n" for one in needed))
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    run(
        uv, "tool", "install", "--offline", "--no-index", "--no-config", "--python", sys.executable,
        "--overrides", left_out, wheel, cwd=tmp_path, **environment,
    )  # fmt: skip
    (packages,) = (tmp_path / "tools" / "fedvm").glob("lib/python*/site-packages")
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib"))
    fedvm, python = tmp_path / "bin" / "fedvm", tmp_path / "tools" / "fedvm" / "bin" / "python"

    where = run(python, "-c", "import fedvm; print(fedvm.__file__)", cwd=tmp_path).stdout
    assert where.strip().startswith(str(packages))
    assert "predict" in run(fedvm, "--help", cwd=tmp_path).stdout
    run(python, ROOT / "examples" / "solidity-consumer" / "model.py", cwd=tmp_path)
    compiled = run(
        fedvm, "compile", "model.onnx", "--calibration", "flowers.csv", "--labels", "species", "-o", "out",
        cwd=tmp_path, HOME=str(tmp_path),
    )  # fmt: skip
    assert "gas" in compiled.stdout + compiled.stderr
    rows = (tmp_path / "flowers.csv").read_text().splitlines()
    (tmp_path / "rows.csv").write_text("".join(f"{row.rpartition(',')[0]}\n" for row in rows[:4]))
    answers = run(fedvm, "predict", "--values", "rows.csv", "--run", "out", "--json", cwd=tmp_path)
    assert [json.loads(line)["label"] for line in answers.stdout.splitlines()] == [0, 0, 0]
    # What is no Python: the contracts' code and the templates of the pages.
    run(
        python, "-c",
        "from fedvm.chain.artifacts import load_artifact; assert load_artifact('ModelService').bytecode; "
        "from fedvm.web.render import Renderer; Renderer(static=True, clock=lambda: 0)",
        cwd=tmp_path,
    )  # fmt: skip
