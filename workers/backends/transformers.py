"""The in-process backend: any decoder-only model that transformers loads from safetensors.

Weights come from a directory or from the hub; pickled weights and code shipped with a model are
never loaded. LoRA adapters are applied over one set of base weights, mixed freely in one batch.
"""

import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pydantic import Field

from orchestrator.domain.assignments import INTERACTIVE
from orchestrator.domain.experts import EngineSpec
from orchestrator.domain.features import Feature
from orchestrator.errors import EngineLoadError, UnknownNameError
from orchestrator.ports.engines import Engine
from orchestrator.runtime.threads import own_threads, set_threads
from workers.backends.features import OF_DECODING
from workers.backends.options import Options, read_options
from workers.checkpoints.defects import require_sound
from workers.checkpoints.formats import load_error, require_safetensors, twin_adapters
from workers.checkpoints.reading import load_sound_tokenizer
from workers.engine_host.memory import give_memory_back

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from workers.backends.decoding.engine import DecodingOptions, Mixer
    from workers.backends.decoding.sources import ModelSource

HALVES = ("bfloat16", "float16")
DTYPES = ("auto", "float32", *HALVES)
SMALL_MODEL_PARAMS = 1_000_000_000
TINY_MODEL_PARAMS = 50_000_000
"""Below, a step is so short that threads wait for each other longer than they compute: measured in
docs/results/foundation.md."""
MOST_NAMED = 5
FULL_CACHE_LAYERS = {"full_attention", "sliding_attention", "chunked_attention"}


class TransformersOptions(Options):
    """`options` of an engine with backend `transformers`.

    Args:
        max_batch: most rows decoded together.
        max_batch_tokens: most rows times their longest prompt plus output; bounds the cache.
        device: `auto` (CUDA if there is any, else the CPU), `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads that compute for this engine; None = one for models of under 50 million
            parameters, torch's own choice for larger ones.
        stream_from_priority: requests of at least this priority report their text as it grows.
    """

    max_batch: int = Field(default=64, ge=1, le=4096)
    max_batch_tokens: int = Field(default=32_768, ge=16)
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    threads: int | None = Field(default=None, ge=1)
    stream_from_priority: int = INTERACTIVE


class TransformersBackend:
    """Implements `ports.Backend`."""

    def load(self, spec: EngineSpec, adapters: Sequence[str]) -> Engine:
        """Load weights, tokenizer and adapters.

        dtype `auto` keeps the checkpoint's half precision on CUDA (bfloat16 for float32
        checkpoints). On the CPU, where half precision is slow, models under 1 B parameters run in
        float32 and larger ones as stored.

        Raises:
            EngineLoadError: options, weights, tokenizer or adapters that cannot be used.
        """
        options = read_options(TransformersOptions, spec)
        check_spec(spec)
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

        from workers.backends.decoding.engine import TORCH, DecodingEngine
        from workers.backends.decoding.sources import ModelSource, prove_cache
        from workers.backends.decoding.texts import texts_of

        device = device_of(options.device)
        tokenizer = load_sound_tokenizer(spec, require_sound(spec.id, spec.model, adapters))
        model = place_model(load_model(spec, device), spec, device)
        n_embedded = model.get_input_embeddings().num_embeddings
        texts = texts_of(spec, tokenizer, n_embedded=n_embedded)
        threads = threads_for(options.threads, n_params=model.num_parameters(), own=own_threads(TORCH))
        set_threads(TORCH, threads)
        mixed = twin_adapters(spec.model)
        source = ModelSource(model, engine_id=spec.id, adapters=[*adapters, *mixed.values()])
        prove_cache(source, vocabulary=n_embedded)
        return DecodingEngine(
            source,
            texts,
            decoding_options(spec, options, model, tokenizer, threads=threads),
            adapters=adapters,
            mixer=_mixer(source, list(mixed), first=len(adapters) + 1) if mixed else None,
        )


def _mixer(source: "ModelSource", names: Sequence[str], *, first: int) -> "Mixer":
    """Mixtures by the names of a store's experts, whose adapters are numbered from `first`."""
    numbers = {name: first + at for at, name in enumerate(names)}

    def mixer(mixture: tuple[tuple[str, float], ...]) -> int:
        for name, _ in mixture:
            if name not in numbers:
                raise UnknownNameError("expert of the store", name, numbers, param="mixture")
        return source.mix({numbers[name]: share for name, share in mixture})

    return mixer


def check_spec(spec: EngineSpec) -> None:
    """Refuse an engine that this backend cannot load as it is written, before any weights are read.

    Raises:
        EngineLoadError: it cannot.
    """
    if spec.dtype not in DTYPES:
        raise EngineLoadError(
            f"engine '{spec.id}': unknown dtype '{spec.dtype}'.",
            param="dtype",
            remedy=f"Valid: {', '.join(DTYPES)}.",
            is_lasting=True,
        )
    if spec.tensor_parallel_size > 1:
        raise EngineLoadError(
            f"engine '{spec.id}': this backend uses one device.",
            param="tensor_parallel_size",
            remedy="Set tensor_parallel_size to 1 or use the engine 'vllm'.",
            is_lasting=True,
        )
    require_safetensors(spec)


