"""Train every member of the zoo on CPU cores: `python -m examples.zoo.train`.

Each expert is one single-threaded process, two at a time. An expert whose weights exist and whose
recipe, vocabulary and base did not change is skipped, so an interrupted run goes on where it stopped.
"""

import argparse
import hashlib
import itertools
import json
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from examples.zoo.candidates import aggregation_example
from examples.zoo.evaluate import accuracy_by_task, aggregator_accuracy
from examples.zoo.model import add_lora, load_member, new_model, save_adapter, untie
from examples.zoo.recipes import ALL_RECIPES, BY_EXPERT, MERGES, RECIPES, Recipe
from examples.zoo.tasks import TASKS, Task, ask, draw
from examples.zoo.tokenizer import ANSWER_MARK, EOS, build_tokenizer, save_tokenizer, saved_vocabulary

HERE = Path(__file__).parent
MODELS = HERE / "models"
RECORD = "training.json"
LORA_ALPHA = 16
N_WARMUP_STEPS = 50
N_POOLED_BATCHES = 4
IGNORED = -100
COMMAND = "python -m examples.zoo.train --only {expert}"


def example_stream(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Endless (user message, reply) pairs of a recipe, always the same for the same seed."""
    rng = random.Random(f"{recipe.seed}:{recipe.expert}")
    own, rehearsed = _draws(recipe.mixture), _draws(BY_EXPERT[recipe.base].mixture if recipe.base else {})
    n_free_only = recipe.free_only * recipe.n_steps * recipe.batch_size
    for number in itertools.count():
        rehearses = recipe.rehearsal > 0 and rng.random() < recipe.rehearsal
        task = rng.choices(*(rehearsed if rehearses else own))[0]
        may_choose = task.choice_share > 0 and number >= n_free_only
        choice = may_choose and rng.random() < task.choice_share
        if recipe.family == "aggregator":
            yield aggregation_example(task, "train", rng, choice=choice)
        else:
            question = ask(task, draw(task, "train", rng), "train", rng, choice=choice)
            yield question.prompt, question.answer


def _draws(mixture: dict[str, float]) -> tuple[list[Task], list[float]]:
    """Tasks and their weights."""
    return [TASKS[name] for name in mixture], list(mixture.values())


def batches(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (input ids, labels), each [B, T]; labels are set on the reply and its end only.

    A pool of several batches is sorted by length, which saves about half of the padding.
    """
    stream = example_stream(recipe)
    rng = random.Random(recipe.seed)
    while True:
        pool = list(islice(stream, recipe.batch_size * N_POOLED_BATCHES))
        pool.sort(key=lambda pair: len(pair[0]) + len(pair[1]))
        starts = list(range(0, len(pool), recipe.batch_size))
        rng.shuffle(starts)
        for start in starts:
            yield encode(pool[start : start + recipe.batch_size], tokenizer)


def encode(pairs: list[tuple[str, str]], tokenizer: PreTrainedTokenizerFast) -> tuple[Tensor, Tensor]:
    """Right-padded ids and labels of (user message, reply) pairs."""
    heads = tokenizer([message + ANSWER_MARK for message, _ in pairs])["input_ids"]
    tails = tokenizer([reply + EOS for _, reply in pairs])["input_ids"]
    longest = max(len(head) + len(tail) for head, tail in zip(heads, tails, strict=True))
    ids = torch.full((len(pairs), longest), tokenizer.pad_token_id)
    labels = torch.full((len(pairs), longest), IGNORED)
    for row, (head, tail) in enumerate(zip(heads, tails, strict=True)):
        end = len(head) + len(tail)
        ids[row, :end] = torch.tensor(head + tail)
        labels[row, len(head) : end] = torch.tensor(tail)
    return ids, labels


def learning_rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine down to a twentieth of the peak."""
    warm = min(1.0, (step + 1) / N_WARMUP_STEPS)
    cosine = 0.5 * (1 + math.cos(math.pi * step / recipe.n_steps))
    return recipe.peak_rate * warm * (0.05 + 0.95 * cosine)


def fit(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> None:
    """Run the recipe's steps on the model, in place."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    model.train()
    started, losses = time.monotonic(), []
    stream = islice(batches(recipe, tokenizer), recipe.n_steps)
    for step, (ids, labels) in enumerate(stream):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, recipe)
        hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
        wanted = labels[:, 1:] != IGNORED
        logits = model.lm_head(hidden[wanted])
        loss = torch.nn.functional.cross_entropy(logits, labels[:, 1:][wanted])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step % 100 == 99:
            elapsed_s = time.monotonic() - started
            print(
                f"{recipe.expert}: step {step + 1}/{recipe.n_steps}, "
                f"loss {sum(losses[-100:]) / 100:.3f}, {elapsed_s:.0f} s",
                flush=True,
            )


