"""The zoo: the example pool, which is part of the repository and of every installed Muster."""

from pathlib import Path

PACKAGED = Path(__file__).parents[1] / "zoo"
"""Where a built package has it (setup.py)."""
CHECKOUT = Path(__file__).parents[2] / "examples" / "zoo"


def zoo_file(name: str) -> Path:
    """A file of the zoo, such as `pool.yaml`.

    Raises:
        InputError: this Muster came without it, as the image does.
    """
    from orchestrator.errors import InputError

    for folder in (PACKAGED, CHECKOUT):
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"no example pool at {PACKAGED}.",
        remedy="This Muster was built without it; a checkout has it in examples/zoo.",
    )
