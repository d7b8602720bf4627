"""Makes clip.gif of a run's held-out pictures: each is shown for some frames, moving a little."""

import argparse
from pathlib import Path

from PIL import Image

FRAMES_EACH = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path, help="a folder")
    parser.add_argument("--most", type=int, default=6)
    given = parser.parse_args()
    shown = []
    for path in sorted(given.pictures.glob("*.png"))[: given.most]:
        with Image.open(path) as picture:
            still = picture.convert("L")
        for shift in range(FRAMES_EACH):
            moved = Image.new("L", still.size)
            moved.paste(still, (shift % 2, 0))
            shown.append(moved)
    shown[0].save("clip.gif", save_all=True, append_images=shown[1:], duration=200)


if __name__ == "__main__":
    main()
