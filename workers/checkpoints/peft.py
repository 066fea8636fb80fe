"""Configurations of adapters as the peft package writes them."""

import math
import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

_PLAIN_STARTS = frozenset({"true", "false", "gaussian", "eva", "orthogonal", "mica"})
"""Initialisations that leave the base weights as they are. The others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA)
train over changed ones: over the base that everybody shares, such an adapter writes other texts."""
_OF_TRAINING = frozenset({
    "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "target_modules", "exclude_modules", "lora_dropout", "layers_to_transform", "layers_pattern",
    "megatron_core", "qalora_group_size", "runtime_config", "loftq_config", "eva_config", "corda_config",
    "lora_ga_config", "direction", "scale", "stable_gamma", "ensure_weight_tying", "unsloth_fixed",
})  # fmt: skip
"""Settings that decide how an adapter was trained, or what its own weights tell."""
_SOUND_PATTERN = re.compile(r"(?:[\w^$\\|()\[\]-]|\.\*?){1,200}")
_MOST_STARS, _MOST_CHOICES = 2, 8
"""Repetitions and `|` of one pattern: with each choice the ways to read a name may double."""
_N_COMPARED = 512
"""Last letters of a module's name that patterns are compared with."""


class PeftConfig(BaseModel):
    """Fields read of adapter_config.json; further ones are kept, to be refused where they are in use."""

    model_config = ConfigDict(extra="allow")

    peft_type: str = "LORA"
    r: int = Field(ge=1, le=65_536)
    lora_alpha: float
    use_rslora: bool = False
    use_dora: bool = False
    fan_in_fan_out: bool = False
    bias: str = "none"
    alpha_pattern: dict[str, float] = {}
    rank_pattern: dict[str, int] = {}
    modules_to_save: list[str] | None = None
    init_lora_weights: bool | str | None = True

    @field_validator("alpha_pattern", "rank_pattern", mode="before")
    @classmethod
    def _none_is_empty(cls, patterns: object) -> object:
        return {} if patterns is None else patterns

    @property
    def scaling(self) -> float:
        """The factor of B·A in every module that no pattern names: alpha/r, or alpha/sqrt(r) with
        `use_rslora`."""
        return self._scaling(self.lora_alpha, self.r)

    @property
    def has_patterns(self) -> bool:
        """True if modules have ranks or factors of their own."""
        return bool(self.alpha_pattern or self.rank_pattern)

    def rank_of(self, path: str) -> int:
        """Rank of one module. Args: path: its name in the model."""
        return self.rank_pattern.get(_key_of(self.rank_pattern, path), self.r)

    def scaling_of(self, path: str) -> float:
        """The factor of B·A in one module, as peft has it: of its own alpha and rank."""
        alpha = self.alpha_pattern.get(_key_of(self.alpha_pattern, path), self.lora_alpha)
        return self._scaling(alpha, self.rank_of(path))

    def _scaling(self, alpha: float, rank: int) -> float:
        return alpha / (math.sqrt(rank) if self.use_rslora else rank)

    @property
    def unsupported(self) -> list[str]:
        """Names of settings in use that would change the result, and that only the peft package applies."""
        start = str(self.init_lora_weights).lower()
        in_use: dict[str, object] = {
            f"peft_type {self.peft_type}": self.peft_type.upper() != "LORA",
            "use_dora": self.use_dora,
            "fan_in_fan_out": self.fan_in_fan_out,
            "bias": self.bias != "none",
            "modules_to_save": self.modules_to_save,
            f"init_lora_weights {start}": start not in _PLAIN_STARTS and self.init_lora_weights is not None,
            "lora_alpha": not math.isfinite(self.lora_alpha),
            "a pattern that is no plain name": not all(
                map(_is_sound, (*self.alpha_pattern, *self.rank_pattern))
            ),
            "a rank or an alpha of a pattern": not all(map(math.isfinite, self.alpha_pattern.values()))
            or any(rank < 1 for rank in self.rank_pattern.values()),
            **_further(self.model_extra or {}),
        }
        return [name for name, used in in_use.items() if used]


def _further(fields: Mapping[str, Any]) -> dict[str, object]:
    """Settings that are not known here; one that is empty or off changes nothing."""
    return {name[:64]: value for name, value in sorted(fields.items()) if name not in _OF_TRAINING}


def _key_of(patterns: Mapping[str, object], path: str) -> str:
    """Pattern of a module: the first that its name ends in, as peft looks for it."""
    tail = path[-_N_COMPARED:]
    return next((key for key in patterns if re.match(rf"(.*\.)?({key})$", tail)), path)


def _is_sound(pattern: str) -> bool:
    """False for what is no expression, or may take for ever to be compared."""
    if _SOUND_PATTERN.fullmatch(pattern) is None:
        return False
    if pattern.count("*") > _MOST_STARS or pattern.count("|") > _MOST_CHOICES:
        return False
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
