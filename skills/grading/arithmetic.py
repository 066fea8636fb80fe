"""Values of closed expressions, as people and LaTeX write them: `6 * 7`, `1 1/2`, `\\frac{36}{5}\\pi`, `2k`.

Exact where arithmetic is; roots and pi are computed to 60 digits and rounded to 20. Texts are cut to a few
hundred characters before they come here; no expression takes long, whatever stands in it.
"""

import re
from collections.abc import Mapping
from decimal import Decimal, localcontext
from fractions import Fraction
from math import factorial, isqrt
from typing import NamedTuple

MAX_NUMERAL_CHARS = 120
MAX_EXPONENT = 100
MAX_BITS = 4_000
MAX_FACTORIAL = 200
MAX_DEPTH = 12
DIGITS = 20
"""Significant digits of what is not exact."""

_PI = Fraction("3.14159265358979323846264338327950288419716939937510582097494459")
_WORKING = 60

_SEPARATORS = (",", "'", "’", "_", "\u00a0", "\u2009", "\u202f", " ", r"\{,\}", r"\\,", r"\\ ", r",\\!")
_THOUSANDS = "|".join(rf"(?:{separator}\d{{3}}){{1,30}}" for separator in _SEPARATORS)
_COMMA = r"\d{1,3}(?:(?:\.\d{3}){1,30}|(?:[ \u00a0\u202f]\d{3}){1,30})(?=,(?:\d{1,2}|\d{4,20})(?![.,]?\d))"
_NUMERAL = re.compile(
    rf"(?P<whole>{_COMMA}|\d{{1,3}}(?:{_THOUSANDS})(?!\d)"
    r"|\d{1,2}(?:,\d{2}){1,8},\d{3}(?!\d)"
    r"|\d{1,3}(?:\.\d{3}){2,30}(?![\d.]\d)|\d+|(?=\.\d))"
    r"(?P<decimals>\.(?:\\overline\{\d{1,20}\}|\\dot\{\d\}|\(\d{1,20}\)|\d{1,20}\\overline\{\d{1,20}\}"
    r"|\d{1,20}\\dot\{\d\}|\d+)"
    r"|(?<=[. \u00a0\u202f]\d{3}),(?:\d{1,2}|\d{4,20})(?![.,]?\d))?"
    r"(?P<more>\.\.\.|…|\\[lc]?dots)?(?P<bar>\u0305|\u0304)?"
    r"(?:[eE](?P<exponent>[-+−]?\d{1,9})(?![\w.]))?"
)
_REPEATS = re.compile(r"\.(?P<once>\d*)(?:\\overline\{|\\dot\{|\()(?P<again>\d+)[})]")
_NO_DIGIT = re.compile(r"[^\d]")

_TOKEN = re.compile(
    r"(?P<fraction>\\[dtc]?frac(?![a-z]))|(?P<root>\\sqrt(?![a-z])|√|sqrt(?![A-Za-z]))|(?P<pi>\\pi(?![a-z])|π|pi(?![A-Za-z]))"
    r"|(?P<power>\^|\*\*)|(?P<times>\\times(?![a-z])|\\cdot(?![a-z])|[×·⋅∙∗*]|x(?=\s?[\d(.$\\√-]))"
    r"|(?P<over>\\div(?![a-z])|[÷/⁄])|(?P<plus>\+)|(?P<minus>[-−])|(?P<open>\\left\(|[(\[{])|(?P<close>\\right\)|[)\]}])"
    r"|(?P<factorial>!)|(?P<superscript>⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,4})|(?P<vulgar>[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞⅐⅑⅒])"
)
_MIXED = re.compile(
    r"\A(?:\s{1,3}(?:and\s)?(?P<above>\d{1,3})\s?[/⁄]\s?(?P<below>\d{1,4})(?![\d.,/])"
    r"|\s{0,3}\\[dt]?frac\s?(?:\{\s?(?P<above2>\d{1,4})\s?\}|(?P<above3>\d))\s?"
    r"(?:\{\s?(?P<below2>\d{1,4})\s?\}|(?P<below3>\d))"
    r"|\s{0,3}(?P<vulgar>[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞⅐⅑⅒])"
    r"|\s(?:and\s(?:a|one)|&)\s(?P<word>half|third|quarter)\b)"
)
_SCALE = re.compile(
    r"\A(?:\s?(?:\\text\{\s?)?(?P<word>hundred|thousand|million|billion|trillion|lakhs?|crores?|mln|mn|bn)\b\}?"
    r"|(?P<letter>[kKMB])(?![\w^²³/])|\s(?P<kilo>k)(?![\w^/]))"
)
_SCALES: Mapping[str, int] = {
    "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "lakh": 10**5, "crore": 10**7, "mln": 10**6, "mn": 10**6, "bn": 10**9,
    "k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9,
}  # fmt: skip
_WORDS: Mapping[str, Fraction] = {"half": Fraction(1, 2), "third": Fraction(1, 3), "quarter": Fraction(1, 4)}
_VULGAR: Mapping[str, Fraction] = {
    ch: Fraction(text)
    for ch, text in zip(
        "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞⅐⅑⅒",
        [
            "1/2",
            "1/3",
            "2/3",
            "1/4",
            "3/4",
            "1/5",
            "2/5",
            "3/5",
            "4/5",
            "1/6",
            "5/6",
            "1/8",
            "3/8",
            "5/8",
            "7/8",
            "1/7",
            "1/9",
            "1/10",
        ],
        strict=True,
    )
}
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_UNITS = re.compile(r"\A\s?(?:\\?%|[°′]|\^\s?\{?\s?\\circ\s?\}?)")
_CURRENCY = re.compile(
    r"\A(?:\s?(?:\\?\$|(?:US|AU|CA|NZ|HK|SG|NT|A|C|S|R)\\?\$|[€£¥₹₽₩₱₫₪₺₦฿]|(?:USD|EUR|GBP|INR|CAD|AUD|JPY|CNY|CHF|RMB)(?=[\s\d])|Rs\.?(?=[\s\d])|#(?=\d))\s?)"
)


