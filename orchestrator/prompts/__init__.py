"""Every prompt of Muster: named, versioned templates. A snapshot test pins them."""

from orchestrator.prompts.annotating import annotate
from orchestrator.prompts.asides import LEFT_OUT, has_aside, without_asides
from orchestrator.prompts.asking import EXPERT_STYLES, expert
from orchestrator.prompts.defusing import defuse, is_control
from orchestrator.prompts.discussing import Heard, advocate, conduct, consult, reconsider
from orchestrator.prompts.fencing import draw_fence, without_fence
from orchestrator.prompts.forming import form, mend
from orchestrator.prompts.grading import GRADING_VERSION, check, grade
from orchestrator.prompts.judging import COMPACT, checklist, compare, decide, judge, verify
from orchestrator.prompts.shots import Shot, with_shots
from orchestrator.prompts.synthesizing import SYNTHESIZE_STYLES, synthesize
from orchestrator.prompts.tools import defused_tools

__all__ = [
    "COMPACT",
    "EXPERT_STYLES",
    "GRADING_VERSION",
    "LEFT_OUT",
    "SYNTHESIZE_STYLES",
    "VERSION",
    "Heard",
    "Shot",
    "advocate",
    "annotate",
    "check",
    "checklist",
    "compare",
    "conduct",
    "consult",
    "decide",
    "defuse",
    "defused_tools",
    "draw_fence",
    "expert",
    "form",
    "grade",
    "has_aside",
    "is_control",
    "judge",
    "mend",
    "reconsider",
    "synthesize",
    "verify",
    "with_shots",
    "without_asides",
    "without_fence",
]

VERSION = "v2"
