"""What a client and a baseline do with images: data sets, partitions, models, training, ONNX export.

The modules, in the order a run uses them:

* `fedvm.learning.datasets`: read a data set into `ImageData` (`fedvm.learning.data`: uint8 arrays);
* `fedvm.learning.partition`: divide it among clients;
* `fedvm.learning.models`: build a network sized from the data;
* `fedvm.learning.training`: `train` and `evaluate`, reproducible to the bit on a CPU;
* `fedvm.learning.quantization`: train on the integers that a contract computes with;
* `fedvm.learning.recipes`: measured hyperparameters per data set;
* `fedvm.learning.baseline`: the centralised comparison;
* `fedvm.learning.checkpoint`, `fedvm.learning.export`: `model.pt` and `model.onnx`.

Nothing is imported here, so that reading a data set does not load PyTorch.
"""
