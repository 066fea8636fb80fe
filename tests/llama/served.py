"""Engines whose server is llama.cpp's, over files that tests write or that were fetched."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from orchestrator.domain.experts import EngineSpec
from tests.llama.conftest import PROGRAM

CONTEXT, SLOTS = 128, 2


def options(tag: str, *more: str, slots: int = SLOTS, context: int = CONTEXT) -> dict[str, JsonValue]:
    """Args: tag: name of the model there, by which its processes are told from others."""
    command = [
        *(
            str(PROGRAM),
            "--no-webui",
            "-m",
            "{model}",
            "--alias",
            tag,
            "--host",
            "{host}",
            "--port",
            "{port}",
        ),
        *("-np", "{concurrent}", "-c", str(slots * context), "-t", "1", "-tb", "1", *more),
    ]
    env: Mapping[str, JsonValue] = {
        "LD_LIBRARY_PATH": str(PROGRAM.parent),
        "OMP_WAIT_POLICY": "passive",
        "LLAMA_API_KEY": "{api_key}",
    }
    return {
        "command": [*command],
        "env": {**env},
        "health": "/health",
        "concurrent": slots,
        "ready_s": 120,
        "extra_body": {"top_k": 0, "min_p": 0.0},
    }


EXACTLY = ("-ctk", "f32", "-ctv", "f32", "-fa", "off", "-fit", "off", "--no-warmup")
"""Arguments under which it computes as transformers does, and starts fast."""


def spec(path: Path, tag: str) -> EngineSpec:
    return EngineSpec(
        id="odd", backend="command", model=str(path), max_model_len=CONTEXT, options=options(tag, *EXACTLY)
    )
