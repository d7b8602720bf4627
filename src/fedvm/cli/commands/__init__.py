"""One module for each command; `ALL` lists the commands in the order in which `--help` shows them."""

from __future__ import annotations

from fedvm.cli.commands.answer import COMMAND as ANSWER
from fedvm.cli.commands.audit import COMMAND as AUDIT
from fedvm.cli.commands.challenge import COMMAND as CHALLENGE
from fedvm.cli.commands.collect import COMMAND as COLLECT
from fedvm.cli.commands.command import Command
from fedvm.cli.commands.compile import COMMAND as COMPILE
from fedvm.cli.commands.create import COMMAND as CREATE
from fedvm.cli.commands.decisions import COMMAND as DECISIONS
from fedvm.cli.commands.deploy import COMMAND as DEPLOY
from fedvm.cli.commands.devnet import COMMAND as DEVNET
from fedvm.cli.commands.doctor import COMMAND as DOCTOR
from fedvm.cli.commands.export import COMMAND as EXPORT
from fedvm.cli.commands.fetch import COMMAND as FETCH
from fedvm.cli.commands.piece import COMMAND as PIECE
from fedvm.cli.commands.predict import COMMAND as PREDICT
from fedvm.cli.commands.propose import COMMAND as PROPOSE
from fedvm.cli.commands.publish import COMMAND as PUBLISH
from fedvm.cli.commands.run import COMMAND as RUN
from fedvm.cli.commands.runs import COMMAND as RUNS
from fedvm.cli.commands.serve import COMMAND as SERVE
from fedvm.cli.commands.settings import COMMAND as SETTINGS
from fedvm.cli.commands.split import COMMAND as SPLIT
from fedvm.cli.commands.submit import COMMAND as SUBMIT
from fedvm.cli.commands.verify import COMMAND as VERIFY
from fedvm.cli.commands.watch import COMMAND as WATCH
from fedvm.cli.commands.web import COMMAND as WEB

ALL: tuple[Command, ...] = (
    RUN,
    RUNS,
    WEB,
    CREATE,
    PREDICT,
    DECISIONS,
    COLLECT,
    AUDIT,
    CHALLENGE,
    PROPOSE,
    ANSWER,
    WATCH,
    PUBLISH,
    FETCH,
    PIECE,
    EXPORT,
    COMPILE,
    DEPLOY,
    SERVE,
    VERIFY,
    SPLIT,
    SUBMIT,
    DEVNET,
    SETTINGS,
    DOCTOR,
)

__all__ = ["ALL", "Command"]
