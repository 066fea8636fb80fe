"""Recipes: mergekit's YAML as people bring it, with a few names of our own beside it.

What a recipe asks for that this package does not do by itself (`Recipe.beyond`) is left to mergekit.
"""

import hashlib
import json
import math
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from orchestrator.errors import ConfigError, UnknownNameError
from orchestrator.options import Options
from orchestrator.settings.yaml_lines import Document, KeyPath, load_yaml

MERGEKITS_METHODS = frozenset(
    [
        *("arcee_fusion", "breadcrumbs", "breadcrumbs_ties", "dare_linear", "dare_ties", "della"),
        *("della_linear", "karcher", "linear", "model_stock", "multislerp", "nearswap", "nuslerp"),
        *("passthrough", "ram", "ramplus_tl", "sce", "slerp", "task_arithmetic", "ties"),
    ]
)
"""Methods of mergekit 0.1.5."""
MERGEKITS_PARAMETERS = frozenset(
    [
        *("weight", "density", "gamma", "epsilon", "lambda", "normalize", "rescale", "int8_mask", "t"),
        *("select_topk", "nuslerp_row_wise", "nuslerp_flatten", "filter_wise", "max_iter", "tol", "eps"),
        *("scale", "overlap_ratio", "alpha", "variance_threshold"),
    ]
)
DTYPES = ("float32", "float16", "bfloat16", "float64")
BUILTIN_TEMPLATES = frozenset({"alpaca", "chatml", "llama3", "mistral", "exaone"})
"""Chat templates that mergekit brings along."""
MAX_MODELS = 64
MAX_LAYERS = 10_000


class ModelRef(NamedTuple):
    """An input: weights, or an adapter over them. `BASE+ADAPTER` in a recipe.

    Attributes:
        model: folder of weights, or of an adapter (then the recipe's base is meant under it).
    """

    model: str
    adapter: str | None = None

    def __str__(self) -> str:
        return self.model if self.adapter is None else f"{self.model}+{self.adapter}"


def _reference(value: object) -> object:
    """mergekit's forms of an input: `model`, `model+adapter`, `{model: {path}, lora: {path}}`."""
    if isinstance(value, ModelRef):
        return value
    if isinstance(value, str):
        model, plus, adapter = value.partition("+")
        parts = [model.strip(), *([adapter.strip()] if plus else [])]
        if not all(parts) or "+" in adapter:
            raise ValueError("is no model; write FOLDER, or BASE+ADAPTER")
        if any("\0" in part for part in parts):
            raise ValueError("holds a zero byte")
        return ModelRef(*parts)
    if isinstance(value, dict):
        path, lora = _path_in(value.get("model")), _path_in(value.get("lora"))
        if set(value) - {"model", "lora", "override_architecture"} or path is None:
            raise ValueError(
                "is no model; write FOLDER, BASE+ADAPTER, or {model: {path: …}, lora: {path: …}}"
            )
        if value.get("override_architecture") is not None:
            raise ValueError("override_architecture is not known here; leave it out")
        return ModelRef(path, lora)
    raise ValueError("is no model; write FOLDER, or BASE+ADAPTER")


def _path_in(value: object) -> str | None:
    """`{path: …}`, or the path itself."""
    if isinstance(value, dict) and set(value) <= {"path", "revision"} and value.get("revision") is None:
        value = value.get("path")
    return value if isinstance(value, str) and value else None


def _setting(value: object) -> object:
    """Scalar, gradient over the layers, or conditions `{filter?, value}`."""
    if isinstance(value, dict):
        return [_condition(value)]
    if isinstance(value, list):
        if not value:
            raise ValueError("is an empty list")
        kinds = {isinstance(item, dict) for item in value}
        if kinds == {True}:
            return [_condition(item) for item in value]
        if kinds == {False} and len({isinstance(item, str) for item in value}) > 1:
            raise ValueError("mixes numbers with text")
        if kinds == {False}:
            return [_scalar(item) for item in value]
        raise ValueError("mixes numbers with conditions")
    return _scalar(value)


def _condition(value: dict[str, object]) -> dict[str, object]:
    if "value" not in value or set(value) - {"filter", "value"}:
        raise ValueError("a condition has the keys `filter` and `value`")
    pattern, inner = value.get("filter"), value["value"]
    if pattern is not None and not isinstance(pattern, str):
        raise ValueError("`filter` is a part of a tensor's name")
    if isinstance(inner, dict) or (isinstance(inner, list) and any(isinstance(i, dict) for i in inner)):
        raise ValueError("conditions do not nest")
    return {"filter": pattern, "value": _setting(inner)}


def _scalar(value: object) -> object:
    if isinstance(value, bool | int | float | str):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("is not finite")
        return value
    raise ValueError("is no number, text or list")


