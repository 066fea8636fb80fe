"""Question sets that are graded by: their reference answers are read when the set is."""

from pathlib import Path

from orchestrator.domain.queries import Query
from orchestrator.questions.files import read_questions
from skills.grading.grader import check_reference


def read_labelled(path: Path) -> list[Query]:
    """All queries of a file, in order; a line whose reference answer no grader can read is a bad line.

    Raises:
        InputError: as `read_questions`.
    """
    return read_questions(path, check=check_reference)