class Number(NamedTuple):
    """A value; one that is not `exact` is right to 60 digits."""

    value: Fraction
    exact: bool = True


class Parsed(NamedTuple):
    """An expression at the beginning of a text.

    Attributes:
        value: rounded where it is not exact.
        rest: the text behind it.
        before: the sign of a currency that stands before it; "" = none.
        is_plain: one numeral, with its sign and scale; no expression.
    """

    value: Fraction
    rest: str
    before: str
    is_plain: bool


class _NoValueError(Exception):
    pass


def parsed(text: str) -> Parsed | None:
    """The longest closed expression that a text begins with; None where there is none, or it has no value
    (a division by zero, a number beyond bounds) or goes on with what is none (`2 + x`)."""
    parser = _Parser(text)
    try:
        number = parser.sum(0)
        value = number.value if number.exact else _rounded(number.value)
    except (_NoValueError, ZeroDivisionError):
        return None
    if _bits(value) > MAX_BITS:
        return None
    return Parsed(value, text[parser.at :], parser.currency, parser.n_operators == 0)


def _rounded(value: Fraction) -> Fraction:
    with localcontext() as context:
        context.prec = DIGITS
        return Fraction(Decimal(value.numerator) / Decimal(value.denominator))


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


class _Parser:
    """Recursive descent over a text; `at` is where it stands."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0
        self.currency = ""
        self.n_operators = 0

    def sum(self, depth: int) -> Number:
        if depth > MAX_DEPTH:
            raise _NoValueError
        total = self._product(depth)
        while not self._is_aside() and (sign := self._take("plus", "minus")):
            total = _added(total, self._product(depth), -1 if sign == "minus" else 1)
        return total

    def _product(self, depth: int) -> Number:
        product = self._signed(depth)
        while True:
            kind = None if self._is_per() else self._take("times", "over")
            if kind is None and not self._goes_on():
                return product
            factor = self._signed(depth) if kind else self._raised(depth)
            self.n_operators += kind is None
            exact = product.exact and factor.exact
            value = product.value / factor.value if kind == "over" else product.value * factor.value
            product = _bounded(Number(value, exact))

    def _goes_on(self) -> bool:
        """A factor follows without a sign: `6√2`, `2\\pi`, `3(4)`; a bracket after a blank is an aside."""
        token = self._peek()
        if token is None:
            return False
        if token.lastgroup == "open":
            return token.start() == self.at and _FACTOR.match(self._text, self.at) is not None
        return token.lastgroup in ("root", "pi", "fraction")

    def _signed(self, depth: int) -> Number:
        negative = False
        for _ in range(2):
            self._skip_currency()
            sign = self._take("minus", "plus", counts=False)
            negative ^= sign == "minus"
        self._skip_currency()
        number = self._raised(depth)
        return Number(-number.value, number.exact) if negative else number

    def _raised(self, depth: int) -> Number:
        base = self._primary(depth)
        self._skip(_UNITS)
        if self._take("factorial"):
            base = _factorial(base)
        if (token := self._peek()) and token.lastgroup == "superscript":
            self.at = token.end()
            self.n_operators += 1
            return _power(base, Number(Fraction(token.group().translate(_RAISED))))
        if self._take("power"):
            return _power(base, self._exponent(depth))
        return base

    def _exponent(self, depth: int) -> Number:
        minus = bool(self._take("minus", counts=False))
        number = self._primary(depth) if minus or not self._is_at_group() else self._group(depth)
        return Number(-number.value, number.exact) if minus else number

    def _primary(self, depth: int) -> Number:
        numeral = _NUMERAL.match(self._text, self._next())
        if numeral is not None and numeral.group():
            self.at = numeral.end()
            return self._scaled(self._mixed(_numeral(numeral)))
        token = self._peek()
        kind = None if token is None else token.lastgroup
        if token is None or kind not in ("fraction", "root", "pi", "open", "vulgar"):
            raise _NoValueError
        self.at = token.end()
        if kind == "vulgar":
            return self._scaled(Number(_VULGAR[token.group()]))
        self.n_operators += kind != "open"
        if kind == "pi":
            return Number(_PI, exact=False)
        if kind == "open":
            self.at = token.start()
            return self._group(depth)
        if kind == "fraction":
            above, below = self._argument(depth), self._argument(depth)
            return _bounded(Number(above.value / below.value, above.exact and below.exact))
        return self._root(depth, is_sign=token.group() == "√")

    def _root(self, depth: int, *, is_sign: bool) -> Number:
        """Args: is_sign: `√16`, where LaTeX's command would take one digit."""
        index = 2
        match = _INDEX.match(self._text, self.at)
        if match:
            self.at, index = match.end(), int(match[1])
        numeral = _NUMERAL.match(self._text, self._next()) if is_sign else None
        if numeral is not None and numeral.group():
            self.at = numeral.end()
            return _rooted(_numeral(numeral), index)
        return _rooted(self._argument(depth), index)

    def _argument(self, depth: int) -> Number:
        """A group, or one digit as LaTeX takes it; of a root without a bracket the numeral."""
        if self._is_at_group():
            return self._group(depth)
        digit = _DIGIT.match(self._text, self._next())
        if digit is None:
            token = self._peek()
            if token is None or token.lastgroup not in ("pi", "root"):
                raise _NoValueError
            return self._primary(depth + 1)
        self.at = digit.end()
        return Number(Fraction(digit.group()))

    def _is_at_group(self) -> bool:
        token = self._peek()
        return token is not None and token.lastgroup == "open"

    def _group(self, depth: int) -> Number:
        self._take("open", counts=False)
        inside = self.sum(depth + 1)
        if not self._take("close", counts=False):
            raise _NoValueError
        return inside

    def _mixed(self, whole: Number) -> Number:
        match = _MIXED.match(self._text[self.at : self.at + 40])
        if match is None or whole.value.denominator != 1:
            return whole
        part = _part(match)
        if not 0 < part < 1:
            return whole
        self.at += match.end()
        return Number(whole.value + part)

    def _scaled(self, number: Number) -> Number:
        while match := _SCALE.match(self._text[self.at : self.at + 30]):
            self.at += match.end()
            word = match["word"] or match["letter"] or match["kilo"]
            number = Number(number.value * _SCALES[word.removesuffix("s")], number.exact)
        return _bounded(number)

    def _take(self, *kinds: str, counts: bool = True) -> str | None:
        token = self._peek()
        if token is None or token.lastgroup not in kinds:
            return None
        self.at = token.end()
        self.n_operators += counts
        return token.lastgroup

    def _peek(self) -> re.Match[str] | None:
        return _TOKEN.match(self._text, self._next())

    def _next(self) -> int:
        match = _BLANK.match(self._text, self.at)
        return match.end() if match else self.at

    def _is_per(self) -> bool:
        """A unit's slash: `25,000/year`."""
        return _PER.match(self._text[self.at : self.at + 20]) is not None

    def _is_aside(self) -> bool:
        """A dash before words: `42 - the number of apples`."""
        return _ASIDE.match(self._text[self.at : self.at + 20]) is not None

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text[self.at : self.at + 20])
        self.at += match.end() if match else 0

    def _skip_currency(self) -> None:
        match = _CURRENCY.match(self._text[self.at : self.at + 20])
        if match:
            self.at += match.end()
            self.currency = self.currency or match.group().strip()