Reference = Annotated[Any, BeforeValidator(_reference), PlainSerializer(str)]
MaybeReference = Annotated[
    Any,
    BeforeValidator(lambda value: None if value is None else _reference(value)),
    PlainSerializer(lambda ref: None if ref is None else str(ref)),
]


def _tokenizer_source(value: object) -> object:
    """As it is written: `union` and `base` are said like models; a recipe's hash is over its own words."""
    if value is not None:
        _reference(value)
    return value


TokenizerSource = Annotated[Any, AfterValidator(_tokenizer_source)]
Setting = Annotated[Any, BeforeValidator(_setting)]
Parameters = dict[str, Setting]


def _layers(value: tuple[int, int]) -> tuple[int, int]:
    if not 0 <= value[0] < value[1] <= MAX_LAYERS:
        raise ValueError("is no range of layers; write [first, one after the last]")
    return value


class ModelEntry(Options):
    """One of `models`."""

    model: Reference
    parameters: Parameters = Field(default_factory=dict)


class SourceEntry(ModelEntry):
    """One of a slice's `sources`; `layer_range`: first layer, and the one after the last."""

    layer_range: Annotated[tuple[int, int], AfterValidator(_layers)]


class SliceEntry(Options):
    """Some layers of the result, each made of one layer of every source."""

    sources: list[SourceEntry] = Field(min_length=1, max_length=MAX_MODELS)
    base_model: MaybeReference = None
    residual_weight: float | None = None
    parameters: Parameters = Field(default_factory=dict)


class TokenizerEntry(Options):
    """mergekit's `tokenizer`."""

    source: TokenizerSource = "union"
    tokens: dict[str, Any] | None = None
    pad_to_multiple_of: int | None = None


