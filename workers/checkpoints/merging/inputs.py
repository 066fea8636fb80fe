"""Inputs of a merge: folders found, headers read, tensors under the same names."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from orchestrator.domain.merges import MergeProblem
from orchestrator.errors import InputError
from workers.checkpoints.merging.adapters import AdapterHead, read_adapter_head
from workers.checkpoints.merging.headers import BUFFERS, Checkpoint, Head, Tell, is_adapter, read_checkpoint
from workers.checkpoints.merging.recipe import ModelRef, Recipe

HEADS = ("lm_head.weight", "embed_out.weight")
EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")
PREFIXES = ("model.", "transformer.")
"""Fronts of names that some checkpoints of a kind of model have, and others leave out."""

WeightsOf = Callable[[str], Checkpoint | None]


class Input(NamedTuple):
    """One input: weights, and an adapter over them if there is one."""

    ref: ModelRef
    weights: Checkpoint
    adapter: AdapterHead | None = None

    @property
    def name(self) -> str:
        """The reference as the recipe writes it: `model`, or `model+adapter`."""
        return str(self.ref)


class Inputs(NamedTuple):
    """Everything that a recipe names, found.

    Attributes:
        models: by the recipe's reference; an input that is broken is missing.
        base: the base; without one, the first input, by which the others are judged.
    """

    models: Mapping[ModelRef, Input]
    base: Input | None


class Places(NamedTuple):
    """Folders in which a recipe's paths are looked for, in turn.

    Attributes:
        closed: nothing outside of them may be named: for recipes that came over the network.
    """

    folders: tuple[Path, ...]
    closed: bool = False

    def find(self, name: str) -> Path:
        """The path in the first folder that has it; where none has, in the first of all.

        Raises:
            InputError: a path that leads out of closed places.
        """
        path = Path(name) if self.closed else Path(name).expanduser()
        found = [folder / path for folder in self.folders]
        place = next((one for one in found if one.exists()), found[0]).absolute()
        if self.closed:
            target = place.resolve()
            if not any(target.is_relative_to(folder.resolve()) for folder in self.folders):
                raise InputError(
                    f"'{name}' is not below the folders that merges over REST may read.",
                    param="recipe",
                    remedy="Name a model below them: muster.merges.read.",
                )
        return place


def read_inputs(recipe: Recipe, places: Places, tell: Tell) -> Inputs:
    """Find and read everything that a recipe names.

    Args:
        places: where its paths are looked for.
        tell: hears of what is wrong.
    """
    known: dict[str, Checkpoint | None] = {}

    def weights(name: str) -> Checkpoint | None:
        if name not in known:
            known[name] = read_checkpoint(places.find(name), name, tell)
        return known[name]

    base_ref: ModelRef | None = recipe.base_model
    found: dict[ModelRef, Input] = {}
    refs = [*([base_ref] if base_ref is not None else []), *recipe.inputs]
    refs += [slice_.base_model for slice_ in recipe.slices or () if slice_.base_model is not None]
    for ref in dict.fromkeys(refs):
        one = _read(ref, base_ref, places, weights, tell)
        if one is not None:
            found[ref] = one
    judge = base_ref if base_ref is not None else next(iter(recipe.inputs), None)
    base = found.get(judge) if judge is not None else None
    if base is None:
        return Inputs(found, None)
    return Inputs({ref: _aligned(one, base) for ref, one in found.items()}, base)


def _read(
    ref: ModelRef,
    base: ModelRef | None,
    places: Places,
    weights: WeightsOf,
    tell: Tell,
) -> Input | None:
    place = places.find(ref.model)
    if ref.adapter is None and is_adapter(place):
        if base is None or base == ref:
            want = "base_model: the weights that it was trained over"
            tell(MergeProblem(kind="adapter", model=str(ref), have="an adapter without a base", want=want))
            return None
        adapter, under = read_adapter_head(place, str(ref), tell), weights(base.model)
    elif ref.adapter is not None:
        adapter, under = read_adapter_head(places.find(ref.adapter), str(ref), tell), weights(ref.model)
    else:
        plain = weights(ref.model)
        return None if plain is None else Input(ref, plain)
    if adapter is None or under is None:
        return None
    one = Input(ref, under, adapter)
    return one if _fits(one, tell) else None


def _fits(one: Input, tell: Tell) -> bool:
    """True if the adapter's products have the shapes of the weights that they are added to."""
    assert one.adapter is not None, "asked of inputs with an adapter"
    fits = True
    for name, (down, up) in one.adapter.factors.items():
        head = one.weights.tensors.get(name)
        if head is None:
            want = "a weight of the base"
            tell(MergeProblem(kind="extra_tensor", model=one.name, tensor=name, have="an update", want=want))
            fits = False
        elif (up.shape[0], down.shape[1]) != head.shape:
            have, want_shape = [up.shape[0], down.shape[1]], list(head.shape)
            tell(MergeProblem(kind="shape", model=one.name, tensor=name, have=have, want=want_shape))
            fits = False
    return fits


def _aligned(one: Input, base: Input) -> Input:
    """The input with its tensors under the base's names, where only a front differs; buffers that models
    compute by themselves are left out unless the base has them."""
    theirs, wanted = one.weights.tensors, base.weights.tensors
    if not theirs.keys() & wanted.keys() and theirs and wanted:
        for front in PREFIXES:
            renamed = {f"{front}{name}": head for name, head in theirs.items()}
            cut = {name.removeprefix(front): head for name, head in theirs.items()}
            theirs = next((names for names in (renamed, cut) if names.keys() & wanted.keys()), theirs)
    kept = {name: head for name, head in theirs.items() if name in wanted or not name.endswith(BUFFERS)}
    return one._replace(weights=one.weights._replace(tensors=kept))


def head_of(checkpoint: Checkpoint) -> tuple[str, Head] | None:
    """The output head that is stored, and its name; None = there is none: it is tied to the embedding."""
    return next(((n, h) for n, h in checkpoint.tensors.items() if n.endswith(HEADS)), None)


def embedding_of(checkpoint: Checkpoint) -> tuple[str, Head] | None:
    """The input embedding, and its name; None = there is none by a name that is known."""
    return next(((n, h) for n, h in checkpoint.tensors.items() if n.endswith(EMBEDDINGS)), None)


def is_tied(checkpoint: Checkpoint) -> bool:
    """True if the output head is the embedding: as the configuration says; where it says nothing, tied if no
    head is stored."""
    texts = checkpoint.config.get("text_config")
    sections = [*([texts] if isinstance(texts, dict) else []), checkpoint.config]
    said = next((s["tie_word_embeddings"] for s in sections if "tie_word_embeddings" in s), None)
    return said if isinstance(said, bool) else head_of(checkpoint) is None
