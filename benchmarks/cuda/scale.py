"""Sizes of a run: shapes of the checkpoints, prompts, tokens, and the seconds of each part."""

from collections.abc import Mapping
from typing import NamedTuple


class Shape(NamedTuple):
    """Shape of a model of the Qwen2 architecture.

    Attributes:
        hidden, inner: widths; `heads` of queries, `kv_heads` of keys and values.
        tied: its head is its embedding.
        dtype: of the weights, as torch calls it.
        deviation: standard deviation of the weights.
    """

    name: str
    layers: int
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    vocabulary: int
    tied: bool
    dtype: str = "bfloat16"
    deviation: float = 0.02

    def of_layers(self, layers: int) -> "Shape":
        """The same widths in fewer layers."""
        return self._replace(name=f"{self.name}-{layers}-layers", layers=layers)


class Scale(NamedTuple):
    """Sizes of everything that is measured.

    Attributes:
        small, large: the models.
        copy_mib: of the copy that the rate to the device is measured with; `read_mib`: most of a file that is
            read for the rate of reading.
        batches: rows decoded together; `tokens`: of each output; `prompt`: characters (= tokens) of a prompt.
        lone_tokens: of each output where one row is decoded.
        repeats: rounds of each measurement that are counted, after one that warms up.
        fused: rows of the fusions.
        merge_layers: layers of the large model that each method merges, on the CPU and on the device.
        questions: of each of the two jobs; `rounds`: parts that each engine's calls come in where engines
            alternate.
    """

    small: Shape
    large: Shape
    copy_mib: int
    read_mib: int
    batches: tuple[int, ...]
    tokens: int
    lone_tokens: int
    prompt: int
    repeats: int
    fused: int
    merge_layers: Mapping[str, tuple[int, int]]
    questions: int
    job_tokens: int
    rounds: int


SMALL = Shape("1.5b", 28, 1536, 8960, 12, 2, 151_936, tied=True)
LARGE = Shape("7b", 28, 3584, 18_944, 28, 4, 152_064, tied=False)
FULL = Scale(
    small=SMALL,
    large=LARGE,
    copy_mib=1024,
    read_mib=4096,
    batches=(1, 16, 64),
    tokens=128,
    lone_tokens=64,
    prompt=128,
    repeats=2,
    fused=16,
    merge_layers={"linear": (28, 28), "ties": (2, 8), "tsvm": (1, 1)},
    questions=48,
    job_tokens=48,
    rounds=4,
)
TINY = Shape("tiny", 2, 64, 176, 2, 1, 512, tied=True)
DRY = Scale(
    small=TINY,
    large=TINY._replace(name="tiny-large", layers=3, hidden=96, inner=264, heads=3, tied=False),
    copy_mib=4,
    read_mib=4,
    batches=(1, 3),
    tokens=6,
    lone_tokens=4,
    prompt=12,
    repeats=1,
    fused=3,
    merge_layers={"linear": (3, 3), "ties": (1, 3), "tsvm": (1, 1)},
    questions=4,
    job_tokens=6,
    rounds=2,
)

BUDGETS_S: Mapping[str, float] = {
    "machine": 40.0,
    "load": 100.0,
    "decoding": 80.0,
    "vllm": 120.0,
    "fusion": 60.0,
    "residency": 80.0,
    "merges": 240.0,
}
"""Seconds that each part may take at most, its start and its checkpoints included, in the order in which they
run: the last one, whose methods come one after the other, has what is left of `TOTAL_S`."""
TOTAL_S = 460.0
