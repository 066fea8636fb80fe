"""vLLM's newer model runner on the CPU: slow, but the real one. Its kernels run in Triton's interpreter.

A backend for children of the engine host; it needs `ENVIRONMENT` in theirs.
"""

from pathlib import Path
from types import SimpleNamespace

BACKEND = "tests.vllm.v2_on_cpu:V2Backend"
ENVIRONMENT = {
    "TRITON_INTERPRET": "1",
    "VLLM_USE_V2_MODEL_RUNNER": "1",
    "PYTHONPATH": str(Path(__file__).parents[2]),
}


class _Interpreter:
    @staticmethod
    def is_active() -> bool:
        return True


def V2Backend() -> object:
    """vLLM looks for a compiler of Triton for the CPU when it is imported: it is told that there is one."""
    import triton.backends

    triton.backends.backends["cpu"] = SimpleNamespace(driver=_Interpreter, compiler=None)
    from workers.backends.vllm.loading import VllmBackend

    return VllmBackend()
