"""The command `muster`, also as `python -m muster`: starts `api.cli.main` if that is Muster's own.

Muster's five packages have common names (docs/decisions/0060). Another package of such a name, further in
front on the import path or installed over ours, would show as an import error in the middle of nowhere: it is
told here, by a module that no other package should have. This module imports nothing of theirs to tell it.
"""

import json
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("orchestrator", "skills", "workers", "aggregators", "api")
BAD_USAGE = 2
REMEDY = (
    "Install Muster into an environment of its own (python3 -m venv), with nothing of that name on "
    "PYTHONPATH or in the working directory."
)


def main() -> int:
    """Run the command line; returns its exit code. 2 if packages of other makers stand where ours should."""
    wrong = [*hidden(Path(__file__).resolve().parent)]
    if not wrong:
        try:
            from api.cli.main import main as command
        except ImportError as error:
            if (error.name or "").partition(".")[0] not in PACKAGES:
                raise
            wrong = [*shared()]
            if not wrong:
                raise
        else:
            return command()
    return _tell(wrong)


def hidden(home: Path) -> Iterator[str]:
    """What is wrong with each of our names that leads elsewhere than to the folder `home`.

    Args:
        home: resolved folder that holds our packages.
    """
    for name in PACKAGES:
        places = _places(find_spec(name))
        if home / name not in places:
            where = f"leads to {places[0]}{_of(name)}" if places else "leads nowhere"
            yield f"the package '{name}' of Muster is not found: its name {where}."


def shared() -> Iterator[str]:
    """What is wrong with each of our names that several installed distributions have files under."""
    for name in PACKAGES:
        names = _owners(name)
        if len(names) > 1:
            yield f"the package '{name}' belongs to several installed distributions: {', '.join(names)}."


def _places(spec: ModuleSpec | None) -> list[Path]:
    """Folders of a package, resolved; the file of a module that is none."""
    if spec is None:
        return []
    folders = [*(spec.submodule_search_locations or ())]
    return [Path(place).resolve() for place in folders or ([spec.origin] if spec.origin else [])]


def _owners(name: str) -> list[str]:
    return sorted(set(packages_distributions().get(name, ())))


def _of(name: str) -> str:
    others = [owner for owner in _owners(name) if owner != "muster"]
    return f", perhaps of {' or '.join(others)}" if others else ""


def _tell(wrong: list[str]) -> int:
    message = " ".join(wrong)
    if "--json" in sys.argv[1:]:
        error = {"code": "packages_hidden", "message": f"{message} {REMEDY}", "param": None}
        print(json.dumps({"error": error}, indent=2))
    print(f"Error: {message} {REMEDY}", file=sys.stderr)
    return BAD_USAGE


if __name__ == "__main__":
    sys.exit(main())
