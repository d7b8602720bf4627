"""Digits drawn with fonts, and the network of a run that reads them."""
