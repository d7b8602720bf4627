"""The trial that a registered version must pass: samples are drawn, asked one by one, and reported by class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from eth_account.signers.local import LocalAccount
from hexbytes import HexBytes

from fedvm.chain.errors import TransactionFailed
from fedvm.chain.gate import (
    SEED_WINDOW,
    OpenedSample,
    PromotionGate,
    SampleAsked,
    Trial,
    TrialDrawn,
    TrialState,
)
from fedvm.chain.model_service import ModelService, VersionRegistered
from fedvm.chain.networks import EMBEDDED
from fedvm.chain.revm import RevmProgram
from fedvm.evm.limits import MAX_CALLDATA_BYTES
from fedvm.pipeline.answer_gas import samples_at_once
from fedvm.pipeline.errors import GateFailed
from fedvm.pipeline.results import ClassTrial, GateFacts
from fedvm.pipeline.serve import Served
from fedvm.protocol import SamplePool, SampleTree, Verdict
from fedvm.protocol.sequential import PPM

_CALLDATA_BYTES, _SAMPLE_BYTES = 4 + 3 * 32, 7 * 32
"""Bytes of the encoding around the samples, and around a sample's input and siblings."""
_OVERHEAD_GAS, _SAMPLE_OVERHEAD_GAS, _BYTE_GAS = 1_000_000, 300_000, 100


@dataclass(frozen=True)
class Custodian:
    """Who has the samples and pays for the trial; first_block: a block at or before the gate's creation."""

    account: LocalAccount
    samples: SampleTree
    first_block: int


def try_version(
    served: Served,
    custodian: Custodian,
    class_names: tuple[str, ...],
    pass_block: Callable[[], None],
    progress: Callable[[int, int], None],
) -> tuple[Served, GateFacts]:
    """Run the trial of a gated service's version, and report it. Raises what `pass_gate` raises."""
    gate = served.service.gate()
    if gate is None:
        raise GateFailed("the service has no gate: create one with the gate's terms")
    registered = pass_gate(served.service, gate, served.registered, custodian, pass_block, progress)
    return replace(served, registered=registered), _facts(gate, registered.id, class_names)


def _facts(gate: PromotionGate, version_id: int, class_names: tuple[str, ...]) -> GateFacts:
    terms, trial = gate.terms(), gate.trial(version_id)
    told = (TrialDrawn, SampleAsked)
    transactions = {e.at.tx_hash for e in gate.events(told) if getattr(e, "version", None) == version_id}
    receipts = [gate.w3.eth.get_transaction_receipt(HexBytes(tx_hash)) for tx_hash in transactions]
    counts = gate.class_counts(version_id, terms.classes)
    return GateFacts(
        address=gate.address,
        samples_root="0x" + terms.samples_root.hex(),
        samples=terms.samples,
        remaining=gate.samples_remaining(),
        fail_accuracy=terms.test.fail_ppm / PPM,
        pass_accuracy=terms.test.pass_ppm / PPM,
        alpha=terms.test.alpha_ppm / PPM,
        beta=terms.test.beta_ppm / PPM,
        asked=trial.asked,
        right=trial.right,
        better=trial.better,
        worse=trial.worse,
        bond=trial.bond,
        gas=sum(receipt["gasUsed"] for receipt in receipts),
        transactions=len(receipts),
        classes=tuple(
            ClassTrial(name, count.asked, count.right)
            for name, count in zip(class_names, counts, strict=True)
        ),
    )


def pass_gate(
    service: ModelService,
    gate: PromotionGate,
    registered: VersionRegistered,
    custodian: Custodian,
    pass_block: Callable[[], None],
    progress: Callable[[int, int], None],
) -> VersionRegistered:
    """Finish the trial of a registered version; return the registration under which it passed.

    Continues where an earlier start ended. If the trial lapsed meanwhile, the version is registered and its bond paid
    again, as long as the gate allows attempts. pass_block: waits for a block; progress: called with the number of
    samples asked and the maximum.
    Raises GateFailed when the version fails, TransactionFailed when the chain refuses something.
    """
    while True:
        trial = gate.trial(registered.id)
        if trial.state is TrialState.PASSED:
            return registered
        if trial.state is TrialState.FAILED:
            raise GateFailed(_failure(gate, registered.id, trial))
        if trial.state is TrialState.LAPSED:
            registered, _ = service.register(custodian.account, registered.version)
            continue
        try:
            if trial.state is TrialState.REGISTERED:
                _draw(gate, trial, custodian.account, pass_block)
            else:
                _ask(service, gate, registered, trial, custodian, progress)
        except TransactionFailed:
            # Anyone may draw, ask and end a trial; whoever was first did just the same.
            if gate.trial(registered.id).state is trial.state:
                raise


