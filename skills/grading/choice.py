"""Multiple choice: canonical answer = the option's letter.

A letter counts only where it is stated: "the answer is B", a boxed letter, a line that starts with
it as a label, or the option's own text. A capital letter somewhere in a sentence is never a vote.
"""

import re
import unicodedata

from orchestrator.domain.queries import LETTERS, Query
from orchestrator.errors import SkillError
from skills.grading.base import Reading, Verdict
from skills.grading.statements import Statement, statements, unboxed, without_emphasis

_OPEN, _CLOSE = r"[(\[{\"'“$]*", r"[)\]}\"'”$]*"
_LETTER = re.compile(
    rf"^(?:(?:option|choice|letter)\s+)?(?P<open>{_OPEN})(?P<letter>[A-Za-z])(?P<close>{_CLOSE}[.:,;!]?)"
    r"(?=$|\s|[.,:;!-])(?P<rest>.*)$",
    re.DOTALL,
)
_SEVERAL = re.compile(rf"^{_OPEN}[A-Z]{_CLOSE}\s*(?:,|/|&|\band\b|\bor\b)\s*{_OPEN}[A-Z]\b{_CLOSE}")
_LABEL = re.compile(r"^\s*(?:[(\[]([A-Za-z])[)\]]|([A-Z])[).:\]]|([A-Z])\s+[-–—])(?:\s+(.*))?$")
_CONFIRMED = re.compile(
    r"(?<![A-Za-z])[(\[]?([A-Z])[)\]]? is (?:the )?(?:correct|right|best)\b", re.MULTILINE
)
_LATEX_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}")
_LONE = re.compile(rf"\A(?:option\s+)?{_OPEN}([A-Za-z]){_CLOSE}[.:]?", re.IGNORECASE)
_REASONED = re.compile(r"^\s*(?:because|since|as|which|due|for|with)\b", re.IGNORECASE)


class ChoiceGrader:
    """Canonical form: one capital letter."""

    def read(self, query: Query, text: str, *, truncated: bool) -> Reading:
        plain = _LATEX_TEXT.sub(r"\1", without_emphasis(text))
        for said in reversed(_explicit(plain, truncated=truncated)):
            if said.denies or _SEVERAL.match(said.text):
                return Reading(None, "states no single option")
            reading = _stated_letter(query, unboxed(said.text))
            if reading is not None:
                return reading
        if truncated:
            return Reading(None, "truncated before a stated answer")
        return _bare(query, plain)

    def equivalent(self, _query: Query, a: str, b: str) -> bool:
        return a == b

    def check(self, query: Query, value: str) -> Verdict:
        if not isinstance(query.answer, int):
            raise SkillError(
                f"query '{query.id}': the answer of a choice is an option index.", param="answer"
            )
        return Verdict(value == LETTERS[query.answer])


def _explicit(text: str, *, truncated: bool) -> list[Statement]:
    confirmed = [Statement(m.start(), m.group(1)) for m in _CONFIRMED.finditer(text)]
    return sorted([*statements(text, truncated=truncated), *confirmed])


def _stated_letter(query: Query, said: str) -> Reading | None:
    """The option that one explicit statement names; None when it names none."""
    by_text = _by_option_text(query, said)
    match = _LETTER.match(said)
    if match is None or _is_a_word(query, match):
        return None if by_text is None else Reading(by_text)
    return _in_range(query, match["letter"].upper(), match["rest"])


def _is_a_word(query: Query, match: re.Match[str]) -> bool:
    """A letter that may be an article or a pronoun ("a dog", "I think"), or a lower-case fragment."""
    letter, rest = match["letter"], match["rest"]
    enclosed = bool(match["open"]) and bool(match["close"])
    if enclosed or not rest.strip(" .)"):
        return False
    if letter.islower():
        return ")" not in match["close"]
    runs_on = not match["close"] and rest[:1].isspace()
    is_label = _REASONED.match(rest) or _by_option_text(query, rest) is not None
    return letter in "AI" and runs_on and not is_label


def _in_range(query: Query, letter: str, rest: str) -> Reading:
    if LETTERS.index(letter) >= len(query.options):
        return Reading(None, f"letter {letter} is not an option")
    named = _by_option_text(query, rest)
    if named is not None and named != letter:
        return Reading(None, f"letter {letter} with the text of option {named}")
    return Reading(letter)


def _bare(query: Query, text: str) -> Reading:
    """An answer without "the answer is": the option's text, a lone letter, or one labelled line."""
    lone = _LONE.fullmatch(text.strip())
    if lone:
        return _in_range(query, lone.group(1).upper(), "")
    by_text = _by_option_text(query, text)
    if by_text is not None:
        return Reading(by_text)
    return _labelled_line(query, [line for line in text.splitlines() if line.strip()])


def _labelled_line(query: Query, lines: list[str]) -> Reading:
    labels = [_label(line) for line in lines]
    letters = {label[0] for label in labels if label is not None}
    if len(letters) > 1:
        return Reading(None, "names several options")
    stated = (labels[0] or labels[-1]) if labels else None
    return _in_range(query, *stated) if stated else Reading(None, "no stated option")


def _label(line: str) -> tuple[str, str] | None:
    """`B) Paris` -> ("B", "Paris"); a line that is one capital letter is a label too."""
    match = _LABEL.match(line)
    if match:
        return next(g for g in match.groups()[:3] if g).upper(), match.group(4) or ""
    alone = line.strip()
    return (alone, "") if len(alone) == 1 and alone in LETTERS else None


def _by_option_text(query: Query, text: str) -> str | None:
    wanted = _plain_text(text)
    hits = [i for i, option in enumerate(query.options) if wanted and _plain_text(option) == wanted]
    return LETTERS[hits[0]] if len(hits) == 1 else None


def _plain_text(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.split()).strip(" \"'“”.,;:!()[]")