_BLANK = re.compile(r"[ \t]{0,4}")
_DIGIT = re.compile(r"\d")
_FACTOR = re.compile(r"(?:\\left)?\((?!\s?[A-Za-z]{2})")
_ASIDE = re.compile(
    r"\A\s?-\s(?:the|this|that|it|so|for|a|an|since|because|as|which|and|i\.e|her|his|their)\b", re.IGNORECASE
)
_PER = re.compile(r"\A\s?/\s?(?!(?:pi|sqrt)(?![A-Za-z]))[A-Za-z]")
_INDEX = re.compile(r"\[(\d)\]")


def _part(match: re.Match[str]) -> Fraction:
    if match["vulgar"]:
        return _VULGAR[match["vulgar"]]
    if match["word"]:
        return _WORDS[match["word"]]
    above = match["above"] or match["above2"] or match["above3"]
    below = match["below"] or match["below2"] or match["below3"]
    return Fraction(int(above), int(below)) if int(below) else Fraction(0)


def _numeral(match: re.Match[str]) -> Number:
    if len(match.group()) > MAX_NUMERAL_CHARS:
        raise _NoValueError
    whole = int(_NO_DIGIT.sub("", match["whole"]) or 0)
    exponent = int((match["exponent"] or "0").replace("−", "-"))
    if abs(exponent) > MAX_EXPONENT:
        raise _NoValueError
    return Number((whole + _decimals(match)) * Fraction(10) ** exponent)


