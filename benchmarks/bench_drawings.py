"""Of digits drawn with fonts in many ways, how many the program of a run reads.

Run: python benchmarks/bench_drawings.py [--run runs/demo]. It asks the run's model.int.onnx, which computes the
contract's scores bit for bit, about every digit in every DejaVu face that ships with matplotlib, prepared as the
version says. Writes benchmarks/results/drawings.json.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from drawings_bench.digits import FACES, drawn

from fedvm.audit.description import read_description
from fedvm.compiler.probe import reference_scores
from fedvm.images.prepare import load_image
from fedvm.rundir.layout import RunDirectory

RESULTS = Path(__file__).parent / "results" / "drawings.json"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), help="a finished run on digits")
    directory = RunDirectory(parser.parse_args().run)
    asked = read_description(directory.onnx.read_bytes()).input
    if asked.image_shape is None:
        parser.error("the run's model takes no images")
    seen = defaultdict[str, list[np.ndarray]](list)
    labels = [digit for _ in FACES for digit in range(10)]
    for number, face in enumerate(FACES):
        for digit in range(10):
            for name, picture in drawn(face, digit, seed=10 * number + digit):
                seen[name].append(load_image(picture, asked.image_shape, asked.preparation).pixels)
    reference = directory.reference.read_bytes()
    rows = {
        name: int((reference_scores(reference, np.stack(images)).argmax(axis=1) == labels).sum())
        for name, images in seen.items()
    }
    for name, right in rows.items():
        print(f"{name:<34} {right:>4} of {len(labels)}  {right / len(labels):.1%}")
    right, total = sum(rows.values()), len(labels) * len(rows)
    print(f"{'all':<34} {right:>4} of {total}  {right / total:.1%}")
    found = {
        "preparation": str(asked.preparation),
        "faces": len(FACES),
        "drawings": len(labels),
        "right": rows,
    }
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
