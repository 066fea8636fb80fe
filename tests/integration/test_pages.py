"""Pages without a script, as a plain browser has them: forms, links, errors, keys, what they may load."""

import html
import json
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from fastapi.testclient import TestClient
from markupsafe import escape

from api.dashboard.rendering import STATIC, static_url
from api.main import create_app
from orchestrator.bootstrap.app import App, open_app
from orchestrator.domain.keys import KeyTerms, Scope
from orchestrator.evaluation.compositions import REPORT_FILE, CompositionRow, CompositionsReport
from orchestrator.evaluation.statistics import CalibrationBin
from orchestrator.questions.files import read_questions
from orchestrator.settings.load import load_settings
from tests.harness.waiting import wait_for
from tests.integration.scripted_pool import question, write_pool, write_questions

HTML = {"accept": "text/html"}
PAGES = ("/", "/experts", "/jobs", "/compositions", "/system", "/keys")
MOST_BYTES = 300_000
FAILING = "This one cannot be answered."
RULES = [{"match": FAILING, "fail": "generation_failed"}]


def today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with open_app(load_settings(write_pool(folder, rules=RULES)), background=True) as app:
            app.profiling.run(read_questions(write_questions(folder / "profile.jsonl", range(40))))
            yield app


@pytest.fixture
def browser(app: App) -> Iterator[TestClient]:
    with TestClient(create_app(app), headers=HTML, raise_server_exceptions=False) as client:
        yield client


