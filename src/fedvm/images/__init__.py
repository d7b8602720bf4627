"""Image files and the bytes a model takes: one reader for training, calibration and asking.

`decode` reads a file, `prepare` brings it into a model's form as the version's preparation says, and `data_set` does
both for many files. Whoever opens an image does it through these, so that the same file gives the same bytes.
"""
