"""What packages do wrong beyond their import is told in one line, with the package and the remedy."""

from pathlib import Path

import pytest

from aggregators.outputs import AGGREGATORS
from api.cli.main import main
from orchestrator.compositions.waves import pace_of
from orchestrator.domain.experts import EngineSpec
from orchestrator.errors import ConfigError
from orchestrator.ports.composing import BatchAggregator, SequentialAggregator
from orchestrator.routing import RouterContext, make_router
from tests.fakes.packages import install, put_on_path
from workers.backends.registry import check_options, get_backend, parts_of, spec_mistakes

DECISION = "from orchestrator.domain.answers import Decision, Recruit\n"
ROUTER = DECISION + "class R:\n    name, reads_text = 'odd', True\n"
AGGREGATOR = "from orchestrator.compositions.voting import AggregatorRow\n"
BACKEND = "from workers.backends.registry import BackendRow\n"
STRANGER = "Recruit(expert_id='zz', weight=1, score=1, accuracy=0.5)"
ROUTERS = {
    "factory without arguments": ("def odd(): ...", "TypeError: odd() takes 0 positional arguments"),
    "factory that raises": ("def odd(c, o): raise KeyError('k\\n2')", "KeyError: 'k"),
    "factory that ends": ("def odd(c, o): raise SystemExit(3)", "SystemExit: 3"),
    "nothing": ("def odd(c, o): ...", "a NoneType is no Router"),
    "no recruit": (ROUTER + "def odd(c, o): return R()", "it has no recruit"),
    "raises": (ROUTER + "    def recruit(s, b, *, rng): 1 / 0\nodd = lambda c, o: R()", "division by zero"),
    "gives nothing": (ROUTER + "    def recruit(s, b, *, rng): ...\nodd = lambda c, o: R()", "not iterable"),
    "gives less": (
        ROUTER + "    def recruit(s, b, *, rng): return []\nodd = lambda c, o: R()",
        "0 decisions for 1 questions",
    ),
    "gives texts": (
        ROUTER + "    def recruit(s, b, *, rng): return ['a' for _ in b]\nodd = lambda c, o: R()",
        "a str is no Decision",
    ),
    "recruits strangers": (
        ROUTER
        + f"    def recruit(s, b, *, rng): return [Decision(router='odd', recruits=({STRANGER},),"
        + " would_change='') for _ in b]\nodd = lambda c, o: R()",
        "it recruits 'zz', whom it was not given",
    ),
}
AGGREGATORS_OF_OTHERS = {
    "no factory": ("odd = AggregatorRow(None)", "'NoneType' object is not callable"),
    "factory that raises": ("def make(c, o): raise OSError('disk')\nodd = AggregatorRow(make)", "disk"),
    "nothing": ("odd = AggregatorRow(lambda c, o: None)", "a NoneType is no Aggregator"),
    "no step": ("class A: name = 'odd'\nodd = AggregatorRow(lambda c, o: A())", "it has no step"),
    "raises": (
        "class A:\n    name = 'odd'\n    def step(s, q, r): [][0]\nodd = AggregatorRow(lambda c, o: A())",
        "IndexError: list index out of range",
    ),
    "gives nothing": (
        "class A:\n    name = 'odd'\n    def step(s, q, r): ...\nodd = AggregatorRow(lambda c, o: A())",
        "a NoneType is no Ask or Done",
    ),
}
BACKENDS_OF_OTHERS = {
    "that raises": (
        "odd = BackendRow('{here}:B')\nclass B:\n    def __init__(s): raise OSError('disk')",
        "disk",
    ),
    "that is none": ("odd = BackendRow('{here}:B')\nclass B: ...", "a B is no Backend: it has no load"),
    "whose module raises": ("odd = BackendRow('{here}_inner:B')", "RuntimeError: no card"),
}
OPTIONS_OF_OTHERS = {
    "no model": ("odd = BackendRow('{here}:B', options='{here}:O')\nclass O: ...", "is no class of"),
    "another model": (
        "from pydantic import BaseModel\nodd = BackendRow('{here}:B', options='{here}:O')\n"
        "class O(BaseModel):\n    x: int = 0",
        "is no class of workers.backends.options.Options",
    ),
    "a check that raises": (
        "from workers.backends.options import Options\nodd = BackendRow('{here}:B', options='{here}:O')\n"
        "class O(Options):\n    x: int = 0\n    def mistake(self, spec): raise KeyError('q')",
        "KeyError: 'q'",
    ),
}
SPEC = EngineSpec(id="e", backend="odd", model="m", options={"x": 1})


