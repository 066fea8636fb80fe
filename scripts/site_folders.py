"""Hook of mkdocs: in the nav of mkdocs.yml, a folder stands for its pages in the order of their names."""

from pathlib import Path
from typing import Any


def on_config(config: Any) -> Any:
    """The configuration with the folders of its nav replaced by their pages."""
    config["nav"] = [with_pages(item, Path(config["docs_dir"])) for item in config["nav"]]
    return config


def with_pages(item: Any, docs: Path) -> Any:
    """One item of the nav: `{title: "folder/"}` as `{title: [its pages]}`, any other one as it is."""
    if isinstance(item, dict):
        (title, place), *_ = item.items()
        if isinstance(place, str) and place.endswith("/"):
            return {title: [str(page.relative_to(docs)) for page in sorted((docs / place).glob("*.md"))]}
    return item
