"""Asks a contract about the frames of a clip, and says what that costs.

A clip is what Pillow reads frame by frame (GIF, APNG, WebP, TIFF), or a folder of pictures in order of their names,
which `ffmpeg -i clip.mp4 frames/%05d.png` makes of any film.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence, UnidentifiedImageError

from fedvm.evm.limits import BLOCK_GAS_LIMIT
from fedvm.images.decode import SUFFIXES
from fedvm.images.errors import ImageError
from fedvm.pipeline.ask import Answer, ask
from fedvm.rundir.run import open_run

ETHEREUM_BLOCK = 60_000_000
"""Gas of a block of Ethereum's in 2026."""
LENGTHS = ((1, 1), (10, 5), (60, 30))
"""(seconds, pictures a second) of the table."""
SMALL = (32, 32)
"""Pixels at which frames are compared."""


class ClipError(Exception):
    """The clip cannot be used; the message says why."""


def frames(clip: Path) -> Iterator[Image.Image]:
    """Every picture of a clip, in order."""
    if clip.is_dir():
        paths = sorted(path for path in clip.iterdir() if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise ClipError(f"{clip} has no pictures; make some with: ffmpeg -i clip.mp4 {clip}/%05d.png")
        for path in paths:
            with Image.open(path) as picture:
                yield picture.convert("RGB")
        return
    try:
        with Image.open(clip) as pictures:
            for picture in ImageSequence.Iterator(pictures):
                yield picture.convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise ClipError(f"{clip}: {error}; films are for ffmpeg to take apart, see the README") from error


def worth_asking(clip: Path, every: int, changed: float) -> Iterator[tuple[int, Image.Image]]:
    """Number and picture of each frame that the contract is asked about: every n-th, and of those the ones that differ
    from the last asked. changed: mean difference of the pixels, 0 … 1."""
    last = None
    for number, picture in enumerate(frames(clip)):
        if number % every:
            continue
        small = np.asarray(picture.resize(SMALL).convert("L"), np.float32) / 255
        if last is None or float(np.abs(small - last).mean()) >= changed:
            last = small
            yield number, picture


def costs(gas: int, filecoin: int) -> list[str]:
    """The table for other clips: what asking about each frame takes where a contract asks, in a transaction."""
    rows = [
        f"{'clip':<22}{'frames':>8}{'EVM gas':>17}{'Ethereum blocks':>17}{'Filecoin gas':>20}{'epochs':>9}"
    ]
    for seconds, rate in LENGTHS:
        count = seconds * rate
        rows.append(
            f"{f'{seconds} s, {rate} a second':<22}{count:>8,}{count * gas:>17,}{count * gas / ETHEREUM_BLOCK:>17,.1f}"
            f"{count * filecoin:>20,}{count * filecoin / BLOCK_GAS_LIMIT:>9,.1f}"
        )
    return rows


def program_of(run: Path) -> dict[str, int]:
    """Gas of one prediction by unit, as the compiler predicts it."""
    manifest = next(
        (path for path in (run / "program" / "manifest.json", run / "manifest.json") if path.is_file()), None
    )
    if manifest is None:
        raise ClipError(f"{run} holds no compiled program; name what `fedvm run` or `fedvm compile -o` wrote")
    gas: dict[str, int] = json.loads(manifest.read_text())["gas"]
    return gas


def answers(run: Path, pictures: list[Path]) -> list[Answer]:
    """What the contract, or the compiled program, says of each picture."""
    if not (run / "program").is_dir():
        return list(ask(pictures, run))
    with open_run(run) as opened:
        return list(ask(pictures, opened))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clip", type=Path)
    parser.add_argument("--run", type=Path, required=True, help="of `fedvm run`, or of `fedvm compile -o`")
    parser.add_argument("--every", type=int, default=1, help="ask about every n-th frame (1)")
    parser.add_argument(
        "--changed",
        type=float,
        default=0.02,
        help="skip a frame that differs less from the last, 0 … 1 (0.02)",
    )
    given = parser.parse_args()
    if given.every < 1:
        parser.error("--every is 1 or more")
    try:
        gas = program_of(given.run)
        with tempfile.TemporaryDirectory() as place:
            numbers, pictures = [], []
            for number, picture in worth_asking(given.clip, given.every, given.changed):
                numbers.append(number)
                pictures.append(Path(place) / f"{number:06}.png")
                picture.save(pictures[-1])
            found = answers(given.run, pictures)
    except (ClipError, ImageError, OSError, ValueError) as error:
        print(f"frames.py: {error}", file=sys.stderr)
        return 1
    for number, answer in zip(numbers, found, strict=True):
        said = answer.class_names[answer.label]
        print(
            f"frame {number}: {said}, {answer.shares[answer.label]:.0%}"
            + (f"; {answer.doubt}" if answer.doubt else "")
        )
    total = np.sum([answer.scores for answer in found], axis=0)
    print(
        f"the clip: {found[0].class_names[int(total.argmax())]}, by the sum of the scores of {len(found)} frames"
    )
    print(f"asked by `eth_call`: nothing. A contract that asks pays {gas['evm']:,} gas a frame:")
    print("\n".join(costs(gas["evm"], gas["filecoin"])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
