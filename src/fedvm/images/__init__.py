"""Turns image files into the bytes that a model takes, for training, calibration and prediction alike.

`decode` reads a file, `prepare` converts it to a model's input as the version's preparation says, and `data_set` does
both for many files. All code that opens an image uses these, so that the same file gives the same bytes.

"""
