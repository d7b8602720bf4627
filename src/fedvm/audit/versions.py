"""Checks every registered version: its ONNX file, its weights, and the code that compiling it again gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np

from fedvm.audit.booster_trees import same_trees
from fedvm.audit.chain_reader import ChainReader
from fedvm.audit.description import read_description
from fedvm.audit.errors import DescriptionError, RecipeError
from fedvm.audit.findings import Ledger, Place, cid_text
from fedvm.audit.open_round import FinalRound
from fedvm.audit.recipe import CompileRecipe, calibration_images, read_recipe, stored_weights
from fedvm.chain.model_service import ModelService, Version, VersionRegistered
from fedvm.compiler import (
    COMPILER_VERSION,
    CompiledModel,
    CompileError,
    compile_model,
    known_faults,
    verdict_on,
)
from fedvm.evm.keccak import keccak
from fedvm.protocol import dequantize, to_bytes
from fedvm.protocol.vector import IntVector
from fedvm.store import Store, StoreError


@dataclass(frozen=True)
class ServedVersion:
    """A version whose code is what was registered: address → runtime code, the entry's address, and the gas
    that each answer is given."""

    program: str
    codes: Mapping[str, bytes]
    gas: int


class VersionReplay:
    """Checks the versions of one ModelService; then `served` holds those that can be run, by number, and `compiled`
    what compiling them again gave; `registered` is how many there are.

    finals: final rounds of each federation that was replayed, by the federation's lower-case address.
    """

    def __init__(
        self,
        reader: ChainReader,
        service: ModelService,
        store: Store,
        ledger: Ledger,
        finals: Mapping[str, Mapping[int, FinalRound]],
    ) -> None:
        self.served: dict[int, ServedVersion] = {}
        self.compiled: dict[int, tuple[Version, CompiledModel]] = {}
        self.registered = 0
        self._reader, self._service, self._store = reader, service, store
        self._ledger, self._finals = ledger, finals

    def run(self, first_block: int, progress: Callable[[int, int], None] | None = None) -> None:
        """Check every version; `progress(done, versions)`."""
        registered = list(self._service.versions(first=first_block, last=self._reader.head))
        self.registered = len(registered)
        for done, event in enumerate(registered):
            if progress:
                progress(done, len(registered))
            self._check(event)

    def _check(self, event: VersionRegistered) -> None:
        version, check = event.version, self._ledger.check
        place = Place(version=event.id, tx=event.at.tx_hash, cid=cid_text(version.onnx_cid))
        self._check_code(event.id, version, place)
        final = self._check_round(version, place) if version.has_lineage else None
        try:
            onnx = self._store.get(version.onnx_cid)
        except StoreError as error:
            self._ledger.unreadable("onnx data", place, error)
            return
        check("onnx data", True, place, "")
        try:
            recipe = read_recipe(onnx)
            check("compiler", not known_faults(recipe.compiler), place, verdict_on(recipe.compiler))
            if final is not None and final.model is not None:
                if final.over_bytes:
                    self._check_trees(onnx, final.model, place)
                else:
                    self._check_weights(onnx, recipe, final.model, place)
            # Whether the program is the registered one is asked here, not how good it is.
            images, arguments = calibration_images(self._store, recipe), recipe.arguments()
            compiled = compile_model(
                onnx, images, **arguments, verify=False, min_agreement=0, min_correlation=0
            )
        except (RecipeError, StoreError, CompileError) as error:
            self._ledger.unreadable("integer onnx", place, error, "cannot be compiled again: ")
            return
        self._check_compilation(compiled, version, recipe.compiler, place)
        self._check_description(event.id, version, onnx, compiled, place)

    def _check_code(self, number: int, version: Version, place: Place) -> None:
        codes = {part.account: self._reader.code(part.account) for part in version.parts}
        altered = [part.account for part in version.parts if keccak(codes[part.account]) != part.code_hash]
        message = f"the chain holds other code than registered at {', '.join(altered)}"
        if self._ledger.check("code on chain", not altered, place, message):
            self.served[number] = ServedVersion(version.program, codes, version.gas)

    def _check_round(self, version: Version, place: Place) -> FinalRound | None:
        rounds = self._finals.get(version.federation)
        if rounds is None:
            message = f"comes from the federation {version.federation}, which was not audited: audit it, too"
            self._ledger.unverified("version", place, message)
            return None
        final = rounds.get(version.round)
        same = final is not None and final.model_root == version.model_root
        message = f"round {version.round} is not final with the model root registered"
        return final if self._ledger.check("version", same, place, message) else None

    def _check_weights(self, onnx: bytes, recipe: CompileRecipe, model: IntVector, place: Place) -> None:
        stored = stored_weights(onnx)
        parts = [stored[name].reshape(-1) for name in recipe.tensors if name in stored]
        weights = np.concatenate([np.zeros(0, np.float32), *parts])
        expected = dequantize(model, recipe.fraction_bits).astype(np.float32)
        same = weights.shape == expected.shape and bool((weights == expected).all())
        self._ledger.check(
            "onnx weights", same, place, "the weights in the ONNX file are not the round's model"
        )

    def _check_trees(self, onnx: bytes, model: IntVector, place: Place) -> None:
        booster, same, why = self._store.get(to_bytes(model)), False, ""
        try:
            same = same_trees(onnx, booster)
        except ValueError as error:
            why = f" ({error})"
        message = f"the trees in the ONNX file are not those of the round's model{why}"
        self._ledger.check("onnx weights", same, place, message)

    def _check_compilation(
        self, compiled: CompiledModel, version: Version, compiler: int, place: Place
    ) -> None:
        other = ""
        if compiler != COMPILER_VERSION:
            other = f" (made by compiler version {compiler}, compiled again by version {COMPILER_VERSION})"
        digest = sha256(compiled.reference.SerializeToString(deterministic=True)).digest()
        self._ledger.check(
            "integer onnx",
            digest == version.integer_onnx_digest,
            place,
            f"compiling again gives 0x{digest.hex()}, registered is 0x{version.integer_onnx_digest.hex()}"
            + other,
        )
        entry, *parts = version.parts
        linked = (
            compiled.link([part.account for part in parts]) if len(parts) == len(compiled.units) - 1 else ()
        )
        hashes = [keccak(code) for code in linked]
        self._ledger.check(
            "code hashes",
            hashes == [part.code_hash for part in (*parts, entry)],
            place,
            "compiling again gives other code than registered" + other,
        )

    def _check_description(
        self, number: int, version: Version, onnx: bytes, compiled: CompiledModel, place: Place
    ) -> None:
        message = "what the ONNX file says of its input or its scores is not what compiling it again gives"
        try:
            described = read_description(onnx)
            holds = described.agrees(compiled.manifest)
            manifest = {**compiled.manifest, "description": described.to_json()}
            self.compiled[number] = (version, replace(compiled, manifest=manifest))
        except DescriptionError as error:
            holds, message = False, str(error)
        self._ledger.check("description", holds, place, message)
