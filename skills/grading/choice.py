"""Multiple choice: canonical answer = the option's letter.

A letter counts only where it is stated: "the answer is B", a boxed letter, a line that starts with
it as a label, or the option's own text. A capital letter somewhere in a sentence is never a vote.
"""

import re
import unicodedata

from orchestrator.domain.queries import LETTERS, Query
from orchestrator.errors import SkillError
from skills.grading.base import Reading, Verdict
from skills.grading.marks import unmarked
from skills.grading.statements import Statement, statements

MAX_BARE_CHARS = 2_000
"""Of a text, and of a line, in which a letter may stand without a phrase before it."""

_OPEN, _CLOSE = r"[(\[{<\"'“‘«「『【〔《$*_`]*", r"[)\]}>\"'”’»」』】〕》$*_`]*"
_ARTICLE = (
    r"(?:(?:option|choice|letter|answer|opci[óo]n|op[çc][ãa]o|letra|lettre|lettera|opzione|buchstabe|antwort|alternativa"
    r"|variante?|вариант|буква|la|le|el|il|die|der|das|den)\s+|[ao]\s+(?=letra|op[çc])|选项|選項|选择?|選擇?|옵션|보기)"
)
_LETTER = re.compile(
    rf"\A{_ARTICLE}{{0,3}}\s*(?P<open>{_OPEN})(?P<letter>[A-Za-z])(?P<close>{_CLOSE}[.:,;!。、]?)"
    r"(?=\Z|\s|[.,:;!-]|[^\x00-\x7f])(?P<rest>.*)\Z",
    re.DOTALL | re.IGNORECASE,
)
_SEVERAL = re.compile(
    rf"\A{_ARTICLE}{{0,3}}{_OPEN}[A-Z]{_CLOSE}\s*(?:,|/|&|\b(?:and|or|und|oder|y|o|et|ou|e|и|или)\b|和|或|と|や|、)"
    rf"\s*{_OPEN}[A-Z]\b{_CLOSE}"
)
_LABEL = re.compile(r"^\s*(?:[(\[<【]([A-Za-z])[)\]>】]|([A-Z])[).:\]、]|([A-Z])\s+[-–—])(?:\s+(.*))?$")
_CONFIRMED = re.compile(
    r"(?<![A-Za-z])[(\[]?([A-Z])[)\]]? (?:is (?:the )?(?:correct|right|best|answer)"
    r"|ist (?:richtig|korrekt|die richtige)|es (?:la )?correct[ao]|est (?:correcte?|la bonne)"
    r"|è (?:la )?corrett[ao]|é (?:a )?corret[ao])\b"
    r"|(?<![A-Za-z])[(\[]?([A-Z])[)\]]?(?:选项|選項)?\s?(?:是正确|是正確|正确|正確|верно|が正しい|가 정답)"
    r"|\b(?:I|[Ww]e)(?:'d|’d| would| will|'ll|’ll)? (?:choose|pick|select|go with|opt for) "
    r"(?:option |answer |choice )?[(\[*]{0,3}([A-Z])[)\]*]{0,3}(?=[.,;:!]|\s*\Z|\n|\s(?:because|since|as)\b)",
)
_COMMAND = re.compile(
    r"\\(?:text|mathrm|textbf|mathbf|textit|mathit|textrm|textsf|mathsf|texttt|mathtt|emph|underline|bm|boldsymbol"
    r"|operatorname)\s{0,3}\{([^{}]*)\}"
)
_LAYOUT = re.compile(r"\\[()\[\]]|\$|\\(?:bf|rm|it|displaystyle|large)\b|\\boxed\b")
_SPACE = re.compile(r"\\[ ,;:!]|\\q?quad\b|~")
_TAG = re.compile(r"</?(?:b|i|u|p|em|strong|code|span|mark)>", re.IGNORECASE)
_SYMBOLS = re.compile(r"\A[\u2190-\u2bff\U0001f000-\U0001faff\ufe0f\u200d•·▪►›]{1,8}\s*")
_LONE = re.compile(rf"\A{_ARTICLE}?\s*{_OPEN}([A-Za-z]){_CLOSE}[.:。]?\Z", re.IGNORECASE)
_CONCLUDED = re.compile(
    r"\A(?:(?:so|thus|therefore|hence|definitely|correct|right|letter|final|solution|it is|it's|it’s)\b"
    r"(?:\s?[,:])?\s{0,3}){1,2}(?:it is |it's |it’s )?(?P<said>.{1,300})\Z",
    re.DOTALL | re.IGNORECASE,
)
_FIRST_CLAUSE = re.compile(
    r"\A(?P<said>[^,.;:!\n—–]{1,300}?)(?:[,.;:!]|\s?[—–]|\s-)(?=\s)(?P<rest>.*)\Z", re.DOTALL
)
_WORD_END = re.compile(r"[\s.,;:!?()]+")
_REASONED = re.compile(r"^\s*(?:because|since|as|which|due|for|with)\b", re.IGNORECASE)
_CLAUSE = re.compile(
    r"[.;:!。，\n]|\b(?:because|since|as|which|due|for|with|denn|weil|porque|parce|car)\b|,\s|\s[-–—(]"
)


