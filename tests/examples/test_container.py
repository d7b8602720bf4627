"""The job's entry point, without a container: CIDs in, a CID out, and the answers are the contract's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from shown import ROOT, commands, copy_of, run

from fedvm.pipeline.ask import ask
from fedvm.rundir.run import open_run
from fedvm.store import cid_of
from fedvm.store.car import read_car

RUN = "fedvm run ../demo.toml --out run\n"
AGAIN = "MODEL_CID=$(cat job/model.cid) INPUTS_CID=$(cat job/inputs.cid) python entry.py"


@pytest.mark.slow
def test_the_commands_of_the_readme_give_the_contracts_answers(
    tmp_path: Path, small_finished_run: Path
) -> None:
    here = copy_of("container", tmp_path)
    shutil.copytree(small_finished_run, here / "run")
    script = commands("container")
    assert script.startswith(RUN)
    said = run(script.removeprefix(RUN), here)
    answers = (here / "outputs" / "answers.json").read_bytes()
    root = str(cid_of(answers))
    assert json.loads(said.splitlines()[-1])["answers"] == root
    with (here / "outputs" / "answers.car").open("rb") as stream:
        car = read_car(stream)
        assert [str(cid) for cid in car.roots] == [root] and b"".join(
            data for _, data in car.blocks
        ) == answers

    found = json.loads(answers)
    with open_run(here / "run") as opened:
        pictures = sorted((here / "run" / "images").glob("*.png"))
        asked = list(ask(pictures, opened))
        version = opened.model_service.version(1)
    assert len(asked) > 3 and found["scores"] == [list(answer.scores) for answer in asked]
    assert found["labels"] == [answer.label for answer in asked]
    assert found["parts"] == ["0x" + part.code_hash.hex() for part in version.parts[1:]]

    # Again, elsewhere, from a CAR and files of other names: the same CID.
    run("fedvm publish run --car run.car", here)
    shutil.rmtree(here / "blocks")
    (here / "other").mkdir()
    shutil.move(here / "run.car", here / "other" / "run.car")
    shutil.copy(here / "job" / "inputs" / "pictures", here / "other" / "whatever.bin")
    said = run(f"{AGAIN} --from other --out again --work blocks", here)
    assert json.loads(said.splitlines()[-1])["answers"] == root

    # What is missing, changed or of a wrong length.
    (here / "job" / "inputs" / "calibration").write_bytes(b"other bytes")
    shutil.rmtree(here / "blocks")
    said = run(f"{AGAIN} --from job/inputs --out lost --work blocks", here, fails=True)
    assert said.startswith("entry.py: ") and "Traceback" not in said and not (here / "lost").exists()
    short = np.zeros(7, np.uint8).tobytes()
    (here / "other" / "short").write_bytes(short)
    said = run(f"{AGAIN} --inputs {cid_of(short)} --from other --out lost --work blocks", here, fails=True)
    assert "have 7 bytes" in said
    assert "name the model and the inputs" in run("python entry.py --from other", here, fails=True)


def test_the_containers_recipe_copies_what_there_is() -> None:
    lines = (ROOT / "examples" / "container" / "Containerfile").read_text().splitlines()
    copied = [part for line in lines if line.startswith("COPY ") for part in line.split()[1:-1]]
    assert "examples/container/entry.py" in copied and all((ROOT / part).exists() for part in copied)
    assert lines[-1] == 'ENTRYPOINT ["python", "/opt/fedvm/entry.py"]' and "USER job" in lines
