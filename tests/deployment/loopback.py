"""A deployment on loopback: a SuperLink with TLS and node authentication, and SuperNodes that know only their own."""

from __future__ import annotations

import datetime
import ipaddress
import os
import subprocess
import sysconfig
import time
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fedvm.federation.engines.superlink import free_port, stop

SCRIPTS = Path(sysconfig.get_path("scripts"))
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def make_certificates(folder: Path) -> None:
    """ca.pem, and server.pem with server.key, good for 127.0.0.1 and a day."""
    folder.mkdir(parents=True)
    now = datetime.datetime.now(datetime.UTC)

    def builder(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )

    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    usage = {
        "digital_signature": True,
        "content_commitment": False,
        "key_encipherment": False,
        "data_encipherment": False,
        "key_agreement": False,
        "key_cert_sign": True,
        "crl_sign": True,
        "encipher_only": False,
        "decipher_only": False,
    }
    authority = (
        builder("test authority", "test authority", ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    here = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    server = (
        builder("superlink", "test authority", server_key)
        .add_extension(x509.SubjectAlternativeName(here), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(authority_id, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (folder / "server.pem").write_bytes(server.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(_pem(server_key))


def make_node_key(path: Path) -> None:
    """A SuperNode's own key for Flower's authentication, `path`, and beside it its public half, `path`.pub."""
    key = ec.generate_private_key(ec.SECP384R1())
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
    )
    public = key.public_key()
    path.with_suffix(".pub").write_bytes(
        public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    )


@dataclass
class Loopback:
    """The processes of a deployment; stop them with `close`.

    supernode_auth: whether the SuperLink knows SuperNodes by their keys; a SuperNode without one has another node id
    whenever it is started. variables: of the SuperLink's environment.
    """

    path: Path
    supernode_auth: bool = True
    variables: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def certificates(self) -> Path:
        return self.path / "certificates"

    def environment(self, home: str) -> dict[str, str]:
        path = f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, **QUIET, "FLWR_HOME": str(self.path / home), "PATH": path}

    def _start(
        self, name: str, command: list[str], variables: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        (self.path / name).mkdir(parents=True, exist_ok=True)
        log = (self.path / name / "log").open("ab")
        process = subprocess.Popen(
            [str(SCRIPTS / command[0]), *command[1:]],
            env={**self.environment(name), **(variables or {})},
            cwd=self.path / name,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        log.close()
        self.processes.append(process)
        return process

    def start_superlink(self) -> subprocess.Popen[bytes]:
        """With TLS and node authentication, and what it knows in a file; returns when it listens."""
        if not self.certificates.exists():
            make_certificates(self.certificates)
        (self.path / "superlink" / "log").unlink(missing_ok=True)
        command = ["flower-superlink", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--ssl-ca-certfile", str(self.certificates / "ca.pem")]
        command += ["--ssl-certfile", str(self.certificates / "server.pem")]
        command += ["--ssl-keyfile", str(self.certificates / "server.key")]
        command += ["--database", str(self.path / "superlink.db")]
        command += ["--enable-supernode-auth"] if self.supernode_auth else []
        process = self._start("superlink", command, self.variables)
        self.wait_for("superlink", "startup complete", process)
        return process

    def _write_connection(self) -> None:
        home = self.path / "coordinator"
        home.mkdir(exist_ok=True)
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "{self.address}"\n'
            f'root-certificates = "{self.certificates / "ca.pem"}"\n'
        )

    def flwr_run(self, app: Path, run_config: str, log: Path) -> subprocess.Popen[bytes]:
        """Run a Flower app, and print what it says into a file until it is over."""
        self._write_connection()
        command = [str(SCRIPTS / "flwr"), "run", str(app), "here", "--stream", "--run-config", run_config]
        with log.open("wb") as said:
            process = subprocess.Popen(
                command,
                env=self.environment("coordinator"),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process

    def flwr(self, *arguments: str) -> str:
        """Flower's command line at the coordinator."""
        self._write_connection()
        done = subprocess.run(
            [str(SCRIPTS / "flwr"), *arguments],
            env=self.environment("coordinator"),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start_supernode(self, name: str, *, node_config: str, known: bool = True) -> subprocess.Popen[bytes]:
        """A SuperNode; where the SuperLink knows them by their keys, with a key of its own, which it is told of if
        `known`."""
        home = self.path / name
        home.mkdir(parents=True, exist_ok=True)
        command = ["flower-supernode", "--superlink", self.address, "--port", str(free_port())]
        command += ["--root-certificates", str(self.certificates / "ca.pem")]
        if self.supernode_auth:
            make_node_key(home / "node.key")
            if known:
                self.flwr("supernode", "register", str(home / "node.pub"), "here")
            command += ["--auth-supernode-private-key", str(home / "node.key")]
        return self._start(name, [*command, "--node-config", node_config])

    def log(self, name: str) -> str:
        return (self.path / name / "log").read_text(errors="replace")

    def wait_for(self, name: str, text: str, process: subprocess.Popen[bytes], seconds: float = 90) -> None:
        """Until the log of `name` holds `text`."""
        deadline = time.monotonic() + seconds
        while text not in self.log(name):
            assert process.poll() is None and time.monotonic() < deadline, self.log(name)[-3000:]
            time.sleep(0.2)

    def close(self) -> None:
        """Stop everything, nodes first."""
        for process in reversed(self.processes):
            stop(process)
