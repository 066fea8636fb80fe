"""References to variables of the environment in forms that nobody fills in here.

LiteLLM's form is `os.environ/NAME`, for a whole value. Shells, compose files and other programs have others;
taken as they are, they would be a key that is refused, or an address that leads nowhere, at the first
question.
"""

import re
from collections.abc import Mapping

from orchestrator.settings.environment import REFERENCE

NAMED = re.compile(r"[A-Za-z_]\w*")
"""Names of variables."""
_WHOLE = re.compile(
    r"""\$\{(?P<braced>[A-Za-z_]\w{0,80})[^}]{0,200}\}
    | \$(?P<plain>[A-Z_][A-Z0-9_]{1,80})
    | \$?\{\{\s{0,9}(?:(?:env|secrets)\.)?(?P<templated>[A-Za-z_]\w{0,80})\s{0,9}\}\}
    | %(?P<percent>[A-Za-z_]\w{0,80})%
    | (?:env|os\.environ|os\.getenv|process\.env|getenv)
      (?:[\[(:./]|\.get\()["']?(?P<called>[A-Za-z_]\w{0,80})["']?[\])]?""",
    re.VERBOSE | re.IGNORECASE,
)
_PART = re.compile(r"\$\{(\w{1,80})|\$([A-Z_]{2,80})|\{\{?\s{0,9}(\w{1,80})\s{0,9}\}\}?")

WHOLE = frozenset(
    {"api_key", "rpm", "tpm", "timeout", "max_tokens", "temperature", "database_url", "broker_url"}
)
"""Keys whose value may be a reference, and is no path."""
IN_PARTS = frozenset({"api_base", "endpoint"})
"""Keys of addresses: in these a reference may be a part of the value, too."""


def unfilled(key: str, value: object) -> str | None:
    """Name of the variable that a value refers to in a form that is not filled in; None = it is a value.

    Args:
        key: that it stands under, of one of LiteLLM's sections or of ours.
    """
    if not isinstance(value, str) or value.startswith(REFERENCE):
        return None
    if key in IN_PARTS and (part := _PART.search(value)) is not None:
        return _name(part.groups())
    whole = _WHOLE.fullmatch(value.strip()) if key in WHOLE | IN_PARTS else None
    if whole is None or (whole["plain"] is not None and not whole["plain"].isupper()):
        return None
    return _name(whole.groups())


def _name(found: tuple[str | None, ...]) -> str:
    return next(name for name in found if name is not None)


def why_unset(reference: str, environment: Mapping[str, str]) -> str:
    """The reason for which what follows the `$` of a path was not filled in.

    Args:
        reference: `NAME`, or what stands between the braces of `${...}`.
    """
    name = NAMED.match(reference)
    if name is None:
        return f"'${{{reference}}}' names no variable; write $NAME"
    if name[0] != reference:
        has = "is set" if environment.get(name[0]) else "is not set"
        return f"'${{{reference}}}' is more than a name ({name[0]} {has}); write ${name[0]}, and no default"
    return f"environment variable {reference} is not set; export it before starting"
