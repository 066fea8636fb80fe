"""Numbers in so many digits, as people write them."""

from decimal import Decimal


def digits(number: float, n: int) -> str:
    """`14,400`, `0.0000012`: `n` digits from the first that is not 0, without zeros at the end, and never an
    exponent. Args: number: of anything. n: >= 1."""
    return format(Decimal(f"{number:.{n}g}"), ",f")
