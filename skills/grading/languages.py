"""Phrases before an answer in languages other than English, and what ends a sentence after it.

One row a language: nouns that mean an answer, and the verbs that link them to it; a colon, a dash and an
arrow link everywhere. Every function takes time linear in the text.
"""

import re
import unicodedata
from collections import deque
from collections.abc import Collection, Mapping
from typing import NamedTuple

_WINDOW = 120


class Language(NamedTuple):
    """Nouns and verbs as patterns; `glued`: words are written without blanks between them."""

    nouns: str
    verbs: str
    glued: bool = False


def _both(pattern: str) -> str:
    """A pattern for texts as they are and for those in NFKC, which takes some letters apart."""
    return f"{pattern}|{unicodedata.normalize('NFKC', pattern)}"


LANGUAGES: Mapping[str, Language] = {
    "de": Language(r"Antwort|Lösung|Ergebnis", r"ist|lautet|wäre|heißt|beträgt"),
    "nl": Language(r"antwoord|oplossing", r"is|luidt"),
    "sv": Language(r"svar(?:et)?", r"är|blir"),
    "da": Language(r"svar(?:et)?", r"er|bliver|blir"),
    "es": Language(r"respuesta|soluci[óo]n", r"es|ser[íi]a|ser[áa]"),
    "fr": Language(r"r[ée]ponse", r"est|serait|sera"),
    "it": Language(r"risposta|soluzione", r"(?-i:è|é|e['’])|sarebbe"),
    "pt": Language(r"resposta|solução|gabarito", r"(?-i:é|e)|seria|será"),
    "ca": Language(r"resposta|solució", r"és|seria"),
    "ro": Language(r"r[ăa]spuns(?:ul)?", r"este|(?-i:e)|ar fi"),
    "pl": Language(r"odpowied(?:ź|z|zią)", r"to|jest|brzmi"),
    "cs": Language(r"odpov[ěe]ď?|odpoveď", r"je|zní"),
    "hu": Language(r"(?:a )?válasz|megoldás", r"(?-i:az?)"),
    "fi": Language(r"vastaus", r"on"),
    "tr": Language(r"(?:cevap|yanıt)(?:ı|ımız)?", r"şudur"),
    "id": Language(r"jawaban(?:nya)?|jawapan(?:nya)?", r"adalah|ialah|yaitu"),
    "vi": Language(r"đáp án|câu trả lời|kết quả", r"là"),
    "el": Language(r"απάντηση", r"είναι"),
    "ru": Language(r"ответ(?:ом)?", r"это|является|будет|равен"),
    "uk": Language(r"відповідь|відповіддю", r"це|(?-i:є)|буде"),
    "bg": Language(r"отговор(?:ът)?", r"(?-i:е)|това е"),
    "he": Language(r"ה?תשובה", r"היא|הוא|זה"),
    "ar": Language(r"(?:ال)?(?:جواب|إجابة|اجابة)", r"هو|هي"),
    "fa": Language(r"پاسخ|جواب", r"برابر است با"),
    "hi": Language(r"उत्तर|जवाब", r"है"),
    "bn": Language(r"উত্তর", r"হল|হলো"),
    "th": Language(_both("คำตอบ(?:ที่ถูกต้อง)?"), r"คือ|เป็น", glued=True),
    "zh": Language(
        r"(?:正确|正確|最终|最終|标准|標準)?(?:答案|选项|選項)|答(?=[:：])|(?:因此|所以|故|应|應|应该|應該|答案|本题|本題)[选選][择擇]?",
        r"(?:应该|應該|应当|應當|应|應|就)?(?:是|为|為|选|選)",
        glued=True,
    ),
    "ja": Language(r"正?答え?|正解|解答|回答|答案|結論", r"は|が", glued=True),
    "ko": Language(r"정답|답변?|해답", r"은|는|이|가", glued=True),
}

_NOT = r"(?:no|non|não|nu|ne|nie|nicht|niet|kein\w*|inte|ikke|nem|ei|değil|bukan|không|не|δεν|לא|ليس\w*)\b"
_ADJECTIVE = rf"(?:[ \t]+(?!{_NOT})[^\W\d_]{{2,20}}){{0,3}}?"
_UNIT = r"(?:[ \t]{0,2}[(（][^()（）\n]{1,40}[)）])?"
_MARKS = r"[*_`\"”’」』)]{0,6}"
_SIGN = r"(?:[:：=→⇒]|->|=>|—|–(?=\s)|-(?=\s))"
_SPACED = "|".join(row.verbs for row in LANGUAGES.values() if not row.glued)
_GLUED = "|".join(row.verbs for row in LANGUAGES.values() if row.glued)