def train_expert(recipe: Recipe) -> None:
    """Train one expert, write its folder, and measure what was written."""
    torch.set_num_threads(1)
    torch.manual_seed(recipe.seed)
    started_s, started_cpu_s = time.monotonic(), time.process_time()
    tokenizer = build_tokenizer()
    model = _start(recipe, tokenizer)
    if recipe.lora_rank:
        add_lora(model, recipe.lora_rank, LORA_ALPHA)
    fit(model, tokenizer, recipe)
    seconds, cpu_seconds = time.monotonic() - started_s, time.process_time() - started_cpu_s
    folder = MODELS / recipe.expert
    save_expert(model, recipe, folder)
    record = {
        "recipe_sha256": recipe_sha256(recipe),
        "base_sha256": weights_sha256(recipe.base) if recipe.base else None,
        "seconds": round(seconds),
        "cpu_seconds": round(cpu_seconds),
        "accuracy": measure(recipe, folder),
    }
    _write_json(folder / RECORD, record)
    print(f"{recipe.expert}: {json.dumps(record['accuracy'])}", flush=True)


def _start(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The network to train: the base's, or a new one."""
    if not recipe.base:
        return new_model(
            tokenizer, hidden_size=recipe.hidden_size, n_layers=recipe.n_layers, tied=recipe.tied
        )
    model = load_member(MODELS / recipe.base)
    if not recipe.tied:
        untie(model)
    return model


def save_expert(model: LlamaForCausalLM, recipe: Recipe, folder: Path) -> None:
    """Write fp16 weights (or the adapter alone) and the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tokenizer(folder)
    if recipe.lora_rank:
        save_adapter(model, folder, f"../{recipe.base}", recipe.lora_rank, LORA_ALPHA)
        readme = f"A LoRA adapter over `../{recipe.base}`, in peft's format.\n"
        (folder / "README.md").write_text(readme, encoding="utf-8")
    else:
        model.half().save_pretrained(folder)


def measure(recipe: Recipe, folder: Path) -> dict[str, float]:
    """Accuracy on held-out inputs and phrasings, of the weights as saved."""
    tokenizer, model = build_tokenizer(), load_member(folder)
    if recipe.family == "aggregator":
        return aggregator_accuracy(model, tokenizer, seed=recipe.seed)
    return accuracy_by_task(model, tokenizer, "profile")


def recipe_sha256(recipe: Recipe) -> str:
    """Changes with the recipe, with its base, and with the training data it leads to."""
    digest = hashlib.sha256(json.dumps(recipe.facts, sort_keys=True).encode())
    ids, _ = encode(list(islice(example_stream(recipe), 300)), build_tokenizer())
    digest.update(str(ids.tolist()).encode())
    if recipe.base:
        digest.update(recipe_sha256(BY_EXPERT[recipe.base]).encode())
    return digest.hexdigest()


def weights_sha256(expert: str) -> str:
    """Hash of the weights of a member that others start from."""
    return hashlib.sha256((MODELS / expert / "model.safetensors").read_bytes()).hexdigest()


def is_trained(recipe: Recipe) -> bool:
    """Whether the folder holds this recipe's weights, over today's vocabulary and today's base."""
    folder = MODELS / recipe.expert
    if not (folder / RECORD).exists():
        return False
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    base_sha256 = weights_sha256(recipe.base) if recipe.base else None
    return (
        bool(record["recipe_sha256"] == recipe_sha256(recipe))
        and bool(record.get("base_sha256") == base_sha256)
        and saved_vocabulary(folder) == build_tokenizer().get_vocab()
    )


def train_all(*, force: bool, n_processes: int) -> None:
    """Every expert in a process of its own, as soon as its base is there; current ones are skipped."""
    waiting, trained = list(ALL_RECIPES), set[str]()
    with ThreadPoolExecutor(n_processes) as pool:
        running: dict[Future[None], Recipe] = {}
        while waiting or running:
            for recipe in startable(waiting, trained)[: n_processes - len(running)]:
                waiting.remove(recipe)
                running[pool.submit(_bring_up_to_date, recipe, force=force)] = recipe
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                future.result()
                trained.add(running.pop(future).expert)
                print(f"{len(trained)} of {len(ALL_RECIPES)} members are up to date", flush=True)


def startable(waiting: list[Recipe], trained: set[str]) -> list[Recipe]:
    """The recipes that need no base, or whose base is trained."""
    return [recipe for recipe in waiting if not recipe.base or recipe.base in trained]


def _bring_up_to_date(recipe: Recipe, *, force: bool) -> None:
    if not force and is_trained(recipe):
        return
    command = [sys.executable, "-m", "examples.zoo.train", "--only", recipe.expert]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent.parent)}
    subprocess.run(command, check=True, env=environment)


