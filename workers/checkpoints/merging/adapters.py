"""Adapters as inputs of a merge: where their factors lie, and their scale. Headers only.

Methods act on products s·B·A, never on A and B apart (docs/methods.md, section 5).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from orchestrator.domain.merges import MergeProblem
from orchestrator.domain.origins import PICKLED
from orchestrator.runtime.files import read_json
from workers.checkpoints.formats import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from workers.checkpoints.merging.headers import FLOATS, Head, is_inside, read_header
from workers.checkpoints.peft import PeftConfig

FRONT = "base_model.model."
ENDS = {f".lora_{side}{adapter}.weight": side for side in "AB" for adapter in ("", ".default")}
"""Ends of the names of factors, by their side."""


class Factors(NamedTuple):
    """A [r, in] and B [out, r] of one matrix."""

    down: Head
    up: Head


class AdapterHead(NamedTuple):
    """An adapter's folder as far as its headers tell; `factors` by the weight that they add to."""

    name: str
    folder: Path
    scaling: float
    factors: Mapping[str, Factors]

    @property
    def rank(self) -> int:
        """The largest rank of its modules."""
        return max(factors.down.shape[0] for factors in self.factors.values())


def read_adapter_head(folder: Path, name: str, tell: Callable[[MergeProblem], None]) -> AdapterHead | None:
    """Read an adapter's configuration and header; None = it cannot be used, and `tell` was told why."""

    def refuse(kind: str, have: object, *, tensor: str | None = None, want: object = None) -> None:
        tell(MergeProblem(kind=kind, model=name, tensor=tensor, have=have, want=want))

    weights = folder / ADAPTER_WEIGHTS
    if not folder.is_dir() or not (folder / ADAPTER_CONFIG).is_file():
        refuse("adapter", "no such adapter", want=f"a folder with {ADAPTER_CONFIG} and {ADAPTER_WEIGHTS}")
        return None
    if not weights.is_file():
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED)
        if pickles:
            refuse("pickle", f"{pickles[0]}, which can run code", want=ADAPTER_WEIGHTS)
        else:
            refuse("adapter", f"no {ADAPTER_WEIGHTS}", want=ADAPTER_WEIGHTS)
        return None
    if not is_inside(folder / ADAPTER_CONFIG):
        refuse("symlink", f"{ADAPTER_CONFIG} leads out of the adapter's folder")
        return None
    try:
        config = PeftConfig.model_validate(read_json(folder / ADAPTER_CONFIG))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        refuse("adapter", f"{ADAPTER_CONFIG}: {'.'.join(map(str, first['loc']))}: {first['msg']}")
        return None
    except (OSError, ValueError) as error:
        refuse("json", f"{ADAPTER_CONFIG}: {' '.join(str(error).split())[:200]}", want="JSON")
        return None
    if config.unsupported or config.has_patterns:
        used = config.unsupported or ["ranks or factors of single modules"]
        refuse("adapter", f"uses {', '.join(used)}", want="plain LoRA")
        return None
    heads = read_header(weights, refuse)
    factors = None if heads is None else _factors(heads, refuse)
    return None if not factors else AdapterHead(name, folder, config.scaling, factors)


def _factors(heads: Mapping[str, Head], refuse: Callable[..., None]) -> dict[str, Factors] | None:
    sides: dict[str, dict[str, Head]] = {"A": {}, "B": {}}
    for key, head in heads.items():
        end = next((end for end in ENDS if key.startswith(FRONT) and key.endswith(end)), None)
        if end is None or head.dtype not in FLOATS or len(head.shape) != 2:
            refuse("adapter", "no factor of a plain LoRA", tensor=key, want="lora_A or lora_B, a matrix")
            return None
        sides[ENDS[end]][f"{key.removeprefix(FRONT).removesuffix(end)}.weight"] = head
    if not heads:
        refuse("no_tensors", f"{ADAPTER_WEIGHTS} without a tensor")
        return None
    lone = sorted(sides["A"].keys() ^ sides["B"].keys())
    if lone:
        refuse("missing_tensor", "one of lora_A and lora_B", tensor=lone[0], want="both")
        return None
    pairs = {name: Factors(sides["A"][name], sides["B"][name]) for name in sides["A"]}
    for name, (down, up) in pairs.items():
        if down.shape[0] != up.shape[1] or not down.shape[0]:
            refuse("shape", list(up.shape), tensor=name, want=["out", down.shape[0]])
            return None
    return pairs
