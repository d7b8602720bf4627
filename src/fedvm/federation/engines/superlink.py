"""Flower's SuperLink: start one for a simulation, and submit an app to any, with Flower's own commands."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from fedvm.federation.errors import EngineError
from fedvm.jsontext import parse_json

_START_SECONDS = 60.0
_SUBMIT_SECONDS = 180.0
_STOP_SECONDS = 20.0
_CONNECTION = "fedvm"
_QUIET: Mapping[str, str] = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    # Otherwise every run installs the app's dependencies into an environment of its own.
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True)
class SuperLink:
    """Where a SuperLink listens (`host:port`), and the PEM file that its certificate is checked against.

    root_certificates: None trusts the system's authorities. insecure: no TLS, for loopback only.
    """

    address: str
    root_certificates: Path | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[^\s/]+:\d+", self.address):
            raise EngineError(f"a SuperLink is given as host:port, not {self.address!r}")
        if self.insecure and self.root_certificates:
            raise EngineError("an insecure SuperLink has no certificate to check; leave one of them out")
        if self.root_certificates and not self.root_certificates.is_file():
            raise EngineError(f"no such file of root certificates: {self.root_certificates}")


@contextmanager
def simulation_superlink(home: Path) -> Iterator[SuperLink]:
    """A SuperLink of our own on a free loopback port whose clients Ray simulates; stopped at the end.

    home: Flower's directory for it (apps, log). Raises EngineError if it does not come up.
    """
    if sys.version_info >= (3, 13) and sys.platform == "win32":
        raise EngineError("Ray, which Flower simulates with, has no build for this platform: use inprocess")
    address = f"127.0.0.1:{free_port()}"
    log = home / "superlink.log"
    home.mkdir(parents=True, exist_ok=True)
    host, port = address.split(":")
    command = [_program("flower-superlink"), "--insecure", "--simulation", "--isolation", "subprocess"]
    command += ["--host", host, "--port", port, "--log-file", str(log)]
    process = subprocess.Popen(
        command,
        env=_environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us; we stop it
    )
    try:
        _wait_until_healthy(address, process, log)
        yield SuperLink(address, insecure=True)
    finally:
        stop(process)


def is_listening(superlink: SuperLink, *, seconds: float = 5.0) -> bool:
    """Whether anything accepts connections at the SuperLink's address."""
    host, _, port = superlink.address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=seconds):
            return True
    except OSError:
        return False


def submit(
    app: Path, superlink: SuperLink, home: Path, *, federation: Mapping[str, int | float] | None = None
) -> int:
    """Start the Flower app in the directory `app`, as `flwr run` does, and return Flower's run id.

    home: Flower's directory for the connection's settings. federation: settings of a simulation.
    Raises EngineError with what Flower said.
    """
    home.mkdir(parents=True, exist_ok=True)
    _write_connection(home, superlink)
    command = [_program("flwr"), "run", str(app), _CONNECTION, "--format", "json"]
    if federation:
        command += ["--federation-config", " ".join(f"{key}={value}" for key, value in federation.items())]
    answer = _run(command, home)
    try:
        found = parse_json(answer[answer.index("{") :])
        run_id = int(found["run-id"])
    except (ValueError, KeyError, TypeError):
        raise EngineError(f"Flower did not start the run: {_tail(answer)}") from None
    return run_id


def status(run_id: int, home: Path) -> str:
    """What Flower says of a run, e.g. `running` or `finished:completed`; empty if it says nothing."""
    answer = _run([_program("flwr"), "ls", _CONNECTION, "--run-id", str(run_id), "--format", "json"], home)
    found = re.search(r'"status":\s*"([^"]+)"', answer)
    return found[1] if found else ""


def failure_of(run_id: int, home: Path) -> str:
    """The last lines of a run's log."""
    return _tail(_run([_program("flwr"), "log", str(run_id), _CONNECTION, "--show"], home))


def wait_until_over(run_id: int, home: Path) -> None:
    """Wait, for a limited time, until Flower has cleaned up after a run."""
    deadline = time.monotonic() + _STOP_SECONDS
    while time.monotonic() < deadline and not status(run_id, home).startswith("finished"):
        time.sleep(0.5)


def stop_run(run_id: int, home: Path) -> None:
    """Stop a run; nothing happens if it is over."""
    _run([_program("flwr"), "stop", str(run_id), _CONNECTION], home)


def free_port() -> int:
    """A port on loopback that no process listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a Flower process, politely first; what it started ends with it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _write_connection(home: Path, superlink: SuperLink) -> None:
    connection: dict[str, object] = {"address": superlink.address}
    if superlink.insecure:
        connection["insecure"] = True
    if superlink.root_certificates:
        connection["root-certificates"] = str(superlink.root_certificates.resolve())
    settings = {"superlink": {"default": _CONNECTION, _CONNECTION: connection}}
    (home / "config.toml").write_text(tomli_w.dumps(settings), encoding="utf-8")


def _wait_until_healthy(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise EngineError(f"flower-superlink ended with code {process.returncode}: see {log}")
        try:
            with urllib.request.urlopen(f"http://{address}/health", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise EngineError(f"flower-superlink did not come up within {_START_SECONDS:g} s: see {log}")


def _run(command: list[str], home: Path) -> str:
    try:
        done = subprocess.run(
            command,
            env=_environment(home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SUBMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"`{Path(command[0]).name} {command[1]}` did not answer in time") from None
    if done.returncode != 0:
        raise EngineError(f"`flwr {command[1]}` failed: {_tail(done.stdout + done.stderr)}")
    return done.stdout


def _tail(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return " ".join(lines[-12:])[-1500:]


def _environment(home: Path) -> dict[str, str]:
    scripts = sysconfig.get_path("scripts")  # Flower starts its further commands by name
    path = os.pathsep.join([scripts, os.environ.get("PATH", "")])
    return {**os.environ, **_QUIET, "FLWR_HOME": str(home), "PATH": path}


def _program(name: str) -> str:
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        raise EngineError(f"the command {name} is missing: install flwr into this environment")
    return found
