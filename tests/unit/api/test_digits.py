import pytest

from api.digits import digits


@pytest.mark.parametrize(
    ("number", "n", "said"),
    [
        (0, 3, "0"),
        (1e6, 12, "1,000,000"),
        (1_234_567, 12, "1,234,567"),
        (14_350.2, 3, "14,400"),
        (999.6, 3, "1,000"),
        (-1234.5, 3, "-1,230"),
        (0.1 + 0.2, 12, "0.3"),
        (0.0000012, 2, "0.0000012"),
        (12.50, 3, "12.5"),
    ],
)
def test_numbers_are_written_without_an_exponent(number: float, n: int, said: str) -> None:
    assert digits(number, n) == said
