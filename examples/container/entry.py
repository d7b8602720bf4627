"""A job of a compute-over-data network: a model and its inputs come as CIDs, answers leave as a CID.

The model's ONNX file is compiled again by its own recipe, as every auditor does, and the bytecode runs here on an EVM.
So the answers are those of the contract, bit by bit; whether a contract on a chain is this model is for `fedvm verify`
to say. The same CIDs give the same CID, whoever runs the job.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

from fedvm.audit.errors import RecipeError
from fedvm.audit.recipe import calibration_images, read_recipe
from fedvm.compiler import compile_model
from fedvm.evm.keccak import keccak
from fedvm.files import write_atomically
from fedvm.pipeline.archive import fetch_car
from fedvm.pipeline.onnx_model import local_program
from fedvm.store import Cid, ContentStore, StoreError, cid_of
from fedvm.store.car import blocks_from_root, write_car


class JobError(Exception):
    """The job cannot be done; the message says what to do."""


def gathered(inputs: Path, work: Path) -> ContentStore:
    """All that the network laid into a folder: CAR files, whose blocks are checked, and other files, each under the CID
    that its bytes have, whatever it is called."""
    store = ContentStore(work)
    for file in sorted(path for path in inputs.rglob("*") if path.is_file()):
        if file.suffix == ".car":
            fetch_car(file, work)
        elif file.stat().st_size:
            store.stage(file.read_bytes())
    store.sync()
    return store


def rows_of(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Inputs, one byte a value in C order, one after the other."""
    size = int(np.prod(shape))
    if not data or len(data) % size:
        raise JobError(
            f"the inputs have {len(data)} bytes, which is no multiple of the {size} that the model takes"
        )
    return np.frombuffer(data, np.uint8).reshape(-1, size)


def answers(store: ContentStore, model: Cid, inputs: Cid) -> bytes:
    """What the program says, as JSON whose bytes follow from the two CIDs."""
    onnx = store.get(str(model))
    recipe = read_recipe(onnx)
    compiled = compile_model(
        onnx,
        calibration_images(store, recipe),
        **recipe.arguments(),
        verify=False,
        min_agreement=0,
        min_correlation=0,
    )
    rows = rows_of(store.get(str(inputs)), tuple(recipe.calibration_shape[1:]))
    outcome = local_program(compiled).predict_many(rows)
    found = {
        "model": str(model),
        "inputs": str(inputs),
        # The entry's code names the addresses of the others, so that it differs from chain to chain.
        "parts": ["0x" + keccak(code).hex() for code in compiled.codes[:-1]],
        "scores": outcome.scores.tolist(),
        "labels": outcome.scores.argmax(axis=1).tolist(),
        "gas": [int(gas) for gas in outcome.gas],
    }
    return (json.dumps(found, separators=(",", ":")) + "\n").encode()


def leave(data: bytes, out: Path) -> Cid:
    """Write the answers as a file and as a CAR, whose root is their CID."""
    out.mkdir(parents=True, exist_ok=True)
    blocks = [*blocks_from_root(data)]
    root = cid_of(data)
    part = out / ".answers.car"
    with part.open("wb") as stream:
        write_car(stream, [root], blocks)
    part.replace(out / "answers.car")
    write_atomically(out / "answers.json", data)
    return root


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", default=os.environ.get("MODEL_CID"), help="CID of an ONNX file that FedVM published"
    )
    parser.add_argument("--inputs", default=os.environ.get("INPUTS_CID"), help="CID of the inputs' bytes")
    parser.add_argument(
        "--from", dest="source", type=Path, default=Path("/inputs"), help="where the blocks lie"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("/outputs"), help="where answers.json and answers.car go"
    )
    parser.add_argument("--work", type=Path, default=Path("/tmp/blocks"), help="for blocks that were checked")
    given = parser.parse_args()
    if not given.model or not given.inputs:
        parser.error("name the model and the inputs: --model and --inputs, or MODEL_CID and INPUTS_CID")
    try:
        store = gathered(given.source, given.work)
        root = leave(answers(store, Cid.parse(given.model), Cid.parse(given.inputs)), given.out)
    except (JobError, StoreError, RecipeError, OSError, ValueError) as error:
        print(f"entry.py: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"answers": str(root), "file": str(given.out / "answers.json")}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
