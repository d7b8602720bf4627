"""Build what a release publishes: wheel, source distribution, bill of materials, checksums.

    python tools/release.py dist            # of the commit that is checked out
    python tools/release.py dist --twice    # and again in another directory; fails if a byte differs
    python tools/release.py dist --platform manylinux_2_17_x86_64    # for an index, which takes no wheel of plain Linux

What is built depends on the commit and the compiler alone: `git archive` gives the sources, times are the commit's
(`SOURCE_DATE_EPOCH`, if that is set).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from bill import ReleaseError, bill

ROOT = Path(__file__).resolve().parent.parent
BUILD = """\
import sys, setuptools.build_meta as backend
directory, *platform = sys.argv[1:]
backend.build_wheel(directory, {"--build-option": ["--plat-name", *platform]} if platform else None)
backend.build_sdist(directory)
"""
GLIBC = re.compile(rb"GLIBC_2\.(\d+)")


def git(*arguments: str) -> bytes:
    """What git says of the checkout.

    Raises ReleaseError where it is none.
    """
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=False)
    if done.returncode:
        raise ReleaseError(f"git {arguments[0]}: {done.stderr.decode().strip()}; a release needs a checkout")
    return done.stdout


def epoch() -> int:
    """Unix time in seconds that everything built bears."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or git("log", "-1", "--format=%ct"))


def build(directory: Path, platform: str = "") -> None:
    """Build wheel and source distribution of the commit into a directory. platform: tag of the wheel, this machine's
    own if it is empty.

    Raises ReleaseError where the build fails.
    """
    with tempfile.TemporaryDirectory(prefix="fedvm-release-") as place:
        tree = Path(place) / "tree"
        tree.mkdir()
        with tarfile.open(fileobj=io.BytesIO(git("archive", "HEAD"))) as archive:
            archive.extractall(tree, filter="data")
        for path in tree.rglob("*"):  # the archive's modes follow from the settings of whoever made it
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        made = Path(place) / "made"
        made.mkdir()
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch()), "PYTHONHASHSEED": "0"}
        done = subprocess.run(
            [sys.executable, "-c", BUILD, str(made), *filter(None, [platform])],
            cwd=tree,
            umask=0o022,  # which the modes of what setuptools writes follow from
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ReleaseError(f"setuptools: {done.stderr.strip() or done.stdout.strip()}")
        directory.mkdir(parents=True, exist_ok=True)
        for path in made.iterdir():
            content = path.read_bytes()
            (directory / path.name).write_bytes(
                timeless(content, epoch()) if path.suffix == ".gz" else content
            )


def require_portable(wheel: Path) -> None:
    """Raise ReleaseError where a wheel states an older C library than its extension needs."""
    stated = re.search(r"manylinux_2_(\d+)", wheel.name)
    with zipfile.ZipFile(wheel) as packed:
        extensions = [packed.read(name) for name in packed.namelist() if name.endswith(".so")]
    wanted = max((int(minor) for one in extensions for minor in GLIBC.findall(one)), default=0)
    if stated and not extensions:
        raise ReleaseError("the extension was not built: is there a C compiler?")
    if stated and wanted > int(stated[1]):
        raise ReleaseError(f"{wheel.name}: its extension needs glibc 2.{wanted}; build on an older system")


def timeless(archive: bytes, time: int) -> bytes:
    """A tar.gz with one time and one owner, its members in order of their names."""
    packed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive)) as source,
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=time) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as target,
    ):
        for member in sorted(source.getmembers(), key=lambda member: member.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = time, 0, 0, "", ""
            member.pax_headers = {}
            target.addfile(member, source.extractfile(member) if member.isfile() else None)
    return packed.getvalue()


def release(directory: Path, *, twice: bool = False, platform: str = "") -> list[Path]:
    """Fill a directory, which must be new or empty, with a release, or leave it as it is; its files.

    Raises ReleaseError, also where a second build differs.
    """
    if directory.exists() and any(directory.iterdir()):
        raise ReleaseError(f"{directory} is not empty; delete it or name another directory")
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".release-", dir=directory.parent) as place:
        made = Path(place) / "made"
        build(made, platform)
        (wheel,) = made.glob("*.whl")
        require_portable(wheel)
        if twice:
            require_same(made, platform)
        name, version, *_ = wheel.name.split("-")
        (made / f"{name}-{version}.cdx.json").write_text(bill(wheel, epoch()), encoding="utf-8")
        sums = [
            f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
            for path in sorted(made.iterdir())
        ]
        (made / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
        made.replace(directory)
    return sorted(directory.iterdir())


def require_same(made: Path, platform: str) -> None:
    """Build again. Raises ReleaseError where a file has other bytes then."""
    with tempfile.TemporaryDirectory(prefix="fedvm-again-") as again:
        build(Path(again), platform)
        for path in made.iterdir():
            if path.read_bytes() != (Path(again) / path.name).read_bytes():
                raise ReleaseError(f"{path.name} was other bytes when it was built again")


def main() -> int:
    """Build; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path, help="where the files go; new or empty")
    parser.add_argument("--twice", action="store_true", help="build again, and fail if a byte differs")
    parser.add_argument("--platform", default="", metavar="TAG", help="tag of the wheel (this machine's)")
    arguments = parser.parse_args()
    try:
        for path in release(arguments.directory, twice=arguments.twice, platform=arguments.platform):
            print(path)
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
