"""`POST /v1/chat/completions` over a scripted app."""

import pytest
from fastapi.testclient import TestClient

from api.main import create_app
from orchestrator.domain.answers import Answer, ExpectedGrade, FinishReason
from orchestrator.domain.assignments import INTERACTIVE, JobState
from orchestrator.domain.fusions import FusionStep, FusionTrace
from orchestrator.domain.queries import AnswerType
from orchestrator.settings.schema import ServerSettings
from tests.fakes.app import ANSWER, DECISION, FakeApp

URL = "/v1/chat/completions"


def client(app: FakeApp) -> TestClient:
    return TestClient(create_app(app), raise_server_exceptions=False)


def chat(**fields: object) -> dict[str, object]:
    return {"model": "auto", "messages": [{"role": "user", "content": "Solve x+1=2."}], **fields}


def test_completion_has_openais_form() -> None:
    body = client(FakeApp()).post(URL, json=chat()).json()
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["model"] == "auto"
    [choice] = body["choices"]
    assert choice["message"] == {
        "role": "assistant",
        "content": "The answer is (B).",
        "refusal": None,
        "tool_calls": None,
    }
    assert (choice["index"], choice["finish_reason"], choice["logprobs"]) == (0, "stop", None)
    assert body["system_fingerprint"].startswith("fp_")


def test_an_answer_that_was_cut_off_finishes_by_length() -> None:
    cut = ANSWER.model_copy(update={"finish_reason": FinishReason.LENGTH})
    [choice] = client(FakeApp(answer=cut)).post(URL, json=chat()).json()["choices"]
    assert choice["finish_reason"] == "length"


def test_usage_sums_all_inner_calls() -> None:
    """Experts 20 + 6, aggregator 5 + 1."""
    usage = client(FakeApp()).post(URL, json=chat()).json()["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (25, 7, 32)


def test_extras_stand_in_one_object() -> None:
    muster = client(FakeApp()).post(URL, json=chat()).json()["muster"]
    assert muster["recruits"] == ["org/alpha", "beta"]
    assert muster["reasons"]["recruits"][0]["accuracy"] == 0.9
    assert muster["reasons"]["would_change"] == "one more right answer"
    assert muster["votes"][1] == {
        "expert": "beta",
        "value": None,
        "weight": 0.25,
        "abstained_because": "unread",
    }
    assert (muster["value"], muster["confidence"], muster["degraded"]) == ("B", 0.8, False)
    assert muster["usage_by_role"]["aggregate"]["prompt_tokens"] == 5


def test_the_type_is_told_and_whether_it_was_inferred() -> None:
    inferred = ANSWER.model_copy(
        update={
            "answer_type": AnswerType.NUMBER,
            "decision": DECISION.replaced(answer_type=AnswerType.NUMBER, notes=("why",)),
        }
    )
    muster = client(FakeApp(answer=inferred)).post(URL, json=chat()).json()["muster"]
    assert (muster["answer_type"], muster["type_inferred"]) == ("number", True)
    assert (muster["reasons"]["answer_type"], muster["reasons"]["notes"]) == ("number", ["why"])
    said = ANSWER.model_copy(update={"answer_type": AnswerType.TEXT})
    muster = client(FakeApp(answer=said)).post(URL, json=chat()).json()["muster"]
    assert (muster["answer_type"], muster["type_inferred"]) == ("text", False)


def test_an_open_answer_has_a_grade_to_expect_in_place_of_confidence() -> None:
    grade = ExpectedGrade(mean=0.6, low=0.5, high=0.7, n=40, source="rubric")
    graded = ANSWER.model_copy(update={"confidence": None, "expected_grade": grade})
    muster = client(FakeApp(answer=graded)).post(URL, json=chat()).json()["muster"]
    assert muster["expected_grade"] == {"mean": 0.6, "low": 0.5, "high": 0.7, "n": 40.0, "source": "rubric"}
    assert muster["confidence"] is None


@pytest.mark.parametrize(
    ("muster", "answer_type", "infers"),
    [
        (None, AnswerType.OPEN, True),
        ({}, AnswerType.OPEN, True),
        ({"answer_type": "open"}, AnswerType.OPEN, False),
        ({"answer_type": "text"}, AnswerType.TEXT, False),
        ({"options": ["1", "2"]}, AnswerType.CHOICE, False),
    ],
)
def test_a_type_that_is_not_said_is_inferred(
    muster: dict[str, object] | None, answer_type: AnswerType, infers: bool
) -> None:
    app = FakeApp()
    client(app).post(URL, json=chat(muster=muster))
    [(_, (query,))] = app.store.submitted
    assert (query.answer_type, query.infers) == (answer_type, infers)


def test_fusion_is_told_as_it_was_traced() -> None:
    steps = (
        FusionStep(token_id=7, alpha=0.3, loss=0.5),
        FusionStep(token_id=1, alpha=(0.1, 0.0), loss=0.25),
        FusionStep(token_id=2),
    )
    trace = FusionTrace(rule="dynamic", steps=steps, passes={"large": 3, "base": 0}, seconds=0.5)
    app = FakeApp(answer=ANSWER.model_copy(update={"fusion": trace}))

    fusion = client(app).post(URL, json=chat(muster={"trace": True})).json()["muster"]["fusion"]

    [(job, _)] = app.store.submitted
    assert job.trace
    assert fusion == {
        "rule": "dynamic",
        "steps": [
            {"token_id": 7, "alpha": 0.3, "loss": 0.5},
            {"token_id": 1, "alpha": [0.1, 0.0], "loss": 0.25},
            {"token_id": 2, "alpha": None, "loss": None},
        ],
        "passes": {"large": 3, "base": 0},
        "seconds": 0.5,
    }


def test_headers_name_request_experts_and_job() -> None:
    app = FakeApp()
    response = client(app).post(URL, json=chat(), headers={"x-request-id": "mine-1"})
    [(job, _)] = app.store.submitted
    assert response.headers["x-request-id"] == "mine-1"
    assert response.headers["x-muster-request-id"].startswith("req_")
    assert response.headers["x-muster-experts"] == "org/alpha,beta"
    assert response.headers["x-muster-decision-id"] == job.id == response.json()["muster"]["job_id"]


def test_request_becomes_an_interactive_job() -> None:
    app = FakeApp()
    client(app).post(URL, json=chat(model="muster/knn", seed=7, temperature=0, max_completion_tokens=9))
    [(job, _)] = app.store.submitted
    assert (job.composition, job.priority, job.kind) == ("knn", INTERACTIVE, "ask")
    assert (job.seed, job.temperature, job.max_tokens) == (7, 0.0, 9)


def test_an_expert_may_be_asked_by_its_id() -> None:
    app = FakeApp()
    assert client(app).post(URL, json=chat(model="org/alpha")).json()["model"] == "org/alpha"
    assert app.store.submitted[0][0].composition == "expert:org/alpha"


@pytest.mark.parametrize("model", ["expert:org/alpha", "muster/org/alpha", "route:auto"])
@pytest.mark.parametrize(
    ("url", "body"),
    [(URL, chat()), (URL, chat(stream=True)), ("/v1/route", {"question": "Why?"})],
)
def test_what_a_job_is_called_on_the_books_names_no_model(
    url: str, body: dict[str, object], model: str
) -> None:
    app = FakeApp()
    response = client(app).post(url, json={**body, "model": model})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    valid = error["message"].partition("Valid: ")[2].removesuffix(".")
    assert sorted(valid.split(", ")) == ["auto", "beta", "muster/knn", "muster/org/mix", "org/alpha"]
    assert app.store.submitted == []


def test_earlier_messages_become_context_and_developer_means_system() -> None:
    app = FakeApp()
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "assistant", "content": "Hello.", "refusal": None, "tool_calls": None},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
    ]
    assert client(app).post(URL, json=chat(messages=messages)).status_code == 200
    [query] = app.store.submitted[0][1]
    assert query.question == "one\ntwo"
    assert [m.role for m in query.context] == ["system", "assistant"]


