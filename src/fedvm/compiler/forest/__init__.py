"""Ensembles of decision trees as programs: comparisons of small integers, with leaves whose votes are added up.

A number of the input is only ever compared with the thresholds that the trees have for it. So what is sent is its rank
among these, which makes every comparison exact (`cuts.py`). The leaves' values become integers (`leaves.py`).
"""
