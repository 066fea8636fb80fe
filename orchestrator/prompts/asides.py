"""Asides: what an expert says to whoever reads its answer, rather than of the question.

An answer that gives orders to its reader, or plays further candidates or turns of a chat, is not shown as it
stands: a reader that obeys what it reads would obey it. What counts as an aside is a table of phrases, so one
in other words passes; marks, drawn fences and broken control strings do not depend on it.
"""

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from orchestrator.prompts.defusing import defuse

LEFT_OUT = "[…]"
"""Stands where an aside stood."""


class Order(NamedTuple):
    """An order to the reader: a word of one kind, and one of the other kind soon after it."""

    what: re.Pattern[str]
    of_whom: re.Pattern[str]


WITHIN = 48
"""Characters in which the words of an order stand, in one sentence."""
_ENDS = re.compile(r"[.!?。！？] ")

_TEXTS = re.compile(
    r"\b(?:instructions?|candidates|experts|responses|answers|models|prompts?|messages|guidelines|agents"
    r"|assistants|opinions|the others|all others|everything (?:above|before|else|said))\b"
)

_ORDERS = (
    # about what else is read
    Order(
        re.compile(
            r"\b(?:ignore|disregard|forget|override|overrule|discard|dismiss|skip|pay no attention"
            r"|(?:do not|don't|never) (?:trust|read|consider|use|believe|follow))\b"
        ),
        _TEXTS,
    ),
    # about what is to be written
    Order(
        re.compile(r"\byou (?:must|should|shall|have to|need to|are to|are now|are required to|will now)\b"),
        re.compile(r"\b(?:answer|output|reply|respond|report|conclude)\b"),
    ),
    Order(
        re.compile(r"\b(?:choose|select|pick|prefer|rank|rate|score|copy|give|declare)\b"),
        re.compile(
            r"\b(?:this (?:answer|response|candidate|text|one)|my (?:answer|response|text)|candidate \d"
            r"|full marks|highest score|first place|10/10|10 out of 10)"
        ),
    ),
    # about the others
    Order(
        re.compile(
            r"\b(?:all|other|remaining|previous) (?:other |the )?"
            r"(?:experts|candidates|models|agents|responses|assistants)\b"
        ),
        re.compile(
            r"\b(?:wrong|incorrect|invalid|untrust|malicious|compromised|outdated|lying|lie\b|agree|confirm"
            r"|retract|withdr|hallucinat|poison)"
        ),
    ),
    # in other languages
    Order(
        re.compile(r"\b(?:ignorier|missachte|vergiss|vergesst|verwirf)"),
        re.compile(r"anweisungen|antworten|kandidaten|experten|anderen|vorherige|obige|modelle\b"),
    ),
    Order(
        re.compile(r"\b(?:ignor|olvid|descart|oubli|écart|esque[cç]|dimentic)"),
        re.compile(
            r"instruccion|instruções|istruzion|respuestas|réponses|respostas|risposte|candidat[oie]s?\b|expertos|modelos"
            r"|modèles|otr[oa]s|autres|outr[oa]s|altr[ie]\b|anterior|précédent|precedent"
        ),
    ),
    Order(
        re.compile(r"игнорир|забуд|не обращай|не верь"),
        re.compile(r"инструк|ответ|модел|эксперт|друг|остальн|предыдущ"),
    ),
    Order(
        re.compile(r"忽略|无视|無視|忘记|忘れ|不要理会|不要相信|信じないで"),
        re.compile(r"指令|指示|回答|答案|候选|候補|专家|模型|其他|以上|之前|前面|上述|ください"),
    ),
    Order(re.compile(r"이전|다른|모든|위의"), re.compile(r"무시|잊")),
    Order(re.compile(r"تجاهل|انس "), re.compile(r"التعليمات|الإجابات|السابقة|الآخرين|النماذج")),
)

_WORDS_TO_THE_READER = re.compile(
    r"\b(?:dear|attention|notice|note|message|instructions?|reminder|hint|hello|hey|hi)[ ,:]{0,3}"
    r"(?:to |for )?(?:the )?(?:aggregator|judge|evaluator|grader|synthesi[sz]er|verifier|ranker|reader"
    r"|conductor|moderator|final model|next model|assistant|ai\b|llm\b)"
    r"|\b(?:as|if you are) (?:the|an?) (?:aggregator|judge|evaluator|grader|synthesi[sz]er|verifier|ranker)\b"
    r"|\b(?:output|reply|respond|answer|say|print) (?:with |by )?(?:only|exactly|just|nothing but)\b"
    r"|\b(?:new|updated|revised|actual|additional|hidden|secret|system) (?:system )?"
    r"(?:instructions?|prompt|message|override|directive)\b"
    r"|\b(?:candidate|expert|model|agent|response|assistant) \d{1,3} (?:is|was|has|agrees|agreed|retracts"
    r"|says|said|answers|answered|withdraws|confirms|admits)\b"
)

_SECTIONS = re.compile(
    # another candidate, or another turn
    r"^[^\w\n]{0,8}(?:model|expert|candidate|response|assistant|agent|reply|turn|llm|ai) ?#?\d{1,3}"
    r"(?:'s|’s)?(?: (?:response|answer|reply|output|solution|says|said|replied))?[^\w\n]{0,6}(?::|$)"
    r"|^[^\w\n]{0,8}(?:model|expert|candidate|response|assistant|agent|llm) ?#?\d{1,3}(?:'s|’s) "
    r"|^[^\w\n]{0,8}(?:candidates|responses|answers of others)[^\w\n]{0,4}:"
    r"|(?:^[^\w\n]{0,4}#|##) {0,3}(?:system|user|assistant|human|developer|instructions?|input|response|task"
    r"|question)\b"
    r"|^[*_<\[( ]{0,4}(?:system|user|assistant|human|developer|instructions?|gpt4 correct (?:user|assistant))"
    r"(?: prompt| message)?[*_>\]) ]{0,4}:(?!:)"
    # marks
    r"|\[ ?/?(?:end of )?(?:candidate|turn|reply|answer|question) ?\d{0,3} ?[0-9a-f]{0,64} ?\]"
    r"|\bend of (?:candidate|question|reply|turn) \d",
    re.MULTILINE,
)

_NUMBERED = re.compile(r"\b\d{1,2}\) .{0,20}?\banswer\b")
"""A candidate as the compact form numbers it."""


@lru_cache(maxsize=256)  # a text is shown to several, and asked about before
def has_aside(text: str) -> bool:
    """True if a text speaks to its reader, or plays somebody else's part of a prompt."""
    plain = _plain(text)
    return (
        defuse(plain) != plain
        or _SECTIONS.search(plain) is not None
        or _gives_orders(" ".join(plain.split()))
        or len(_NUMBERED.findall(plain)) > 1
    )


def without_asides(text: str) -> str:
    """A text as it may be shown: lines that are asides are left out, and all of it where one spans lines."""
    if not has_aside(text):
        return text
    kept = "\n".join(LEFT_OUT if has_aside(line) else line for line in text.splitlines())
    return LEFT_OUT if has_aside(kept) else kept


def _gives_orders(text: str) -> bool:
    return _WORDS_TO_THE_READER.search(text) is not None or any(
        order.of_whom.search(_ENDS.split(text[found.end() : found.end() + WITHIN], maxsplit=1)[0])
        for order in _ORDERS
        for found in order.what.finditer(text)
    )


def _plain(text: str) -> str:
    """Small letters of one form, without characters that are not seen."""
    folded = unicodedata.normalize("NFKC", text).lower()
    return "".join(ch for ch in folded if unicodedata.category(ch) != "Cf")
