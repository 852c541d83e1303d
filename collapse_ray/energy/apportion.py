"""Integer shares that add up."""

from collections.abc import Sequence
from fractions import Fraction
from math import floor


def apportion(total: int, weights: Sequence[float]) -> list[int]:
    """Split a whole number in proportion to weights, by largest remainder: the parts add up to `total` exactly.

    Each part is within 1 of its ideal. Weights that are all zero share equally. Exact rational arithmetic throughout:
    floats lose microjoules above 2^53 (9 GJ).

    Raises:
        ValueError: no weights, or a negative total or weight.
    """
    if not weights or min(weights) < 0 or total < 0:
        raise ValueError(
            f"cannot share {total} by {list(weights)}: give a total and weights of 0 or more, at least one"
        )
    if len(weights) == 1:
        return [total]
    exact = [Fraction(weight) for weight in weights] if max(weights) > 0 else [Fraction(1)] * len(weights)
    whole = sum(exact)
    ideals = [total * weight / whole for weight in exact]
    shares = [floor(ideal) for ideal in ideals]
    by_remainder = sorted(range(len(shares)), key=lambda index: shares[index] - ideals[index])
    for index in by_remainder[: total - sum(shares)]:
        shares[index] += 1
    return shares
