"""Which output of a classifier's file holds the scores, and the names of its classes.

Exporters give a label, and the scores of all classes as a tensor or as a list of dictionaries (ZipMap). The label is
the class of the largest score, so only the scores are computed, and the labels' names are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx
from onnx import TensorProto, numpy_helper

from fedvm.compiler.errors import ModelError, UnsupportedOperator
from fedvm.compiler.frontend.attributes import attributes_of
from fedvm.compiler.frontend.load import FLOATS

ML = "ai.onnx.ml"
CLASSIFIERS = {"LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier"}
PASSING = {"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}
_LABELS = ("classlabels_strings", "classlabels_ints", "classlabels_int64s")


@dataclass(frozen=True)
class Outputs:
    """scores: name of the value with the scores; label: of the output with the label, "" if there is none; classes: the
    labels in the order of the scores, () if the file does not name them. smallest: the label is the position of the
    smallest score."""

    scores: str
    label: str
    classes: tuple[int | str, ...] = field(default=())
    smallest: bool = False


def find_outputs(proto: onnx.ModelProto) -> Outputs:
    """The scores and the label among the outputs. Raises ModelError if there are several scores, or none, and
    UnsupportedOperator for a label along another axis than that of the columns."""
    makers = {name: node for node in proto.graph.node for name in node.output}
    scores: list[str] = []
    labels: list[str] = []
    for output in proto.graph.output:
        maker = makers.get(output.name)
        if maker is not None and maker.op_type == "ZipMap":
            scores.append(maker.input[0])
        elif _holds_floats(output):
            scores.append(output.name)
        else:
            labels.append(output.name)
    if len(scores) > 1 or len(labels) > 1:
        names = ", ".join(output.name for output in proto.graph.output)
        raise ModelError(
            f"the model has several outputs ({names}); choose one with output=NAME (--output NAME), or export it with "
            "a label and scores at most"
        )
    label = labels[0] if labels else ""
    nearest = makers.get(label)
    if nearest is not None and nearest.op_type == "ArgMin":
        _require_first_of_columns(nearest)
        return Outputs(nearest.input[0], label, smallest=True)
    found = scores[0] if scores else _scores_of(label, makers)
    decided = _maker_of(label, makers, {"ArgMax"})
    if decided is not None:
        _require_first_of_columns(decided)
    found = _before_shares(found, decided, makers)
    pairs = _maker_of(label, makers, {"SVMClassifier"})
    if pairs is not None and len(pairs.output) > 1:
        found = pairs.output[1]  # what follows orders the classes as the votes of the pairs do
    return Outputs(found, label, _classes(proto, makers, [*scores, label, found]))


def _require_first_of_columns(node: onnx.NodeProto) -> None:
    given = attributes_of(node)
    if given.get("axis", 0) not in (1, -1) or given.get("select_last_index", 0):
        raise UnsupportedOperator(
            f"node {node.name or node.op_type} ({node.op_type}): a label is the position of the first largest or "
            "smallest column; export it with axis=1 and select_last_index=0"
        )


def _before_shares(scores: str, decided: onnx.NodeProto | None, makers: dict[str, onnx.NodeProto]) -> str:
    """Name of the scores that the label is the largest of, where the file then divides them by their sum, whatever sign
    that has."""
    quotient = makers.get(scores)
    if decided is None or quotient is None or quotient.op_type != "Div":
        return scores
    return str(decided.input[0]) if quotient.input[0] == decided.input[0] else scores


def _holds_floats(output: onnx.ValueInfoProto) -> bool:
    kind = output.type
    if kind.HasField("sequence_type"):
        return True
    return bool(kind.tensor_type.elem_type in FLOATS or kind.tensor_type.elem_type == TensorProto.UNDEFINED)


def _scores_of(label: str, makers: dict[str, onnx.NodeProto]) -> str:
    """The scores behind a label that is the only output."""
    node = _maker_of(label, makers, {*CLASSIFIERS, "ArgMax"})
    if node is None:
        raise ModelError(
            f"output {label} is a label whose scores are not found; export the model with its scores"
        )
    if node.op_type == "ArgMax":
        return str(node.input[0])
    if len(node.output) < 2:
        node.output.append("")
    node.output[1] = node.output[1] or f"{label}_scores"
    return str(node.output[1])


def _maker_of(label: str, makers: dict[str, onnx.NodeProto], kinds: set[str]) -> onnx.NodeProto | None:
    """The node of one of the kinds whose class the label is; None if it is made otherwise."""
    name = label
    while (node := makers.get(name)) is not None and node.op_type not in kinds:
        if node.op_type == "ArrayFeatureExtractor":
            name = node.input[1]
        elif node.op_type in (*PASSING, "LabelEncoder"):
            name = node.input[0]
        else:
            return None
    return node


def _classes(
    proto: onnx.ModelProto, makers: dict[str, onnx.NodeProto], names: list[str]
) -> tuple[int | str, ...]:
    """The classes named by a ZipMap, by the classifier, or by the table that the label is looked up in."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in proto.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    known = {tensor.name: tensor for tensor in proto.graph.initializer}
    stack = [name for name in names if name]
    stack += [output.name for output in proto.graph.output]
    seen: set[str] = set()
    while stack:
        name = stack.pop()
        node = makers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        given = attributes_of(node)
        if node.op_type == "ZipMap" or node.op_type in CLASSIFIERS:
            for key in _LABELS:
                if values := given.get(key):
                    return tuple(values)
        if node.op_type == "ArrayFeatureExtractor" and node.input[0] in known:
            return tuple(_plain(v) for v in numpy_helper.to_array(known[node.input[0]]).ravel().tolist())
        stack += [node.input[0]] if node.input else []
        if node.op_type == "ArrayFeatureExtractor":
            stack.append(node.input[1])
    return ()


def _plain(value: object) -> int | str:
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, str) else int(value)  # type: ignore[call-overload]
