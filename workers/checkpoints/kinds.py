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
_TOKENIZERS = ("models/auto/tokenization_auto.py", "TOKENIZER_MAPPING_NAMES")
_OWN_TOKENIZERS = (_TOKENIZERS[0], "MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS: set[str]")
_BASES = frozenset({"PreTrainedTokenizer", "TokenizersBackend", "PythonBackend", "SentencePieceBackend"})
_CLASS = re.compile(r"^class (\w{1,100})\(", re.MULTILINE)
_NAMED = re.compile(r"""["'](\w{1,100}Tokenizer)["']""")
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


def has_tokenizer(kind: str, name: str | None) -> bool:
    """True unless transformers is sure to have no tokenizer for a kind of model, and none of that class.

    Args:
        name: class of the tokenizer as its configuration names it; None = it names none.
    """
    kinds = _names(*_TOKENIZERS)
    if not kinds or kind in kinds | _names(*_OWN_TOKENIZERS):
        return True
    return name is not None and bool({name.removesuffix("Fast"), name} & _tokenizer_classes())


def is_known_quantisation(method: str) -> bool:
    """True unless transformers is sure to pass over such a `quant_method`."""
    names = _names(*_QUANTISERS)
    return not names or method in names or any(name.startswith(f"{method}_") for name in names)


def _home() -> Path | None:
    spec = find_spec("transformers")
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


@lru_cache(maxsize=8)
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


@lru_cache(maxsize=1)
def _tokenizer_classes() -> frozenset[str]:
    """Classes of the modules of tokenizers, and those that their table names."""
    home = _home()
    files = [] if home is None else [*home.glob("models/*/tokenization_*.py")]
    try:
        texts = [file.read_text(encoding="utf-8") for file in files]
    except (OSError, ValueError):
        return _BASES
    return _BASES.union(*map(_CLASS.findall, texts), *map(_NAMED.findall, texts))
