"""One module per place a data set can come from. Each has `load(...) -> ImageData`."""
