"""Run by the Python that has mergekit: merges every recipe of a folder, and says how long each took.

    python reference.py FOLDER SEED [--as-it-is]

FOLDER holds `recipes/NAME.json`; results go to `theirs/NAME`. The last line of stdout is one JSON object: CPU
and wall seconds by recipe, of the merge alone, without imports.

Two things that mergekit leaves to chance are settled as in Muster, so that results can be compared: of equal
magnitudes the earlier index is taken, and random masks are drawn by (seed, tensor, position of the model).
`--as-it-is` leaves them, for timings.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import mergekit.merge_methods.generalized_task_arithmetic as tasks
import numpy as np
import torch
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions

OPTIONS = MergeOptions(quiet=True, write_model_card=False, copy_tokenizer=False)
AT = {"seed": 0, "tensor": "", "position": 0}


def settle_chance() -> None:
    """Equals by index, masks by name."""
    argsort, sort, sparsify = torch.argsort, torch.sort, tasks.sparsify
    merge_group = tasks.GeneralizedTaskArithmeticMerge.merge_group

    def named_group(self, group, /, **parameters):
        AT.update(tensor=group.metadata.name, position=-1)
        return merge_group(self, group, **parameters)

    def counted(*args, **kwargs):
        AT["position"] += 1
        return sparsify(*args, **kwargs)

    def masks(densities):
        key = hashlib.sha256(f"{AT['seed']}\0{AT['tensor']}\0{AT['position']}".encode()).digest()[:16]
        raw = np.random.Philox(key=int.from_bytes(key, "little")).random_raw((densities.numel() + 1) // 2)
        draws = raw.view("<u4")[: densities.numel()].astype(np.float64) / 2**32
        density = float(densities.reshape(-1)[0])
        return torch.from_numpy(draws < density).view(densities.shape).to(densities.dtype)

    torch.argsort = lambda *args, **kwargs: argsort(*args, **{"stable": True, **kwargs})
    torch.sort = lambda *args, **kwargs: sort(*args, **{"stable": True, **kwargs})
    torch.bernoulli = masks
    tasks.sparsify = counted
    tasks.GeneralizedTaskArithmeticMerge.merge_group = named_group


def main() -> None:
    folder, AT["seed"] = Path(sys.argv[1]), int(sys.argv[2])
    if "--as-it-is" not in sys.argv:
        settle_chance()
    took = {}
    os.chdir(folder)
    for path in sorted(Path("recipes").glob("*.json")):
        config = MergeConfiguration.model_validate(json.loads(path.read_text()))
        started = time.perf_counter(), time.process_time()
        run_merge(config, f"theirs/{path.stem}", OPTIONS)
        took[path.stem] = {"s": time.perf_counter() - started[0], "cpu_s": time.process_time() - started[1]}
    print(json.dumps(took))


if __name__ == "__main__":
    main()
