"""The table of odd models."""

from collections.abc import Mapping

from tests.odd.adapters import ADAPTERS
from tests.odd.files import FILES, LOST_AT_LOAD
from tests.odd.making import Odd
from tests.odd.templates import TEMPLATES
from tests.odd.tokenizers import TOKENIZERS

CHECKED: Mapping[str, Odd] = {**TEMPLATES, **FILES, **TOKENIZERS, **ADAPTERS}
"""What a deep check tells of."""
ODD: Mapping[str, Odd] = {**CHECKED, **LOST_AT_LOAD}
ANSWERING = [name for name, odd in ODD.items() if odd.outcome == "answers"]
DOWN = [name for name, odd in ODD.items() if odd.outcome == "down"]
