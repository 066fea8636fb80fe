"""Code: canonical answer = the program without comments and layout; graded by running unit tests."""

import ast
import re
import warnings

from orchestrator.domain.queries import Query
from orchestrator.errors import SkillError
from skills.grading.base import Reading, Verdict
from skills.grading.fences import FENCE, fenced_blocks
from skills.grading.sandbox import Sandbox

MAX_CHARS = 50_000
MAX_BLOCKS = 20

_TAG = re.compile(r"\A[ \t]*(?:(?:python3?|py)[ \t]*)?\Z", re.IGNORECASE)


class CodeGrader:
    """Canonical form: `ast.unparse` of the program. Two programs are the same only as source."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def read(self, _query: Query, text: str, *, truncated: bool) -> Reading:
        if len(text) > MAX_CHARS:
            return Reading(None, f"longer than {MAX_CHARS} characters")
        blocks = list(fenced_blocks(text, opens=_TAG))
        if not blocks and (truncated or FENCE in text):
            return Reading(None, "no complete code block")
        programs = [
            p for block in (blocks[-MAX_BLOCKS:] or [text]) if (p := normalised_program(block)) is not None
        ]
        return Reading(programs[-1]) if programs else Reading(None, "no Python program")

    def equivalent(self, _query: Query, a: str, b: str) -> bool:
        return a == b

    def check(self, query: Query, value: str) -> Verdict:
        if not isinstance(query.answer, str) or not query.answer.strip():
            raise SkillError(f"query '{query.id}': the answer of a code question is its unit tests.")
        result = self._sandbox.run(value, query.answer)
        return Verdict(result.passed, result.reason)


def normalised_program(source: str) -> str | None:
    """Source without comments and layout; None when it is no Python or does nothing but name things."""
    try:
        # Model-written code warns about its own escapes; that is no business of the grader's log.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source.strip("\n"))
        if all(isinstance(node, ast.Expr) for node in tree.body):
            return None
        return ast.unparse(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
