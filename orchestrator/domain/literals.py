"""Literals of Python and JSON: a value's canonical text, so that equal values of one type are equal texts."""

import ast
import math
import warnings

MAX_LITERAL_CHARS = 20_000

_NAMED: dict[str, object] = {
    "true": True,
    "false": False,
    "null": None,
    "nan": math.nan,
    "NaN": math.nan,
    "inf": math.inf,
    "Infinity": math.inf,
}
"""Names that stand for values in JSON, or in what Python prints."""

_NUMBERS = (int, float, complex)


def literal(source: str) -> str | None:
    """Canonical text of the literal that a source is; None where it is none.

    ` [1,2] ` -> `[1, 2]`, `{"b": true, "a": null}` -> `{'a': None, 'b': True}`. The type counts: `1`, `1.0`
    and `True` are three values, and so are `[1]`, `(1,)` and `{1}`; the order of a set or a dictionary does
    not. `-0.0` is `0.0`, as for Python's `==`; `nan` is itself. Names, calls but `set()`, `frozenset(...)`
    and `float('nan')`, formatted strings and `...` are no literals.
    """
    if len(source) > MAX_LITERAL_CHARS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source.strip(), mode="eval")
        return canonical(_value(tree.body))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, OverflowError):
        return None


def canonical(value: object) -> str:
    """Canonical text of a value that `literal` may have.

    Raises:
        ValueError: another kind of value, or an integer with too many digits to write.
    """
    if isinstance(value, str | bytes) or value is None or isinstance(value, bool | int):
        return repr(value)
    if isinstance(value, float | complex):
        return repr(value + 0)  # -0.0 + 0 is 0.0
    if isinstance(value, list):
        return f"[{_joined(value)}]"
    if isinstance(value, tuple):
        return f"({_joined(value)},)" if len(value) == 1 else f"({_joined(value)})"
    if isinstance(value, dict):
        items = sorted(f"{canonical(key)}: {canonical(item)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, set | frozenset):
        inside = ", ".join(sorted(canonical(item) for item in value))
        plain = f"{{{inside}}}" if inside else "set()"
        return plain if isinstance(value, set) else f"frozenset({plain if inside else ''})"
    raise ValueError(f"no literal: {type(value).__name__}")


def _joined(values: list[object] | tuple[object, ...]) -> str:
    return ", ".join(canonical(value) for value in values)


def _value(node: ast.expr) -> object:
    """
    Raises:
        ValueError: the node is no literal.
    """
    match node:
        case ast.Constant(value=str() as text):
            return _joined_surrogates(text)
        case ast.Constant(value=value) if value is not ...:
            return value
        case ast.Name(id=name) if name in _NAMED:
            return _NAMED[name]
        case ast.List(elts=items):
            return [_value(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_value(item) for item in items)
        case ast.Set(elts=items):
            return {_value(item) for item in items}
        case ast.Dict(keys=keys, values=values):
            return {_key(key): _value(item) for key, item in zip(keys, values, strict=True)}
        case ast.UnaryOp(op=ast.UAdd() | ast.USub() as sign, operand=operand):
            number = _number(_value(operand))
            return -number if isinstance(sign, ast.USub) else number
        case ast.BinOp(
            left=left, op=ast.Add() | ast.Sub() as sign, right=ast.Constant(value=complex() as part)
        ):
            real = _number(_value(left))
            if isinstance(real, complex):
                raise ValueError("a sum is no literal")
            return real - part if isinstance(sign, ast.Sub) else real + part
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            return _called(name, args)
    raise ValueError("no literal")


def _key(node: ast.expr | None) -> object:
    if node is None:
        raise ValueError("an unpacked dictionary is no literal")
    return _value(node)


def _number(value: object) -> int | float | complex:
    if isinstance(value, bool) or not isinstance(value, _NUMBERS):
        raise ValueError("a sign before what is no number")
    return value


def _called(name: str, args: list[ast.expr]) -> object:
    """The few calls that Python writes where a value has no literal of its own."""
    given = [_value(arg) for arg in args]
    match name, given:
        case ("set", []):
            return set()
        case ("frozenset", []):
            return frozenset()
        case (("set" | "frozenset"), [list() | tuple() | set() as items]):
            return set(items) if name == "set" else frozenset(items)
        case ("float", [str() as text]) if text.strip().lstrip("+-").lower() in ("nan", "inf", "infinity"):
            return float(text)
    raise ValueError("a call is no literal")


def _joined_surrogates(text: str) -> str:
    """A string of JSON may write one character as two halves: `"\\ud83d\\ude00"`."""
    if not any("\ud800" <= ch <= "\udbff" for ch in text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
