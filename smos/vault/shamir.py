"""Do key shares belong together? Shamir's scheme over GF(2^8), as Vault and OpenBao split their unseal key.

A share is the values of one polynomial per byte of the key, and last the point x. Any `threshold` of the
shares determine the polynomials; every further share must lie on them. Nothing here rebuilds the key.
"""

import base64
import binascii
from collections.abc import Sequence

_POLYNOMIAL = 0x11B
"""x^8 + x^4 + x^3 + x + 1, the field of AES. Source: OpenBao, sdk/v2/helper/shamir."""


def _multiply(one: int, other: int) -> int:
    product = 0
    while other:
        if other & 1:
            product ^= one
        one <<= 1
        if one & 0x100:
            one ^= _POLYNOMIAL
        other >>= 1
    return product


_LOG = [0] * 256
_EXP = [0] * 510
_value = 1
for _power in range(255):
    _EXP[_power] = _EXP[_power + 255] = _value
    _LOG[_value] = _power
    _value = _multiply(_value, 3)


def _times(one: int, other: int) -> int:
    return _EXP[_LOG[one] + _LOG[other]] if one and other else 0


def _divided(one: int, other: int) -> int:
    return _EXP[_LOG[one] - _LOG[other] + 255] if one else 0


def strangers(shares: Sequence[str], threshold: int) -> int:
    """Return how many of the shares after the first `threshold` (base64) do not belong to those.

    A repeated share counts as well: it is one share less. Shares that can't be decoded count.
    """
    first = [_decode(share) for share in shares[:threshold]]
    if any(len(share) < 2 for share in first) or len({share[-1] for share in first}) < threshold:
        return len(shares) - threshold
    seen = {share[-1] for share in first}
    wrong = 0
    for share in map(_decode, shares[threshold:]):
        if len(share) != len(first[0]) or share[-1] in seen or share[:-1] != _at(first, share[-1]):
            wrong += 1
        else:
            seen.add(share[-1])
    return wrong


def _decode(share: str) -> bytes:
    try:
        return base64.b64decode(share, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _at(points: Sequence[bytes], x: int) -> bytes:
    """Return the polynomials' values at x (Lagrange; subtraction is XOR in this field)."""
    weights = []
    for point in points:
        weight = 1
        for other in points:
            if other is not point:
                weight = _times(weight, _divided(x ^ other[-1], point[-1] ^ other[-1]))
        weights.append(weight)
    values = bytearray(len(points[0]) - 1)
    for point, weight in zip(points, weights, strict=True):
        for index, value in enumerate(point[:-1]):
            values[index] ^= _times(value, weight)
    return bytes(values)
