"""A clip through the contract: each frame's answer is that of the picture alone, and the table multiplies right."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shown import ROOT, commands, copy_of, run

from fedvm.pipeline.ask import ask
from fedvm.rundir.run import open_run

RUN = "fedvm run ../demo.toml --out run\n"
FRAME = re.compile(r"^frame (\d+): (\S+), (\d+)%", re.MULTILINE)


@pytest.mark.slow
def test_the_commands_of_the_readme_ask_about_a_clip(tmp_path: Path, small_finished_run: Path) -> None:
    here = copy_of("video", tmp_path)
    shutil.copytree(small_finished_run, here / "run")
    script = commands("video")
    assert script.startswith(RUN)
    said = run(script.removeprefix(RUN), here)
    asked = FRAME.findall(said)
    assert asked and all(int(number) % 2 == 0 for number, _, _ in asked)

    # Pictures that were put into a folder as they are get the answers that `fedvm predict` gives.
    pictures = sorted((here / "run" / "images").glob("*.png"))[:3]
    (here / "frames").mkdir()
    for number, picture in enumerate(pictures):
        Image.open(picture).convert("RGB").save(here / "frames" / f"{number}.png")
    with open_run(here / "run") as opened:
        answers = list(ask(pictures, opened))
    said = run("python frames.py frames --run run --changed 0", here)
    assert [(int(n), name) for n, name, _ in FRAME.findall(said)] == [
        (n, answer.class_names[answer.label]) for n, answer in enumerate(answers)
    ]
    total = np.sum([answer.scores for answer in answers], axis=0)
    assert f"the clip: {answers[0].class_names[int(total.argmax())]}, " in said
    gas = json.loads((here / "run" / "program" / "manifest.json").read_text())["gas"]
    minute = next(line for line in said.splitlines() if line.startswith("60 s, 30 a second"))
    assert f"{1800 * gas['evm']:,}" in minute and f"{1800 * gas['filecoin']:,}" in minute

    # What does not change is asked once; the program alone, without a chain, answers the same.
    shutil.copy(here / "frames" / "0.png", here / "frames" / "00.png")
    again = run("python frames.py frames --run run/program", here)
    assert len(FRAME.findall(again)) <= 3

    for wrong, complaint in (
        ("empty", "has no pictures"),
        ("missing.gif", "missing.gif"),
        ("frames.py", "ffmpeg"),
    ):
        (here / "empty").mkdir(exist_ok=True)
        said = run(f"python frames.py {wrong} --run run", here, fails=True)
        assert complaint in said and "Traceback" not in said
    assert "holds no compiled program" in run("python frames.py clip.gif --run frames", here, fails=True)


def test_the_table_of_the_readme_is_that_of_the_demos_network() -> None:
    page = (ROOT / "examples" / "video" / "README.md").read_text()
    (gas,) = re.findall(r"\(([\d,]+) gas a frame\)", page)
    assert f"The network alone takes {gas} gas" in (ROOT / "README.md").read_text()
    one = int(gas.replace(",", ""))
    rows = re.findall(r"^\| .* \| ([\d,]+) \| ([\d,]+) \| ([\d.]+) \|$", page, re.MULTILINE)
    assert [int(frames.replace(",", "")) for frames, _, _ in rows] == [1, 50, 1800]
    for frames, total, blocks in rows:
        count = int(frames.replace(",", ""))
        assert total == f"{count * one:,}" and blocks == f"{count * one / 60_000_000:.1f}"