def test_options_make_the_question_a_choice() -> None:
    app = FakeApp()
    client(app).post(URL, json=chat(muster={"options": ["1", "2"]}))
    [query] = app.store.submitted[0][1]
    assert (query.answer_type, query.options) == (AnswerType.CHOICE, ("1", "2"))


def test_answer_type_is_a_plain_name() -> None:
    app = FakeApp()
    client(app).post(URL, json=chat(muster={"answer_type": "number"}))
    assert app.store.submitted[0][1][0].answer_type is AnswerType.NUMBER


@pytest.mark.parametrize(
    ("code", "status", "wire_code"),
    [
        ("generation_timeout", 504, "generation_timeout"),
        ("context_exceeded", 400, "context_length_exceeded"),
        ("engine_load_failed", 503, "engine_load_failed"),
        ("backend_error", 502, "backend_error"),
        ("some_backends_own_code", 502, "some_backends_own_code"),
    ],
)
def test_failed_answers_are_errors_with_the_job_named(code: str, status: int, wire_code: str) -> None:
    app = FakeApp(answer=Answer(text="", error_code=code, error="all experts failed."))
    response = client(app).post(URL, json=chat())
    assert response.status_code == status
    assert response.json()["error"]["code"] == wire_code
    assert response.json()["error"]["message"].startswith("all experts failed.")
    assert response.headers["x-muster-decision-id"] == app.store.submitted[0][0].id


def test_no_answer_in_time_is_504_that_is_not_retried_and_cancels_the_job() -> None:
    app = FakeApp(answer=None)
    response = client(app).post(URL, json=chat(muster={"timeout_s": 0.5}))
    assert response.status_code == 504
    assert response.headers["x-should-retry"] == "false"
    assert set(app.store.states.values()) == {JobState.CANCELLED}


def test_waiting_longer_than_the_server_allows_is_refused() -> None:
    app = FakeApp(server=ServerSettings(request_timeout_s=10))
    response = client(app).post(URL, json=chat(muster={"timeout_s": 11}))
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "muster.timeout_s"
