"""Configurations of adapters as the peft package writes them."""

import math

from pydantic import BaseModel, ConfigDict, Field


class PeftConfig(BaseModel):
    """Fields read of adapter_config.json."""

    model_config = ConfigDict(extra="ignore")

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

    @property
    def scaling(self) -> float:
        """Factor of B·A in every module."""
        return self.lora_alpha / (math.sqrt(self.r) if self.use_rslora else self.r)

    @property
    def unsupported(self) -> list[str]:
        """Names of settings in use that would change the result, and that only the peft package applies."""
        in_use = {
            f"peft_type {self.peft_type}": self.peft_type.upper() != "LORA",
            "use_dora": self.use_dora,
            "fan_in_fan_out": self.fan_in_fan_out,
            "bias": self.bias != "none",
            "alpha_pattern": bool(self.alpha_pattern),
            # peft scales such a module by its own rank.
            "rank_pattern": bool(self.rank_pattern),
            "modules_to_save": bool(self.modules_to_save),
            "lora_alpha": not math.isfinite(self.lora_alpha),
        }
        return [name for name, used in in_use.items() if used]
