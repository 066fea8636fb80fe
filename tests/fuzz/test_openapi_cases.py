"""No request drawn from the OpenAPI document ends in a server's error, or in what that does not say."""

from collections import Counter
from pathlib import Path

import pytest

from tests.fuzz.cases import cases_each, operations, send, served

N_CASES = 2_000


@pytest.mark.timeout(900)
def test_whatever_is_asked_the_answer_is_in_the_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    totals: Counter[int] = Counter()
    with served(tmp_path) as (web, known):
        chosen = operations(web)
        each = cases_each(N_CASES, chosen)
        for operation in chosen:
            totals += send(operation, n_cases=each, known=known, seed=None)
    assert totals.total() >= N_CASES
    assert totals[200] > N_CASES / 10, totals
