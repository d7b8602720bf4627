"""Writes model.onnx with the weights of the federation's latest round, and the held-back patients as patients.csv; one
of them, as a row of measures, as patient.csv."""

from pathlib import Path

import pandas
from hospitals.task import held_back, initial_model
from sklearn.datasets import load_breast_cancer

from fedvm.pipeline.app_model import federated_app
from fedvm.pipeline.federated_onnx import final_model
from fedvm.rundir.run import open_run

with open_run("federation") as run:
    federated = federated_app(initial_model(), "initial_model", final_model(run), input_shape=(30,))
Path("model.onnx").write_bytes(federated.onnx)
measures, diagnoses = held_back()
names = [name.replace(" ", "_") for name in load_breast_cancer().feature_names]
table = pandas.DataFrame(measures, columns=names)
table.assign(diagnosis=diagnoses).to_csv("patients.csv", index=False)
table[:1].to_csv("patient.csv", index=False)
print(f"model.onnx: round {federated.lineage.round} of {federated.lineage.federation}")
