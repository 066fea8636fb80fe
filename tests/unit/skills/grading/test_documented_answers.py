"""The examples of docs/answers.md are read as the page says."""

import re
from pathlib import Path

import pytest

from orchestrator.domain.queries import AnswerType
from skills.grading.grader import AnswerGrader
from tests.fakes.grading import make_query, make_response

PAGE = (Path(__file__).parents[4] / "docs" / "answers.md").read_text()
ROW = re.compile(r"^\| `+ ?(?P<written>.+?) ?`+ \| (?:`+ ?(?P<read>.+?) ?`+|—) \|$", re.MULTILINE)


def examples() -> list[tuple[AnswerType, str, str | None]]:
    """Type, response and canonical answer of every row; a section is named after its type."""
    found = []
    for section in PAGE.split("\n## ")[1:]:
        name = section.partition("\n")[0].strip()
        if name in list(AnswerType):
            rows = ROW.finditer(section)
            found += [
                (AnswerType(name), _text(row["written"]), row["read"] and _text(row["read"])) for row in rows
            ]
    return found


def _text(cell: str) -> str:
    return cell.replace("↵", "\n").replace("\\|", "|")


EXAMPLES = examples()


@pytest.mark.parametrize(("answer_type", "written", "read"), EXAMPLES)
def test_what_is_written_is_read_as_the_page_says(
    answer_type: AnswerType, written: str, read: str | None
) -> None:
    assert AnswerGrader().read(make_query(answer_type), make_response(written)) == read


def test_every_row_of_a_table_is_an_example() -> None:
    n_rows = sum(line.startswith("| ") and "`" in line for line in PAGE.splitlines())
    assert len(EXAMPLES) == n_rows
