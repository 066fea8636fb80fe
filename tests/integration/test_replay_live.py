"""Recorded responses through the live path, and through replay: the same answers for the same reasons."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from orchestrator.bootstrap.app import App, open_app
from orchestrator.bootstrap.replay import ReplayPlan, SeedReplay, run_replay, with_vectors
from orchestrator.compositions.stock import STOCK_COMPOSITIONS
from orchestrator.domain.answers import NOT_SURE, Answer
from orchestrator.domain.queries import Query
from orchestrator.domain.requests import AskOptions
from orchestrator.errors import InputError
from orchestrator.evaluation.replay.files import read_replay_set
from orchestrator.evaluation.replay.rows import Rows, choose, row_table
from orchestrator.evaluation.replay.sets import ReplaySet
from orchestrator.evaluation.replay.writing import write_replay_set as write_profile
from orchestrator.settings.load import load_settings
from orchestrator.settings.schema import CompositionSettings
from tests.fakes.replay_sets import EXPERTS, write_replay_set

COMPOSITIONS = {
    "paper": CompositionSettings(
        router="symbolic",
        router_options={"score": "paper", "selection": "sample", "replacement": True},
        aggregator="majority",
    ),
    "clusters": CompositionSettings(
        router="cluster", router_options={"n_clusters": 2}, aggregator="majority"
    ),
    "one": CompositionSettings(router="best_single", aggregator="first"),
    "verified": CompositionSettings(
        router="posterior",
        aggregator="verifiers",
        aggregator_options={"min_questions": 100},
        waves={"confidence": 0.4},
    ),
    "careful": STOCK_COMPOSITIONS["auto"].model_copy(update={"abstain_below": 0.95}),
}
STOCK = ("auto", "majority_all", "static_top_3")
N = 240
"""Questions; half of them are the profile: enough to learn votes and a verifier from."""


class Bench:
    """A recorded set and a live app whose scripted experts say what was recorded."""

    def __init__(self, replay: ReplaySet, app: App) -> None:
        self.app = app
        settings = app.settings.muster
        specs = {**settings.compositions}
        plan = ReplayPlan("four", "many", (0,), Rows(tuple(specs), specs), muster=settings)
        self.recorded = SeedReplay(with_vectors(replay, settings), plan, 0)

    @property
    def profile(self) -> list[Query]:
        assert self.recorded.knowledge.profile is not None
        assert self.recorded.knowledge.profile.transcript is not None
        return list(self.recorded.knowledge.profile.transcript.queries)

    def live(self, composition: str) -> list[Answer]:
        job = self.app.jobs.submit(self.recorded.test, AskOptions(model=composition))
        self.app.jobs.run(job)
        by_id = {item.query.id: item.answer for item in self.app.jobs.answers(job)}
        return [by_id[query.id] for query in self.recorded.test]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("live")
    replay = read_replay_set(write_replay_set(folder / "set", n=N, embeddings=False, telling=True))
    with open_app(load_settings(_write_pool(folder, replay))) as app:
        bench = Bench(replay, app)
        app.profiling.run(bench.profile, exam=False)
        yield bench


def _write_pool(folder: Path, replay: ReplaySet) -> Path:
    members = [_member(replay, row, name) for row, name in enumerate(EXPERTS)]
    muster = {
        "data_dir": str(folder / "data"),
        "embedder": {"model": "hash"},
        "compositions": {name: spec.model_dump(mode="json") for name, spec in COMPOSITIONS.items()},
    }
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump({"model_list": members, "muster": muster}))
    return path


def _member(replay: ReplaySet, row: int, name: str) -> Mapping[str, object]:
    texts = [str(text).rjust(int(n)) for text, n in zip(replay.texts[row], replay.chars[row], strict=True)]
    answers = {query.question: text for query, text in zip(replay.queries, texts, strict=True)}
    return {
        "model_name": name,
        "litellm_params": {"model": f"scripted/{name}"},
        "model_info": {"muster": {"engine": "scripted", "options": {"answers": answers}}},
    }


def reasons(answer: Answer) -> dict[str, object]:
    """All that a user is told, but for the version of the cards: they also pin measured latencies."""
    told = answer.model_dump(
        mode="json", include={"text", "value", "confidence", "votes", "decision", "answered_by", "notes"}
    )
    told["decision"].pop("card_version")
    return told


@pytest.mark.parametrize("name", [*COMPOSITIONS, *STOCK])
def test_live_and_replayed_answers_are_the_same(bench: Bench, name: str) -> None:
    replayed = [played.answer for played in bench.recorded.play(name)]
    live = bench.live(name)
    assert len(live) == len(replayed) == N // 2
    for ours, theirs in zip(replayed, live, strict=True):
        assert json.dumps(reasons(ours), sort_keys=True) == json.dumps(reasons(theirs), sort_keys=True)


def test_votes_and_verifier_were_learnt(bench: Bench) -> None:
    """Nothing fell back: the comparison is of what was learnt."""
    for name in ("auto", "verified"):
        notes = [note for played in bench.recorded.play(name) for note in played.answer.notes]
        known = (
            "(no readable answer)",
            "the best expert that was asked answers",
        )  # the latter: below the floor
        assert all(note.endswith(known) for note in notes)


def test_unsure_answers_are_withheld_and_the_others_are_those_of_auto(bench: Bench) -> None:
    auto, careful = ([played.answer for played in bench.recorded.play(name)] for name in ("auto", "careful"))
    unsure = [a.confidence is not None and a.confidence < 0.95 for a in auto]
    assert 0 < sum(unsure) < len(unsure)
    assert [a.text == NOT_SURE for a in careful] == unsure
    assert all(reasons(a) == reasons(c) for a, c, u in zip(auto, careful, unsure, strict=True) if not u)


def test_one_question_asked_now_is_answered_as_in_the_replay(bench: Bench) -> None:
    replayed = bench.recorded.play("auto")
    for i in (0, 7, 19):
        asked = bench.app.asking.ask(bench.recorded.test[i], timeout_s=30)
        assert reasons(asked) == reasons(replayed[i].answer)


def test_the_live_profile_and_the_recorded_one_are_the_same(bench: Bench) -> None:
    recorded, live = bench.recorded.knowledge, bench.app.catalogue.knowledge
    assert {n: c.skills for n, c in recorded.cards.items()} == {n: c.skills for n, c in live.cards.items()}
    assert recorded.profile is not None
    assert live.profile is not None
    assert recorded.profile.query_hashes == live.profile.query_hashes
    assert recorded.profile.outcomes.tolist() == live.profile.outcomes.tolist()
    assert recorded.profile.transcript is not None
    assert live.profile.transcript is not None
    assert recorded.profile.transcript.values == live.profile.transcript.values
    assert recorded.profile.transcript.texts == live.profile.transcript.texts
    assert recorded.profile.transcript.chars.tolist() == live.profile.transcript.chars.tolist()


def test_a_profile_is_written_as_a_set_that_replays(bench: Bench, tmp_path: Path) -> None:
    """What the live experts said on the 120 profile questions is what had been recorded of them."""
    knowledge = bench.app.catalogue.knowledge
    assert knowledge.profile is not None
    assert write_profile(tmp_path / "new", knowledge.profile, bench.app.pool) == (N // 2, 0)
    replay = read_replay_set(tmp_path / "new")
    record = bench.recorded.recording
    assert [q.id for q in replay.queries] == [q.id for q in bench.profile]
    for column, query in enumerate(replay.queries):
        letters = [record.value(row, record.column[query.id]) for row in range(4)]
        assert [None if p < 0 else "ABCD"[p] for p in replay.pred[:, column]] == letters
    rows = choose(row_table({}), ["knn_majority", "oracle"])
    report = run_replay(replay, ReplayPlan("all", "profile", (0,), rows), workers=1).report
    assert (report.n_profile, report.n_test) == (36, 84)
    with pytest.raises(InputError, match="is not empty"):
        write_profile(tmp_path / "new", knowledge.profile, bench.app.pool)
