"""Sealed rounds: masked updates of which only sums of groups become known, and of which everything can be recomputed.

Pairwise and self masks as in Bonawitz et al. 2017 (CCS, "Practical Secure Aggregation for Privacy-Preserving Machine
Learning"), in groups that are drawn once an epoch. Import the modules: this package loads none of them by itself, so
that whoever has no sealed rounds loads no ciphers.
"""
