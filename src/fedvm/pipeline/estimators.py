"""A scikit-learn estimator as an ONNX file in which each array that a federation trains is found by its name.

skl2onnx writes an estimator's arrays into initializers, turned over or not, or into attributes of ai.onnx.ml's nodes.
So an estimator with arrays of random numbers is converted, and where these are found in the file is where a round's
belong.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from fedvm.pipeline.errors import UsageError


@dataclass(frozen=True)
class EstimatorFile:
    """An ONNX file that holds random numbers for the arrays of an estimator.

    arrays: in the order in which apps exchange them, float32, under the names that they have in the file:
    initializers, or `NODE.ATTRIBUTE`.
    """

    onnx: bytes
    arrays: dict[str, NDArray[np.float32]]


def is_estimator(made: Any) -> bool:
    """Whether something is an estimator as scikit-learn makes them."""
    return hasattr(made, "get_params") and hasattr(made, "fit")


def estimator_file(estimator: Any) -> EstimatorFile:
    """The file of an estimator whose shapes are set. Its arrays are `coef_` and `intercept_`, or all of `coefs_` and
    then all of `intercepts_`, as Flower's apps exchange them; of a pipeline, those of its last step.

    Raises:
        UsageError: it has no arrays, skl2onnx is not installed or does not know it, or writes an array in another form.
    """
    probe = copy.deepcopy(estimator)
    last = probe.steps[-1][1] if hasattr(probe, "steps") else probe
    _check_arrays(last)
    try:
        arrays = _filled_at_random(last)
    except (AttributeError, TypeError) as error:  # an estimator that computes them from others
        raise UsageError(
            f"the arrays of the {type(last).__name__} of --model cannot be set ({error}): linear models and multilayer "
            "perceptrons can be served"
        ) from error
    model = _converted(probe, last, arrays)
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}{number}"
    named = {_placed(model, name, array): array for name, array in arrays.items()}
    onnx.checker.check_model(model)
    return EstimatorFile(bytes(model.SerializeToString(deterministic=True)), named)


def _check_arrays(last: Any) -> None:
    """Raise UsageError if what should be arrays of numbers, and agree with the classes, is something else."""
    kind = type(last).__name__
    for name, most in (("coef_", 2), ("intercept_", 1)):
        if (held := getattr(last, name, None)) is None and (name == "intercept_" or not hasattr(last, name)):
            continue
        try:
            dims = np.asarray(held, np.float64).ndim
        except (TypeError, ValueError):
            dims = -1
        if not 0 <= dims <= most or (name == "coef_" and dims == 0):
            raise UsageError(
                f"{name} of the {kind} of --model is no array of numbers with at most {most} axes: set it in the shape "
                "that clients train"
            )
    if hasattr(last, "coef_") and hasattr(last, "classes_"):
        rows, classes = len(np.atleast_2d(last.coef_)), len(last.classes_)
        if rows != (1 if classes == 2 else classes):
            raise UsageError(
                f"the {kind} of --model has {classes} classes_ and {rows} rows of coef_: set a row for each class, "
                "and one for two classes"
            )


def _filled_at_random(last: Any) -> dict[str, NDArray[np.float32]]:
    """Put random numbers, no two alike, in the place of the arrays; return them by name."""
    rng = np.random.default_rng(0)
    drawn: dict[str, NDArray[np.float32]] = {}

    def random(name: str, like: Any) -> Any:
        shape = np.shape(like)
        drawn[name] = rng.normal(size=shape).astype(np.float32)
        wide = drawn[name].astype(np.float64)
        return wide if shape else float(wide)

    if hasattr(last, "coefs_"):
        last.coefs_ = [random(f"coefs_{at}", one) for at, one in enumerate(last.coefs_)]
        last.intercepts_ = [random(f"intercepts_{at}", one) for at, one in enumerate(last.intercepts_)]
    elif hasattr(last, "coef_"):
        last.coef_ = random("coef_", last.coef_)
        if getattr(last, "fit_intercept", True) and hasattr(last, "intercept_"):
            last.intercept_ = random("intercept_", last.intercept_)
    else:
        raise UsageError(
            f"the {type(last).__name__} of --model has no coef_ yet: let the function set coef_, intercept_ and, for a "
            "classifier, classes_, in the shapes that clients train, as Flower's scikit-learn quickstart does"
        )
    return drawn


def _converted(probe: Any, last: Any, arrays: dict[str, NDArray[np.float32]]) -> onnx.ModelProto:
    try:
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import FloatTensorType
    except ImportError:
        raise UsageError(
            "a scikit-learn estimator is written as ONNX by skl2onnx, which is not installed: pip install skl2onnx"
        ) from None
    weights = next(iter(arrays.values()))
    first = weights.shape[0] if hasattr(last, "coefs_") else weights.shape[-1]
    width = int(getattr(probe, "n_features_in_", None) or first)
    options = {id(last): {"zipmap": False}} if hasattr(last, "predict_proba") else None
    try:
        made: onnx.ModelProto = to_onnx(
            probe, initial_types=[("input", FloatTensorType([None, width]))], options=options
        )
    except Exception as error:  # skl2onnx and the estimators raise what they like
        raise UsageError(
            f"skl2onnx cannot write the {type(last).__name__} of --model as ONNX: {error}"
        ) from error
    return made


def _placed(model: onnx.ModelProto, name: str, array: NDArray[np.float32]) -> str:
    """The name under which the file holds an array; the file is changed so that it holds it as it is."""
    wanted, turned = array.ravel(), array.T.ravel()
    for tensor in model.graph.initializer:
        held = numpy_helper.to_array(tensor).ravel()
        if held.size != wanted.size or held.dtype.kind != "f":
            continue
        if np.array_equal(held.astype(np.float32), wanted):
            shape = list(tensor.dims)
            tensor.CopyFrom(numpy_helper.from_array(wanted.reshape(shape), tensor.name))
            return str(tensor.name)
        if np.array_equal(held.astype(np.float32), turned):
            used, tensor_name = tensor.name, f"{name}{tensor.name}"
            tensor.CopyFrom(numpy_helper.from_array(array, tensor_name))
            model.graph.node.insert(0, helper.make_node("Transpose", [tensor_name], [used], f"turn {used}"))
            return tensor_name
    for node in model.graph.node:
        for attribute in node.attribute:
            floats = np.array(attribute.floats, np.float32)
            if np.array_equal(floats, wanted):
                return f"{node.name}.{attribute.name}"
            if node.op_type == "LinearClassifier" and np.array_equal(
                floats, np.concatenate([-wanted, wanted])
            ):
                del attribute.floats[: wanted.size]  # a score of one class means the same to ai.onnx.ml
                for other in node.attribute:  # of an estimator without an intercept
                    if other.name == "intercepts" and not any(other.floats):
                        del other.floats[1:]
                return f"{node.name}.{attribute.name}"
    raise UsageError(
        f"skl2onnx does not write {name} of this estimator in a form from which anyone could tell that it is the "
        "round's: linear models and multilayer perceptrons can be served"
    )
