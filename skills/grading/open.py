"""Open questions: an answer is its words; nothing is normalised, and no two of them are compared."""

from orchestrator.domain.queries import Query
from orchestrator.errors import SkillError
from skills.grading.base import Reading, Verdict


class OpenGrader:
    """Canonical form: the text as it is, without thinking. A cut answer counts as it stands."""

    def read(self, _query: Query, text: str, *, truncated: bool) -> Reading:
        del truncated
        return Reading(text)

    def equivalent(self, _query: Query, a: str, b: str) -> bool:
        return a == b

    def check(self, query: Query, value: str) -> Verdict:
        del value
        raise SkillError(
            f"query '{query.id}' is open: its answers are neither right nor wrong.",
            param="answer_type",
            remedy="Have them graded: by imported scores, a judge, or feedback.",
        )
