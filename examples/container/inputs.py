"""Lays out what a network would lay into /inputs: of a finished run the model, calibration images, and pictures."""

import argparse
from pathlib import Path

from fedvm.audit.recipe import read_recipe
from fedvm.pipeline.ask import version_description
from fedvm.pipeline.questions import image_questions
from fedvm.rundir.run import open_run
from fedvm.store import cid_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    given = parser.parse_args()
    with open_run(given.run) as run:
        service = run.model_service
        onnx = run.store.get(service.version(service.current_version()).onnx_cid)
        description = version_description(run.store, service, service.current_version())
        pictures = sorted((given.run / "images").glob("*.png"))
        asked = b"".join(one.data for one in image_questions(pictures, description))
        calibration = run.store.get(read_recipe(onnx).calibration)
    folder = given.to / "inputs"
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in (("model.onnx", onnx), ("calibration", calibration), ("pictures", asked)):
        (folder / name).write_bytes(data)
    (given.to / "model.cid").write_text(f"{cid_of(onnx)}\n")
    (given.to / "inputs.cid").write_text(f"{cid_of(asked)}\n")


if __name__ == "__main__":
    main()
