"""Hospitals in sealed rounds with noise: what the README shows runs, and ends with a program that answers."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas
import pytest
from shown import ROOT, commands, copy_of, run

from fedvm.compiler import CompiledModel
from fedvm.pipeline.onnx_model import local_program

README = (ROOT / "examples" / "hospitals" / "README.md").read_text()


@pytest.mark.slow
def test_the_commands_of_the_readme_end_with_a_program_that_answers(tmp_path: Path) -> None:
    here = copy_of("hospitals", tmp_path)
    said = run(commands("hospitals"), here)
    accuracies = [
        float(one) for one in re.findall(r"^round \d: (\d+\.\d)% of the held-back", said, re.MULTILINE)
    ]
    assert len(accuracies) == 5 and accuracies[-1] > 85 > accuracies[0]
    assert "Nothing found in" in said and "0 unlike ONNX Runtime" in said
    assert re.search(r"^malignant +\d", said, re.MULTILINE), "the patient gets no answer"
    assert (here / "site" / "index.html").is_file()
    compiled = CompiledModel.load(here / "program")
    table = pandas.read_csv(here / "patients.csv")
    inputs = compiled.quantize_input(table.drop(columns="diagnosis").to_numpy(np.float32))
    answers = local_program(compiled).predict_many(inputs).scores.argmax(axis=1)
    assert float((answers == table.diagnosis).mean()) * 100 > accuracies[-1] - 5
    assert 1000 < compiled.manifest["gas"]["evm"] < 1200


@pytest.mark.slow
def test_the_readme_states_what_the_rounds_spend_and_the_contract_what_may_be_spent(tmp_path: Path) -> None:
    here = copy_of("hospitals", tmp_path)
    script = "from hospitals.client_app import NOISE; print(*(f'{NOISE.epsilon(n):.2f}' for n in (4, 5)))"
    four, five = run(f'python -c "{script}"', here).split()[-2:]
    assert f"ε = {four}" in README and float(four) < 5 < float(five)
