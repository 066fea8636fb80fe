"""Every prompt of Muster: named, versioned templates. A snapshot test pins them."""

from orchestrator.prompts.annotating import annotate
from orchestrator.prompts.asking import EXPERT_STYLES, expert
from orchestrator.prompts.defusing import defuse, is_control
from orchestrator.prompts.fencing import draw_fence, without_fence
from orchestrator.prompts.synthesizing import SYNTHESIZE_STYLES, synthesize

__all__ = [
    "EXPERT_STYLES",
    "SYNTHESIZE_STYLES",
    "VERSION",
    "annotate",
    "defuse",
    "draw_fence",
    "expert",
    "is_control",
    "synthesize",
    "without_fence",
]

VERSION = "v1"
