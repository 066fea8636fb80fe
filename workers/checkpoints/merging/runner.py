"""Runner of merges: preflight here, the merge in a child process, the result in its place at the end."""

import hashlib
import json
import logging
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from orchestrator.domain.merges import MergeFigures, MergeProblem, MergeReport, Preflight
from orchestrator.domain.values import content_hash
from orchestrator.errors import (
    ConfigError,
    InputError,
    MergeError,
    MergeStoppedError,
)
from workers.checkpoints.identity import weights_hash
from workers.checkpoints.merging.inputs import Input, Places
from workers.checkpoints.merging.mergekit import find_mergekit, run_mergekit
from workers.checkpoints.merging.methods import METHODS, NATIVE, PARAMETERS
from workers.checkpoints.merging.preflight import Checked, check_recipe, preflight
from workers.checkpoints.merging.recipe import Recipe, check_parameters, dumped, read_recipe
from workers.checkpoints.merging.work import JOB, RECORD, check_out, publish, work_folder

log = logging.getLogger(__name__)

SHARD_BYTES = 5_000_000_000
LOOK_S = 0.2
OK, REFUSED = "preflight: ok", "refused"

OnProgress = Callable[[int, int], None]
"""(tensors done, of how many)."""
Child = Callable[[Path, OnProgress, Callable[[], bool]], dict[str, JsonValue]]
"""Merges in a work folder as its job says, and returns what was said at the end: `run_child`."""


class MergeOrder(NamedTuple):
    """A merge that is asked for.

    Attributes:
        out: folder of the result. force: replace what an earlier merge made there.
        seed: of random masks; None = the recipe's, or 0.
        shard_bytes: most bytes of one file of weights.
        below: nothing outside of these folders may be read, and mergekit is not asked; () = anything.
    """

    recipe: Path
    out: Path
    seed: int | None = None
    force: bool = False
    shard_bytes: int = SHARD_BYTES
    below: tuple[Path, ...] = ()

    @property
    def places(self) -> Places:
        """Folders for the recipe's paths: its own and the working directory, or those it is held to."""
        if self.below:
            return Places(self.below, closed=True)
        return Places((self.recipe.absolute().parent, Path.cwd()))


class CheckedOrder(NamedTuple):
    """An order whose recipe was read and whose inputs were looked at.

    Attributes:
        beyond: what of the recipe only mergekit does; empty = nothing.
    """

    order: MergeOrder
    recipe: Recipe
    checked: Checked
    beyond: tuple[str, ...]

    @property
    def preflight(self) -> Preflight:
        """Findings of the preflight; a merge with errors among them is refused."""
        return self.checked.preflight

    @property
    def is_adapter(self) -> bool:
        """True if the result is an adapter over the base."""
        return self.recipe.output == "adapter"

    @property
    def makes_expert(self) -> bool:
        """False for stores of several experts."""
        method = METHODS.get(self.recipe.merge_method)
        return method is None or not method.stores

    @property
    def seed(self) -> int:
        """Seed of methods that draw: the order's, else the recipe's, else 0."""
        return next((s for s in (self.order.seed, self.recipe.seed) if s is not None), 0)

    @property
    def inputs(self) -> list[Input]:
        """All that is read, the base first where there is one."""
        return list(self.checked.inputs.models.values())

    def report(self, *, verdict: str | None = None) -> MergeReport:
        """The report of a merge that was not made. Args: verdict: None = as the preflight found."""
        errors = [problem for problem in self.preflight.problems if problem.severity == "error"]
        said = OK if not errors else f"{REFUSED}: {errors[0].line}"
        figures = MergeFigures(
            method=self.recipe.merge_method,
            out=str(self.order.out),
            tensors=len(self.checked.made) or None,
        )
        return MergeReport(merge=figures, preflight=self.preflight, verdict=verdict or said)


def check_order(order: MergeOrder) -> CheckedOrder:
    """Read the recipe and look at its inputs; nothing is written and no tensor is read.

    Raises:
        ConfigError: a recipe that cannot be used.
        InputError: a place where no result may appear.
    """
    recipe = read_recipe(order.recipe, native=NATIVE)
    check_parameters(recipe, PARAMETERS, order.recipe)
    beyond = tuple(recipe.beyond(NATIVE))
    if beyond and order.below:
        raise InputError(
            f"{', '.join(beyond)} needs mergekit, which is not asked over REST.",
            param="recipe",
            remedy="Run `muster merge` where the models are.",
        )
    if not beyond:
        check_recipe(recipe)
    out = order.out.expanduser().absolute()
    order = order._replace(out=out, recipe=order.recipe.absolute())
    checked = preflight(recipe, order.places, out=out, compare=not beyond)
    inputs = [one.weights.folder for one in checked.inputs.models.values()]
    inputs += [one.adapter.folder for one in checked.inputs.models.values() if one.adapter is not None]
    check_out(out, inputs, force=order.force)
    if beyond:
        find_mergekit(beyond)
    return CheckedOrder(order, recipe, checked, beyond)


