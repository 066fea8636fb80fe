import torch
from torch import Tensor

from orchestrator.domain.assignments import Sampling
from orchestrator.domain.queries import Message
from orchestrator.ports.engines import GenerationRequest
from workers.backends.decoding.batch import Batch
from workers.backends.decoding.cache import GROWTH, RowCache
from workers.backends.decoding.rows import Row

PAD = 0


def batch(*prompts: list[int]) -> Batch:
    """Prompts as a batch whose one-layer cache holds key = value = token for each column."""
    rows = [
        Row(request=GenerationRequest(str(p), (Message(role="user", content="x"),), Sampling()), prompt_ids=p)
        for p in prompts
    ]
    made = Batch.start(rows, pad_id=PAD, device=torch.device("cpu"))
    fill(made.rectangles[0].cache, made.tokens)
    return made


def fill(cache: RowCache, tokens: Tensor) -> None:
    columns = tokens[:, None, :, None].float()
    cache.update(columns, columns, 0)


def cached(of: Batch) -> list[list[int]]:
    return of.rectangles[0].cache.layers[0].keys[:, 0, :, 0].int().tolist()


def test_prompts_are_padded_on_the_left() -> None:
    made = batch([7, 8, 9], [5])
    assert made.tokens.tolist() == [[7, 8, 9], [0, 0, 5]]
    assert made.rectangles[0].mask.tolist() == [[1, 1, 1], [0, 0, 1]]


def test_join_pads_the_narrower_batch_on_the_left() -> None:
    made = batch([7, 8, 9])
    made.join(batch([5], [6]), pad_id=PAD)
    assert made.tokens.tolist() == cached(made) == [[7, 8, 9], [0, 0, 5], [0, 0, 6]]
    assert made.rectangles[0].mask.tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 1]]
    assert made.n_alive == 3


def test_compaction_drops_dead_rows_and_the_columns_only_they_used() -> None:
    made = batch([7, 8, 9], [5], [3, 4])
    made.bury(0)
    made.compact()
    assert made.tokens.tolist() == cached(made) == [[0, 5], [3, 4]]
    assert [row.prompt_ids for row in made.rows] == [[5], [3, 4]]
    assert made.alive.tolist() == [True, True]


def test_cache_keeps_its_columns_when_it_grows_and_after_rows_left() -> None:
    cache = RowCache()
    fill(cache, torch.tensor([[1, 2], [3, 4]]))
    for token in range(5, 5 + GROWTH + 3):
        fill(cache, torch.tensor([[token], [token + 100]]))
    cache.keep(torch.tensor([1]), first=1)
    fill(cache, torch.tensor([[9]]))
    expected = [4, *range(105, 105 + GROWTH + 3), 9]
    assert cache.layers[0].keys[0, 0, :, 0].tolist() == expected
    assert cache.layers[0].values[0, 0, :, 0].tolist() == expected
