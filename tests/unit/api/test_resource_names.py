"""A resource has the same name in each folder of the API."""

from pathlib import Path

import api

ROOT = Path(api.__path__[0])
SHARED = {"base", "decisions", "events", "pages"}
"""What several resources are made of."""
WITHOUT_SCHEMAS = {"metrics"}
"""Resources in another form than JSON."""


def names(folder: str) -> set[str]:
    return {path.stem for path in (ROOT / folder).glob("*.py")} - SHARED - {"__init__"}


def test_schemas_are_called_as_their_routes_or_begin_so() -> None:
    assert {name.partition("_")[0] for name in names("schemas")} == names("routes") - WITHOUT_SCHEMAS


def test_views_are_called_as_their_routes_or_begin_so() -> None:
    views = names("views")
    assert names("routes") <= views
    assert {name.partition("_")[0] for name in views} == names("routes")