def check_text(text: str, below: tuple[Path, ...]) -> Recipe:
    """Check a recipe that came over the network, as far as its text and its paths go.

    Raises:
        ConfigError: a recipe that cannot be used. InputError: paths that lead elsewhere.
    """
    with tempfile.TemporaryDirectory(prefix="muster-recipe-") as folder:
        path = Path(folder) / "recipe"
        path.write_text(text, encoding="utf-8")
        recipe = read_recipe(path, native=NATIVE)
        check_parameters(recipe, PARAMETERS, path)
    if recipe.beyond(NATIVE):
        raise InputError(
            f"{', '.join(recipe.beyond(NATIVE))} needs mergekit, which is not asked over REST.",
            param="recipe",
            remedy="Run `muster merge` where the models are.",
        )
    check_recipe(recipe)
    places = Places(below, closed=True)
    for ref in recipe.named:
        for path_of in (ref.model, ref.adapter):
            if path_of is not None:
                places.find(path_of)
    return recipe


def run_order(
    checked: CheckedOrder,
    *,
    on_progress: OnProgress = lambda *_: None,
    stopped: Callable[[], bool] = lambda: False,
    child: "Child | None" = None,
    rebuilds: bool = False,
) -> MergeReport:
    """Merge; a result that cannot be is a report with the reason, and leaves nothing at `out`.

    What an earlier run of the same order had done is kept and not done again.

    Args:
        rebuilds: the experts of a store are written as they come back, too, into `REBUILT` in it.
        stopped: asked now and then; True ends the merge, which can be taken up later.
        child: replaces the process that merges.

    Raises:
        ConfigError, InputError: options that a method does not take.
        MergeStoppedError: it was stopped.
    """
    if not checked.preflight.ok:
        return checked.report()
    started = time.perf_counter()
    key = _key(checked)
    with work_folder(checked.order.out, key) as folder:
        _write_job(checked, folder, rebuilds=rebuilds)
        if checked.beyond:
            run_mergekit(
                checked.order.recipe, folder, seed=checked.seed, beyond=checked.beyond, stopped=stopped
            )
        said = (child or run_child)(folder, on_progress, stopped)
        refusal = said.get("error")
        if isinstance(refusal, dict):
            shutil.rmtree(folder, ignore_errors=True)
            return _refused(checked, refusal)
        result = said["result"]
        assert isinstance(result, dict), "the child says so"
        files = {str(name): str(digest) for name, digest in _dict(result["files"]).items()}
        sha256 = _sha256_of(files)
        _write_record(checked, folder, sha256, files, result)
        _publish(folder, checked.order.out)
    problems = tuple(MergeProblem.model_validate(p) for p in _list(result["problems"]))
    figures = MergeFigures(
        method=checked.recipe.merge_method,
        out=str(checked.order.out),
        sha256=sha256,
        seconds=round(time.perf_counter() - started, 3),
        peak_rss_mb=_number(result["peak_rss_mb"]),
        tensors=int(_number(result["tensors"])),
    )
    return MergeReport(merge=figures, preflight=checked.preflight.joined(problems), verdict="merged")