class Recipe(Options):
    """A recipe. Keys are mergekit's, but for `name` (the expert's), `output`, `rank` and `seed`.

    Attributes:
        dtype, out_dtype: number format of the result, `out_dtype` first; None = the base's. Arithmetic is in
            float32 whatever they say, in which we differ from mergekit.
        tokenizer_source: `base`, or one of the inputs.
        output: `adapter` writes the difference to the base as LoRA of `rank`.
    """

    merge_method: str
    models: list[ModelEntry] | None = Field(default=None, min_length=1, max_length=MAX_MODELS)
    slices: list[SliceEntry] | None = Field(default=None, min_length=1, max_length=MAX_LAYERS)
    modules: dict[str, Any] | None = None
    base_model: MaybeReference = None
    parameters: Parameters = Field(default_factory=dict)
    dtype: Literal["float32", "float16", "bfloat16", "float64"] | None = None
    out_dtype: Literal["float32", "float16", "bfloat16", "float64"] | None = None
    tokenizer_source: TokenizerSource = None
    tokenizer: TokenizerEntry | None = None
    chat_template: str | None = None
    name: str | None = Field(default=None, min_length=1, max_length=256, pattern=r"^[^\s/\\:]+$")
    output: Literal["full", "adapter"] = "full"
    rank: int | None = Field(default=None, ge=1, le=4096)
    seed: int | None = Field(default=None, ge=0, le=2**63 - 1)

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        forms = [name for name in ("models", "slices", "modules") if getattr(self, name)]
        if len(forms) != 1:
            raise ValueError("exactly one of `models`, `slices` and `modules` is needed")
        if self.tokenizer is not None and self.tokenizer_source is not None:
            raise ValueError("give `tokenizer` or `tokenizer_source`, not both")
        if self.rank is not None and self.output != "adapter" and self.merge_method != "twin":
            raise ValueError("`rank` is that of `output: adapter`")
        return self

    @property
    def hash(self) -> str:
        """SHA-256 of the recipe as it was understood: comments and order of keys do not matter."""
        text = json.dumps(self.model_dump(mode="json", exclude={"name"}), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def inputs(self) -> list[ModelRef]:
        """Models that are merged, each once, in order; the base among them only where it is listed."""
        entries = self.models or [source for slice_ in self.slices or () for source in slice_.sources]
        return list(dict.fromkeys(entry.model for entry in entries))

    @property
    def named(self) -> list[ModelRef]:
        """All models that the recipe names, bases among them."""
        bases = [self.base_model, *(slice_.base_model for slice_ in self.slices or ())]
        return list(dict.fromkeys([*self.inputs, *(base for base in bases if base is not None)]))

    @property
    def result_dtype(self) -> str | None:
        """Number format of the result, as the recipe names it; None = the base's."""
        return self.out_dtype or self.dtype

    @property
    def tokenizer_of(self) -> str:
        """`base`, or an input as it is named."""
        source = self.tokenizer.source if self.tokenizer is not None else self.tokenizer_source
        return "base" if source is None else str(_reference(source))

    def beyond(self, native: frozenset[str]) -> list[str]:
        """Parts of this recipe that only mergekit does, in words; empty = nothing.

        Args:
            native: methods that we have.
        """
        sources = {str(ref) for ref in (*self.inputs, *([self.base_model] if self.base_model else []))}
        residual = any(slice_.residual_weight is not None for slice_ in self.slices or ())
        asked = {
            f"merge_method '{self.merge_method}'": self.merge_method not in native,
            "modules": self.modules is not None,
            f"tokenizer source '{self.tokenizer_of}'": self.tokenizer_of not in {"base", *sources},
            "tokenizer.tokens": self.tokenizer is not None and bool(self.tokenizer.tokens),
            "tokenizer.pad_to_multiple_of": self.tokenizer is not None
            and self.tokenizer.pad_to_multiple_of is not None,
            f"chat_template '{self.chat_template}'": self.chat_template in BUILTIN_TEMPLATES,
            "residual_weight": residual,
        }
        return [what for what, is_asked in asked.items() if is_asked]


def read_recipe(path: Path, *, native: frozenset[str]) -> Recipe:
    """Read and check a recipe; models are not looked at.

    Args:
        native: methods that we have.

    Raises:
        ConfigError: no file, no YAML, keys or values that are none; with the line.
        UnknownNameError: a method that neither we nor mergekit have.
    """
    if not path.is_file():
        raise ConfigError(f"there is no recipe '{path}'.", param="recipe", remedy="Mend the path.")
    document = load_yaml(path)
    if not document.data:
        raise ConfigError("is empty.", file=str(path), remedy="Write merge_method, models and base_model.")
    try:
        recipe = Recipe.model_validate(document.data)
    except ValidationError as error:
        raise _refusal(error, path, document) from None
    if recipe.merge_method not in native | MERGEKITS_METHODS:
        names = native | MERGEKITS_METHODS
        raise UnknownNameError("merge_method", recipe.merge_method, names, param="merge_method")
    return recipe


def check_parameters(recipe: Recipe, known: frozenset[str], path: Path) -> None:
    """Refuse names of parameters that no method has.

    Args:
        known: names of our methods' parameters, as YAML has them.

    Raises:
        ConfigError: with the nearest name.
    """
    valid = known | MERGEKITS_PARAMETERS
    for name in named_parameters(recipe):
        if name not in valid:
            near = get_close_matches(name, valid, n=1)
            hint = f"Did you mean '{near[0]}'? " if near else ""
            raise ConfigError(
                f"no method has a parameter '{name}'.",
                file=str(path),
                param=name,
                remedy=f"{hint}Valid: {', '.join(sorted(valid))}.",
            )


def named_parameters(recipe: Recipe) -> list[str]:
    """Names of parameters that the recipe sets anywhere, each once."""
    sections = [recipe.parameters]
    sections += [entry.parameters for entry in recipe.models or ()]
    for slice_ in recipe.slices or ():
        sections += [slice_.parameters, *(source.parameters for source in slice_.sources)]
    return list(dict.fromkeys(name for section in sections for name in section))


def _refusal(error: ValidationError, path: Path, document: Document) -> ConfigError:
    errors = error.errors(include_url=False)
    first = next(
        (e for e in errors if e["type"] == "extra_forbidden"), errors[0]
    )  # it explains what is missing
    place: KeyPath = first["loc"]
    shown = ".".join(str(part) for part in place)
    line = document.line_of(place) if place else None
    if first["type"] != "extra_forbidden":
        message = str(first["msg"]).removeprefix("Value error, ")
        return ConfigError(f"{shown or 'recipe'}: {message}.", file=str(path), line=line, param=shown or None)
    valid = sorted(_fields_at(place))
    near = get_close_matches(str(place[-1]), valid, n=1)
    hint = f"Did you mean '{near[0]}'? " if near else ""
    remedy = f"{hint}Valid: {', '.join(valid)}."
    return ConfigError(f"unknown key '{shown}'.", file=str(path), line=line, param=shown, remedy=remedy)


def _fields_at(place: KeyPath) -> list[str]:
    """Keys that are known beside the last one of a place."""
    model: type[Options] = Recipe
    for part in place[:-1]:
        if isinstance(part, int):
            continue
        inner = _model_in(model.model_fields[part].annotation) if part in model.model_fields else None
        model = inner or model
    return list(model.model_fields)


def _model_in(annotation: object) -> type[Options] | None:
    if isinstance(annotation, type) and issubclass(annotation, Options):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


def dumped(recipe: Recipe) -> dict[str, JsonValue]:
    """The recipe as JSON, models by name."""
    return recipe.model_dump(mode="json", exclude_none=True)