def _decimals(match: re.Match[str]) -> Fraction:
    """Decimals, once or for ever: `.1\\overline{6}`, `.(3)`, `.333...`."""
    decimals = (match["decimals"] or "").replace(",", ".")
    repeats = _REPEATS.match(decimals)
    if repeats is None and decimals and (match["more"] or match["bar"]):
        n_same = len(decimals) - len(decimals.rstrip(decimals[-1]))
        again = decimals[-1] if match["bar"] or n_same > 2 else ""
        return _repeating(decimals[1 : len(decimals) - len(again)], again)
    if repeats is not None:
        return _repeating(repeats["once"], repeats["again"])
    return Fraction(f"0{decimals}") if decimals else Fraction(0)


def _repeating(once: str, again: str) -> Fraction:
    first = Fraction(int(once or 0), 10 ** len(once))
    return first + (Fraction(int(again), (10 ** len(again) - 1) * 10 ** len(once)) if again else 0)


def _bounded(number: Number) -> Number:
    if _bits(number.value) > 4 * MAX_BITS:
        raise _NoValueError
    return number


def _added(a: Number, b: Number, sign: int) -> Number:
    return _bounded(Number(a.value + sign * b.value, a.exact and b.exact))


def _factorial(number: Number) -> Number:
    if number.value.denominator != 1 or not 0 <= number.value <= MAX_FACTORIAL:
        raise _NoValueError
    return Number(Fraction(factorial(int(number.value))), number.exact)


def _power(base: Number, exponent: Number) -> Number:
    """base^exponent: exact for integers, a root for a fraction."""
    power = exponent.value
    if not exponent.exact or abs(power) > MAX_BITS or power.denominator > 10:
        raise _NoValueError
    if _bits(base.value) * abs(power.numerator) > MAX_BITS:
        raise _NoValueError
    raised = Number(base.value**power.numerator, base.exact)
    return raised if power.denominator == 1 else _rooted(raised, power.denominator)


def _rooted(number: Number, index: int) -> Number:
    """The real root: exact where it is rational."""
    value = number.value
    if index < 2 or (value < 0 and index % 2 == 0):
        raise _NoValueError
    above, below = (_integer_root(part, index) for part in (abs(value.numerator), value.denominator))
    sign = -1 if value < 0 else 1
    if above is not None and below is not None:
        return Number(Fraction(sign * above, below), number.exact)
    with localcontext() as context:
        context.prec = _WORKING
        size = Decimal(abs(value.numerator)) / Decimal(value.denominator)
        return Number(
            sign * Fraction(size ** (1 / Decimal(index)) if index > 2 else size.sqrt()), exact=False
        )


def _integer_root(value: int, index: int) -> int | None:
    if index == 2:
        root = isqrt(value)
        return root if root * root == value else None
    near = round(value ** (1 / index)) if value < 2**900 else 0
    return next((root for root in (near - 1, near, near + 1) if root >= 0 and root**index == value), None)