class ChoiceGrader:
    """Canonical form: one capital letter."""

    def read(self, query: Query, text: str, *, truncated: bool) -> Reading:
        plain = unicodedata.normalize("NFKC", text)
        for said in reversed(_explicit(plain, truncated=truncated)):
            reading = _stated(query, said)
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
    confirmed = [Statement(m.start(), m[1] or m[2] or m[3]) for m in _CONFIRMED.finditer(text)]
    return sorted([*statements(text, truncated=truncated), *confirmed], key=lambda said: said.start)


def _stated(query: Query, said: Statement) -> Reading | None:
    """The option that one explicit statement names; None when it names none. An option's own text goes first:
    it may speak of others ("Both A and B", "None of the above")."""
    plain = undressed(said.text)
    for source in dict.fromkeys([said.text, plain, said.marked]):
        by_text = _by_option_text(query, source)
        if by_text is not None:
            return Reading(by_text)
    clause, *after = _CLAUSE.split(plain, maxsplit=1)
    by_clause = _by_option_text(query, clause)
    if by_clause is not None and any(_by_option_text(query, rest) not in (None, by_clause) for rest in after):
        return Reading(None, "states no single option")
    if (said.denies or _SEVERAL.match(plain)) and by_clause is None:
        return Reading(None, "states no single option")
    match = _LETTER.match(plain)
    if match is None or _is_a_word(query, match):
        return None if by_clause is None else Reading(by_clause)
    return _in_range(query, match["letter"].upper(), match["rest"])


def undressed(text: str) -> str:
    """A statement without marks of Markdown and LaTeX around its words: `$\\textbf{(B)}\\ \\text{Paris}$` ->
    `(B) Paris`."""
    for _ in range(2):
        text = _COMMAND.sub(r"\1", text)
    if "</" in text:  # else `<B>` is a letter in brackets
        text = _TAG.sub("", text)
    text = _SYMBOLS.sub("", _SPACE.sub(" ", _LAYOUT.sub("", text)).strip())
    return unmarked(text)[0].strip()


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
    whole = undressed(text) if len(text) <= MAX_BARE_CHARS else ""
    lone = _LONE.match(whole)
    for source in (text, whole):
        by_text = _by_option_text(query, source)
        if by_text is not None:
            return Reading(by_text)
    if lone:
        return _in_range(query, lone.group(1).upper(), "")
    concluded = _concluded(query, whole)
    if concluded is not None:
        return Reading(concluded)
    return _labelled_line(query, [line for line in text.splitlines() if line.strip()])


def _concluded(query: Query, text: str) -> str | None:
    """`Therefore, B.`, `Solution: (B)`, `It is Paris.`, `No, because ...`: the option that a text of one line
    names at its beginning; None where the rest speaks of another one."""
    if "\n" in text.strip() or not text:
        return None
    begun = _FIRST_CLAUSE.match(text)
    option = None if begun is None else _by_option_text(query, begun["said"])
    if begun is not None and option is not None:
        return None if _speaks_of_another(query, begun["rest"], option) else option
    concluded = _CONCLUDED.match(text)
    if concluded is None:
        return None
    lone = _LONE.match(concluded["said"])
    if lone and LETTERS.index(lone[1].upper()) < len(query.options):
        return lone[1].upper()
    letter = _label(concluded["said"])
    return _by_option_text(query, concluded["said"]) or (
        letter[0] if letter and _by_option_text(query, letter[1]) == letter[0] else None
    )


def _speaks_of_another(query: Query, text: str, option: str) -> bool:
    said = f" {_WORD_END.sub(' ', _plain_text(text))} "
    others = (_plain_text(undressed(other)) for i, other in enumerate(query.options) if LETTERS[i] != option)
    return any(f" {_WORD_END.sub(' ', other)} " in said for other in others)


def _labelled_line(query: Query, lines: list[str]) -> Reading:
    labels = [_label(line) for line in lines]
    letters = {label[0] for label in labels if label is not None}
    if len(letters) > 1:
        return Reading(None, "names several options")
    stated = (labels[0] or labels[-1]) if labels else None
    return _in_range(query, *stated) if stated else Reading(None, "no stated option")


def _label(line: str) -> tuple[str, str] | None:
    """`B) Paris` -> ("B", "Paris"); a line that is one capital letter is a label too."""
    if len(line) > MAX_BARE_CHARS:
        return None
    line = undressed(line)
    match = _LABEL.match(line)
    if match:
        return next(g for g in match.groups()[:3] if g).upper(), match.group(4) or ""
    alone = line.strip()
    return (alone, "") if len(alone) == 1 and alone in LETTERS else None


def _by_option_text(query: Query, text: str) -> str | None:
    wanted = _plain_text(text)
    hits = [
        i
        for i, option in enumerate(query.options)
        if wanted and wanted in (_plain_text(option), _plain_text(undressed(option)))
    ]
    return LETTERS[hits[0]] if len(hits) == 1 else None


def _plain_text(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.split()).strip(" \"'“”.,;:!()[]")
