"""Trains a logistic regression on Fisher's irises: writes model.onnx, and flowers.csv with what to calibrate on."""

from pathlib import Path

import numpy as np
import pandas
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

irises = load_iris()
features = irises.data.astype(np.float32)
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(features, irises.target)
onnx = to_onnx(model, features[:1], options={"zipmap": False})
Path("model.onnx").write_bytes(onnx.SerializeToString())
table = pandas.DataFrame(features, columns=[name.removesuffix(" (cm)") for name in irises.feature_names])
table.assign(species=irises.target).to_csv("flowers.csv", index=False)
