import json

import pytest

from orchestrator.domain.cards import ABSTAINED, RIGHT, WRONG
from orchestrator.domain.queries import Query
from orchestrator.errors import SkillError
from skills.grading.grader import AnswerGrader
from tests.fakes.grading import make_query, make_response

GRADER = AnswerGrader()
QUERY = make_query("code", "assert add(1, 2) == 3")
PROGRAM = "def add(a, b):\n    return a + b"


@pytest.mark.parametrize(
    "text",
    [
        "def add(a, b): return a+b",
        "```python\ndef add(a,b):  # sum\n  return a + b\n```",
        "Sure:\n```py\nold = 1\n```\nBetter:\n```\ndef add(a, b):\n    return (a + b)\n```\nDone.",
    ],
)
def test_reads_the_last_program_without_layout(text: str) -> None:
    assert GRADER.read(QUERY, make_response(text)) == PROGRAM


@pytest.mark.parametrize(
    "text",
    [
        "Sure",
        "Use the plus operator.",
        "```python\ndef add(a, b):",
        "```python\nreturn = 1\n```",
        "(" * 5000,
        "x = 1\n" * 30_000,
    ],
)
def test_what_holds_no_program_is_an_abstention(text: str) -> None:
    assert GRADER.read(QUERY, make_response(text)) is None


def test_a_cut_program_counts_only_when_its_block_was_closed() -> None:
    assert GRADER.read(QUERY, make_response("def add(a, b): return a", truncated=True)) is None
    closed = "```python\ndef add(a, b): return a + b\n```\nThis fun"
    assert GRADER.read(QUERY, make_response(closed, truncated=True)) == PROGRAM


def test_grades_by_running_the_unit_tests() -> None:
    texts = (PROGRAM, "def add(a, b): return a - b", "no program")
    outcomes = [GRADER.grade(QUERY, make_response(text)).outcome for text in texts]
    assert outcomes == [RIGHT, WRONG, ABSTAINED]


def test_a_wrong_program_carries_the_failure() -> None:
    graded = GRADER.grade(QUERY, make_response("def add(a, b): return a.b"))
    assert graded.reason == "tests failed: AttributeError: 'int' object has no attribute 'b'"


def test_a_reference_without_tests_is_refused() -> None:
    with pytest.raises(SkillError, match="unit tests"):
        GRADER.grade(make_query("code", " "), make_response(PROGRAM))


USAGE = "from solution import add\n\nprint(add(1, 2))"


@pytest.mark.parametrize(
    "text",
    [
        f"```python\n{PROGRAM}\n```\nUse it:\n```python\n{USAGE}\n```",
        f"```python\n{USAGE}\n```\nwith\n```python\n{PROGRAM}\n```",
        f"```python\n{PROGRAM}\n```\n```python\nsub = 1\nx = add(1, sub)\n```",
        f"~~~python\n{PROGRAM}\n~~~",
        f"```python3.11\r\n{PROGRAM}\r\n```".replace("\n    ", "\r\n    "),
        f'```py title="add.py"\n{PROGRAM}\n```',
        f"```{{.python .numberLines}}\n{PROGRAM}\n```",
        f"```bash\npip install x\n```\n```Python\n{PROGRAM}\n```\n```text\n3\n```",
        "1. Like this:\n\n    ```python\n    def add(a, b):\n        return a + b\n    ```",
        "> ```python\n> def add(a, b):\n>     return a + b\n> ```",
        f"Sure: ```python\n{PROGRAM}\n```",
        f"```python\n{PROGRAM}```",
        f"```python\n{PROGRAM}",
        f"Here it is:\n\n{PROGRAM}\n\nIt adds two numbers.",
        "Here it is:\n```python\n\n    def add(a, b):\n        return a + b\n```",
        "```pycon\n>>> def add(a, b):\n...     return a + b\n...\n```",
        f"````markdown\n# Sum\n```python\n{PROGRAM}\n```\n````",
        f'<pre><code class="python">{PROGRAM}\n</code></pre>',
        f"``` {{lang=python}}\n{PROGRAM}\n```",
        f"[PYTHON]\n{PROGRAM}\n[/PYTHON]",
        f"It is <code>{PROGRAM}</code>.",
        json.dumps({"reasoning": "Add: a + b.", "code": PROGRAM}),
        "```json\n" + json.dumps({"answer": f"```python\n{PROGRAM}\n```"}) + "\n```",
    ],
)
def test_the_block_that_defines_what_the_tests_need_is_the_program(text: str) -> None:
    assert GRADER.read(QUERY, make_response(text)) == PROGRAM


def test_fences_inside_of_a_docstring_do_not_end_the_block() -> None:
    text = '```python\n"""Adds.\n\n```\nadd(1, 2)\n```\n"""\ndef add(a, b):\n    return a + b\n```'
    value = GRADER.read(QUERY, make_response(text))
    assert value is not None
    assert value.endswith(PROGRAM)


def test_without_tests_the_question_says_which_program_it_asks_for() -> None:
    query = Query(id="q", question="Write `add(a, b)`.", answer_type="code")
    text = f"```python\n{PROGRAM}\n```\n```python\ndef test_all():\n    assert True\n```"
    assert GRADER.read(query, make_response(text)) == PROGRAM


def test_without_a_name_it_is_the_last_block_that_defines_something() -> None:
    query = Query(id="q", question="Write a sum.", answer_type="code")
    text = f"```python\nold = 1\n```\n```python\n{PROGRAM}\n```\n```python\nx = add(1, 2)\n```"
    assert GRADER.read(query, make_response(text)) == PROGRAM


def test_a_program_in_several_blocks_is_put_together() -> None:
    helper = "```python\ndef plus(a, b):\n    return a + b\n```"
    text = f"{helper}\nand\n```python\ndef add(a, b):\n    return plus(a, b)\n```"
    assert GRADER.grade(QUERY, make_response(text)).outcome == RIGHT


def test_imports_and_helpers_of_other_blocks_are_part_of_the_program() -> None:
    text = (
        "```python\nimport operator\nprint(operator)\n```\n"
        "```python\ndef add(a, b):\n    return plus(a, b)\n```\n"
        "```python\ndef plus(a, b):\n    return operator.add(a, b)\n```"
    )
    assert GRADER.grade(QUERY, make_response(text)).outcome == RIGHT


def test_tests_that_need_two_blocks_get_both() -> None:
    query = make_query("code", "assert add(1, 2) == 3\nassert sub(2, 1) == 1")
    text = f"```python\n{PROGRAM}\n```\n```python\ndef sub(a, b):\n    return a - b\n```"
    assert GRADER.grade(query, make_response(text)).outcome == RIGHT


def test_an_earlier_version_is_no_part_of_the_program() -> None:
    text = f"```python\ndef add(a, b):\n    return a - b\n```\nBetter:\n```python\n{PROGRAM}\n```"
    assert GRADER.read(QUERY, make_response(text)) == PROGRAM
