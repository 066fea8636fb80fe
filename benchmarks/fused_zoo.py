"""Fused experts of the zoo: what logit arithmetic makes of a larger base that was trained too briefly.

    python -m benchmarks.fused_zoo [--questions 300] [--skills keypad roman …]

Each skill's recruited specialist and the small base steer the large one, through the `fusion` engine, on
inputs that nobody was trained on. `upscale` at fixed strengths, `dynamic` left to itself, both beside each
member alone. The last line of output is one JSON object.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

if not __package__:  # run by its path
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from benchmarks.engine import run_engine
from benchmarks.reporting import finish, option_parser, progress
from examples.zoo.questions import held_out
from examples.zoo.recipes import LARGE, SMALL
from examples.zoo.tasks import TASKS, Question
from examples.zoo.train import MODELS
from orchestrator.domain.experts import EngineSpec
from orchestrator.evaluation.statistics import wilson_interval
from workers.backends.registry import get_backend

SPECIALISTS: Mapping[str, str] = {
    "keypad": "keypad",
    "capitals": "capitals",
    "reverse": "reverse",
    "roman": "roman",
    "isodate": "isodate",
}
"""Skill -> the expert that a router recruits for it."""
STRENGTHS = (0.5, 1.0, 1.5, 2.0)
WEAK, LIFTED, SLACK = 0.2, 0.9, 0.05
MAX_TOKENS = 24


def fused_zoo(skills: Sequence[str], n_questions: int) -> dict[str, object]:
    """Accuracies by skill and by way, and what the issue's lines say of them.

    Returns:
        skills: per skill, accuracy of the large model, the small base, the specialist, `upscale` at each
            strength and `dynamic`, each with its 95 % interval; `best_fixed`: the best strength, 0
            (the large model alone) included.
        lifted: skills on which `upscale` at strength 1 lifts the large model from at most .2 to at least .9.
        dynamic_holds: skills on which `dynamic` is at most .05 below the best fixed strength.
    """
    by_skill = {skill: _skill(skill, n_questions) for skill in skills}
    lifted = [s for s, found in by_skill.items() if found["large"] <= WEAK and found["upscale 1.0"] >= LIFTED]
    holds = [s for s, found in by_skill.items() if found["dynamic"] >= found["best_fixed"] - SLACK]
    return {
        "questions": n_questions,
        "skills": by_skill,
        "lifted": lifted,
        "dynamic_holds": holds,
    }


def _skill(skill: str, n_questions: int) -> dict[str, float]:
    questions = held_out(TASKS[skill], n_questions)
    specialist = SPECIALISTS[skill]
    alone = {"large": LARGE, "base": SMALL, "specialist": specialist}
    found = {name: _accuracy(_spec(model), questions) for name, model in alone.items()}
    for strength in STRENGTHS:
        fused = _fused("upscale", specialist, betas=[strength])
        found[f"upscale {strength}"] = _accuracy(fused, questions)
    found["dynamic"] = _accuracy(_fused("dynamic", specialist), questions)
    fixed = [found["large"], *(found[f"upscale {strength}"] for strength in STRENGTHS)]
    found["best_fixed"] = max(fixed)
    low, high = wilson_interval(found["dynamic"] * len(questions), len(questions))
    progress(f"{skill}: {found}; 95 % of dynamic {low:.3f} to {high:.3f}")
    return found


def _spec(model: str) -> EngineSpec:
    return EngineSpec(
        id=model, backend="transformers", model=str(MODELS / model), dtype="float32", options={"threads": 1}
    )


def _fused(rule: str, specialist: str, **options: object) -> EngineSpec:
    return EngineSpec(
        id=f"{rule}-{specialist}",
        backend="fusion",
        model=str(MODELS / LARGE),
        dtype="float32",
        options={
            "threads": 1,
            "rule": rule,
            "base": str(MODELS / SMALL),
            "experts": [{"model": str(MODELS / specialist)}],
            **options,
        },
    )


def _accuracy(spec: EngineSpec, questions: Sequence[Question]) -> float:
    started = time.process_time()
    engine = get_backend(spec.backend).load(spec, ())
    try:
        texts = run_engine(engine, [question.prompt for question in questions], max_tokens=MAX_TOKENS)
    finally:
        engine.close()
    right = sum(q.accepts(text.strip()) for q, text in zip(questions, texts, strict=True))
    progress(f"{spec.id}: {right} of {len(questions)}, {time.process_time() - started:.1f} CPU-s")
    return right / len(questions)


def main(argv: Sequence[str] | None = None) -> None:
    parser = option_parser(__doc__)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--skills", nargs="+", choices=SPECIALISTS, default=list(SPECIALISTS))
    arguments = parser.parse_args(argv)
    finish(fused_zoo(arguments.skills, arguments.questions))


if __name__ == "__main__":
    main()
