"""Errors in values that are to be encoded or checked."""


class EncodingError(ValueError):
    """A value cannot be encoded; the message names the value and says what to change."""


class RangeError(EncodingError):
    """An integer would leave the range that the encoding and the contract agree on."""


class ShapeError(EncodingError):
    """Names, shapes, dtypes or lengths differ from what was declared."""


class ProofError(ValueError):
    """An opening does not lead to the committed root, or states values that do not follow from each other."""


class SignatureError(ValueError):
    """A signature is malformed, malleable, or by another key than the stated one."""
