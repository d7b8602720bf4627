"""What a client's node config says of it: its own signing key, and what it agrees to sign."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from eth_utils.address import is_address, to_checksum_address
from flwr.app import ConfigRecord, Context

from fedvm.federation.errors import TermsError

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

PREFIX = "fedvm-"
KEY = "fedvm-key"
KEY_FILE = "fedvm-key-file"
MEMBER = "fedvm-member"
DATA = "fedvm-data"
"""The file with this client's own images (`fedvm.pipeline.client_data`)."""
FEDERATION = "fedvm-federation"
RULES = "fedvm-rules"
MAX_EPSILON = "fedvm-max-epsilon"
MIN_EXAMPLES = "fedvm-min-examples"
MIN_CLIENTS = "fedvm-min-clients"
KEEP = "fedvm-keep"
"""The folder where this client keeps the updates that it signs (`fedvm.federation.client.kept`)."""
RPC = "fedvm-rpc"
"""JSON-RPC of the chain, for a client that looks at the contract before it signs (`client.chain_check`)."""
SEALED = "fedvm-sealed"
"""The folder where this client keeps keys and updates of sealed rounds (`fedvm.federation.client.sealed_state`)."""
SIMULATED = "fedvm-simulated"
"""Whether this client is one of many that share a machine and its disk. What it remembers of sealed rounds outlasts its
process then, but not a power cut: of a thousand members' flushes each waits for all others."""
NODE_KEYS = frozenset(
    {
        KEY,
        KEY_FILE,
        MEMBER,
        DATA,
        FEDERATION,
        RULES,
        MAX_EPSILON,
        MIN_EXAMPLES,
        MIN_CLIENTS,
        KEEP,
        RPC,
        SEALED,
        SIMULATED,
    }
)
"""All keys of FedVM's in a node config."""
QUESTION = "fedvm.who"
"""Record of a message that asks a node which member it is (`fedvm.federation.identity`)."""
DRAWN = "fedvm.key"
"""Record in a client's Flower state with the key that it drew for one run."""
DIRECTORY = "fedvm-directory"
"""Key in an app's run config: a federation's directory on this machine (`coordinator.directory`)."""

KeyProvider = Callable[[Context], str]
"""From a node's own context to its private key (hex), which no message ever holds."""


@lru_cache(maxsize=1)
def account_of(private_key: str) -> LocalAccount:
    """The account of a key (hex); cached, since a client needs it several times. Raises what eth-keys raises."""
    from eth_account import Account  # nearly a second, and what runs clients that sign nothing needs none

    account: LocalAccount = Account.from_key(private_key)
    return account


def key_of_partition(directory: Path, partition: int) -> Path:
    """Where a federation's directory keeps the key of a simulated client."""
    return directory / "keys" / f"{partition:03}.key"


def key_from_node_config(context: Context) -> str:
    """The key that `node_config` gives: `fedvm-key-file`, a file with 32 bytes in hex, or `fedvm-key` itself.

    `node_config` is what a SuperNode was started with (`--node-config 'fedvm-key-file="…"'`) and never leaves
    it. `fedvm-key` is meant for simulations. A node without either is taken for a simulated one, whose node
    config Flower makes: its key is the one of its partition-id in the federation's directory that the run config
    names, or the one that it drew for this run (`draw_key`). Raises TermsError if there is none or it is no key; the
    message does not repeat it.
    """
    key, key_file = context.node_config.get(KEY), context.node_config.get(KEY_FILE)
    if key is None and key_file is None:
        key_file = _simulated_key_file(context)
    if key is None and key_file is None:
        key = _drawn_key(context)
    if key is None and key_file is None:
        raise TermsError(f"this client has no signing key: set {KEY_FILE} in its node config")
    try:
        text = str(key) if key is not None else Path(str(key_file)).read_text().strip()
        account_of(text)
    except OSError as error:
        raise TermsError(f"{KEY_FILE} cannot be read: {error.strerror} ({key_file})") from None
    except Exception:  # eth-keys raises exceptions of several types, and some print the key
        raise TermsError(f"{KEY if key is not None else KEY_FILE} does not hold 32 bytes in hex") from None
    return text


def draw_key(context: Context, key: bytes | None = None) -> None:
    """Give a client that has no key one for this run. It lies in the client's Flower state, which never leaves it. key:
    32 bytes, for simulations; from the operating system unless given."""
    named = {KEY, KEY_FILE} & set(context.node_config) or _simulated_key_file(context)
    if not named and _drawn_key(context) is None:
        context.state[DRAWN] = ConfigRecord({"key": key or secrets.token_bytes(32)})


def _drawn_key(context: Context) -> str | None:
    record = context.state.config_records.get(DRAWN)
    key = None if record is None else record.get("key")
    return "0x" + key.hex() if isinstance(key, bytes) else None


def member_from_node_config(context: Context, private_key: str) -> str:
    """Checksummed address of the member that a client signs for: `fedvm-member`, which must have appointed the key, or
    else the key's own. Raises TermsError if that is no address."""
    member = context.node_config.get(MEMBER)
    if member is None:
        return str(account_of(private_key).address)
    if not is_address(str(member)):
        raise TermsError(f"{MEMBER} is {member}, not the address of a member")
    return str(to_checksum_address(str(member)))


@dataclass(frozen=True)
class SealedHome:
    """Where a client keeps what it must remember of sealed rounds. durable: whether after a power cut, too."""

    path: Path
    durable: bool


def sealed_home(context: Context) -> SealedHome:
    """Where a client keeps what it must remember of sealed rounds: `fedvm-sealed`, or, for a node that Flower
    simulates, a folder of its own in the federation's directory.

    A client with a key of its own must name the folder itself: the run config is the server's, and one that leads
    elsewhere would make it forget what it has answered.

    Raises:
        TermsError: there is neither, or the path is relative: Flower starts a process for each message, and one in
            another working directory would remember nothing.
    """
    folder = context.node_config.get(SEALED)
    if folder:
        return SealedHome(_absolute(SEALED, str(folder)), not context.node_config.get(SIMULATED))
    directory, partition = context.run_config.get(DIRECTORY), context.node_config.get("partition-id")
    has_own_key = KEY in context.node_config or KEY_FILE in context.node_config
    if has_own_key or not directory or partition is None:
        raise TermsError(
            f"this federation is sealed, and this client has no place to keep its keys: set {SEALED} in its node "
            "config to a folder of its own"
        )
    home = _absolute(DIRECTORY, str(directory)) / "clients"
    return SealedHome(folder_of_partition(home, int(str(partition))), durable=False)


def folder_of_partition(home: Path, partition: int) -> Path:
    """Where below `home` a simulated client keeps what it must remember of sealed rounds."""
    return home / f"{partition:03}"


def _absolute(name: str, value: str) -> Path:
    if not Path(value).is_absolute():
        raise TermsError(f"{name} is {value!r}: give an absolute path, as Flower runs apps elsewhere")
    return Path(value)


def _simulated_key_file(context: Context) -> str | None:
    directory, partition = context.run_config.get(DIRECTORY), context.node_config.get("partition-id")
    if not directory or partition is None:
        return None
    return str(key_of_partition(Path(str(directory)), int(str(partition))))
