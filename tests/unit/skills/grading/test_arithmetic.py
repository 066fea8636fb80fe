"""Values of closed expressions as people and LaTeX write them."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skills.grading.arithmetic import parsed


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("6 * 7", "42"),
        ("2**10", "1024"),
        ("2^{-1}", "1/2"),
        ("10⁶", "1000000"),
        ("-2^2", "-4"),
        ("3(4 + 5)", "27"),
        ("(3 + 4)(5 - 6)", "-7"),
        ("\\frac12", "1/2"),
        ("\\dfrac{3}{4}", "3/4"),
        ("\\frac{\\sqrt{16}}{3}", "4/3"),
        ("\\sqrt[3]{8}", "2"),
        ("4^{1/2}", "2"),
        ("5!", "120"),
        ("1\\frac{1}{2}", "3/2"),
        ("1 1/2", "3/2"),
        ("1½", "3/2"),
        ("¾", "3/4"),
        ("2 and a half", "5/2"),
        ("1.5 million", "1500000"),
        ("20k", "20000"),
        ("3 hundred", "300"),
        ("0.\\overline{3}", "1/3"),
        ("0.1\\overline{6}", "1/6"),
        ("0.(3)", "1/3"),
        ("0.333...", "1/3"),
        ("118 000", "118000"),
        ("1'000", "1000"),
        ("1{,}234", "1234"),
        ("1\\,234", "1234"),
        ("12,34,567", "1234567"),
        ("1.234.567", "1234567"),
        ("US$42", "42"),
        ("-$5", "-5"),
        ("3 x 10^8", "300000000"),
        ("20% ", "20"),
        ("100% - 25%", "75"),
    ],
)
def test_the_value_of_an_expression_is_exact(text: str, value: str) -> None:
    found = parsed(text)
    assert found is not None
    assert found.value == Fraction(value)
    assert not found.rest.strip()


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("6\\sqrt{2}", "8.4852813"),
        ("36π", "113.0973355"),
        ("2\\pi", "6.2831853"),
        ("52/sqrt(3)", "30.0222139"),
    ],
)
def test_roots_and_pi_have_values_too(text: str, begins: str) -> None:
    found = parsed(text)
    assert found is not None
    assert f"{float(found.value):.9f}".startswith(begins)


@pytest.mark.parametrize(
    "text", ["2 + x", "1/0", "1e999999999", "9^{9^{9^9}}", "9" * 500, "500!", "(1", "x", ""]
)
def test_what_is_open_or_beyond_bounds_has_no_value(text: str) -> None:
    assert parsed(text) is None


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("42 km", " km"),
        ("7 (3 + 4)", " (3 + 4)"),
        ("5 m²", " m²"),
        ("25/year", "/year"),
        ("42 - the sum", " - the sum"),
    ],
)
def test_words_behind_a_number_are_left(text: str, rest: str) -> None:
    found = parsed(text)
    assert found is not None
    assert found.rest == rest


@given(st.integers(0, 10**9), st.integers(1, 999), st.integers(1, 999))
def test_a_mixed_number_is_its_sum(whole: int, above: int, below: int) -> None:
    found = parsed(f"{whole}\\frac{{{above}}}{{{above + below}}}")
    assert found is not None
    assert found.value == whole + Fraction(above, above + below)


@given(st.integers(0, 10**12), st.sampled_from([",", "'", " ", "\u202f", "{,}", "\\,"]))
def test_a_number_is_the_same_with_every_separator(value: int, separator: str) -> None:
    found = parsed(f"{value:,}".replace(",", separator))
    assert found is not None
    assert found.value == value


@given(st.text(alphabet="0123456789+-*/^(){}.,! \\sqrtfacpikM$%√π½²", max_size=60))
def test_any_text_has_a_value_or_none(text: str) -> None:
    found = parsed(text)
    assert found is None or text.endswith(found.rest)