def load_model(spec: EngineSpec, device: "torch.device | None" = None) -> "PreTrainedModel":
    """The weights as they are stored: read straight to the device if that is a GPU, they are of half
    precision, and `accelerate` is there; else to the host's memory.

    Float32 weights that are to be halved come by way of the host: both would not fit where the half does.

    Raises:
        EngineLoadError: weights that cannot be used, or lack tensors, which would be drawn at random; or too
            little memory.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    straight = device is not None and device.type == "cuda" and comes_straight(spec)
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            spec.model,
            revision=spec.revision,
            dtype="auto",
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **({"device_map": {"": device}} if straight else {}),
        )
    except torch.OutOfMemoryError as error:
        raise _does_not_fit(spec, device) from error.with_traceback(None)
    except Exception as error:  # a broken checkpoint raises anything
        raise load_error(spec, "the weights", error) from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise EngineLoadError(
            f"engine '{spec.id}': the weights of '{spec.model}' lack {len(missing)} tensors of the model: "
            f"{', '.join(missing[:MOST_NAMED])}.",
            param="model",
            remedy="Fetch all of its files; or set tie_word_embeddings in config.json if the head is tied.",
            is_lasting=True,
        )
    loaded: PreTrainedModel = model
    return loaded


def comes_straight(spec: EngineSpec) -> bool:
    """True if weights are stored in the half precision that they are served in, and can be read to a GPU."""
    from transformers import AutoConfig

    if find_spec("accelerate") is None:
        return False
    try:
        config = AutoConfig.from_pretrained(spec.model, revision=spec.revision, trust_remote_code=False)
    except Exception:  # whatever it is, reading the weights will say so
        return False
    stored = str(getattr(config, "dtype", None)).removeprefix("torch.")
    return stored in HALVES and spec.dtype in ("auto", stored)


def _does_not_fit(spec: EngineSpec, device: "torch.device | None") -> EngineLoadError:
    return EngineLoadError(
        f"engine '{spec.id}' does not fit into the memory of {device}.",
        param="model",
        remedy="Use a half-precision dtype, a smaller model, or a larger device.",
    )


def device_of(name: str) -> "torch.device":
    """The device that an engine's options name.

    Args:
        name: `auto` (CUDA where there is any, else the CPU), `cpu`, `cuda` or `cuda:N`.

    Raises:
        EngineLoadError: this process does not see it.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name != "cpu" and not torch.cuda.is_available():
        raise EngineLoadError(
            f"device '{name}' is asked for, but CUDA is not available.",
            param="options.device",
            remedy="Set options.device to auto or cpu.",
            is_lasting=True,
        )
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EngineLoadError(
            f"device '{name}' is asked for, but this process sees {torch.cuda.device_count()} GPU(s).",
            param="options.device",
            remedy="Set options.device to auto, and choose the GPU with `muster worker --device`.",
            is_lasting=True,
        )
    return device


def place_model(model: "PreTrainedModel", spec: EngineSpec, device: "torch.device") -> "PreTrainedModel":
    """The model in its dtype on its device, ready to decode.

    Raises:
        EngineLoadError: a kind of model that cannot be decoded here, or memory that does not hold it.
    """
    import torch

    kinds = set(getattr(model.config, "layer_types", None) or ()) - FULL_CACHE_LAYERS
    if kinds or model.config.is_encoder_decoder:
        raise EngineLoadError(
            f"engine '{spec.id}': {model.config.model_type} models keep a state other than keys and values.",
            param="engine",
            remedy="Serve it with the engine 'vllm'.",
            is_lasting=True,
        )
    dtype = _dtype(
        spec.dtype, stored=model.dtype, n_params=model.num_parameters(), on_cpu=device.type == "cpu"
    )
    try:
        return model.to(device=device, dtype=dtype).eval().requires_grad_(False)
    except torch.OutOfMemoryError as error:
        del model  # what got there must go before another engine comes, however long the error is kept
        give_memory_back()
        raise _does_not_fit(spec, device) from error.with_traceback(None)


def _dtype(asked: str, *, stored: "torch.dtype", n_params: int, on_cpu: bool) -> "torch.dtype":
    import torch

    if asked != "auto":
        by_name = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
        return by_name[asked]
    if on_cpu:
        return torch.float32 if n_params < SMALL_MODEL_PARAMS else stored
    return torch.bfloat16 if stored == torch.float32 else stored


def threads_for(asked: int | None, *, n_params: int, own: int) -> int:
    """CPU threads of an engine; tiny models are fastest on one.

    Args:
        asked: the engine's option, >= 1; None = chosen here.
        own: torch's own choice.
    """
    if asked is not None:
        return asked
    return 1 if n_params < TINY_MODEL_PARAMS else own


def decoding_options(
    spec: EngineSpec,
    options: TransformersOptions,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    *,
    threads: int,
    backend: str = "transformers",
    features: frozenset[Feature] = OF_DECODING,
) -> "DecodingOptions":
    """Options of decoding, as the pool, the model's files and its tokenizer say.

    Args:
        threads: CPU threads that compute, >= 1.
        backend: name in messages about what it cannot do.
        features: what it can.
    """
    from workers.backends.decoding.engine import DecodingOptions
    from workers.backends.decoding.rows import Limits

    eos_ids = eos_ids_of(model.generation_config.eos_token_id) | eos_ids_of(tokenizer.eos_token_id)
    trained_len = getattr(model.config, "max_position_embeddings", None) or spec.max_model_len
    return DecodingOptions(
        engine_id=spec.id,
        max_model_len=min(spec.max_model_len, trained_len),
        limits=Limits(options.max_batch, options.max_batch_tokens),
        eos_ids=eos_ids,
        pad_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(eos_ids, default=0),
        stream_from_priority=options.stream_from_priority,
        threads=threads,
        backend=backend,
        features=features,
    )


def eos_ids_of(ids: int | Sequence[int] | None) -> frozenset[int]:
    """Tokens that end an output, as configurations name them: one, several or none. Args: ids: None =
    none."""
    if ids is None:
        return frozenset()
    return frozenset([ids] if isinstance(ids, int) else ids)