def make_merges() -> None:
    """Merge anew what is merged: the same inputs give the same bytes.

    Raises:
        MusterError: a recipe that cannot be used.
    """
    from orchestrator.bootstrap.merging import MergeOrder, check_order, run_order

    for member, recipe in MERGES.items():
        checked = check_order(MergeOrder(HERE / recipe, MODELS / member, force=True))
        report = run_order(checked, on_progress=_in_silence)
        print(f"{member}: {report.verdict}", flush=True)


def _in_silence(done: int, of: int) -> None:
    """Tiny members are merged in a moment: no progress is told."""
    del done, of


def write_manifest() -> None:
    """Collect all records and the hashes of all files in `manifest.json`."""
    experts = {r.expert: _manifest_entry(r) for r in ALL_RECIPES if (MODELS / r.expert / RECORD).exists()}
    merges = {name: _merge_entry(name) for name in MERGES if (MODELS / name).exists()}
    _write_json(HERE / "manifest.json", {"seed": RECIPES[0].seed, "experts": experts, "merges": merges})


def _merge_entry(member: str) -> dict[str, Any]:
    files = sorted(path for path in (MODELS / member).iterdir() if path.is_file())
    return {
        "recipe": MERGES[member],
        "bytes": sum(path.stat().st_size for path in files),
        "sha256": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files},
    }


def _manifest_entry(recipe: Recipe) -> dict[str, Any]:
    folder = MODELS / recipe.expert
    files = sorted(path for path in folder.iterdir() if path.is_file())
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    return {
        "family": recipe.family,
        "skills": recipe.skills,
        "base": recipe.base,
        "steps": recipe.n_steps,
        "current_recipe": is_trained(recipe),
        "seconds": record["seconds"],
        "cpu_seconds": record.get("cpu_seconds"),
        "command": COMMAND.format(expert=recipe.expert),
        "accuracy": record["accuracy"],
        "bytes": sum(path.stat().st_size for path in files),
        "sha256": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files},
    }


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=BY_EXPERT, help="train this expert, skipped or not")
    parser.add_argument("--force", action="store_true", help="train all experts again")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    if options.only:
        train_expert(BY_EXPERT[options.only])
        return
    train_all(force=options.force, n_processes=options.processes)
    make_merges()
    write_manifest()


if __name__ == "__main__":
    main()
