"""Tabular models: files of scikit-learn, XGBoost and LightGBM with operators of the domain ai.onnx.ml.

Such a file is followed symbolically. What is left is a row of encoded columns (`compiler/columns.py`) and either a
network of standard operators (`read.py`), which the compiler takes like any other, or an ensemble of decision trees
(`ensemble.py`), which becomes a program of its own.
"""
