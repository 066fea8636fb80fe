"""Modules are short: one that grows beyond a few hundred lines is two."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "workers", "skills", "aggregators", "api")
MOST_LINES = 450


def test_no_module_of_the_product_has_more_than_450_lines() -> None:
    """Unless a decision says which one, and why."""
    decisions = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs/decisions").glob("*.md"))
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    lines = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in paths
    }

    assert len(lines) > 200
    assert [name for name, n in lines.items() if n > MOST_LINES and name not in decisions] == []
