"""A synthetic recorded pool through the production compositions."""

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.bootstrap.replay import ReplayPlan, SeedReplay, parts, run_replay, with_vectors, worker_pool
from orchestrator.compositions.calls import error_answer
from orchestrator.errors import CompositionError, UnsupportedError
from orchestrator.evaluation.replay.files import read_replay_set
from orchestrator.evaluation.replay.player import Played
from orchestrator.evaluation.replay.rows import Rows, choose, row_table
from orchestrator.evaluation.replay.sets import ReplaySet
from orchestrator.settings.schema import EmbedderSettings, MusterSettings, SkillSettings
from tests.fakes.replay_sets import write_replay_set

ROWS = ["auto", "best_single", "static_top_3", "knn_majority", "oracle"]


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> ReplaySet:
    return read_replay_set(write_replay_set(tmp_path_factory.mktemp("set"), n=120, samples=2))


def plan(
    *rows: str, labels: bool = False, seeds: tuple[int, ...] = (0, 1), muster: MusterSettings | None = None
) -> ReplayPlan:
    chosen = choose(row_table({}, has_samples=True), rows or ROWS)
    return ReplayPlan("four", "many", seeds, chosen, labels, muster or MusterSettings())


def test_routing_by_text_finds_the_specialists(replay: ReplaySet) -> None:
    """adder and poet are 95 % right on their own domain and 20 % elsewhere, steady 60 %."""
    report = run_replay(replay, plan("knn_majority", "best_single", "oracle"), workers=1).report
    assert report.row("knn_majority").accuracy > report.row("best_single").accuracy
    assert report.row("oracle").accuracy >= report.row("knn_majority").accuracy
    assert (report.n_profile, report.n_test, report.n_experts) == (60, 60, 4)


def test_the_oracle_is_right_where_anybody_is(replay: ReplaySet) -> None:
    result = run_replay(replay, plan("oracle", seeds=(0,)), workers=1)
    test = replay.splits["seed0"]["test"]
    answers = np.array([replay.queries[c].answer for c in test])
    assert np.array_equal(result.trials[0].score, (replay.pred[:, test] == answers).any(axis=0))


def test_calls_count_different_experts(replay: ReplaySet) -> None:
    names = ("best_single", "static_top_3", "majority_all", "self_consistency", "symbolic_paper")
    report = run_replay(replay, plan(*names), workers=1).report
    assert [report.row(name).calls for name in names[:4]] == [1, 3, 4, 1]
    assert 1 < report.row("symbolic_paper").calls < 3


def test_every_stock_row_can_be_replayed(replay: ReplaySet) -> None:
    every = choose(row_table({}, has_samples=True), ["all"])
    report = run_replay(replay, plan(seeds=(0,))._replace(rows=every), workers=1).report
    assert [row.name for row in report.rows] == list(every.names)
    calls = {row.name: row.calls for row in report.rows if row.name.endswith("_majority")}
    assert calls == dict.fromkeys(calls, 3)  # no router holds experts back from a plain vote


def test_a_replay_repeats(replay: ReplaySet) -> None:
    first, again = (run_replay(replay, plan("symbolic_paper", "cluster"), workers=1) for _ in range(2))
    assert all(np.array_equal(a.score, b.score) for a, b in zip(first.trials, again.trials, strict=True))


def test_more_workers_change_nothing(replay: ReplaySet) -> None:
    few = plan("knn_majority", "best_single", seeds=(0,))
    alone, shared = (run_replay(replay, few, workers=n) for n in (1, 2))
    assert [t.score.tolist() for t in alone.trials] == [t.score.tolist() for t in shared.trials]


@given(
    st.integers(1, 5),
    st.lists(st.integers(0, 9), min_size=1, max_size=5, unique=True),
    st.integers(1, 6),
)
def test_work_is_dealt_out_once(workers: int, seeds: list[int], n_rows: int) -> None:
    names = tuple(f"r{i}" for i in range(n_rows))
    work = parts(ReplayPlan("p", "q", tuple(seeds), Rows(names, {})), workers)
    assert len(work) <= workers
    dealt = [(part.seed, name) for of_worker in work for part in of_worker for name in part.names]
    assert sorted(dealt) == sorted((seed, name) for seed in seeds for name in names)


