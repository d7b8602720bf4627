"""Networks of strangers, compiled and held against what they are: random ones, and ONNX's own backend tests."""
