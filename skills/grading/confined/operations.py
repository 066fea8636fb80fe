"""Operations on objects that one side may ask of the other, by name."""

import operator
from collections.abc import Callable, Mapping

Operation = Callable[..., object]

COMPARISONS: Mapping[str, Operation] = {
    name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")
}
ARITHMETIC: Mapping[str, Operation] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "matmul": operator.matmul,
    "truediv": operator.truediv, "floordiv": operator.floordiv, "mod": operator.mod, "divmod": divmod,
    "pow": operator.pow, "lshift": operator.lshift, "rshift": operator.rshift, "and": operator.and_,
    "xor": operator.xor, "or": operator.or_,
}  # fmt: skip
IN_PLACE: Mapping[str, Operation] = {
    f"i{name}": getattr(operator, f"i{name}") for name in ARITHMETIC if name != "divmod"
}
_UNARY: Mapping[str, Operation] = {
    "iter": iter, "next": next, "len": len, "bool": bool, "str": str, "repr": repr, "hash": hash, "int": int,
    "float": float, "complex": complex, "index": operator.index, "neg": operator.neg, "pos": operator.pos,
    "abs": abs, "invert": operator.invert, "reversed": reversed, "dir": dir, "bytes": bytes,
}  # fmt: skip
_OTHERS: Mapping[str, Operation] = {
    "call": lambda target, *a, **k: target(*a, **k),
    "getattr": getattr, "setattr": setattr, "delattr": delattr, "getitem": operator.getitem,
    "setitem": operator.setitem, "delitem": operator.delitem, "format": format, "round": round,
    "enter": lambda target: type(target).__enter__(target),
    "exit": lambda target, *error: type(target).__exit__(target, *error),
    "is_instance": isinstance, "is_subclass": issubclass,
}  # fmt: skip


def has_data(value: object) -> bool:
    """True for instances of classes of their own that are numbers, text or containers underneath."""
    return isinstance(value, tuple(base for base, _ in _DATA_FORMS))


def _data_form(value: object) -> object:
    for base, form in _DATA_FORMS:
        if isinstance(value, base):
            return form(value)
    raise TypeError("no data form")


_DATA_FORMS: tuple[tuple[type, Callable[..., object]], ...] = (
    (int, int.__pos__), (float, float.__pos__), (complex, complex.__pos__), (str, str.__str__),
    (bytes, lambda v: bytes.__getitem__(v, slice(None))), (tuple, lambda v: tuple(tuple.__iter__(v))),
    (list, lambda v: list(list.__iter__(v))), (set, lambda v: set(set.__iter__(v))),
    (frozenset, lambda v: frozenset(frozenset.__iter__(v))), (dict, lambda v: dict(dict.items(v))),
)  # fmt: skip

OPERATIONS: Mapping[str, Operation] = {
    **COMPARISONS, **ARITHMETIC, **IN_PLACE, **_UNARY, **_OTHERS, "data": _data_form,
}  # fmt: skip
