"""Integer shares that add up."""

from collections.abc import Sequence

_SCALE = 1 << 60


def apportion(total: int, weights: Sequence[float]) -> list[int]:
    """Split a whole number in proportion to weights, by largest remainder: the parts add up to `total` exactly.

    Each part is within 1 of its ideal (beside the rounding of the weights to 60 bits). Weights that are all zero
    share equally. Integer arithmetic throughout: floats lose microjoules above 2^53 (9 GJ).

    Raises:
        ValueError: no weights, or a negative total or weight.
    """
    if not weights or min(weights) < 0 or total < 0:
        raise ValueError(
            f"cannot share {total} by {list(weights)}: give a total and weights of 0 or more, at least one"
        )
    largest = max(weights)
    # Scaled by the largest, not by the sum, which may overflow or lose the small ones.
    scaled = [round(weight / largest * _SCALE) if largest > 0 else 1 for weight in weights]
    whole = sum(scaled)
    parts, remainders = zip(*(divmod(total * weight, whole) for weight in scaled), strict=True)
    shares = list(parts)
    for index in sorted(range(len(shares)), key=lambda i: -remainders[i])[: total - sum(shares)]:
        shares[index] += 1
    return shares
