"""Methods that run natively, as far as a preflight must know them: `aggregators.weights` says the same with
functions beside it, and needs torch (a test compares the two)."""

from typing import NamedTuple


class Method(NamedTuple):
    """A merge method without its function.

    Attributes:
        parameters: names as YAML has them.
        most: models beside the base, at most; None = any number.
        stores: it makes a store of several experts, not one model (docs/merging.md).
    """

    parameters: frozenset[str]
    needs_base: bool = True
    most: int | None = None
    stores: bool = False


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TIES = _names("weight density normalize lambda rescale")
_DARE = _names("weight density normalize lambda rescale seed")
_BREADCRUMBS = _names("weight density gamma normalize lambda rescale")
METHODS: dict[str, Method] = {
    "linear": Method(_names("weight normalize"), needs_base=False),
    "slerp": Method(_names("t"), most=1),
    "task_arithmetic": Method(_names("weight normalize lambda")),
    "ties": Method(_TIES),
    "dare_linear": Method(_DARE),
    "dare_ties": Method(_DARE),
    "breadcrumbs": Method(_BREADCRUMBS),
    "breadcrumbs_ties": Method(_BREADCRUMBS),
    "pcb": Method(_names("variant r lambda")),
    "tsvm": Method(_names("lambda")),
    "r_tsvm": Method(_names("lambda")),
    "twin": Method(_names("gamma r weight"), stores=True),
    "reversible": Method(_names("p granularity expert"), needs_base=False, stores=True),
    "compeft": Method(_names("density scale alpha smaller"), most=1, stores=True),
}
IDLE = frozenset({"int8_mask"})
"""Parameters of mergekit that change how it computes, not what."""
NATIVE = frozenset(METHODS)
PARAMETERS = frozenset(name for method in METHODS.values() for name in method.parameters)
