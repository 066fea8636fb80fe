"""The packaged sentence model on torch alone, against sentence-transformers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from skills.embedding import MAX_TOKENS, load_sentence_transformer, minilm_directory
from skills.sentence_bert import SentenceBert, plain_config

FILES = ("config.json", "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json")

TEXTS = [
    "Write 1984 in Roman numerals.",
    "",
    "  blanks\tand\nlines  ",
    "naïve café, 漢字, ÀÉÎ, 🙂",
    "[CLS] words [SEP] that mean [MASK] something [PAD]",
    "longer than what is seen " * 100,
    *(f"question {n}: " + "more and more words " * n for n in range(70)),
]


@pytest.mark.timeout(900)
def test_vectors_are_those_of_sentence_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = plain_config(minilm_directory())
    assert config is not None
    ours = SentenceBert(minilm_directory(), config, max_tokens=MAX_TOKENS).encode(TEXTS, batch_size=64)
    theirs = load_sentence_transformer(str(minilm_directory())).encode(
        TEXTS, batch_size=64, show_progress_bar=False, normalize_embeddings=True
    )
    assert ours.dtype == theirs.dtype == np.float32
    assert np.abs(ours - theirs).max() <= 1e-6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The packaged model without its weights."""
    for name in FILES:
        shutil.copy(minilm_directory() / name, tmp_path)
    shutil.copytree(minilm_directory() / "1_Pooling", tmp_path / "1_Pooling")
    return tmp_path


def test_the_packaged_model_is_plain(folder: Path) -> None:
    assert plain_config(folder) is not None


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.json", {"model_type": "mpnet"}),
        ("config.json", {"hidden_act": "relu"}),
        ("config.json", {"position_embedding_type": "relative_key"}),
        ("1_Pooling/config.json", {"pooling_mode_cls_token": True}),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}),
        ("sentence_bert_config.json", {"do_lower_case": True}),
        ("config_sentence_transformers.json", {"prompts": {"query": "query: "}}),
    ],
)
def test_a_model_that_does_anything_else_is_not_plain(
    folder: Path, file: str, change: dict[str, object]
) -> None:
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert plain_config(folder) is None


def test_a_model_with_other_modules_or_a_missing_file_is_not_plain(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:2]))
    assert plain_config(folder) is None
    (folder / "modules.json").unlink()
    assert plain_config(folder) is None
