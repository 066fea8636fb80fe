"""The child of `math_process`: an expression of LaTeX a line in, as JSON; its key out, null = none.

A key is a text that expressions of the same value share, so "same" is an equivalence, whatever is compared.
An expression in letters is known by its values at a few fixed places; nothing that does not parse as a whole
has a key. Run by file path in an isolated interpreter; imports nothing of this project.
"""

import hashlib
import json
import logging
import resource
import sys
from typing import Any

MEMORY_BYTES = 4 << 30
WORKING = 70
DIGITS = 50
"""Significant digits by which values are told apart."""
PLACES = 3


class _NoKeyError(Exception):
    pass


def key(source: str) -> str:
    """The key of an expression.

    Raises:
        Exception: of whatever kind; it does not parse, or has no value.
    """
    from latex2sympy2_extended.latex2sympy2 import latex2sympy

    parsed = latex2sympy(source, is_real=True, convert_degrees=False, normalization_config=None)
    return _key(parsed)


def _key(value: Any) -> str:
    import sympy

    if isinstance(value, sympy.MatrixBase):
        return f"matrix{value.shape}[{';'.join(_key(entry) for entry in value)}]"
    if isinstance(value, sympy.Tuple | tuple | list):
        return f"tuple({';'.join(_key(part) for part in value)})"
    if isinstance(value, sympy.Interval):
        return _interval(value)
    name = type(value).__name__
    if name == "FiniteSet":
        return _set(list(value.args))
    if name in ("Union", "Intersection", "Complement", "ProductSet"):
        parts = [_key(part) for part in value.args]
        return f"{name}({';'.join(sorted(parts) if name in ('Union', 'Intersection') else parts)})"
    if isinstance(value, sympy.Set):
        return f"set {value}"
    if isinstance(value, sympy.Eq):
        return _equation(value)
    if isinstance(value, sympy.And | sympy.Or) or value.is_Relational:
        return _condition(value)
    if isinstance(value, sympy.Expr):
        return _values(value)
    raise _NoKeyError


def _interval(value: Any) -> str:
    opens, closes = "(" if value.left_open else "[", ")" if value.right_open else "]"
    return f"{opens}{_key(value.start)};{_key(value.end)}{closes}"


def _set(parts: list[Any]) -> str:
    """A list without order. Values given to one letter are the values; to several, they keep the letters."""
    import sympy

    letters = {part.lhs for part in parts if isinstance(part, sympy.Eq)}
    is_solution = len(letters) == 1 and all(isinstance(part, sympy.Eq) for part in parts)
    if letters and not is_solution:
        keys = {
            f"{part.lhs}={_key(part.rhs)}" if isinstance(part, sympy.Eq) else _key(part) for part in parts
        }
    else:
        keys = {_key(part) for part in parts}
    return f"{{{';'.join(sorted(keys))}}}"


def _equation(value: Any) -> str:
    """`x = 5` is 5; `2x + 3y = 5` is known by where it holds, whatever it is multiplied with."""
    import sympy
    from sympy.core.function import AppliedUndef

    left, right = value.lhs, value.rhs
    if isinstance(left, sympy.Symbol | AppliedUndef) and left not in getattr(right, "free_symbols", ()):
        return _key(right)
    if not isinstance(left, sympy.Expr) or not isinstance(right, sympy.Expr):
        raise _NoKeyError
    one, other = _values(left), _values(right)
    if one == other or not (left.free_symbols or right.free_symbols):
        return other  # a computation is what it comes to
    return f"equation {_direction(left - right, signed=False)}"


def _condition(value: Any) -> str:
    """Conditions on one letter are the set where they hold."""
    if len(value.free_symbols) == 1:
        try:
            return _key(value.as_set())
        except NotImplementedError:
            pass
    if not value.is_Relational or not value.free_symbols:
        raise _NoKeyError
    name = type(value).__name__
    if name == "Unequality":
        return f"unequal {_direction(value.lhs - value.rhs, signed=False)}"
    strict = name.startswith("Strict")
    less = value.lhs - value.rhs if "Less" in name else value.rhs - value.lhs
    return f"below{'' if strict else ' or equal'} {_direction(less, signed=True)}"


def _direction(value: Any, *, signed: bool) -> str:
    """An expression up to a factor, positive if `signed`."""
    numbers = [_number(value, place) for place in range(PLACES)]
    scale = numbers[0]
    if abs(scale) < 1e-9:
        raise _NoKeyError
    return ";".join(_text(number / (abs(scale) if signed else scale)) for number in numbers)


def _values(value: Any) -> str:
    """A closed expression's value, or the values at the fixed places of one in letters."""
    import sympy

    if value in (sympy.oo, -sympy.oo, sympy.zoo):
        return f"{value}"
    if value is sympy.nan:
        raise _NoKeyError
    n_places = PLACES if value.free_symbols or value.atoms(sympy.Function) else 1
    texts = [_text(_number(value, place)) for place in range(n_places)]
    return texts[0] if len(set(texts)) == 1 else ";".join(texts)


def _number(value: Any, place: int) -> Any:
    import sympy
    from sympy.core.function import AppliedUndef

    if value.atoms(sympy.Derivative):
        raise _NoKeyError  # of a letter that depends on another it would be 0
    if value.atoms(sympy.Integral, sympy.Sum, sympy.Product, sympy.Limit):
        value = value.doit()
    applied = {
        call: sympy.Symbol(f"{call.func}{[_key(part) for part in call.args]}")
        for call in value.atoms(AppliedUndef)
    }
    value = value.xreplace(applied).xreplace(
        {part: sympy.Rational(repr(float(part))) for part in value.atoms(sympy.Float)}
    )
    letters = {
        letter: sympy.I if letter.name == "i" else _place(letter.name, place) for letter in value.free_symbols
    }
    number = value.xreplace(letters).evalf(WORKING)
    real, _ = number.as_real_imag()
    if not real.is_Float and not real.is_Integer and not real.is_Rational:
        raise _NoKeyError
    return number


def _place(name: str, place: int) -> Any:
    """A fixed rational in (-2.5, -0.5) or (0.5, 2.5) for a letter; the signs differ from place to place."""
    import sympy

    digest = hashlib.sha256(f"{name}/{place}".encode()).digest()
    size = sympy.Rational(500_000 + int.from_bytes(digest[:4], "big") % 2_000_000, 1_000_000)
    return size if (digest[4] + place) % 2 or place == 0 else -size


def _text(number: Any) -> str:
    from sympy import Float

    parts = []
    for part in number.as_real_imag():
        size = Float(part, WORKING)
        text = str(Float(size, DIGITS))
        text = text if "e" in text else text.rstrip("0").rstrip(".")
        parts.append("0" if abs(size) < Float(10) ** -40 else text)
    return parts[0] if parts[1] == "0" else f"{parts[0]} and {parts[1]}i"


def main() -> None:
    """Read expressions, one as JSON a line, and write their keys so, or null; begins with a line `ready`."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    logging.disable(logging.CRITICAL)
    key("x+1")  # imports and caches: their seconds belong to the start, not to an expression
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        try:
            found = key(json.loads(line))
        except Exception:  # whatever an expression breaks, the next one must still be read
            found = None
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
