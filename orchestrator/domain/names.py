"""Model names: what a request's `model` may be, and the composition that each one names."""

import re
import unicodedata
from collections.abc import Collection

from orchestrator.errors import UnknownNameError

AUTO = "auto"

OPEN = "open"
"""The stock composition for open questions; those of compositions that vote are answered as it does."""

EMBED = "embed"
"""Model name of the embedder; no composition, and no expert's name is taken from it."""

EXPERT_PREFIX = "expert:"
"""`expert:<id>` is the composition that asks one expert and returns its words; on the books only."""

ROUTE_PREFIX = "route:"
"""`route:<composition>` ends with the decision of that composition; on the books only."""

SHADOW_PREFIX = "shadow-"
"""Before the id of a job that answers once more, for comparison, what the job of that id answered."""

PUBLIC_PREFIX = "muster/"
"""May stand before the name of a composition in a request."""


_BLANK = re.compile(r"\s")
_UNSEEN = ("Cc", "Cf", "Cs")
"""Unicode's categories of what is not seen and changes what is: controls, marks of direction, surrogates."""


def name_fault(name: str) -> str | None:
    """The reason why nothing may have a name: no command line, page or address can say it. None = it may."""
    if _BLANK.search(name):
        return f"the name '{name}' holds blanks, which a command line would take apart."
    unseen = next((letter for letter in name if unicodedata.category(letter) in _UNSEEN), None)
    if unseen is not None:
        return f"the name {name!a} holds a character that nobody sees (U+{ord(unseen):04X})."
    if name.startswith("-"):
        return f"the name '{name}' begins like an option of a command line."
    if any(part in ("", ".", "..") for part in name.split("/")):
        return f"the name '{name}' has an empty part, or one of dots, between slashes: no address has those."
    return None


def composition_of(
    model: str, *, compositions: Collection[str], experts: Collection[str], fusions: Collection[str] = ()
) -> str:
    """The composition that a request's `model` names: `auto`, `muster/<composition>`, that composition
    without the prefix, or an expert's id; of a fusion also `muster/<id>`, for it composes experts, too.

    Args:
        fusions: those of the experts whose members' logits are fused.

    Raises:
        UnknownNameError: listing what there is.
    """
    name = model.removeprefix(PUBLIC_PREFIX)
    if name in compositions:
        return name
    if model in experts:
        return EXPERT_PREFIX + model
    if name in fusions:
        return EXPERT_PREFIX + name
    raise UnknownNameError("model", model, model_names(compositions, experts), param="model")


def model_name(composition: str) -> str:
    """The name under which the REST API offers a composition: the inverse of `composition_of`."""
    if composition == AUTO:
        return composition
    expert = composition.removeprefix(EXPERT_PREFIX)
    return expert if expert != composition else PUBLIC_PREFIX + composition


def short_name(composition: str) -> str:
    """The shortest name that a request may give a composition: its own, or the id of its one expert."""
    return composition.removeprefix(EXPERT_PREFIX)


def model_names(compositions: Collection[str], experts: Collection[str]) -> tuple[str, ...]:
    """Every name of `/v1/models`: `auto`, the other compositions, the experts."""
    others = (model_name(name) for name in compositions if name != AUTO)
    return (AUTO, *others, *experts)
