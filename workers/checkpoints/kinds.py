"""Kinds of models, and ways to quantise them, that the installed transformers has.

They are read from its source, since importing that takes torch and seconds.
"""

import re
from functools import lru_cache
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

_KIND = re.compile(r"[\w.-]{1,64}")
_ROW = re.compile(r"""\s{1,40}\(?["']([\w.-]{1,64})["'][:,]""")
"""A row of `{key: value}`, or of `OrderedDict([(key, value), ...])`."""
_CLOSING = (")", "}", "]")
_CAUSAL = ("models/auto/modeling_auto.py", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES")
_QUANTISERS = ("quantizers/auto.py", "AUTO_QUANTIZER_MAPPING")


def is_known_kind(kind: str) -> bool:
    """True unless transformers is sure to have no such kind of model."""
    if not _KIND.fullmatch(kind):
        return False
    home = _home()
    if home is None or (home / "models" / kind).is_dir():
        return True
    try:
        from transformers.models.auto.auto_mappings import CONFIG_MAPPING_NAMES
    except ImportError:  # of an older release, whose table needs torch
        return True
    return kind in CONFIG_MAPPING_NAMES or kind.replace("-", "_") in CONFIG_MAPPING_NAMES


def writes_texts(kind: str) -> bool:
    """True unless transformers is sure to have no causal language model of a kind."""
    names = _names(*_CAUSAL)
    return not names or kind in names or kind.replace("-", "_") in names


def is_known_quantisation(method: str) -> bool:
    """True unless transformers is sure to pass over such a `quant_method`."""
    names = _names(*_QUANTISERS)
    return not names or method in names or any(name.startswith(f"{method}_") for name in names)


def _home() -> Path | None:
    spec = find_spec("transformers")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


@lru_cache(maxsize=4)
def _names(module: str, table: str) -> frozenset[str]:
    """Names of a table; none where it is not found, as in a release that keeps it elsewhere."""
    home = _home()
    if home is None:
        return frozenset()
    try:
        text = (home / module).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return frozenset()
    rows = text.partition(f"\n{table} = ")[2].splitlines()
    inside = takewhile(lambda row: not row.startswith(_CLOSING), rows[1:])
    return frozenset(match[1] for row in inside if (match := _ROW.match(row)) is not None)
