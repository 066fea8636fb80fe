"""Bad inputs 58 to 71: configurations. Others are refused by who reads them: `ELSEWHERE`."""

from pathlib import Path
from typing import NamedTuple

import pytest

from orchestrator.bootstrap.pool_file import check_pool_file
from orchestrator.errors import ConfigError

MEMBER = "  - model_name: one\n    litellm_params: {model: scripted/one}\n"
ENGINE = "    model_info: {muster: {engine: scripted}}\n"
POOL = f"model_list:\n{MEMBER}{ENGINE}"


class Mistake(NamedTuple):
    """A file and what is said of it."""

    number: int
    what: str
    text: str
    says: str


def member(old: str, new: str) -> str:
    assert old in POOL
    return POOL.replace(old, new)


MISTAKES = [
    Mistake(58, "misspelt key", member("one}", "one, max_token: 3}"), ":3: "),
    Mistake(58, "misspelt section", POOL + "muster: {servr: {}}\n", "Did you mean 'server'?"),
    Mistake(59, "python object", POOL + "muster: !!python/object:os.system {}\n", ":5: "),
    Mistake(59, "alias bomb", "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nmodel_list: [*c, *c]\n", ":"),
    Mistake(60, "missing secret", member("one}", "one, api_key: os.environ/NOBODY_HAS}"), "NOBODY_HAS"),
    Mistake(61, "name twice", POOL + MEMBER + ENGINE, "'one'"),
    Mistake(63, "context of 0", member("scripted}", "scripted, max_model_len: 0}"), "max_model_len"),
    Mistake(63, "negative rate", member("one}", "one, rpm: -1}"), "rpm"),
    Mistake(
        63,
        "memory that is no number",
        member("scripted}", "scripted, gpu_memory_gib: lots}"),
        "gpu_memory_gib",
    ),
    Mistake(
        64,
        "nobody who synthesizes",
        POOL + "muster: {compositions: {mine: {router: best_single, aggregator: synthesize}}}\n",
        "no member has the role 'aggregator'",
    ),
    Mistake(65, "empty pool", "model_list: []\n", "model_list"),
    Mistake(65, "no pool", "muster: {}\n", "pool is empty"),
    Mistake(67, "secret in a readable file", member("one}", "one, api_key: sk-planted-1}"), "chmod 600"),
    Mistake(
        68,
        "credentials in an address",
        member("one}", "one, api_base: 'http://user:pw-planted-2@host/v1'}").replace("scripted}", "server}"),
        "api_base",
    ),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: f"{m.number}-{m.what}")
def test_a_bad_configuration_is_refused_with_its_place(tmp_path: Path, mistake: Mistake) -> None:
    file = tmp_path / "pool.yaml"
    file.write_text(mistake.text)
    file.chmod(0o644)
    with pytest.raises(ConfigError) as refused:
        check_pool_file(file)
    assert mistake.says in str(refused.value)
    assert "planted" not in str(refused.value)