class Page(HTMLParser):
    """What a page loads and leads to, and the script and style that stand in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.inline: list[str] = []
        self.ids: list[str] = []
        self.labels: list[str] = []
        self.fields: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        self.inline += [name for name in has if name == "style" or name.startswith("on")]
        if tag in ("script", "style") and not has.get("src"):
            self.inline.append(tag)
        if tag in ("script", "img", "link"):
            self.loads.append(str(has.get("src") or has.get("href")))
        if tag == "a":
            self.links.append(str(has.get("href")))
        is_seen = has.get("type") not in ("hidden", "checkbox") and "hidden" not in has
        if tag in ("input", "select", "textarea") and is_seen:
            self.fields.append(has)
        if tag == "label":
            self.labels.append(str(has.get("for")))
        if has.get("id"):
            self.ids.append(str(has["id"]))


def asked(browser: TestClient, number: int, **fields: str) -> Any:
    return browser.post("/ask", data={"question": question(number), "model": "alpha", **fields})


def submitted(browser: TestClient, lines: bytes, **fields: str) -> Any:
    return browser.post("/jobs", files={"file": ("set.jsonl", lines)}, data=fields)


def some_lines(n: int) -> bytes:
    return "\n".join(json.dumps({"id": f"q{i}", "question": question(i)}) for i in range(n)).encode()


def ended(app: App, address: str) -> None:
    job_id = address.rsplit("/", 1)[-1]
    wait_for("the end", lambda: app.jobs.job(job_id).state.is_over, within_s=60)


def test_every_page_loads_our_own_files_only_and_runs_nothing_inline(browser: TestClient) -> None:
    answer = asked(browser, 3)
    for path in (*PAGES, "/experts/alpha", "/login", answer.url.path):
        response = browser.get(path)
        assert response.status_code == 200, path
        assert len(response.content) < MOST_BYTES
        page = Page(response.text)
        assert page.inline == [], path
        for address in page.loads:
            assert address.startswith("/static/")
            assert browser.get(address).status_code == 200
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_every_link_leads_somewhere(browser: TestClient) -> None:
    tried = set()
    for path in (*PAGES, "/experts/alpha", asked(browser, 3).url.path):
        for link in Page(browser.get(path).text).links:
            if link.startswith("/") and link not in tried:
                tried.add(link)
                assert browser.get(link).status_code == 200, link
    assert len(tried) > 15


def test_every_field_has_a_label_and_every_id_is_there_once(browser: TestClient) -> None:
    for path in (*PAGES, "/login", "/experts/alpha"):
        page = Page(browser.get(path).text)
        assert [field for field in page.fields if field.get("id") not in page.labels] == [], path
        assert len(page.ids) == len(set(page.ids))


def test_a_question_without_a_script_is_answered_on_a_page_that_can_be_shared(browser: TestClient) -> None:
    answer = asked(browser, 5)
    assert answer.status_code == 200
    assert answer.url.path.startswith("/answers/ask-")
    again = browser.get(answer.url.path)
    assert "The answer is (A)." in again.text
    assert "Why these experts" in again.text or "alpha" in again.text


def test_an_answer_leads_to_the_same_question_for_the_same_composition(browser: TestClient) -> None:
    answer = asked(browser, 5, options="10\n11", answer_type="choice")
    [again] = {link for link in Page(answer.text).links if link.startswith("/?")}
    form = browser.get(again).text
    assert re.findall(r"<textarea[^>]*>([^<]*)", form) == [question(5), "10\n11"]
    assert re.findall(r"<option[^>]* selected>([^<]*)", form) == ["choice", "alpha"]


def test_an_empty_question_is_told_on_a_page(browser: TestClient) -> None:
    refused = browser.post("/ask", data={"question": "  "})
    assert refused.status_code == 400
    assert "the question is empty" in refused.text
    assert "text/html" in refused.headers["content-type"]


def test_an_unknown_composition_is_told_with_those_that_there_are(browser: TestClient) -> None:
    refused = asked(browser, 5, model="alhpa")
    assert refused.status_code == 404
    assert "alpha" in refused.text


def test_hostile_text_is_shown_and_not_run(browser: TestClient) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    page = browser.get("/", params={"question": evil})
    assert "<script>alert" not in page.text
    assert Page(page.text).inline == []
    answer = browser.post("/ask", data={"question": evil, "model": "alpha"})
    assert "<script>alert" not in answer.text
    assert Page(answer.text).inline == []
    lines = json.dumps({"id": evil, "question": evil}).encode()
    job = submitted(browser, lines, model="alpha", label=evil)
    assert Page(browser.get(job.url.path).text).inline == []


def test_an_answer_is_judged_once_and_the_other_way_is_refused(browser: TestClient, app: App) -> None:
    answer = asked(browser, 7)
    job_id = answer.url.path.rsplit("/", 1)[-1]
    query = app.jobs.query_record(job_id).query.id
    judge = f"/answers/{job_id}/feedback"
    assert browser.post(judge, data={"right": "true", "query": query}).status_code == 200
    assert browser.post(judge, data={"right": "true", "query": query}).status_code == 200
    assert "Thank you" in browser.post(judge, data={"right": "true", "query": query}).text
    assert "Thank you" not in browser.get(f"/answers/{job_id}").text
    refused = browser.post(judge, data={"right": "false", "query": query})
    assert refused.status_code == 409
    assert "judged" in refused.text


def test_a_file_becomes_a_job_and_the_same_form_again_is_the_same_job(browser: TestClient, app: App) -> None:
    first = submitted(browser, some_lines(6), model="alpha", nonce="n-1", label="six")
    again = submitted(browser, some_lines(6), model="alpha", nonce="n-1", label="six")
    assert first.status_code == 200
    assert first.url == again.url
    ended(app, first.url.path)
    page = browser.get(first.url.path)
    assert "six" in page.text
    assert "The answer is (A)." in page.text
    assert "six" in browser.get("/jobs").text


def test_a_form_takes_as_large_a_file_as_the_api(browser: TestClient, app: App) -> None:
    most = app.settings.muster.server.max_body_bytes
    lines = json.dumps({"id": "large", "question": question(1), "padding": "x"}).encode()
    padded = (b" " * 99 + b"\n") * (most // 100 + 1) + lines
    told = submitted(browser, padded, model="alpha")
    assert told.status_code == 400  # it was read, to its last line
    assert "padding" in told.text


def test_questions_asked_one_by_one_are_listed_where_they_are_asked_for(browser: TestClient) -> None:
    asked_id = asked(browser, 9).url.path.rsplit("/", 1)[-1]
    assert asked_id not in browser.get("/jobs").text
    [link] = [link for link in Page(browser.get("/jobs").text).links if link.endswith("all=true")]
    assert asked_id in browser.get(link).text


def test_a_bad_file_is_told_line_by_line_and_nothing_is_stored(browser: TestClient) -> None:
    before = browser.get("/jobs").text.count("/jobs/job-")
    refused = submitted(browser, b'{"id": "a", "question": "x"}\n{"id": "b"}\nnonsense\n')
    assert refused.status_code == 400
    assert re.search(r"<td class=\"n\">2</td>", refused.text)
    assert re.search(r"<td class=\"n\">3</td>", refused.text)
    assert browser.get("/jobs").text.count("/jobs/job-") == before


def test_answers_come_as_a_table_that_no_spreadsheet_runs(browser: TestClient, app: App) -> None:
    lines = json.dumps({"id": "=1+1", "question": "+cmd|' /C calc'!A0"}).encode()
    job = submitted(browser, lines, model="alpha")
    ended(app, job.url.path)
    table = browser.get(f"{job.url.path}/answers.csv")
    assert table.headers["content-type"].startswith("text/csv")
    [head, row] = table.text.strip().splitlines()
    assert head.startswith("id,question,answer")
    assert row.startswith("'=1+1,'+cmd|")


def test_failures_are_shown_by_kind_and_run_again(browser: TestClient, app: App) -> None:
    line = json.dumps({"id": "broken", "question": FAILING}).encode()
    job = submitted(browser, line + b"\n" + some_lines(2), model="alpha")
    ended(app, job.url.path)
    page = browser.get(job.url.path).text
    assert "<h2>Errors</h2>" in page
    assert f"/answers{job.url.path.removeprefix('/jobs')}?query=broken" in page
    assert browser.get(f"/answers{job.url.path.removeprefix('/jobs')}?query=broken").status_code == 200
    again = browser.post(f"{job.url.path}/retry")
    assert again.url == job.url
    ended(app, job.url.path)


def test_a_job_of_less_than_a_second_is_not_said_to_have_taken_no_time(browser: TestClient, app: App) -> None:
    """Its times are whole seconds: they are the same, or one apart where the clock ticked meanwhile."""
    job = submitted(browser, some_lines(1), model="alpha")
    ended(app, job.url.path)
    page = browser.get(job.url.path).text
    assert "<dt>took</dt><dd>0 ms</dd>" not in page
    assert re.search("<dt>took</dt><dd>(under 1 s|[1-9][^<]* s)</dd>", page)


def test_a_job_is_cancelled_and_deleted_by_its_buttons(browser: TestClient, app: App) -> None:
    job = submitted(browser, some_lines(3), model="alpha")
    assert browser.post(f"{job.url.path}/cancel").status_code == 200
    ended(app, job.url.path)
    gone = browser.post(f"{job.url.path}/delete")
    assert gone.url.path == "/jobs"
    assert browser.get(job.url.path).status_code == 404


def test_experts_are_found_compared_and_paused(browser: TestClient) -> None:
    assert "No row holds" in browser.get("/experts", params={"text": "no such skill"}).text
    assert browser.get("/experts", params={"order": "sideways"}).status_code == 400
    both = browser.get("/experts/compare", params={"a": "alpha", "b": "org/beta"})
    assert "alpha and org/beta" in both.text
    paused = browser.post("/experts/org/beta/pause", data={"reason": "for a look"})
    assert "for a look" in paused.text
    assert "for a look" not in browser.post("/experts/org/beta/resume").text
    assert browser.get("/experts/nobody").status_code == 404


def test_an_experts_page_tells_its_history_and_how_users_judged_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        open_app(load_settings(write_pool(tmp_path)), background=True) as app,
        TestClient(create_app(app), headers=HTML) as browser,
    ):
        assert "History" not in browser.get("/experts/alpha").text
        for numbers in (range(20), range(40)):
            app.profiling.run(read_questions(write_questions(tmp_path / "profile.jsonl", numbers)))
        first, second = (one.card.profile_hash[:8] for one in reversed(app.experts.history("alpha")))
        page = browser.get("/experts/alpha").text
        assert page.count(f">{today()}</td>") == 2
        told = browser.get("/v1/experts/alpha/history").json()["data"]
        assert [one["profile_hash"][:8] for one in told] == [second, first]
        assert [(one["is_current"], one["is_as_configured"]) for one in told] == [(True, True), (False, True)]
        card = browser.get("/v1/experts/alpha/card").json()
        assert card["stored_at"] == told[0]["stored_at"] >= told[1]["stored_at"]
        assert page.index(f">{second}<") < page.index(f">{first}<")
        assert "Judged answers" not in page
        answer = asked(browser, 7, options="14\n15\n16")
        query = app.jobs.query_record(answer.url.path.rsplit("/", 1)[-1]).query.id
        browser.post(f"{answer.url.path}/feedback", data={"right": "true", "query": query})
        assert "Judged answers" in browser.get("/experts/alpha").text


def test_an_expert_that_was_measured_with_other_settings_is_not_said_to_be_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_app(load_settings(write_pool(tmp_path)), background=True) as app:
        app.profiling.run(read_questions(write_questions(tmp_path / "profile.jsonl", range(10))))
    changed = load_settings(write_pool(tmp_path, delay_s=0.01))
    with open_app(changed) as app, TestClient(create_app(app), headers=HTML) as browser:
        page = browser.get("/experts/alpha").text
        assert "Not measured with the weights and settings" in page
        assert "other weights or settings" in page


def test_an_engine_whose_expert_is_paused_is_said_to_be(browser: TestClient) -> None:
    assert ">paused<" not in browser.get("/system").text
    browser.post("/experts/org/beta/pause", data={"reason": "a look"})
    try:
        assert browser.get("/system").text.count(">paused<") == 1
    finally:
        browser.post("/experts/org/beta/resume")


def test_a_device_that_is_chosen_by_itself_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        open_app(load_settings(write_pool(tmp_path)), background=True) as app,
        TestClient(create_app(app), headers=HTML) as browser,
    ):
        job = submitted(browser, some_lines(3), model="alpha")
        ended(app, job.url.path)
        assert "the first GPU of its host, or the CPU" in browser.get(job.url.path).text


def test_a_comparison_is_drawn_when_there_is_one(browser: TestClient, app: App) -> None:
    assert "Nothing was compared" in browser.get("/compositions").text
    row = CompositionRow(
        name="auto",
        kind="ensemble",
        accuracy=0.9,
        ci95=(0.8, 0.95),
        seconds=3,
        gflop_per_query=None,
        calls_per_query=1.2,
        calibration=(CalibrationBin(0.9, 0.85, 0.7, 0.95, 20),),
    )
    report = CompositionsReport(n_queries=9, n_experts=3, rows=(row,), verdict="Use auto here.")
    path = Path(app.settings.muster.data_dir) / REPORT_FILE
    path.write_text(report.model_dump_json())
    page = browser.get("/compositions").text
    assert "Use auto here." in page
    assert page.count("<svg") == 2
    assert "Calibration of auto: 20 answers that were 90 % sure: 85 % right (70 % to 95 %)" in page
    path.write_text("{}")
    assert "Nothing was compared" in browser.get("/compositions").text


def test_what_there_is_not_is_a_page_for_a_browser_and_json_for_a_client(browser: TestClient) -> None:
    page = browser.get("/nowhere")
    assert page.status_code == 404
    assert "There is no page /nowhere" in page.text
    told = browser.get("/nowhere", headers={"accept": "application/json"})
    assert told.json()["error"]["code"] == "not_found"
    assert browser.get("/v1/nowhere").json()["error"]["code"] == "not_found"
    assert browser.get("/static/x/../../main.py").status_code == 404
    assert browser.get("/static/x/nothing.js").status_code == 404


def test_where_things_are_is_told_under_v1(browser: TestClient) -> None:
    links = browser.get("/v1").json()["links"]
    assert links["chat"] == "/v1/chat/completions"


def test_a_script_and_those_that_it_names_have_addresses_of_one_content() -> None:
    """A browser looks for `./tables.js` beside who names it, and keeps what it finds for good."""
    assert len({static_url(path.name).rsplit("/", 1)[0] for path in STATIC.iterdir()}) == 1


def test_files_are_kept_by_browsers_and_pages_are_not(browser: TestClient) -> None:
    assert browser.get("/").headers["cache-control"] == "no-store"
    for path in STATIC.iterdir():
        response = browser.get(static_url(path.name))
        assert "immutable" in response.headers["cache-control"]
        assert response.headers["x-content-type-options"] == "nosniff"


def test_the_first_key_is_made_on_its_page_and_its_maker_goes_on_under_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        open_app(load_settings(write_pool(tmp_path)), background=True) as app,
        TestClient(create_app(app), headers=HTML, raise_server_exceptions=False) as browser,
    ):
        unasked = browser.post("/login", data={"key": "é€; x=1"}, follow_redirects=False)
        assert unasked.headers["location"] == "/", "nobody needs a key yet"
        assert "set-cookie" not in unasked.headers
        assert browser.post("/keys", data={"name": "x", "scopes": ["ask"]}).status_code == 400
        made = browser.post("/keys", data={"name": "me", "scopes": ["admin"], "days": "3"})
        [secret] = set(re.findall(r"sk-muster-[\w-]{43}", made.text))
        assert browser.get("/keys").status_code == 200
        assert secret not in browser.get("/keys").text
        browser.cookies.clear()
        assert browser.get("/").url.path == "/login"
        assert browser.get("/", headers={"accept": "*/*"}).status_code == 401
        assert browser.get("/v1/experts").status_code == 401
        assert browser.post("/login", data={"key": "sk-muster-wrong"}).url.query == b"wrong=true"
        assert browser.post("/login", data={"key": f" {secret} "}).url.path == "/"
        kept = browser.get("/", follow_redirects=False)
        assert kept.status_code == 200
        assert browser.get("/v1/experts").status_code == 200
        browser.post("/logout")
        assert browser.get("/jobs").url.path == "/login"


def nonce_of(page: str) -> str:
    [nonce] = re.findall(r'name="nonce" value="([0-9a-f]{32})"', page)
    return str(nonce)


def test_a_question_that_is_sent_twice_is_asked_once(browser: TestClient, app: App) -> None:
    fields = {"nonce": nonce_of(browser.get("/").text)}
    first, second = (asked(browser, 5, **fields).url.path for _ in range(2))
    assert first == second
    assert app.jobs.job(first.rpartition("/")[2]).n_assignments == 1
    assert asked(browser, 6, **fields).url.path != first, "another question, of a page that was kept"
    assert asked(browser, 5, nonce=nonce_of(browser.get("/").text)).url.path != first


def test_a_key_that_is_asked_for_twice_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        open_app(load_settings(write_pool(tmp_path)), background=True) as app,
        TestClient(create_app(app), headers=HTML, raise_server_exceptions=False) as browser,
    ):
        form = {"name": "me", "scopes": ["admin"], "nonce": nonce_of(browser.get("/keys").text)}
        secrets = [
            re.findall(r"sk-muster-[\w-]{43}", browser.post("/keys", data=form).text) for _ in range(2)
        ]
        assert secrets[0] == secrets[1] != []
        assert len(app.keys.listed()) == 1
        browser.post("/keys", data={**form, "nonce": nonce_of(browser.get("/keys").text)})
        assert len(app.keys.listed()) == 2


def test_what_a_button_does_is_done_once_however_often_it_is_pressed(browser: TestClient, app: App) -> None:
    job = submitted(browser, some_lines(1))
    ended(app, job.url.path)
    assert [browser.post(f"{job.url.path}/delete").url.path for _ in range(2)] == ["/jobs", "/jobs"]
    failing = submitted(browser, json.dumps({"question": FAILING}).encode())
    ended(app, failing.url.path)
    assert [browser.post(f"{failing.url.path}/retry").status_code for _ in range(2)] == [200, 200]
    ended(app, failing.url.path)
    assert [browser.post(f"{failing.url.path}/cancel").status_code for _ in range(2)] == [200, 200]


def test_what_cannot_be_undone_stands_behind_a_question(browser: TestClient, app: App) -> None:
    """Each form whose address destroys something is in a part of the page that is shut."""
    job = submitted(browser, some_lines(1))
    ended(app, job.url.path)
    page = browser.get(job.url.path).text
    assert re.search(r'<details class="confirm">[^§]*?action="[^"]*/delete"[^§]*?</details>', page)
    templates = {path.name: path.read_text() for path in STATIC.with_name("templates").iterdir()}
    bare = [
        name
        for name, text in templates.items()
        if re.search(r'<form[^>]*action="[^"]*/(delete|cancel|revoke)"', text)
    ]
    assert bare == []


def test_the_cookie_is_for_this_server_only_and_no_script_reads_it(app: App) -> None:
    with TestClient(create_app(app), headers=HTML, follow_redirects=False) as browser:
        _, secret = app.keys.create(KeyTerms(scopes=(Scope.ADMIN,)))
        try:
            given = browser.post("/login", data={"key": secret}).headers["set-cookie"].lower()
            assert "httponly" in given
            assert "samesite=strict" in given
            foreign = {"origin": "https://evil.example", "cookie": f"muster_key={secret}"}
            assert browser.post("/keys", data={"scopes": "admin"}, headers=foreign).status_code == 403
        finally:
            for key in app.keys.listed():
                app.keys.revoke(key.id)


def test_a_key_that_may_only_ask_sees_no_keys_and_submits_no_jobs(app: App) -> None:
    asker = app.keys.create(KeyTerms(scopes=(Scope.ASK,)))[1]
    with TestClient(create_app(app), headers={**HTML, "authorization": f"Bearer {asker}"}) as browser:
        assert browser.get("/keys").status_code == 403
        assert 'href="/keys"' not in browser.get("/").text
        assert 'id="upload"' not in browser.get("/jobs").text
        assert submitted(browser, some_lines(1)).status_code == 403
        assert "<th>host</th>" not in browser.get("/system").text
        assert browser.post("/experts/alpha/pause").status_code == 403


@pytest.mark.parametrize(
    ("method", "address", "fields", "named"),
    [
        ("GET", "/experts?order=<script>", {}, "order: Input should be"),
        ("GET", "/experts?page=0", {}, "page: Input should be greater than"),
        ("GET", "/?model=" + "m" * 513, {}, "model: String should have at most 512"),
        ("POST", "/ask", {"question": "x" * 100_001}, "question: String should have at most 100000"),
        ("POST", "/keys", {"scopes": "admin", "name": "n" * 129}, "name: String should have at most 128"),
        (
            "POST",
            "/keys",
            {"scopes": "admin", "days": "99999999999999"},
            "days: give a whole number from 1 to",
        ),
        ("POST", "/keys", {"scopes": "admin", "days": "0"}, "days: give a whole number from 1 to"),
        ("POST", "/keys", {"scopes": "owner"}, "scopes"),
        ("POST", "/keys", {"days": "3"}, "choose at least one thing"),
        ("POST", "/jobs", {"label": "l" * 300}, "label: String should have at most 256"),
    ],
)
def test_a_field_that_cannot_be_taken_is_named(
    browser: TestClient, app: App, method: str, address: str, fields: dict[str, str], named: str
) -> None:
    known, secret = app.keys.create(KeyTerms(scopes=(Scope.ADMIN,)))
    n_keys = len(app.keys.listed())
    told = browser.request(method, address, data=fields, headers={"authorization": f"Bearer {secret}"})
    assert told.status_code == 400
    assert named in html.unescape(told.text)
    assert len(app.keys.listed()) == n_keys
    app.keys.revoke(known.id)


def test_a_key_that_may_not_ask_is_led_to_the_jobs(app: App) -> None:
    batch = app.keys.create(KeyTerms(scopes=(Scope.BATCH,)))[1]
    try:
        with TestClient(create_app(app), headers=HTML) as browser:
            assert browser.post("/login", data={"key": batch}).url.path == "/jobs"
            assert browser.get("/").url.path == "/jobs"
    finally:
        for key in app.keys.listed():
            app.keys.revoke(key.id)


def test_a_key_that_is_over_is_told_where_another_is_asked_for(app: App) -> None:
    known, secret = app.keys.create(KeyTerms(scopes=(Scope.ADMIN,)))
    app.keys.create(KeyTerms(scopes=(Scope.ADMIN,)))
    try:
        with TestClient(create_app(app), headers=HTML) as browser:
            assert browser.get("/system").url.query == b"", "nobody gave one"
            browser.post("/login", data={"key": secret})
            app.keys.revoke(known.id)
            assert "is not known, is over, or was revoked" in browser.get("/system").text
    finally:
        for key in app.keys.listed():
            app.keys.revoke(key.id)


def test_the_remedy_of_a_missing_key_is_told_whole(app: App) -> None:
    app.keys.create(KeyTerms(scopes=(Scope.ADMIN,)))
    try:
        with TestClient(create_app(app)) as client:
            told = client.get("/v1/experts").json()["error"]["message"]
        assert "as a bearer token" in told
        assert "redacted" not in told
    finally:
        for key in app.keys.listed():
            app.keys.revoke(key.id)


def test_experts_of_odd_names_have_pages_and_are_paused_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pool = yaml.safe_load(write_pool(tmp_path).read_text())
    names = ["compare", "a?b=c#d", "<img/src=x>", "é😀"]
    row = pool["model_list"][1]
    pool["model_list"] += [{**row, "model_name": name} for name in names]
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump(pool))
    with (
        open_app(load_settings(tmp_path / "odd.yaml")) as app,
        TestClient(create_app(app), headers=HTML, raise_server_exceptions=False) as browser,
    ):
        links = [link for link in Page(browser.get("/experts").text).links if link.startswith("/experts/")]
        for name in names:
            title = f"<h1>{escape(name)}</h1>"
            assert sum(title in browser.get(link).text for link in set(links)) == 1
            paused = browser.post(f"/experts/{quote(name)}/pause", data={"reason": "rest"})
            assert title in paused.text
            assert "Paused" in paused.text
