"""`fedvm run`: data, federation, compilation, deployment, check, report."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from fedvm.cli.commands.command import Command

_DATA, _TRAINING, _FLOWER, _RULES, _COMPILER = (
    "Data",
    "Training",
    "Flower's settings",
    "Rules the contract enforces",
    "Compiler and checks",
)


def run(
    config: Annotated[
        Path | None, typer.Argument(help="A TOML file such as examples/demo.toml; flags override it.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run directory (runs/NAME).")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same model digest.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    dataset: Annotated[
        str | None, typer.Option(help="mnist, cifar10, fashion-mnist or owner/name.", rich_help_panel=_DATA)
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Local parquet or image folder.", rich_help_panel=_DATA)
    ] = None,
    clients: Annotated[int | None, typer.Option(rich_help_panel=_DATA)] = None,
    partition: Annotated[
        str | None,
        typer.Option(help="iid, dirichlet, shard, pathological, linear or square.", rich_help_panel=_DATA),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(help="Dirichlet concentration; implies --partition dirichlet.", rich_help_panel=_DATA),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="lenet, linear, mlp or resnet8.", rich_help_panel=_TRAINING)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over a client's data per round.", rich_help_panel=_TRAINING)
    ] = None,
    batch_size: Annotated[int | None, typer.Option(rich_help_panel=_TRAINING)] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="nesterov, sgd, adam, …", rich_help_panel=_TRAINING)
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.", rich_help_panel=_TRAINING)] = None,
    momentum: Annotated[float | None, typer.Option(rich_help_panel=_TRAINING)] = None,
    criterion: Annotated[
        str | None, typer.Option(help="Loss, e.g. cross_entropy.", rich_help_panel=_TRAINING)
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda or mps.", rich_help_panel=_TRAINING)
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that train clients.", rich_help_panel=_TRAINING)
    ] = None,
    baseline: Annotated[
        bool | None,
        typer.Option(
            "--baseline/--no-baseline",
            help="Train without federating, to compare.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    rounds: Annotated[int | None, typer.Option(rich_help_panel=_FLOWER)] = None,
    fraction_train: Annotated[float | None, typer.Option(rich_help_panel=_FLOWER)] = None,
    fraction_evaluate: Annotated[float | None, typer.Option(rich_help_panel=_FLOWER)] = None,
    min_train_nodes: Annotated[int | None, typer.Option(rich_help_panel=_FLOWER)] = None,
    min_evaluate_nodes: Annotated[int | None, typer.Option(rich_help_panel=_FLOWER)] = None,
    min_available_nodes: Annotated[int | None, typer.Option(rich_help_panel=_FLOWER)] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="Where clients run: inprocess, flower-simulation (Ray) or deployment.",
            rich_help_panel=_FLOWER,
        ),
    ] = None,
    superlink: Annotated[
        str | None, typer.Option(help="HOST:PORT of a deployment's SuperLink.", rich_help_panel=_FLOWER)
    ] = None,
    root_certificates: Annotated[
        Path | None, typer.Option(help="PEM file to check the SuperLink with.", rich_help_panel=_FLOWER)
    ] = None,
    insecure: Annotated[
        bool | None,
        typer.Option("--insecure", help="A SuperLink without TLS, on loopback.", rich_help_panel=_FLOWER),
    ] = None,
    min_clients: Annotated[
        int | None, typer.Option(help="Fewer accepted updates fail the round.", rich_help_panel=_RULES)
    ] = None,
    min_examples: Annotated[int | None, typer.Option(rich_help_panel=_RULES)] = None,
    max_examples: Annotated[
        int | None, typer.Option(help="More examples count as this many.", rich_help_panel=_RULES)
    ] = None,
    max_norm: Annotated[
        float | None, typer.Option(help="Bound on an update's L2 norm.", rich_help_panel=_RULES)
    ] = None,
    min_accuracy: Annotated[
        float | None, typer.Option(help="Attested, 0 … 1.", rich_help_panel=_RULES)
    ] = None,
    max_loss: Annotated[float | None, typer.Option(help="Attested.", rich_help_panel=_RULES)] = None,
    round_seconds: Annotated[
        int | None, typer.Option(help="Deadline after a round opens.", rich_help_panel=_RULES)
    ] = None,
    weight_bits: Annotated[int | None, typer.Option(rich_help_panel=_COMPILER)] = None,
    activation_bits: Annotated[int | None, typer.Option(rich_help_panel=_COMPILER)] = None,
    test_images: Annotated[
        int | None, typer.Option(help="Held-out images asked of the contract.", rich_help_panel=_COMPILER)
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="TABLE.KEY=VALUE",
            help="Any other setting, e.g. --set adversaries.3=bad_signature.",
        ),
    ] = None,
) -> None:
    """Train a model among clients under a contract's rules, compile it to EVM code, deploy it and check it.

    CONFIG is a TOML file such as examples/demo.toml; flags override it. Without one 16 honest clients learn
    digits (MNIST-5k) on the embedded chain. Everything lands in the run directory: chain, store, model,
    program, report.html.
    """
    overrides: dict[str, Any] = {
        "run.out": str(out) if out else None,
        "run.seed": seed,
        "data.dataset": dataset,
        "data.path": str(data) if data else None,
        "data.clients": clients,
        "data.partition": partition or ("dirichlet" if alpha is not None else None),
        "data.alpha": alpha,
        "model.name": model,
        "training.epochs": epochs,
        "training.batch_size": batch_size,
        "training.optimizer": optimizer,
        "training.lr": lr,
        "training.momentum": momentum,
        "training.criterion": criterion,
        "training.device": device,
        "training.workers": workers,
        "baseline.enabled": baseline,
        "federation.rounds": rounds,
        "federation.fraction_train": fraction_train,
        "federation.fraction_evaluate": fraction_evaluate,
        "federation.min_train_nodes": min_train_nodes,
        "federation.min_evaluate_nodes": min_evaluate_nodes,
        "federation.min_available_nodes": min_available_nodes,
        "federation.engine": engine,
        "deployment.superlink": superlink,
        "deployment.root_certificates": str(root_certificates.resolve()) if root_certificates else None,
        "deployment.insecure": insecure,
        "rules.min_clients": min_clients,
        "rules.min_examples": min_examples,
        "rules.max_examples": max_examples,
        "rules.max_norm": max_norm,
        "rules.min_accuracy": min_accuracy,
        "rules.max_loss": max_loss,
        "rules.round_seconds": round_seconds,
        "compiler.weight_bits": weight_bits,
        "compiler.activation_bits": activation_bits,
        "evaluation.test_images": test_images,
    }
    _run(config, {key: value for key, value in overrides.items() if value is not None}, assignments, resume)


def _run(path: Path | None, overrides: dict[str, Any], assignments: list[str] | None, resume: bool) -> None:
    from fedvm.cli.console import Interrupted
    from fedvm.cli.progress import RunDisplay
    from fedvm.cli.summary import print_summary
    from fedvm.pipeline.config_file import load_config, parse_assignment
    from fedvm.pipeline.resume import resumed_config
    from fedvm.rundir.layout import RunDirectory

    overrides |= dict(parse_assignment(assignment) for assignment in assignments or [])
    config = resumed_config(path, overrides) if resume else load_config(path, overrides)

    from fedvm.pipeline.run import run_all

    logging.getLogger("flwr").setLevel(logging.WARNING)  # its lines would tear the table of rounds apart
    with RunDisplay() as display:
        try:
            report = run_all(config, resume=resume, observer=display)
        except KeyboardInterrupt:
            begun = RunDirectory(config.out).started
            hint = f"Nothing is lost. Continue with: fedvm run --out {config.out} --resume" if begun else ""
            raise Interrupted(hint) from None
    print_summary(report, config.out)


COMMAND = Command(
    "run",
    run,
    (
        ("fedvm run", "16 clients learn digits"),
        ("fedvm run examples/demo.toml --out runs/a", "two of the 16 misbehave"),
        ("fedvm run --dataset cifar10 --data DIR --rounds 5 --baseline", "your own copy of CIFAR-10"),
        ("fedvm run --alpha 0.3 --max-examples 400", "uneven data, and a cap on one client's say"),
        ("fedvm run --out runs/a --resume", "go on after Ctrl-C or a crash"),
    ),
)
