"""The number that a text states, as a person reads it.

With its unit; as a closed expression's value; as the right side of an equation; as the one number of a
sentence. A list, a range, or an expression in a variable is none.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from skills.grading import units
from skills.grading.arithmetic import parsed
from skills.grading.marks import unmarked
from skills.grading.number_words import in_digits
from skills.grading.statements import Origin, Statement, unboxed

MAX_CHARS = 400
MAX_SENTENCES = 20
MAX_UNIT_WORDS = 12

_PLAIN = (
    (re.compile(r"\\(?:text|mathrm|textbf|mathbf|textit|mathit|operatorname|mbox)\s?\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"(?<!\\)\\(?:[!;:]|quad|qquad|displaystyle|left(?=[^a-z(])|right(?=[^a-z)]))"), " "),
    (re.compile(r"\\,(?!\d{3})|\\ (?!\d{3})"), " "),
    (re.compile(r"~(?=\d)|\\(?:sim|approx|simeq)(?![a-z])|[≈≃∼]"), " ≈ "),
    (re.compile(r"\\\(|\\\)|\\\[|\\\]|(?<![\w\\])\$\$|\$\$(?![\w\\])"), " "),
    (re.compile(r"[−‒–—﹣－](?=\s?[\d.$€£¥\\(√π])(?<![\d\s].)"), "-"),
    (re.compile(r"[\u200b\u2060\ufeff]|<<[^<>\n]{1,80}>>|(?<=\w) ?\[\d{1,3}\]\Z"), ""),
    (re.compile(r"\b(?:minus|negative)\s{1,3}(?=[$€£]?\.?\d)", re.IGNORECASE), "-"),
)
_WIDE = str.maketrans("０１２３４５６７８９．，－＋＝（）％", "0123456789.,-+=()%")
_OUTER = ("()", "[]", "{}", '""', "''", "“”", "‘’", "$$")
_LEAD = re.compile(
    r"\A(?:[=≈:~]|=>|[\u2190-\u21ff\u2600-\u27bf\U0001f300-\U0001faff]\ufe0f?|about\b|approx(?:imately)?\b\.?|around\b|roughly\b|nearly\b|almost\b|circa\b|ca?\.(?=\s?\d)"
    r"|exactly\b|equal to\b|equals\b|only\b|just\b|an? (?:grand )?total of\b|a sum of\b|an average of\b"
    r"|up to\b|at least\b|at most\b"
    r"|(?:simply|precisely|actually|therefore|thus|so)\b,?)\s*",
    re.IGNORECASE,
)
_AT_LEAST = re.compile(r"[<>] ?=")
_EQUALS = re.compile(r"=|≈")
_REASON = re.compile(
    r"\A[^\d=]{0,60}?\b(?:because|since|as|given|where|which)\b|\A[^\d=(]{0,60}\((?=[^()]*=)", re.IGNORECASE
)
_LABELS = re.compile(r"\([^()\d=+*/]*\)")
_COEFFICIENT = re.compile(r"\d\s?\*?\s?[a-z](?![a-zA-Z])[^=]*\Z")
_NEXT_VALUE = re.compile(
    r"(?:[,;]|\b(?:and|or)\b)\s?[$(]?(?!(?:so|therefore|thus|hence|then|which|giving|making)\b)(?=[A-Za-z])",
    re.IGNORECASE,
)
_UNEQUAL = re.compile(r"[<>≤≥≠±]|\\(?:leq?|geq?|lt|gt|neq?|pm)(?![a-z])")
_RANGE = re.compile(r"\A[^\w\d]{0,4}(\d+)-[$€£]?(\d+)(?![\d.\w^*/+(])")
_DATE = re.compile(r"\A\D{0,4}(?:0x[0-9a-fA-F]{1,20}|\d{4}-\d{1,2}-\d{1,2}|\d{1,2}/\d{1,2}/\d{2,4})(?!\d)")
_CLOCK = re.compile(r"\A(\d{1,2}):00(?::00)?(?!\d)")
_GLUED = re.compile(r"\A(?:[,.:/^*+=–—-]\s?\d|[\^*+=×_\\]|\s+[+*/×^=]\s*\S|\s?[:/]\s?\d|-\d)")
_VARIABLE = re.compile(
    r"\A(?:/?\s?[xyz](?![A-Za-z])|[CP]_?\{?\d|[abijnpqrtuvw](?![A-Za-z])"
    r"|[A-Za-z](?<![msghlL])(?=\s?[-+*/=^]\s?[\d(A-Za-z\\])|\s?[-+]\s?[a-z](?![A-Za-z]))"
)
_LETTER = re.compile(r"\A[A-Za-z](?![A-Za-z])")
_CLAUSE_END = re.compile(r"[.;:,(!?\n]|\s[-–—]\s|\b(?:because|since|as|which|so|for)\b", re.IGNORECASE)
_GOES_ON = re.compile(
    r"\A[.;,!?\n]?\s*(?:(?:and|or|to|plus|then|versus|vs\.?)\b\s*)?(?:US)?[-+−$€£¥~]{0,2}\s?(?:\d|half\b)"
    r"|\A\s*(?:or|and|to|plus)\b",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    r"\b(?:(?:in|on|at|from|by)(?=\s+(?:the|an?|its|this|that|base|total|all|each|every)\b)|to(?=\s+[a-z]{3})"
    r"|of|over|are|is|when|if|that|per|than|after|before|during|within|with)\b"
)
_MORE = re.compile(r"\b(?:and|or|plus)\s+[$€£]?\d")
_POWER_UNIT = re.compile(r"(?<![A-Za-zµ°])[A-Za-zµ°]{1,12}(?: ?\^ ?)?\{?-?\d\}?(?!\d)")
_NUMBER_WORD = re.compile(
    r"\A\s?(?:and )?(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty"
    r"|thirty|fifty|hundred|thousand|million)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[A-Za-z]{2}")
_DIGIT = re.compile(r"\d|[½⅓⅔¼¾]")
_NUMBER_AT = re.compile(r"(?<![\w.,/^-])(?<!\w\()(?:[-−+]?[$€£¥₹]?[-−]?\.?\d|[½⅓⅔¼¾])")
_COMPARED = re.compile(
    r"\b(?:more|less|greater|fewer|larger|smaller|higher|lower|other|rather) than\W*\Z"
    r"|\b(?:over|under|above|below|not|between|from|step|question|problem|log|ln|sin|cos|tan|exp|mod|choose)\W*\Z",
    re.IGNORECASE,
)
_OPEN = re.compile(
    r"\b(?:cannot|can ?not|can't|not (?:possible|enough|given|determined)|impossible|unknown|undefined"
    r"|insufficient|no (?:real |integer )?(?:solution|answer|value)s?)\b",
    re.IGNORECASE,
)
_DISPLAYED = re.compile(r"^[ \t]*(?:\$\$|\\\[|\\\])[ \t]*$", re.MULTILINE)
_BOLD = re.compile(r"\*\*([^*\n]{1,60})\*\*")
_SUPPOSED = re.compile(r"\A\W*if\b.*\bwould\b", re.IGNORECASE)
_PROSE = re.compile(r"\A[\W_]{0,6}(?:\\text\s?\{)?[A-Za-z]+(?:'[a-z]+)?[,:]?\s+[A-Za-z$\d(]")
_VERB = re.compile(
    r"\b(?:is|are|was|were|equals|be)\b|\b(?:it|that)['’]s\b"
    r"|\A\W{0,9}(?:(?:total|sum)\b[^:\d]{0,40}:|(?:you|we) get\b)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<!Mr)(?<!Ms)(?<!Dr)(?<!Mrs)(?<!No)[.!?]\s+(?=[A-Z\"(\[])|\n+")
_CONCLUDES = re.compile(
    r"\A\W*(?:therefore|thus|so|hence|in total|altogether|together|overall|finally|in conclusion)\b",
    re.IGNORECASE,
)
BEGINS = re.compile(r"\A[-+−(\[{$€£¥\\.]{0,4}[\d√π½]")


class Measure(NamedTuple):
    """A number with its unit, "" where it has none."""

    value: Fraction
    unit: str = ""


def of_statement(said: Statement) -> Measure | None:
    """The number of a statement: its own, else that of the sentence which it is."""
    in_prose = said.origin is Origin.LINE and not said.text.startswith("$")
    text = unboxed(said.text)
    first, *more = _SENTENCE.split(text[: 4 * MAX_CHARS], maxsplit=MAX_SENTENCES)
    concluding = [part for part in more if concludes(part)]
    computed = [part for part in more if "=" in part] if "=" in first and not BEGINS.match(first) else []
    if (concluding or computed) and ("=" in first or not BEGINS.match(first)):
        return told((concluding or computed)[-1])
    return (
        stated(text, in_prose=in_prose)
        or (stated(said.marked) if said.marked else None)
        or told(first if said.origin is Origin.LINE else text)
        or (stated(in_words) if (in_words := in_digits(text)) else None)
    )


def stated(said: str, *, in_prose: bool = False, is_said: bool = True) -> Measure | None:
    """The number that a statement begins with or comes to; None where it gives none, several or a formula.

    Args:
        in_prose: an exclamation mark is no factorial.
        is_said: the text is stated as the answer, not only all that there is.
    """
    text = _plain(said[:MAX_CHARS])
    if in_prose and "!" in text:
        text = text.replace("!", ".")
    reasoned = _leading(text)
    if reasoned is not None:
        return reasoned
    if _AT_LEAST.search(text):
        return None
    *heads, tail = _EQUALS.split(_LABELS.sub("", text))
    heads = [head for head in heads if head.strip()]
    if not heads:
        return _at_start(text, is_said=is_said)
    is_equation = _COEFFICIENT.search(heads[-1]) or any(_NEXT_VALUE.search(head) for head in heads[1:])
    if is_equation:
        return None
    is_gloss = len(heads) == 1 and not _DIGIT.search(tail)  # 42 = forty-two
    return _at_start(heads[0] if is_gloss else tail)


def _leading(text: str) -> Measure | None:
    """`42 because 6 * 7 = 42`: the number before its reason."""
    found = parsed(_without_lead(text))
    return _at_start(text) if found is not None and _REASON.match(found.rest) else None


def _at_start(text: str, *, is_said: bool = False) -> Measure | None:
    """The number that a text begins with, where nothing but its unit follows in the clause.

    Args:
        is_said: the text is stated as the answer: "6 groups to make 12" is 6.
    """
    text = _without_lead(text)
    if _DATE.match(text) or _is_range(text):
        return None
    clock = _CLOCK.match(text)
    found = parsed(clock[1] if clock else text)
    if found is None:
        return None
    rest = text[clock.end() :] if clock else found.rest
    is_formula = _VARIABLE.match(rest) or (not found.is_plain and _LETTER.match(rest))
    clause, after = _clause(rest, is_said=is_said)
    if is_formula or _GLUED.match(rest) or _UNEQUAL.search(text[: len(text) - len(rest)] + clause):
        return None
    if _GOES_ON.match(rest) or _GOES_ON.match(after) or not _is_unit(clause):
        return None
    return Measure(found.value, units.unit_of(found.before, clause))


def _clause(rest: str, *, is_said: bool) -> tuple[str, str]:
    """The words that belong to the number before them, and what follows them."""
    end = _CLAUSE_END.search(rest)
    clause, after = (rest, "") if end is None else (rest[: end.start()], rest[end.start() :])
    if is_said and not _MORE.search(clause):
        clause = _ASIDE.split(clause, maxsplit=1)[0]
    return clause, after


def _is_unit(clause: str) -> bool:
    """A few words without a further number."""
    plain = _POWER_UNIT.sub("u", clause)
    return not _DIGIT.search(plain) and not _NUMBER_WORD.match(plain) and len(plain.split()) <= MAX_UNIT_WORDS


def _is_range(text: str) -> bool:
    """`5-7`: two numbers that rise, with a hyphen and no blank between."""
    match = _RANGE.match(text)
    return match is not None and (int(match[1][:20]) < int(match[2][:20]) or match[2].startswith("0"))


def _without_lead(text: str) -> str:
    for _ in range(4):
        text = text.strip()
        text = _LEAD.sub("", text)
    return text


def _plain(text: str) -> str:
    """A statement without LaTeX's wrappers and what it is enclosed in."""
    text = unmarked(text.strip())[0].translate(_WIDE)
    for pattern, replacement in _PLAIN:
        text = pattern.sub(replacement, text)
    text = text.strip()
    for _ in range(4):
        text = text.rstrip(" .,;") if text[-2:] != ".." else text
        pair = text[:1] + text[-1:]
        if len(text) > 1 and pair in _OUTER and not (set(pair) & set(text[1:-1])):
            text = text[1:-1].strip()
    return text.strip(" \"'“”«»")


