"""The byte-exact encodings that clients, coordinator, contract and auditor share (docs/protocol.md).

Names are imported when first used, so that reading the bounds of a setting loads no NumPy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedvm.lazy import importing

if TYPE_CHECKING:
    from fedvm.protocol.aggregation import (
        AggregationNode,
        AggregationStep,
        AggregationTree,
        CountedUpdate,
        aggregation_nodes,
        aggregation_tree,
    )
    from fedvm.protocol.aggregation_fold import Subtotal, fold, subtotal
    from fedvm.protocol.commitments import Commitment, CommitmentTree, commitment_tree
    from fedvm.protocol.errors import EncodingError, ProofError, RangeError, ShapeError, SignatureError
    from fedvm.protocol.hashing import CHUNK
    from fedvm.protocol.mean import Aggregate, weighted_mean
    from fedvm.protocol.place import Place
    from fedvm.protocol.proofs import Opening, Sibling, open_plain, open_update, verify_plain, verify_update
    from fedvm.protocol.refusal import Refusal
    from fedvm.protocol.rollup import Judged, Record, RecordTree, Rollup, record_tree, roll_up
    from fedvm.protocol.rules import WEIGHTED_MEAN, Rules
    from fedvm.protocol.samples import Sample, SamplePool, SampleTree, sample_root
    from fedvm.protocol.security import Security
    from fedvm.protocol.sequential import AccuracyTest, Thresholds, Verdict, thresholds
    from fedvm.protocol.spec import TensorSpec, VectorSpec
    from fedvm.protocol.submissions import Submission, is_submission
    from fedvm.protocol.trees import (
        AGGREGATE,
        MODEL,
        PlainTree,
        UpdateTree,
        aggregate_root,
        aggregate_tree,
        model_root,
        model_tree,
        update_tree,
    )
    from fedvm.protocol.typed_data import (
        Domain,
        Update,
        recover_signer,
        sign_update,
        update_digest,
        verify_update_signature,
    )
    from fedvm.protocol.vector import (
        dequantize,
        int32_from_bytes,
        int64_from_bytes,
        max_sum_squares,
        quantize_model,
        quantize_update,
        sum_squares,
        to_bytes,
    )

    __all__ = [
        "AGGREGATE",
        "CHUNK",
        "MODEL",
        "WEIGHTED_MEAN",
        "AccuracyTest",
        "Aggregate",
        "AggregationNode",
        "AggregationStep",
        "AggregationTree",
        "Commitment",
        "CommitmentTree",
        "CountedUpdate",
        "Domain",
        "EncodingError",
        "Judged",
        "Opening",
        "Place",
        "PlainTree",
        "ProofError",
        "RangeError",
        "Record",
        "RecordTree",
        "Refusal",
        "Rollup",
        "Rules",
        "Sample",
        "SamplePool",
        "SampleTree",
        "Security",
        "ShapeError",
        "Sibling",
        "SignatureError",
        "Submission",
        "Subtotal",
        "TensorSpec",
        "Thresholds",
        "Update",
        "UpdateTree",
        "VectorSpec",
        "Verdict",
        "aggregate_root",
        "aggregate_tree",
        "aggregation_nodes",
        "aggregation_tree",
        "commitment_tree",
        "dequantize",
        "fold",
        "int32_from_bytes",
        "int64_from_bytes",
        "is_submission",
        "max_sum_squares",
        "model_root",
        "model_tree",
        "open_plain",
        "open_update",
        "quantize_model",
        "quantize_update",
        "record_tree",
        "recover_signer",
        "roll_up",
        "sample_root",
        "sign_update",
        "subtotal",
        "sum_squares",
        "thresholds",
        "to_bytes",
        "update_digest",
        "update_tree",
        "verify_plain",
        "verify_update",
        "verify_update_signature",
        "weighted_mean",
    ]

__getattr__ = importing(
    __name__,
    {
        "aggregation": (
            "AggregationNode",
            "AggregationStep",
            "AggregationTree",
            "CountedUpdate",
            "aggregation_nodes",
            "aggregation_tree",
        ),
        "aggregation_fold": ("Subtotal", "fold", "subtotal"),
        "commitments": ("Commitment", "CommitmentTree", "commitment_tree"),
        "errors": ("EncodingError", "ProofError", "RangeError", "ShapeError", "SignatureError"),
        "hashing": ("CHUNK",),
        "mean": ("Aggregate", "weighted_mean"),
        "place": ("Place",),
        "proofs": ("Opening", "Sibling", "open_plain", "open_update", "verify_plain", "verify_update"),
        "refusal": ("Refusal",),
        "rollup": ("Judged", "Record", "RecordTree", "Rollup", "record_tree", "roll_up"),
        "rules": ("WEIGHTED_MEAN", "Rules"),
        "samples": ("Sample", "SamplePool", "SampleTree", "sample_root"),
        "security": ("Security",),
        "sequential": ("AccuracyTest", "Thresholds", "Verdict", "thresholds"),
        "spec": ("TensorSpec", "VectorSpec"),
        "submissions": ("Submission", "is_submission"),
        "trees": (
            "AGGREGATE",
            "MODEL",
            "PlainTree",
            "UpdateTree",
            "aggregate_root",
            "aggregate_tree",
            "model_root",
            "model_tree",
            "update_tree",
        ),
        "typed_data": (
            "Domain",
            "Update",
            "recover_signer",
            "sign_update",
            "update_digest",
            "verify_update_signature",
        ),
        "vector": (
            "dequantize",
            "int32_from_bytes",
            "int64_from_bytes",
            "max_sum_squares",
            "quantize_model",
            "quantize_update",
            "sum_squares",
            "to_bytes",
        ),
    },
)
