"""One form of LaTeX for a parser: signs, roots, Greek letters and numbers as people type them become LaTeX's.

`\\dfrac12`, `√2`, `2pi`, `1 000`, `–5`, `\\$20` and `20 dollars` are what models write for one form.
What it takes as it is stays: a matrix keeps its `\\\\ `, and no letter is taken for a unit.
"""

import re
from collections.abc import Callable, Mapping
from fractions import Fraction

_SIGNS = str.maketrans({
    "−": "-", "–": "-", "—": "-", "﹣": "-", "－": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ",
    "∙": r"\cdot ", "∗": r"\cdot ", "÷": r"\div ", "⁄": "/", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ",
    "⩽": r"\le ",
    "≥": r"\ge ", "⩾": r"\ge ", "≠": r"\neq ", "∈": r"\in ", "∪": r"\cup ", "∩": r"\cap ", "∅": r"\emptyset ",
    "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "±": r"\pm ", "°": "",
    "′": "'",
    "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "λ": r"\lambda ", "φ": r"\phi ",
    "ω": r"\omega ",
    "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}",
    "⅕": r"\frac{1}{5}", "⅛": r"\frac{1}{8}", "（": "(", "）": ")", "，": ",", "＝": "=", "＋": "+", "∣": "|",
    "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u200b": "", "⟨": r"\langle ", "⟩": r"\rangle ",
})  # fmt: skip
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿˣ", "0123456789-+nx", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_UNIT = (
    r"(?:dollars?|euros?|pounds?|cents?|rupees?|percent|degrees?|radians?|units?|(?:square|cubic)\s\w{1,12}|inch(?:es)?|feet|foot"
    r"|yards?|miles?|(?:kilo|centi|milli)?met(?:er|re)s?|(?:kilo|milli)?grams?|lit(?:er|re)s?|seconds?|minutes?|hours?|days?|weeks?"
    r"|months?|years?|times|ways|people|points?|cm|mm|km|kg|mph|ft|sq|hrs?|mins?|secs?|lbs?|oz|yds?|mi|ml|USD|EUR)"
)
_FUNCTIONS = r"(?:arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp)"
_COORDINATE = r"[A-Za-z](?:_\{?\d\}?)?"

Replacement = str | Callable[[re.Match[str]], str]


def _repeating(match: re.Match[str]) -> str:
    whole, once, again = match[1] or "0", match[2], match[3]
    value = Fraction(int(whole + once + again) - int(whole + once), (10 ** len(again) - 1) * 10 ** len(once))
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _are_in_order(letters: str) -> bool:
    """`x, y`: coordinates in the order in which everybody writes them."""
    names = letters.replace(" ", "").split(",")
    return names == sorted(names)


def _in_digits(mark: str, digits: Mapping[str, str]) -> Callable[[re.Match[str]], str]:
    return lambda match: f"{mark}{{{''.join(digits[ch] for ch in match.group())}}}"


