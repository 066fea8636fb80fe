"""Words for what validation finds: of a file, where pydantic speaks of Python's kinds of values."""

from collections.abc import Mapping

from pydantic_core import ErrorDetails

_DIGITS = "Write digits alone, without a unit, as in 4096."
_LIST = ("must be a list", "Write it as `[a, b]`.")
_KEYS = ("must hold keys with values of their own", "Write `key: value` below it.")
_KINDS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("tuple_type", "list_type", "set_type", "frozen_set_type"), _LIST),
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type", "mapping_type"), _KEYS),
    **dict.fromkeys(("int_parsing", "int_type"), ("must be a whole number", _DIGITS)),
    "int_from_float": ("must be a whole number", "Leave out what follows the point."),
    **dict.fromkeys(("float_parsing", "float_type"), ("must be a number", _DIGITS)),
    **dict.fromkeys(("bool_parsing", "bool_type"), ("must be true or false", "Write one of the two.")),
    "string_type": ("must be a text", "Write it in quotes."),
}
"""What is wrong, and the remedy, by pydantic's name of the kind of error."""


def words(details: ErrorDetails) -> tuple[str, str]:
    """Fault of a value, without its place and a full stop, and its remedy ("" = the first says it)."""
    kind = details["type"]
    if kind == "int_parsing_size":
        return "is larger than any number that counts something", ""
    message = details["msg"].removeprefix("Value error, ").rstrip(".")
    return _KINDS.get(kind, (message, ""))
