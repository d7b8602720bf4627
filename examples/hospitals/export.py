"""Writes model.onnx with the weights of the federation's latest round, and the held-back patients as patients.csv; one
of them, as a row of measures, as patient.csv."""

from pathlib import Path

import pandas
from hospitals.task import Net, held_back, initial_model
from sklearn.datasets import load_breast_cancer

from fedvm.learning.export import onnx_bytes
from fedvm.pipeline.federated_onnx import final_model, with_weights
from fedvm.rundir.run import open_run

with open_run("federation") as run:
    final = final_model(run)
state = {name: tensor.numpy() for name, tensor in initial_model().state_dict().items()}
federated = with_weights(onnx_bytes(Net(), (30,)), state, final)
Path("model.onnx").write_bytes(federated.onnx)
measures, diagnoses = held_back()
names = [name.replace(" ", "_") for name in load_breast_cancer().feature_names]
table = pandas.DataFrame(measures, columns=names)
table.assign(diagnosis=diagnoses).to_csv("patients.csv", index=False)
table[:1].to_csv("patient.csv", index=False)
print(f"model.onnx: round {federated.lineage.round} of {federated.lineage.federation}")
