"""Patterns that read foreign text take time linear in it: steps are counted, on texts that double."""

import ast
import importlib
import pkgutil
import random
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import aggregators
import api
import orchestrator
import skills
import workers
from tests.conftest import IS_FULL
from tests.fakes.regex_steps import StepCounter, samples

ROOT = Path(__file__).parents[2]
PACKAGES = (orchestrator, skills, workers, aggregators, api)
LEFT_OUT = ("skills.grading.confined", "workers.backends.vllm", "orchestrator.store.migrations")
"""Runs inside the sandbox, under its limits; needs vLLM; reads nothing."""

OWN_TEXTS = ("orchestrator.settings.environment", "orchestrator.redaction")
"""They read what whoever starts Muster gave, and what Muster itself is about to say (which is short)."""

BUILT = ("orchestrator/redaction.py", "workers/backends/decoding/texts.py", "workers/checkpoints/peft.py")
"""Build patterns of words, which are escaped, or take an adapter's own, which may hold few repetitions."""

N_CHARS = 20
N_SAMPLES = 3 if IS_FULL else 1


def modules() -> Iterator[ModuleType]:
    for package in PACKAGES:
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.startswith(LEFT_OUT) and not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def patterns() -> dict[str, re.Pattern[str]]:
    """All that stand at the top of a module, also inside of tables."""
    found: dict[re.Pattern[str], str] = {}
    for module in modules():
        for name, value in vars(module).items() if module.__name__ not in OWN_TEXTS else ():
            for number, pattern in enumerate(_inside(value)):
                if isinstance(pattern.pattern, str):
                    found.setdefault(pattern, f"{module.__name__}.{name}.{number}")
    return {name: pattern for pattern, name in found.items()}


def _inside(value: object, depth: int = 3) -> Iterator[re.Pattern[str]]:
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, tuple | list):
        for item in value:
            yield from _inside(item, depth - 1)


PATTERNS = patterns()


def n_steps(counter: StepCounter, text: str) -> int:
    before = counter.n_steps
    counter.find_all(text)
    return counter.n_steps - before


def attacks(pattern: re.Pattern[str]) -> Iterator[tuple[str, str, str]]:
    """A beginning, what is repeated after it, and an end: cut out of texts that the pattern likes."""
    found = set()
    liked = samples(pattern, random.Random(0))
    for text in dict.fromkeys(next(liked)[:24] for _ in range(N_SAMPLES)):
        for at in range(len(text) + 1):
            pumps = {text[:at], text[max(0, at - 1) : at], text[at : at + 1], " ", "a"}
            found |= {(text[:at], pump, end) for pump in pumps if pump for end in ("", "\x01")}
            found |= {("", text[:at], "\x01")} if at else set()
    return iter(sorted(found))


@pytest.mark.parametrize("name", PATTERNS)
def test_twice_the_text_takes_twice_the_steps(name: str) -> None:
    """Quadratic ones take four times as many; a pattern may look a bounded way ahead at every place."""
    pattern = PATTERNS[name]
    counter = StepCounter(pattern)
    for begin, pump, end in attacks(pattern):
        n = max(2, N_CHARS // len(pump))
        one, two, four = (n_steps(counter, begin + pump * (times * n) + end) for times in (1, 2, 4))
        assert four - two <= 2.6 * (two - one) + 60, (begin, pump, end, one, two, four)


@pytest.mark.representatives(48)
@pytest.mark.parametrize("name", PATTERNS)
def test_the_counter_finds_what_the_engine_finds(name: str) -> None:
    pattern = PATTERNS[name]
    counter = StepCounter(pattern)
    for begin, pump, end in attacks(pattern):
        text = f"a {begin}{pump * 2}{end}1 {begin}"
        assert counter.find_all(text) == [match.span() for match in pattern.finditer(text)], text


@pytest.mark.parametrize("pattern", [r"a+b", r"\s*x?\s*\d", r"\A\s*x?\s*\d", r"<.*?>", r"\A(?:a+)+b"])
def test_the_attacks_find_slow_patterns(pattern: str) -> None:
    assert worst_ratio(pattern) > 2.8


@pytest.mark.parametrize("pattern", [r"\Aa+b", r"(?<!a)a+b", r"<[^<>]*>", r"a{1,3}b", r"<t>.*?(?:</t>|\Z)"])
def test_the_attacks_leave_fast_patterns_alone(pattern: str) -> None:
    assert worst_ratio(pattern) < 2.6


def worst_ratio(pattern: str) -> float:
    """Steps of 16 repetitions over those of 8."""
    compiled = re.compile(pattern, re.DOTALL)
    counter = StepCounter(compiled)
    texts = [(begin + pump * 8 + end, begin + pump * 16 + end) for begin, pump, end in attacks(compiled)]
    return max(n_steps(counter, two) / n_steps(counter, one) for one, two in texts)


def test_patterns_stand_at_the_top_of_modules_where_this_file_sees_them() -> None:
    hidden = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for package in PACKAGES
        for path in sorted(Path(package.__path__[0]).rglob("*.py"))
        if "confined" not in path.parts and str(path.relative_to(ROOT)) not in BUILT
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and _is_re(call.func)
    ]
    assert hidden == []


def _is_re(function: ast.expr) -> bool:
    if not isinstance(function, ast.Attribute) or not isinstance(function.value, ast.Name):
        return False
    return function.value.id == "re"
