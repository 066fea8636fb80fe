"""The build: pyproject.toml says all but this. A built package holds the zoo, which lies in examples/zoo."""

import shutil
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.build_py import build_py

ZOO = Path("examples/zoo")
DATA = ("*.yaml", "*.jsonl", "manifest.json", "README.md", "merges/*.yaml", "models/*/*")


class WithZoo(build_py):
    """Packages, and the zoo's files as `api/zoo`. A tree without the zoo is built without it."""

    def run(self) -> None:
        """Build; what an editable install leads to is the tree itself, where the zoo lies anyway."""
        super().run()
        if not self.editable_mode:
            for source, target in self._zoo():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)

    def get_outputs(self, *args: Any, **options: Any) -> list[str]:
        """Files that are built, which an installer records."""
        zoo = [] if self.editable_mode else [str(target) for _, target in self._zoo()]
        return [*super().get_outputs(*args, **options), *zoo]

    def _zoo(self) -> list[tuple[Path, Path]]:
        found = sorted({path for pattern in DATA for path in ZOO.glob(pattern) if path.is_file()})
        return [(path, Path(self.build_lib, "api", "zoo", path.relative_to(ZOO))) for path in found]


setup(cmdclass={"build_py": WithZoo})
