"""Range checks at the boundary of the fixed-width encodings."""

from functools import lru_cache

from eth_utils.address import is_checksum_address, is_checksum_formatted_address, is_hex_address

from fedvm.protocol.errors import EncodingError, RangeError


def check_uint(name: str, value: int, bits: int) -> int:
    """Return ``value`` as an int, or raise unless it is an integer in [0, 2^bits).

    Raises:
        EncodingError: ``value`` is not an integer (floats and booleans are refused rather than converted).
        RangeError: it does not fit an unsigned integer of ``bits`` bits.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise EncodingError(f"{name} must be an integer, not {type(value).__name__} {value!r}")
    number = value.__index__()
    if not 0 <= number < 1 << bits:
        raise RangeError(f"{name} is {number}, outside uint{bits} (0 to 2^{bits} − 1)")
    return number


def check_bytes(name: str, value: bytes, length: int) -> bytes:
    """Return ``value`` as bytes, or raise EncodingError unless it holds exactly ``length`` bytes."""
    if not isinstance(value, bytes | bytearray):
        raise EncodingError(f"{name} must be bytes, not {type(value).__name__}")
    if len(value) != length:
        raise EncodingError(f"{name} must hold {length} bytes, not {len(value)}")
    return bytes(value)


def address_bytes(name: str, address: str) -> bytes:
    """The 20 bytes of a hex Ethereum address (``0x`` and 40 digits, checksummed or of one case).

    Raises:
        EncodingError: not such an address, or its EIP-55 checksum is wrong.
    """
    found = _read_address(address) if isinstance(address, str) else None
    if found is None:
        raise EncodingError(f"{name} is {address!r}; give 0x and 40 hex digits")
    if not found:
        raise EncodingError(
            f"{name} {address} has a wrong checksum (EIP-55); a digit or its case is mistyped"
        )
    return found


# A round names each of its members dozens of times.
@lru_cache(maxsize=1 << 16)
def _read_address(text: str) -> bytes | None:
    """The bytes of an address: none if its checksum is wrong, None if the text is no address."""
    if not (text.startswith("0x") and is_hex_address(text)):
        return None
    # Mixed case carries a checksum; eth_utils.is_address would let a wrong one pass.
    if is_checksum_formatted_address(text) and not is_checksum_address(text):
        return b""
    return bytes.fromhex(text[2:])