def _draw(gate: PromotionGate, trial: Trial, account: LocalAccount, pass_block: Callable[[], None]) -> None:
    # Nodes estimate gas as if in the latest block, which cannot see its own hash.
    lag = 0 if gate.sender.network is EMBEDDED else 1
    while (
        not gate.can_draw(trial.seed_block, head := gate.w3.eth.block_number) or head < trial.seed_block + lag
    ):
        if head >= trial.seed_block + SEED_WINDOW:
            gate.lapse(account)
            return
        pass_block()
    gate.draw(account)


def _ask(
    service: ModelService,
    gate: PromotionGate,
    registered: VersionRegistered,
    trial: Trial,
    custodian: Custodian,
    progress: Callable[[int, int], None],
) -> None:
    """Run the next batch, up to the sample that decides; or end a trial whose time is over."""
    if gate.w3.eth.get_block("latest")["timestamp"] > trial.until:
        gate.lapse(custodian.account)
        return
    terms, limits = gate.terms(), gate.thresholds()
    asked_of = [_Asked.of(service, number) for number in (registered.id, trial.rival) if number]
    pool: SamplePool = gate.pool(custodian.first_block)
    asked, right = trial.asked, trial.right
    batch: list[OpenedSample] = []
    each, network = _SAMPLE_OVERHEAD_GAS + sum(version.gas for version in asked_of), gate.sender.network
    size, room = _CALLDATA_BYTES, samples_at_once(each, _OVERHEAD_GAS, network)
    # The contract's answers are known beforehand, so no sample is revealed that would not count.
    while limits.verdict(asked, right, terms.max_samples) is Verdict.OPEN and len(batch) < room:
        index = pool.draw(trial.seed, asked)
        sample, opened = custodian.samples.samples[index], custodian.samples.opened(index)
        size += _SAMPLE_BYTES + -(-len(sample.input) // 32) * 32 + 32 * len(opened[3])
        if batch and size > MAX_CALLDATA_BYTES:
            break
        batch.append(opened)
        version = asked_of[0]
        right += version.program.answer(sample.input, version.gas, terms.classes) == sample.label
        asked += 1
    # An estimate would run all samples several times; on Filecoin nobody but the node knows what they take.
    gas = None if network.is_filecoin else _OVERHEAD_GAS + each * len(batch) + _BYTE_GAS * size
    gate.run_samples(custodian.account, trial.asked, batch, gas=gas)
    progress(asked, terms.max_samples)


@dataclass(frozen=True)
class _Asked:
    """A version that a trial asks, and the gas of its answers."""

    program: RevmProgram
    gas: int

    @classmethod
    def of(cls, service: ModelService, number: int) -> _Asked:
        version = service.version(number)
        accounts = [part.account for part in version.parts]
        return cls(RevmProgram.from_chain(service.w3, accounts, warm=True), version.gas)


def _failure(gate: PromotionGate, version_id: int, trial: Trial) -> str:
    terms = gate.terms()
    return (
        f"version {version_id} did not pass the promotion gate: {trial.right} of {trial.asked} samples right (wanted: "
        f"clearly more than {terms.test.fail_ppm / 10_000:g} %), {trial.worse} that the serving version alone "
        f"got right against {trial.better}. It does not serve and its bond is burnt; {gate.trials_lost()} "
        f"of the {terms.attempts} trials that this gate may lose are lost. Train a better model in a new run, or lower "
        "gate.fail_accuracy and gate.pass_accuracy there."
    )
