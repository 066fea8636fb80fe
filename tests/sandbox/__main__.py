"""Run hostile programs in the code sandbox: `python -m tests.sandbox`.

With all layers; then with each layer taken away, where every program must be refused; then with each layer
taken away and runs allowed, where the remaining layers hold, but for what the table lists. The last line is one
JSON object; exit code 1 when anything got through.
"""

import argparse
import collections
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from orchestrator.errors import SkillError
from skills.grading.sandbox import LAYERS, Sandbox, SandboxLimits
from tests.sandbox.hostile import Hostile
from tests.sandbox.outside import DISK_BYTES, Outside, outside, sandboxed, survivors
from tests.sandbox.table import OPEN_WITHOUT, PROGRAMS, is_shown

LIMITS = SandboxLimits(cpu_s=2, wall_s=8.0, disk_bytes=DISK_BYTES)
SHORT_LIMITS = SandboxLimits(cpu_s=1, wall_s=4.0, disk_bytes=DISK_BYTES)
_MISTAKES = ("NameError", "SyntaxError", "IndentationError", "ImportError", "UnboundLocalError")


class Finding(NamedTuple):
    """What one program brought about."""

    program: Hostile
    passed: bool
    changes: tuple[str, ...]
    survivors: int
    reason: str

    @property
    def got_through(self) -> bool:
        return self.passed or bool(self.changes) or self.survivors > 0

    @property
    def is_mistaken(self) -> bool:
        """The program is broken, and has shown nothing."""
        shows = self.program.shows
        return any(f"failed: {n}" in self.reason for n in _MISTAKES) and not (shows and shows in self.reason)


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    os.environ["MUSTER_CANARY"] = "canary-of-the-environment"
    missing = [layer for layer in Sandbox().layers() if layer.missing]
    if missing:
        print("\n".join(f"not here: {layer.name}: {layer.missing}" for layer in missing))
        return 1
    programs = [p for p in PROGRAMS if (options.all or p.representative) and options.only in p.name]
    started = time.monotonic()
    with outside() as world:
        findings = [_run(Sandbox(LIMITS), program, world) for program in programs]
        layers = [name for name in LAYERS if options.layer in (None, name)]
        refused = {layer: _refused(layer, programs) for layer in layers}
        allowed = {layer: _allowed(layer, programs, world) for layer in layers if options.all}
    for finding in findings:
        if finding.got_through or finding.is_mistaken or options.verbose:
            print(_line("all layers", finding))
    unexpected = [line for layer, found in allowed.items() for line in _unexpected(layer, found)]
    print("\n".join(unexpected))
    kinds = collections.Counter(program.kind for program in programs)
    print(f"{', '.join(f'{kind} {n}' for kind, n in kinds.items())}; {time.monotonic() - started:.0f} s")
    mistaken = [finding.program.name for finding in findings if finding.is_mistaken]
    summary = {
        "programs": len(programs),
        "escaped": sum(bool(f.changes) or (f.passed and f.program.kind != "verdict") for f in findings),
        "forged": sum(f.passed and f.program.kind == "verdict" for f in findings),
        "survived": sum(f.survivors for f in findings),
        "without_layers": refused,
        "open_without": {
            layer: sorted(f.program.name for f in found if f.got_through) for layer, found in allowed.items()
        },
        "broken_programs": mistaken,
    }
    print(json.dumps(summary))
    is_well = (
        not any(finding.got_through for finding in findings)
        and set(refused.values()) == {"refused"}
        and not unexpected
        and not mistaken
    )
    return 0 if is_well else 1


def _run(sandbox: Sandbox, program: Hostile, world: Outside) -> Finding:
    before = sandboxed()
    code = program.code
    for word, value in world.words.items():
        code = code.replace(word, value)
    result = sandbox.run(code, program.tests)
    left = survivors(before)
    return Finding(program, result.passed, tuple(world.changes()), len(left), result.reason or "")


def _refused(layer: str, programs: Sequence[Hostile]) -> str:
    """ "refused" when not one of the programs was run."""
    sandbox = Sandbox(LIMITS, without=frozenset({layer}))

    def is_refused(program: Hostile) -> bool:
        try:
            sandbox.run(program.code, program.tests)
        except SkillError as error:
            return f"'{layer}'" in str(error)
        return False

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip((p.name for p in programs), pool.map(is_refused, programs), strict=True))
    return next((f"{name}: run" for name, refused in found.items() if not refused), "refused")


def _allowed(layer: str, programs: Sequence[Hostile], world: Outside) -> list[Finding]:
    sandbox = Sandbox(SHORT_LIMITS, lenient=True, without=frozenset({layer}))
    return [_run(sandbox, program, world) for program in programs if is_shown(program, layer)]


def _unexpected(layer: str, findings: Sequence[Finding]) -> list[str]:
    expected = OPEN_WITHOUT.get(layer, frozenset())
    return [
        _line(f"without {layer}", f) for f in findings if f.got_through and f.program.name not in expected
    ]


def _line(where: str, finding: Finding) -> str:
    parts = [
        *(["broken"] if finding.is_mistaken else []),
        *(["passed"] if finding.passed else []),
        *finding.changes,
        *([f"{finding.survivors} survivors"] if finding.survivors else []),
        finding.reason[:120],
    ]
    return f"{where}: {finding.program.kind}: {finding.program.name}: {'; '.join(parts)}"


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sandbox")
    parser.add_argument("--short", dest="all", action="store_false", help="the representative programs only")
    parser.add_argument("--only", default="", help="programs whose name holds this")
    parser.add_argument("--layer", choices=sorted(LAYERS), help="take away this layer only")
    parser.add_argument("--verbose", action="store_true", help="a line for every program")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