def told(text: str) -> Measure | None:
    """The number of a sentence, or of the sentence among several that concludes or begins."""
    if not _PROSE.match(text):
        return None
    sentences = [
        part for part in _SENTENCE.split(text[: 4 * MAX_CHARS])[:MAX_SENTENCES] if _DIGIT.search(part)
    ]
    concluding = [part for part in sentences if _CONCLUDES.match(part)]
    chosen = concluding[-1:] or sentences[:1]
    found = next((value for part in chosen if (value := _of_sentence(part))), None)
    if found is None and len(sentences) > 1 and not concluding:
        return _of_sentence(sentences[-1])
    return found


def _of_sentence(sentence: str) -> Measure | None:
    """`The trip took 6 hours` -> 6: what a verb leads to, else the one number."""
    text = _plain(sentence)
    if _UNEQUAL.search(text) or _OPEN.search(text) or _SUPPOSED.match(text):
        return None
    if _EQUALS.search(text):
        return stated(text)
    verbs = [match.end() for match in _VERB.finditer(text)]
    value = _at_start(text[verbs[-1] :]) if verbs else None
    if value is not None:
        return value
    places = [match.start() for match in _NUMBER_AT.finditer(text)]
    if len(places) != 1 or _COMPARED.search(text[: places[0]]):
        return None
    return _at_start(text[places[0] :], is_said=True)