def rebuild_expert(
    store: Path, expert: str, out: Path, *, force: bool = False, child: "Child | None" = None
) -> MergeReport:
    """Write one expert of a store to `out`.

    Args:
        force: replace what is there.
        child: runs the work in place of a process of its own.

    Raises:
        InputError: no store, no such expert, or a place where nothing may appear.
        MergeError: the store cannot be read, or the work failed.
    """
    started = time.perf_counter()
    store, out = store.expanduser().absolute(), out.expanduser().absolute()
    if not store.is_dir():
        raise InputError(f"there is no store '{store}'.", param="store", remedy="Mend the path.")
    check_out(out, [store], force=force)
    with work_folder(out, content_hash([str(store), expert, time.time_ns()])) as folder:
        job = {"rebuild": str(store), "expert": expert}
        (folder / JOB).write_text(json.dumps(job), encoding="utf-8")
        said = (child or run_child)(folder, lambda *_: None, lambda: False)
        refusal = said.get("error")
        if isinstance(refusal, dict):
            message = str(refusal["message"])
            raise InputError(message) if refusal.get("kind") == "usage" else MergeError(message)
        result = _dict(said["result"])
        files = {str(name): str(digest) for name, digest in _dict(result["files"]).items()}
        sha256 = _sha256_of(files)
        record = {"format": 1, "method": "rebuild", "expert": expert, "sha256": sha256, "files": files}
        (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        _publish(folder, out)
    figures = MergeFigures(
        method="rebuild",
        out=str(out),
        sha256=sha256,
        seconds=round(time.perf_counter() - started, 3),
        peak_rss_mb=_number(result["peak_rss_mb"]),
        tensors=int(_number(result["tensors"])),
    )
    return MergeReport(merge=figures, preflight=Preflight(ok=True, seconds=0.0), verdict="rebuilt")


def _publish(folder: Path, out: Path) -> None:
    try:
        publish(folder, out)
    except OSError as error:
        raise InputError(f"cannot write '{out}': {error.strerror}.", param="out") from error


def _refused(checked: CheckedOrder, refusal: dict[str, JsonValue]) -> MergeReport:
    """
    Raises:
        ConfigError: options that a method does not take.
    """
    message, param = str(refusal["message"]), refusal.get("param")
    if refusal.get("kind") == "usage":
        raise ConfigError(message, file=str(checked.order.recipe), param=str(param) if param else None)
    tensor = str(param) if param and refusal.get("kind") == "refused" else None
    problem = MergeProblem(kind=str(refusal["code"]), tensor=tensor, have=message)
    refused = checked._replace(
        checked=checked.checked._replace(preflight=checked.preflight.joined((problem,)))
    )
    return refused.report(verdict=f"{REFUSED}: {message}")


def _key(checked: CheckedOrder) -> str:
    """Identity of a merge: what was done for one is not used for another."""
    folders = [one.weights.folder for one in checked.inputs]
    folders += [one.adapter.folder for one in checked.inputs if one.adapter is not None]
    files = [path for folder in folders for path in sorted(folder.glob("*.safetensors"))]
    written = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    marks = [weights_hash(str(folder)) for folder in folders]
    return content_hash([checked.recipe.hash, checked.seed, checked.order.shard_bytes, marks, written])


def _write_job(checked: CheckedOrder, folder: Path, *, rebuilds: bool) -> None:
    job = {
        "rebuilds": rebuilds,
        "recipe": dumped(checked.recipe),
        "places": [str(folder) for folder in checked.order.places.folders],
        "closed": checked.order.places.closed,
        "seed": checked.seed,
        "shard_bytes": checked.order.shard_bytes,
        "scan": bool(checked.beyond),
    }
    (folder / JOB).write_text(json.dumps(job), encoding="utf-8")


def run_child(folder: Path, on_progress: OnProgress, stopped: Callable[[], bool]) -> dict[str, JsonValue]:
    """Run the process that merges until it has said how it ended.

    Raises:
        MergeStoppedError: it was stopped.
        MergeError: it died without a word.
    """
    # -P: packages of the working directory that have names of ours stay out; PYTHONPATH says where ours are.
    command = [sys.executable, "-P", "-m", "workers.checkpoints.merging.child", str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
    with subprocess.Popen(  # noqa: S603 -- our own module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
    ) as child:
        try:
            said = _listen(child, on_progress=on_progress, stopped=stopped)
        finally:
            if child.poll() is None:
                child.kill()
    if said is not None:
        return said
    raise MergeError(
        f"the process that merges ended with code {child.returncode}.",
        remedy="Too little memory is the usual reason; run it again to go on where it stopped.",
    )


def _listen(
    child: "subprocess.Popen[bytes]", *, on_progress: OnProgress, stopped: Callable[[], bool]
) -> dict[str, JsonValue] | None:
    assert child.stdout is not None, "it is a pipe"
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if stopped():
                raise MergeStoppedError("the merge was stopped.", remedy="Run it again to go on.")
            if not selector.select(LOOK_S):
                continue
            part = os.read(child.stdout.fileno(), 1 << 16)
            if not part:
                return None
            *lines, pending = (pending + part).split(b"\n")
            for line in lines:
                said = json.loads(line)
                if "progress" not in said:
                    return dict(said)
                on_progress(said["progress"]["done"], said["progress"]["of"])


def _write_record(
    checked: CheckedOrder,
    folder: Path,
    sha256: str,
    files: dict[str, str],
    result: dict[str, JsonValue],
) -> None:
    """What was merged, for people and for the lineage; no times and no places, so that the same merge
    writes the same bytes."""
    parents = [
        {
            "model": one.name,
            "weights_hash": weights_hash(
                str(one.weights.folder), None if one.adapter is None else str(one.adapter.folder)
            ),
        }
        for one in checked.inputs
    ]
    record = {
        "format": 1,
        "method": checked.recipe.merge_method,
        "recipe_sha256": checked.recipe.hash,
        "recipe": dumped(checked.recipe),
        "seed": checked.seed,
        "parents": parents,
        "sha256": sha256,
        "files": files,
        "tensors": result["tensors"],
        "problems": [p.model_dump(mode="json") for p in checked.preflight.problems]
        + _list(result["problems"]),
    }
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    (folder / RECORD).write_text(text, encoding="utf-8")


def _sha256_of(files: dict[str, str]) -> str:
    """Of one file its own; of several that of the lines which `sha256sum` prints, in the order of names."""
    if len(files) == 1:
        return next(iter(files.values()))
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _dict(value: JsonValue) -> dict[str, JsonValue]:
    assert isinstance(value, dict), "the child says so"
    return value


def _list(value: JsonValue) -> list[JsonValue]:
    assert isinstance(value, list), "the child says so"
    return value


def _number(value: JsonValue) -> float:
    assert isinstance(value, int | float), "the child says so"
    return value
