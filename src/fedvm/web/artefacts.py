"""What a version is made of: its ONNX file, what that says of itself, and the integer ONNX that it computes."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any

import onnx
from web3.exceptions import Web3Exception

from fedvm.audit.description import Description, read_description
from fedvm.audit.errors import DescriptionError, RecipeError
from fedvm.audit.recipe import CompileRecipe, calibration_images, read_recipe
from fedvm.compiler import CompileError, compile_model
from fedvm.jsontext import parse_json
from fedvm.rundir.layout import RunDirectory
from fedvm.store import Store, StoreError
from fedvm.web.chronicle import VersionFacts


@dataclass
class Artefacts:
    """The artefacts of one version, read when they are asked for. missing: why the ONNX file is not there."""

    version: VersionFacts
    store: Store
    directory: RunDirectory | None = None
    missing: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _compiled: tuple[bytes, dict[str, Any]] | None = None

    @cached_property
    def onnx(self) -> bytes | None:
        """The ONNX file whose CID the chain has; None if the store lacks it, see `missing`."""
        try:
            return self.store.get(bytes.fromhex(self.version.onnx_cid[2:]))
        except (StoreError, ValueError, OSError, Web3Exception) as error:
            self.missing = str(error)
            return None

    @cached_property
    def description(self) -> Description | None:
        """What the ONNX file says of input and classes; None if it says nothing readable."""
        if self.onnx is None:
            return None
        try:
            return read_description(self.onnx)
        except DescriptionError as error:
            self.missing = str(error)
            return None

    @cached_property
    def recipe(self) -> CompileRecipe | None:
        """How the ONNX file was compiled; None if it does not say."""
        try:
            return None if self.onnx is None else read_recipe(self.onnx)
        except RecipeError:
            return None

    @cached_property
    def parameters(self) -> int:
        """Numbers in the ONNX file's weights."""
        if self.onnx is None:
            return 0
        total = 0
        for tensor in onnx.load_model_from_string(self.onnx).graph.initializer:
            size = 1
            for one in tensor.dims:
                size *= one
            total += size
        return total

    def reference(self) -> bytes | None:
        """The integer ONNX file that the contract computes, with the registered SHA-256: the run's, or compiled again.
        None if neither gives it."""
        found = self._at_hand()
        return None if found is None else found[0]

    def manifest(self, *, compile_again: bool = False) -> dict[str, Any] | None:
        """What the compiler says of the program: the run's file, or, if that may take its time, by compiling again."""
        found = self._at_hand(compile_again=compile_again)
        return None if found is None else found[1]

    def _at_hand(self, *, compile_again: bool = True) -> tuple[bytes, dict[str, Any]] | None:
        with self._lock:
            if self._compiled is None:
                self._compiled = self._of_run() or (self._again() if compile_again else None)
            return self._compiled

    def _of_run(self) -> tuple[bytes, dict[str, Any]] | None:
        if self.directory is None:
            return None
        try:
            reference = self.directory.reference.read_bytes()
            manifest = parse_json((self.directory.program / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return (
            (reference, manifest) if self._is_registered(reference) and isinstance(manifest, dict) else None
        )

    def _again(self) -> tuple[bytes, dict[str, Any]] | None:
        if self.onnx is None or self.recipe is None:
            return None
        try:
            images, arguments = calibration_images(self.store, self.recipe), self.recipe.arguments()
            compiled = compile_model(
                self.onnx, images, **arguments, verify=False, min_agreement=0, min_correlation=0
            )
        except (RecipeError, StoreError, CompileError):
            return None
        reference = bytes(compiled.reference.SerializeToString(deterministic=True))
        return (reference, compiled.manifest) if self._is_registered(reference) else None

    def _is_registered(self, reference: bytes) -> bool:
        return "0x" + sha256(reference).hexdigest() == self.version.digest
