import platform
from pathlib import Path

from orchestrator.runtime.versions import versions_here


def test_versions_are_of_packages_that_are_there_and_of_the_interpreter() -> None:
    found = versions_here()
    assert found["python"] == platform.python_version()
    assert {"torch", "transformers"} <= found.keys()
    assert all(found.values())


def test_an_environment_of_its_own_tells_its_versions_beside_ours(tmp_path: Path) -> None:
    packages = tmp_path / "lib" / "python3.12" / "site-packages"
    for name, number in (("vllm", "0.33.0"), ("torch", "9.9.9"), ("other", "1.0")):
        folder = packages / f"{name}-{number}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")
    found = versions_here(tmp_path / "bin" / "python")
    assert (found["vllm"], found["vllm: torch"]) == ("0.33.0", "9.9.9")
    assert found["torch"] != "9.9.9"
    assert "other" not in found