_RULES: tuple[tuple[re.Pattern[str], Replacement], ...] = (
    (re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿˣ]+"), _in_digits("^", _RAISED)),
    (re.compile(r"[₀₁₂₃₄₅₆₇₈₉]+"), _in_digits("_", _LOWERED)),
    (re.compile(r"(?<!\\)\\\$|(?<!\\)\$|€|£|₹"), ""),
    (re.compile(r"\\?%"), ""),
    (
        re.compile(
            r"\\(?:left|right)(?![A-Za-z])\s?\.?|\\(?:big|Big|bigg|Bigg)[lr]?(?![A-Za-z])|\\displaystyle(?![A-Za-z])"
        ),
        "",
    ),
    (re.compile(r"\^\s?\{?\s?\\circ\s?\}?|\\degree(?![A-Za-z])"), ""),
    (re.compile(r"(\d)(?:\{,\}|\\,|,\\!|(?<!\\)\\ | )(?=\d{3}(?!\d))"), r"\1"),
    (re.compile(r"(?<!\\)\\(?:[,;:! ]|quad(?![a-z])|qquad(?![a-z]))|~"), " "),
    (re.compile(r"\\[dtc]frac(?![a-z])"), r"\\frac"),
    (
        re.compile(
            r"\\(?:text|mathrm|textrm|mbox)\s?\{\s?,?\s?(?:or|and)\s?\}|,?\s(?:or|and)\s(?!\w{2,20} )"
        ),
        ", ",
    ),
    (
        re.compile(
            r"(?<=[\d})])\s?\\(?:text|mathrm|textrm|mbox)\s?\{(?!\s?[AaPp]\.?[Mm]\b)\s?[A-Za-z ./]{1,40}\}"
            r"(?:\^\{?\d\}?)?"
            r"(?=\s?(?:\Z|[,;]))"
        ),
        "",
    ),
    (
        re.compile(
            rf"(?<=[\d}}])(?:\s{_UNIT}|(?<=\d)(?:cm|mm|km|kg|mph))(?:\^\{{?\d\}}?)?(?=\s?(?:\Z|[,;]))"
        ),
        "",
    ),
    (re.compile(r"\\varnothing(?![A-Za-z])|\\(?:text|mathrm)\{\s?[ØO∅]\s?\}|[Øø]"), r"\\emptyset "),
    (
        re.compile(rf"\A\s?\(({_COORDINATE}(?:\s?,\s?{_COORDINATE}){{1,5}})\s?\)\s?=\s?(?=\()"),
        lambda m: "" if _are_in_order(m[1]) else m[0],
    ),
    (
        re.compile(r"\^\s?(?:\{\s?((?:\\prime\s?){1,3})\}|\\prime(?![A-Za-z]))"),
        lambda m: "'" * max(1, (m[1] or "").count("p")),
    ),
    (re.compile(r"(?<=[A-Za-z])('{1,3})"), lambda m: f"_{{{'8' * (len(m[1]) + 1)}}}"),
    (re.compile(r"(?<![\\A-Za-z])pi(?![A-Za-z])"), r"\\pi "),
    (re.compile(r"(?<![\\A-Za-z])(?:infinity|inf|oo)(?![A-Za-z])"), r"\\infty "),
    (re.compile(rf"(?<![\\A-Za-z])({_FUNCTIONS})(?![A-Za-z])"), r"\\\1"),
    (
        re.compile(r"(?:√|(?<![\\A-Za-z])sqrt)\s?(?:\(([^()]{1,100})\)|\{([^{}]{1,100})\}|(\d+|[A-Za-z]))"),
        lambda m: rf"\sqrt{{{m[1] or m[2] or m[3]}}}",
    ),
    (re.compile(r"\\sqrt\s?(?:(\d)|([A-Za-z])(?![A-Za-z]))"), lambda m: rf"\sqrt{{{m[1] or m[2]}}}"),
    (re.compile(r"\\frac\s?(\d)\s?(\d)"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s?([\dA-Za-z])\s?\{"), r"\\frac{\1}{"),
    (re.compile(r"(\\frac\s?\{[^{}]{1,200}\})\s?([\dA-Za-z])"), r"\1{\2}"),
    (re.compile(r"(?<![\d.^_{])(\d{1,4})\s(\d{1,3})/(\d{1,4})(?![\d.])"), r"\1\\frac{\2}{\3}"),
    (re.compile(r"(\d{0,20})\.(\d{0,20})\\(?:overline|bar|dot)\s?\{(\d{1,20})\}"), _repeating),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\*"), r"\\cdot "),
    (re.compile(r"(\^|_)(-?\d{2,40})"), r"\1{\2}"),
    (re.compile(r"\^(-\d)(?!\d)"), r"^{\1}"),
    (re.compile(r"\^\(([^()]{1,40})\)"), r"^{\1}"),
    (re.compile(r"\\(?:approx|simeq)(?![a-z])|≈|≃"), "="),
    (re.compile(r"[ \t\n]+"), " "),
)
_WRAPPED = re.compile(
    r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|operatorname|mbox)\s?\{([^{}]*)\}"
)
_WORDS = re.compile(
    rf"\A(?!{_FUNCTIONS}\s)(?:[A-Za-z]{{4,}}|[A-Za-z]{{2,}}(?=[ -]))(?:[ -][A-Za-z]{{2,}})*\Z"
)
_SHORT_WORDS = frozenset(["yes", "no", "odd", "all", "none", "red", "one", "two", "six", "ten", "day", "not"])
_BASE = re.compile(r"\A(\d[\dA-F]*)_\{?(\d{1,2})\}?\Z")
_OPTION = re.compile(r"\A\(?([A-Z])\)?\Z")
_SEVERAL = re.compile(r",(?!\d{3}(?!\d))|[<>]")
_LETTER = re.compile(r"\A\s?[A-Za-z](?:_\{?\w{1,3}\}?|\([A-Za-z]\))?\s?\Z")
_ASKED_BASE = re.compile(r"\bbase[- ]\$?(\d{1,2}|[a-z]{3,7})\b", re.IGNORECASE)
_BASES = {"two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8",
          "nine": "9", "ten": "10", "eleven": "11", "twelve": "12", "sixteen": "16"}  # fmt: skip
MAX_QUESTION_CHARS = 20_000
_NAMED = re.compile(
    r"\\(?:mathbb|mathcal|text|textbf|textit|overline|operatorname|overrightarrow|vec|hat|bar)\s?\{[^{}]*\}|\\[A-Za-z]+"
    r"|(?P<letter>[A-Z])(?![(_])"
)


def for_parser(value: str) -> str:
    """An expression as the parser reads it, with capitals as letters of their own (the parser folds them)."""
    return _NAMED.sub(_capital, normal(value))


def normal(value: str) -> str:
    """An expression in one form, for a parser or to be compared as it is; idempotent on plain LaTeX."""
    text = value.translate(_SIGNS)
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    text = text.strip().rstrip(",;. ")
    parts = text.split("=")
    if len(parts) > 2 and text.count("{") == text.count("}") and not _SEVERAL.search(text):
        text = f"{parts[0]}={parts[-1]}" if _is_letter(parts[0]) else parts[-1]
    return text.strip()


def words(value: str) -> str | None:
    """The words that an answer is (`\\text{even}`, `even`), folded, or an option's letter (`\\text{(A)}`);
    None where it is an expression."""
    unwrapped = _WRAPPED.sub(r"\1", value)
    text = " ".join(unwrapped.split()).strip(" .")
    option = _OPTION.match(text)
    if option:
        return option[1]
    is_wrapped = unwrapped != value and len(text) > 1 and text.replace(" ", "").isalpha()
    return text.casefold() if is_wrapped or _WORDS.match(text) or text.casefold() in _SHORT_WORDS else None


def base_numeral(value: str) -> str | None:
    """A numeral with its base (`101_2`): neither 101 nor the same digits in another base; None for others."""
    match = _BASE.match(normal(value))
    return f"{match[1]} in base {match[2]}" if match else None


def without_known_base(value: str, question: str) -> str:
    """`101_2` -> `101` where the question speaks of base 2 and of no other: then both say the same."""
    match = _BASE.match(normal(value))
    bases = {
        _BASES.get(found.casefold(), found) for found in _ASKED_BASE.findall(question[-MAX_QUESTION_CHARS:])
    }
    return match[1] if match and bases == {match[2]} else value


def _capital(match: re.Match[str]) -> str:
    return f"{match['letter'].lower()}_{{9}}" if match["letter"] else match.group()


def _is_letter(text: str) -> bool:
    return _LETTER.match(text) is not None
