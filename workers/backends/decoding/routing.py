"""Another routing of a mixture-of-experts model: which experts act at a token, by their ranks.

Source: self-contrast of mixture-of-experts models, arXiv:2405.14507, whose weak model is the strong one with
only the expert of rank 2.

Shapes: N tokens, K experts chosen.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from torch import Tensor, nn

from orchestrator.errors import EngineLoadError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROUTER = "TopKRouter"
"""End of the class names of routers in transformers: they give logits, scores [N, K] and indices [N, K], best
first, where K is their `top_k`."""


class Routing:
    """Routing by ranks, in force inside `with`; the model's own is back afterwards.

    Args:
        ranks: of the experts that act, 1 = the one that the router scores highest.

    Raises:
        EngineLoadError: the model has no routers of the known form, or too few experts.
    """

    def __init__(self, model: "PreTrainedModel", *, ranks: Sequence[int], engine_id: str = "") -> None:
        self._routers = [
            module
            for module in model.modules()
            if type(module).__name__.endswith(ROUTER) and _has_top_k(module)
        ]
        self._columns = [rank - 1 for rank in ranks]
        self._own: list[int] = []
        if not self._routers:
            raise _refused(
                engine_id,
                f"{model.config.model_type} models have no routers whose experts could be chosen by rank",
                "Name another model as weak, or use a mixture-of-experts model such as Mixtral or Qwen3-MoE.",
            )
        n_experts = min(int(router.num_experts) for router in self._routers)
        if max(ranks) > n_experts:
            raise _refused(
                engine_id,
                f"rank {max(ranks)} is asked for, but the model has {n_experts} experts a layer",
                f"Give ranks from 1 to {n_experts}.",
            )
        for router in self._routers:
            router.register_forward_hook(self._choose)

    def __enter__(self) -> None:
        self._own = [int(router.top_k) for router in self._routers]
        for router in self._routers:
            router.top_k = max(self._columns) + 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for router, top_k in zip(self._routers, self._own, strict=True):
            router.top_k = top_k
        self._own = []

    def _choose(
        self, router: nn.Module, _: object, output: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """The output with the experts of these ranks alone; their scores sum to 1 where the model's do."""
        if not self._own:
            return None
        logits, scores, indices = output
        chosen = scores[:, self._columns]
        if getattr(router, "norm_topk_prob", True):
            chosen = chosen / chosen.sum(-1, keepdim=True)
        return logits, chosen, indices[:, self._columns]


def _has_top_k(module: nn.Module) -> bool:
    return isinstance(getattr(module, "top_k", None), int) and hasattr(module, "num_experts")


def _refused(engine_id: str, why: str, remedy: str) -> EngineLoadError:
    return EngineLoadError(
        f"engine '{engine_id}': {why}.", param="options.weak", remedy=remedy, is_lasting=True
    )
