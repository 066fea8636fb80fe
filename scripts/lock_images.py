"""Write docker/images.env: the images of docker-compose.yml by digest, as their tags stand today.

`make lock-images` runs it, where a Docker engine reaches the registry. Nothing is written unless every digest
is known.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docker" / "images.env"
VARIABLE = re.compile(r"\$\{([A-Z]+_IMAGE):-([^}@]+)\}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def images(compose: str) -> dict[str, str]:
    """Variables of images, with the tag that each stands for by default."""
    return dict(VARIABLE.findall(compose))


def locked(tags: Mapping[str, str], digest_of: Callable[[str], str]) -> str:
    """Content of the file; ValueError where what came back is no digest."""
    lines = []
    for variable, tag in sorted(tags.items()):
        digest = digest_of(tag)
        if not DIGEST.fullmatch(digest):
            raise ValueError(f"{tag}: '{digest[:80]}' is no digest")
        lines.append(f"{variable}={tag}@{digest}\n")
    return "# Written by `make lock-images`.\n" + "".join(lines)


def from_registry(tag: str) -> str:
    """Digest of a tag, of all its platforms together."""
    command = ["docker", "buildx", "imagetools", "inspect", tag, "--format", "{{.Manifest.Digest}}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main() -> int:
    try:
        text = locked(images((ROOT / "docker-compose.yml").read_text()), from_registry)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        print(f"no digests: {error}", file=sys.stderr)
        return 1
    TARGET.write_text(text)
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