def _is_exclaimed(line: str) -> bool:
    """Words that end in an exclamation mark, which is no factorial: "It is 42!"."""
    return line.rstrip(" *_").endswith("!") and "=" not in line and _WORD.search(line) is not None


def concludes(sentence: str) -> bool:
    """Begins as the sentence that an argument comes to: "Therefore, ..."."""
    return _CONCLUDES.match(sentence) is not None


def _of_line(line: str) -> Measure | None:
    """The number of a text of one line: all of it, what stands behind its label, or that of its sentence."""
    whole = stated(line, is_said=False)
    if whole is not None or _SENTENCE.search(line):
        return whole
    label, colon, rest = line.rpartition(":")
    if colon and not _DIGIT.search(label):
        return stated(rest, is_said=False)
    return told(line)


def bare(text: str) -> Measure | None:
    """A text that is a number with its unit, or whose last line comes to one: "= 42", "is 42 km",
    "Therefore, she has 42 apples"."""
    lines = _DISPLAYED.sub("", text).strip().splitlines() or [""]
    if _is_exclaimed(lines[-1]):
        lines[-1] = lines[-1].replace("!", ".")
    if len(lines) == 1 and len(text) <= MAX_CHARS:
        whole = _of_line(lines[0])
        if whole is not None:
            return whole
    last = _plain(lines[-1][-MAX_CHARS:])
    sentence = _SENTENCE.split(last)[-1]
    at = max(sentence.rfind("="), sentence.rfind("≈"))
    if at >= 0:
        return stated(sentence)
    marked = _BOLD.findall(lines[-1][-MAX_CHARS:])
    if len(marked) == 1 and (shown := stated(marked[0])) is not None:
        return shown
    verb = _VERB.search(sentence)
    found = _at_start(sentence[verb.end() :]) if verb else None
    return found or (_of_sentence(sentence) if concludes(sentence) else None)