@pytest.fixture(autouse=True)
def _in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def module(tmp_path: Path) -> str:
    """A module name that no other test has: what is imported stays."""
    return f"odd_{abs(hash(tmp_path)):x}"


def bring(group: str, module: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the package 'odd-package', whose row 'odd' of a group is of that text."""
    modules = {module: text.replace("{here}", module), f"{module}_inner": "raise RuntimeError('no\\ncard')"}
    put_on_path(
        monkeypatch,
        install(Path("site"), "odd-package", {group: {"odd": f"{module}:odd"}}, modules).resolve(),
    )


def pool(*, router: str = "all", aggregator: str = "majority") -> str:
    Path("pool.yaml").write_text(
        "model_list:\n  - model_name: a\n    litellm_params: {model: m}\n"
        "    model_info: {muster: {engine: scripted}}\n"
        "muster:\n  data_dir: data\n  scheduler: {engine_down_interactive_s: 0.5}\n"
        "  embedder: {model: hash}\n"
        f"  compositions:\n    mine: {{router: {router}, aggregator: {aggregator}}}\n"
    )
    return "pool.yaml"


def asked(path: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a question of the composition says on stderr: `Error: ...` in one line, and no trace."""
    assert main(["--config", path, "ask", "-c", "mine", "--answer-type", "number", "What is 3 + 4?"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    [line] = [line for line in said.splitlines() if line.startswith("Error: ")]
    return line


@pytest.mark.parametrize("name", ROUTERS)
def test_a_router_that_fails_is_told_with_its_package(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, part = ROUTERS[name]
    bring("muster.routers", module, text, monkeypatch)
    line = asked(pool(router="odd"), capsys)
    assert "router 'odd' of package odd-package 1.0" in line
    assert part in line
    assert line.endswith("Mend the package, or uninstall it.")


@pytest.mark.parametrize("name", AGGREGATORS_OF_OTHERS)
def test_an_aggregator_that_fails_is_told_with_its_package(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, part = AGGREGATORS_OF_OTHERS[name]
    bring("muster.aggregators", module, AGGREGATOR + text, monkeypatch)
    line = asked(pool(aggregator="odd"), capsys)
    assert "aggregator 'odd' of package odd-package 1.0" in line
    assert part in line
    assert line.endswith("Mend the package, or uninstall it.")


@pytest.mark.parametrize("name", [name for name in ROUTERS if "factory" in name or name.startswith("no")])
def test_a_router_that_cannot_be_made_is_a_mistake_of_the_pool_file(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, part = ROUTERS[name]
    bring("muster.routers", module, text, monkeypatch)
    assert main(["--config", pool(router="odd"), "config", "check"]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert line.startswith(
        "Error: pool.yaml:10: muster.compositions.mine: router 'odd' of package odd-package"
    )
    assert part in line


@pytest.mark.parametrize("name", BACKENDS_OF_OTHERS)
def test_a_backend_that_cannot_be_made_is_told_with_its_package(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, part = BACKENDS_OF_OTHERS[name]
    bring("muster.backends", module, BACKEND + text, monkeypatch)
    with pytest.raises(ConfigError) as caught:
        get_backend("odd")
    assert "engine 'odd' of package odd-package 1.0" in str(caught.value)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", OPTIONS_OF_OTHERS)
def test_options_that_are_none_are_told_with_their_package(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, part = OPTIONS_OF_OTHERS[name]
    bring("muster.backends", module, BACKEND + text, monkeypatch)
    with pytest.raises(ConfigError) as caught:
        check_options(SPEC)
    assert "engine 'odd' of package odd-package 1.0" in str(caught.value)
    assert part in str(caught.value)


def test_a_check_and_parts_that_raise_are_told_with_their_package(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = BACKEND + "odd = BackendRow('{here}:B', check='{here}:no', parts='{here}:no')\ndef no(x): 1 / 0"
    bring("muster.backends", module, text, monkeypatch)
    for look in (lambda: spec_mistakes(SPEC), lambda: parts_of("odd", {})):
        with pytest.raises(ConfigError, match=r"package odd-package 1\.0 .* ZeroDivisionError"):
            look()


@pytest.mark.parametrize(
    ("body", "part"),
    [("raise RuntimeError('cuda\\ngone')", "RuntimeError: cuda gone"), ("...", "a NoneType is no Engine")],
)
def test_a_load_that_fails_is_told_with_its_package(
    body: str, part: str, module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = BACKEND + "odd = BackendRow('{here}:B')\nclass B:\n    def load(self, spec, adapters): " + body
    bring("muster.backends", module, text, monkeypatch)
    path = Path(pool())
    path.write_text(path.read_text().replace("engine: scripted", "engine: odd"))
    line = asked(str(path), capsys)
    assert "engine 'odd' of package odd-package 1.0" in line
    assert part in line


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ("raise MemoryError", "MemoryError"),
        ("raise OutOfMemoryError('tried 2 GiB')", "OutOfMemoryError: tried 2 GiB"),
        ("raise RuntimeError('CUDA error: out of memory')", "RuntimeError: CUDA error: out of memory"),
        ("raise OSError(12, 'Cannot allocate memory')", "Cannot allocate memory"),
    ],
)
def test_a_load_that_lacks_memory_is_told_as_that_and_not_as_the_packages_fault(
    body: str, part: str, module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = BACKEND + "class OutOfMemoryError(Exception): ...\nodd = BackendRow('{here}:B')\n"
    text += "class B:\n    def load(self, spec, adapters): " + body
    bring("muster.backends", module, text, monkeypatch)
    path = Path(pool())
    path.write_text(path.read_text().replace("engine: scripted", "engine: odd"))
    line = asked(str(path), capsys)
    assert "memory ran out while it was loaded: " in line
    assert part in line
    assert "Free memory of the device or the host" in line
    assert "package" not in line


def test_memory_that_runs_out_in_a_package_is_no_fault_of_its(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever called it waits for memory, as where its own code runs out of it."""
    text = AGGREGATOR + (
        "class A:\n    name = 'odd'\n    def step(s, q, r): raise MemoryError\n"
        "odd = AggregatorRow(lambda c, o: A())"
    )
    bring("muster.aggregators", module, text, monkeypatch)
    made = AGGREGATORS["odd"].make(None, {})  # type: ignore[arg-type] # it looks at nothing
    with pytest.raises(MemoryError):
        made.step(None, [])  # type: ignore[arg-type] # it looks at nothing


def test_an_entry_point_that_is_no_reference_is_told(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bring("muster.routers", f"{module}:make", "", monkeypatch)
    with pytest.raises(ConfigError, match=r"'odd_\w+:make:odd' is not `module:attribute`\. Mend the package"):
        make_router("odd", RouterContext(cards={}, profile=None, expert_ids=("a",)))


def test_an_aggregator_keeps_the_ports_that_it_has(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = AGGREGATOR + (
        "class A:\n    name = 'odd'\n    quotes_one = True\n    def step(s, q, r): ...\n"
        "    def learn(s, b): return s\n    def count(s, q, r): return 'counted'\n"
        "    def opened(s, q, d): ...\n    def next(s, q, r): ...\nodd = AggregatorRow(lambda c, o: A())"
    )
    bring("muster.aggregators", module, text, monkeypatch)
    made = AGGREGATORS["odd"].make(None, {})  # type: ignore[arg-type] # it looks at nothing
    assert isinstance(made, BatchAggregator)
    assert isinstance(made, SequentialAggregator)
    assert pace_of(made, None) is made
    assert made.learn([]).name == "odd"
    assert made.count(None, []) == "counted"  # type: ignore[arg-type,comparison-overlap] # it looks at nothing