def test_skills_come_from_the_text_unless_labels_are_asked_for(replay: ReplaySet) -> None:
    text, labels = (SeedReplay(replay, plan(labels=wanted), 0).knowledge for wanted in (False, True))
    assert set(labels.cards["adder"].skills) == {"sums", "verse"}
    assert not {"sums", "verse"} & set(text.cards["adder"].skills)
    assert run_replay(replay, plan("best_single", labels=True), workers=1).report.annotation == "labels"


def test_cards_and_transcript_hold_what_was_recorded(replay: ReplaySet) -> None:
    seed = SeedReplay(replay, plan(), 0)
    columns = replay.splits["seed0"]["many"]
    answers = np.array([replay.queries[c].answer for c in columns])
    knowledge = seed.knowledge
    assert knowledge.cards["poet"].total.n_right == (replay.pred[1, columns] == answers).sum()
    assert knowledge.profile is not None
    transcript = knowledge.profile.transcript
    assert transcript is not None
    letters = [None if p < 0 else "ABCD"[p] for p in replay.pred[3, columns]]
    assert list(transcript.values[3]) == letters
    assert np.array_equal(transcript.chars[:, 0], [len(text[0]) for text in transcript.texts])


def test_texts_that_were_not_recorded_are_not_learnt_from(tmp_path: Path) -> None:
    bare = read_replay_set(write_replay_set(tmp_path, n=40, texts=False))
    profile = SeedReplay(bare, plan(), 0).knowledge.profile
    assert profile is not None
    assert profile.transcript is not None
    assert profile.transcript.texts == ()
    assert np.array_equal(profile.transcript.chars, bare.chars[:, bare.splits["seed0"]["many"]])


def test_without_vectors_questions_are_embedded_once_outside_the_folder(tmp_path: Path) -> None:
    folder = write_replay_set(tmp_path / "set", n=20, embeddings=False)
    files = sorted(folder.iterdir())
    muster = MusterSettings(data_dir=tmp_path / "data", embedder=EmbedderSettings(model="hash"))
    embedded = with_vectors(read_replay_set(folder), muster)
    assert embedded.embeddings is not None
    assert embedded.embeddings.shape[0] == 20
    assert sorted(folder.iterdir()) == files
    assert len(list((tmp_path / "data" / "vectors").iterdir())) == 1


def test_a_row_that_ends_in_errors_is_an_error_not_a_zero(
    replay: ReplaySet, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = Played(error_answer("routing_failed", "no vectors"), 0)
    monkeypatch.setattr(SeedReplay, "play", lambda self, _: [failed] * len(self.test))
    with pytest.raises(CompositionError, match="row 'auto': no vectors"):
        run_replay(replay, plan("auto"), workers=1)


def test_a_pool_cannot_annotate_with_a_model(replay: ReplaySet) -> None:
    skills = SkillSettings(annotator="llm", annotator_expert="adder")
    with pytest.raises(UnsupportedError, match="a recorded pool cannot annotate"):
        run_replay(replay, plan("symbolic_majority", muster=MusterSettings(skills=skills)), workers=1)


WORKING = """
import os, sys
from orchestrator.bootstrap.replay import worker_pool
with worker_pool(1) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    sys.stdin.read()
"""


def test_workers_end_with_a_replay_that_is_killed() -> None:
    replaying = subprocess.Popen(
        [sys.executable, "-c", WORKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with replaying:
        assert replaying.stdout is not None
        worker = os.pidfd_open(int(replaying.stdout.readline()))
        replaying.kill()
        ended = select.poll()
        ended.register(worker, select.POLLIN)
        assert ended.poll(30_000)
        os.close(worker)


def interrupted() -> None:
    with worker_pool(1) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
        for _ in range(2):
            pool.submit(time.sleep, 10_000)
        raise KeyboardInterrupt


def test_work_that_takes_for_ever_holds_nobody_who_is_interrupted() -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted()