_NOUN = re.compile(
    rf"(?<![^\W\d_])(?:{'|'.join(row.nouns for row in LANGUAGES.values() if not row.glued)})(?![^\W\d_])"
    rf"|(?P<glued>{'|'.join(row.nouns for row in LANGUAGES.values() if row.glued)})",
    re.IGNORECASE,
)
_SIGNS = (
    *("antwo", "ergebnis", "oplossing", "svar", "respuesta", "solucio", "reponse", "risposta", "soluzione"),
    *("resposta", "gabarito", "raspuns", "odpowied", "odpov", "vastaus", "cevap", "yanit", "jawa"),
)
"""An ASCII text without any of them, in small letters, has no `_NOUN`."""
_LINK = re.compile(
    rf"\A(?:{_ADJECTIVE}{_UNIT}{_MARKS}[ \t]{{1,3}}(?:{_SPACED})(?![^\W\d_])[ \t]*:?"
    rf"|{_ADJECTIVE}{_UNIT}{_MARKS}[ \t]*{_SIGN})",
    re.IGNORECASE,
)
_LINK_GLUED = re.compile(rf"\A{_UNIT}{_MARKS}[ \t]{{0,2}}(?:(?:{_GLUED})[ \t]*[:：]?|{_SIGN})")
_LETTER_NEXT = re.compile(
    r"\A[ \t]{0,2}[*_]{0,3}[(（【「『\[]?[A-ZＡ-Ｚ][)）】」』\]]?[*_]{0,3}(?:['’]\w{1,4}| şıkkı\w{0,4})?"
    r"[。.．]?[ \t]*(?:\r?\n|\Z)"
)
_HEADING = re.compile(r"(?:\A|\n)[ \t>]{0,4}(?:#{1,6}[ \t]{0,2})?[*_]{0,3}(?:\w{1,12} ){0,2}\Z")
_ALONE = re.compile(r"\A[:：]?[*_]{0,3}[:：]?[ \t]*\r?\n")
_FILLER = re.compile(
    r"\A[ \t]*(?:(?:also|daher|somit|folglich|donc|alors|por lo tanto|por tanto|entonces|quindi|dunque"
    r"|portanto|logo|takže|więc|zatem|dus|därför|altså|следовательно|значит|таким образом)\b,?[ \t]*)?",
    re.IGNORECASE,
)

FOREIGN_DENIALS = (
    r"(?:nicht|keine?|keines|niet|geen|inte|ikke|pas|aucune?|ninguna?|ningun|ninguno|nessuna?|nenhuma?|nie|žádná"
    r"|никак\w*|ни один\w*|не)\b|不|没有|沒有|以上都不|無|없"
)
"""Beginnings of statements that there is no answer, or another one."""

_COPULAS = (
    *("になります", "となります", "であります", "である", "です", "でした"),
    *("입니다", "이다", "예요", "이에요", "है", "ครับ", "ค่ะ"),
    *("'dir", "'dır", "'dur", "'dür", "’dir", "’dır", "’dur", "’dür"),
)
"""Words that end a sentence after its answer."""
_STOP = re.compile(r"[。｡।！]")


def foreign_leads(text: str, *, most: int) -> list[tuple[int, int]]:
    """Start and end of phrases that announce an answer, in order; the last `most` of them."""
    found: deque[tuple[int, int]] = deque(maxlen=most)
    is_searched = not text.isascii() or has_sign(text, _SIGNS)
    for noun in _NOUN.finditer(text) if is_searched else ():
        window = text[noun.end() : noun.end() + _WINDOW]
        link = (_LINK_GLUED if noun["glued"] else _LINK).match(window)
        size = link.end() if link else None
        if size is None and _LETTER_NEXT.match(window):
            size = 0
        if size is None and _HEADING.search(text, max(0, noun.start() - 40), noun.start()):
            alone = _ALONE.match(window)
            size = alone.end() if alone else None
        if size is not None:
            filler = _FILLER.match(window[size:])
            found.append((noun.start(), noun.end() + size + (filler.end() if filler else 0)))
    return list(found)


def has_sign(text: str, signs: Collection[str]) -> bool:
    """True if a text has any of these, which are in small letters; for ASCII texts: others have letters that
    count as the same and are written otherwise."""
    small = text.lower()
    return any(sign in small for sign in signs)


def without_tail(said: str) -> str:
    """An answer without what ends its sentence: `Bです。` -> `B`, `42。因为…` -> `42`."""
    stop = _STOP.search(said)
    sentence = (said[: stop.start()] if stop and stop.start() else said).rstrip()
    bare = sentence.removesuffix(".")
    copula = next((word for word in _COPULAS if bare.endswith(word)), "")
    return (bare.removesuffix(copula).rstrip() if copula else sentence) or said
