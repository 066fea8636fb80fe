"""The pages in Chromium, as people use them: with eyes, keyboard and a small screen."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright
from reporting import KEY, URL, feature, features, main

CHROMIUM = "/usr/bin/chromium"
PAGES = ("/", "/experts", "/experts/alpha", "/experts/compare?a=alpha&b=beta", "/jobs", "/compositions")
MORE_PAGES = ("/system", "/keys", "/login")
QUESTION, BROKEN = "What is 3 plus 3?", "This fails once."
WORDY = "What is 3 plus 3, in many words?"
PHONE = {"width": 390, "height": 800}
CUT = "net::ERR_FAILED"
"""What the console says of a request that a feature cuts off."""
SERIOUS = ("serious", "critical")
WAIT_MS = 60_000
AT_WORK: dict[str, Browser] = {}


@contextmanager
def page(**context: Any) -> Iterator[Page]:
    """A page of a browser without history; errors on its console fail the feature."""
    fresh = AT_WORK["chromium"].new_context(**context)
    fresh.set_default_timeout(WAIT_MS)
    opened = fresh.new_page()
    errors: list[str] = []
    opened.on("console", lambda told: errors.append(told.text) if told.type == "error" else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    try:
        yield opened
    finally:
        fresh.close()
    expected = [text for text in errors if "status of 4" in text or CUT in text]  # what the page tells
    assert errors == expected, errors


def serious(opened: Page) -> list[str]:
    """Rules of axe that the page breaks badly, with the first place of each."""
    broken = Axe().run(opened).response["violations"]
    return [f"{rule['id']}: {rule['nodes'][0]['html'][:120]}" for rule in broken if rule["impact"] in SERIOUS]


def asked(opened: Page, question: str = QUESTION, model: str = "alpha") -> None:
    opened.goto(URL + "/")
    opened.fill("#question", question)
    opened.select_option("#model", model)
    opened.click("#ask button.main")


def upload(opened: Page, lines: list[dict[str, object]], label: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "set.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        opened.goto(URL + "/jobs")
        opened.set_input_files("#file", file)
        opened.fill("#label", label)
        opened.select_option("#upload #model", "alpha")
        opened.click("#upload button.main")
        opened.wait_for_url("**/jobs/job-*")


def answered(opened: Page, text: str) -> None:
    opened.wait_for_function("text => document.body.innerText.includes(text)", arg=text)


def on_all_pages(act: Callable[[Page], list[str]], **context: Any) -> list[str]:
    found = []
    with page(**context) as opened:
        for path in (*PAGES, *MORE_PAGES):
            opened.goto(URL + path)
            found += [f"{path}: {what}" for what in act(opened)]
    return found


@feature
def light_pages_have_no_serious_findings() -> list[str]:
    return on_all_pages(serious, color_scheme="light")


@feature
def dark_pages_have_no_serious_findings() -> list[str]:
    return on_all_pages(serious, color_scheme="dark")


@feature
def pages_of_a_phone_have_no_serious_findings() -> list[str]:
    return on_all_pages(serious, viewport=PHONE)


@feature
def an_answer_has_no_serious_findings() -> list[str]:
    with page(viewport=PHONE) as opened:
        asked(opened, model="auto")
        opened.wait_for_selector("#result [data-answer]")
        on_phone = serious(opened)
        opened.set_viewport_size({"width": 1280, "height": 800})
        return on_phone + serious(opened)


@feature
def nothing_sticks_out_on_a_phone() -> list[str]:
    def too_wide(opened: Page) -> list[str]:
        width = opened.evaluate("document.scrollingElement.scrollWidth")
        return [] if width <= PHONE["width"] else [f"{width} wide"]

    return on_all_pages(too_wide, viewport=PHONE)


@feature
def a_page_is_small_and_asks_nobody_else() -> list[str]:
    found = []
    for path in (*PAGES, *MORE_PAGES):
        sizes: dict[str, int] = {}
        with page() as opened:
            opened.on("response", lambda one, sizes=sizes: sizes.update({one.url: len(one.body())}))
            opened.goto(URL + path, wait_until="networkidle")
        found += [f"{path} loads {url}" for url in sizes if not url.startswith(URL)]
        found += [f"{path}: {sum(sizes.values())} bytes"] if sum(sizes.values()) > 300_000 else []
    return found


@feature
def a_question_is_followed_to_its_answer() -> dict[str, object]:
    with page() as opened:
        asked(opened, model="auto")
        opened.wait_for_selector("#result [data-answer]")
        return {
            "answer": opened.inner_text("#result .answer"),
            "heading": opened.evaluate("document.activeElement.textContent"),
            "votes": opened.locator("#result tbody tr").count() > 0,
            "reasons": "Why these experts" in opened.inner_text("#result"),
            "told": opened.inner_text("#status") if opened.is_visible("#status") else "",
        }


@feature
def stages_are_told_while_a_slow_expert_answers() -> dict[str, object]:
    with page() as opened:
        asked(opened, "Answer this slowly.")
        opened.wait_for_selector("#stages li")
        seen = opened.inner_text("#stages")
        opened.wait_for_selector("#result [data-answer]")
        return {"expert": "alpha" in seen, "answer": opened.inner_text("#result .answer")}


@feature
def what_an_expert_said_is_shown_while_others_are_asked() -> list[str]:
    with page() as opened:
        asked(opened, "Only beta answers this late.", model="majority_all")
        opened.wait_for_function(
            "() => document.querySelector('#stages li.done')?.innerText.startsWith('alpha')"
        )
        seen = opened.inner_text("#stages li.done q")
        opened.wait_for_selector("#result [data-answer]")
        opened.click("#result >> text=Ask again")
        return [seen, opened.input_value("#question"), opened.input_value("#model")]


@feature
def what_an_expert_writes_is_shown_while_it_writes() -> dict[str, bool]:
    """Of an expert that takes ten seconds over its words."""
    writer = "document.querySelector('#stages li[data-name=scribe] pre')"
    longer = f"n => ({writer}?.checkVisibility() ? {writer}.textContent.length : 0) > n"
    with page() as opened:
        asked(opened, WORDY, model="muster/majority_all")
        opened.wait_for_function(longer, arg=0)
        first = opened.inner_text("#stages li[data-name=scribe] pre")
        opened.wait_for_function(longer, arg=len(first))
        seen = opened.inner_text("#stages li[data-name=scribe]")
        opened.wait_for_selector("#result [data-answer]")
        return {
            "grows": True,
            "counted": "characters" in seen,
            "begins": first.startswith("First"),
            "closed at the end": not opened.locator("#stages details[open]").count(),
        }


@feature
def an_answer_that_streams_stands_once() -> list[object]:
    with page() as opened:
        asked(opened, WORDY, model="scribe")
        opened.wait_for_function("() => document.getElementById('text').textContent.length > 40")
        opened.wait_for_selector("#stages li.running")
        shown = opened.locator("#stages details[open]").count()
        opened.wait_for_selector("#result [data-answer]")
        return [shown, opened.inner_text("#result .answer").startswith("First one")]


@feature
def an_expert_that_is_heard_again_has_a_line_for_each_time() -> list[str]:
    with page() as opened:
        asked(opened, "What is 3 plus 3, slowly?", model="muster/self_consistency")
        opened.wait_for_function("() => document.querySelectorAll('#stages li').length === 3")
        names = opened.locator("#stages li b").all_inner_texts()
        opened.wait_for_selector("#result [data-answer]")
        return [name.removeprefix(names[0]) for name in names]


@feature
def a_question_is_stopped() -> str:
    with page() as opened:
        asked(opened, "Answer this slowly.")
        opened.click("#stop")
        opened.wait_for_function("() => document.getElementById('status').textContent === 'Stopped.'")
        return opened.inner_text("#status")


@feature
def an_error_is_told_where_it_is_heard() -> str:
    with page() as opened:
        asked(opened, "This cannot be answered.")
        opened.wait_for_selector("#problem:not([hidden])")
        return str(opened.get_attribute("#problem", "role"))


@feature
def everything_is_reached_by_keyboard() -> list[str]:
    with page() as opened:
        opened.goto(URL + "/experts")
        opened.keyboard.press("Tab")
        reached = [opened.evaluate("document.activeElement.textContent")]
        opened.keyboard.press("Enter")
        reached.append(opened.evaluate("location.hash"))
        opened.goto(URL + "/")
        reached.append(opened.evaluate("document.activeElement.id"))  # the question, at once
        opened.keyboard.type(QUESTION)
        for _ in range(3):
            opened.keyboard.press("Tab")
        reached.append(opened.evaluate("document.activeElement.textContent"))
        opened.keyboard.press("Enter")
        opened.wait_for_selector("#result [data-answer]")
        return reached


@feature
def a_judgement_is_taken_and_shown() -> list[str | None]:
    with page() as opened:
        asked(opened, "What is 11 plus 11?")
        opened.wait_for_selector("#result [data-answer]")
        opened.click("#result button[value=true]")
        opened.wait_for_selector("#result button[aria-pressed=true]")
        pressed = [
            opened.get_attribute(f"#result button[value={v}]", "aria-pressed") for v in ("true", "false")
        ]
        return [*pressed, opened.inner_text("#result form [role=status]")]


@feature
def an_answer_is_found_again_by_its_link() -> str:
    with page() as opened:
        asked(opened)
        opened.wait_for_selector("#result [data-answer]")
        link = opened.get_attribute("#result a[data-share]", "href")
    with page() as other:
        other.goto(URL + str(link))
        return other.inner_text("[data-answer] .answer")


@feature
def a_file_is_answered_to_its_end() -> dict[str, object]:
    with page() as opened:
        upload(opened, [{"id": f"q{n}", "question": f"What is {n} plus {n}?"} for n in range(20)], "twenty")
        answered(opened, "took")
        with opened.expect_download() as lines:
            opened.click("text=Answers, JSON lines")
        n_lines = len(Path(lines.value.path()).read_text().splitlines())
        opened.goto(URL + "/jobs")
        return {"lines": n_lines, "listed": opened.locator("text=twenty").count() > 0}


@feature
def a_bad_file_is_told_line_by_line() -> list[bool]:
    with tempfile.TemporaryDirectory() as folder, page() as opened:
        file = Path(folder) / "bad.jsonl"
        file.write_text('{"id": "a", "question": "x"}\n{"id": "b"}\nnonsense\n')
        opened.goto(URL + "/jobs")
        opened.set_input_files("#file", file)
        opened.click("#upload button.main")
        opened.wait_for_selector("#problem:not([hidden])")
        said = opened.inner_text("#problem")
        return ["line 2" in said, "line 3" in said]


@feature
def what_failed_is_run_again_by_a_button() -> list[bool]:
    with page() as opened:
        upload(opened, [{"id": "broken", "question": BROKEN}, {"id": "fine", "question": QUESTION}], "again")
        answered(opened, "Errors")
        before = opened.locator("text=generation_failed").count() > 0
        opened.click("text=Retry what failed")
        opened.wait_for_function(
            "() => !document.body.innerText.includes('Errors') && document.body.innerText.includes('took')"
        )
        return [before, opened.inner_text("#failed") == "0"]


@feature
def what_cannot_be_undone_is_asked_before() -> list[object]:
    """By keyboard: the first press asks, and the job is still there; then it is deleted."""
    with page() as opened:
        upload(opened, [{"question": QUESTION}], "to be deleted")
        answered(opened, "took")
        address = opened.url
        opened.focus("summary >> text=Delete")
        opened.keyboard.press("Enter")
        asks = opened.inner_text(".confirm[open] p")
        found = serious(opened)
        opened.keyboard.press("Tab")
        pressed = opened.evaluate("document.activeElement.textContent")
        opened.keyboard.press("Enter")
        opened.wait_for_url("**/jobs")
        opened.goto(address)
        return [asks[:13], found, pressed, "no job" in opened.inner_text("main")]


@feature
def a_form_that_is_sent_twice_makes_one_thing() -> list[object]:
    """The first key, by a double click; then it is revoked, which asks before."""
    with page() as opened:
        opened.goto(URL + "/keys")
        opened.fill("#name", "twice")
        opened.check("input[value=admin]")
        opened.dblclick("form button.main")
        opened.wait_for_selector("#secret")
        n_keys = opened.locator("tbody tr >> text=twice").count()
        secret = opened.inner_text("#secret")
        opened.goto(URL + "/keys")
        warned = opened.locator("text=You are logged in with it").count()
        opened.click("summary >> text=Revoke")
        opened.click("text=Revoke it")
        opened.wait_for_url("**/login*")
        return [n_keys, secret.startswith("sk-muster-"), warned]


@feature
def the_pages_work_without_scripts() -> list[str]:
    with page(java_script_enabled=False) as opened:
        opened.goto(URL + "/")
        opened.fill("#question", QUESTION)
        opened.select_option("#model", "alpha")
        opened.click("#ask button.main")
        answer = opened.inner_text("[data-answer] .answer")
        opened.goto(URL + "/experts?order=name")
        return [answer, opened.inner_text("h1")]


@feature
def the_table_of_experts_is_sorted_by_its_heads() -> list[object]:
    with page() as opened:
        opened.goto(URL + "/experts")
        head = opened.locator("table[data-sortable] button.sort").first
        head.click()
        up = opened.inner_text("table[data-sortable] tbody tr:first-child th")
        head.click()
        down = opened.inner_text("table[data-sortable] tbody tr:first-child th")
        return [up, down, opened.get_attribute("table[data-sortable] th", "aria-sort")]


@feature
def the_system_is_kept_current_and_stays_sorted() -> list[object]:
    with page() as opened:
        opened.goto(URL + "/system")
        opened.click("#engines th >> text=engine")
        opened.click("#engines th >> text=engine")
        opened.evaluate(
            "document.activeElement.blur(); document.getElementById('engines').dataset.seen = '1'"
        )
        opened.wait_for_function("() => !document.getElementById('engines').dataset.seen")
        opened.wait_for_function("() => document.getElementById('state').innerText.includes('ready')")
        return [
            opened.inner_text("#engines tbody tr:first-child th"),
            opened.get_attribute("#engines th", "aria-sort"),
        ]


@feature
def a_long_word_is_broken_and_those_of_the_menu_are_not() -> list[object]:
    """On a phone: the page of a job whose name is one word."""
    with page(viewport=PHONE) as opened:
        upload(opened, [{"question": QUESTION}], "W" * 200)
        opened.wait_for_selector("h1 >> text=WWW")
        beyond = opened.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        lines = opened.evaluate(
            "[...document.querySelectorAll('nav a')].map(link => {"
            " const words = document.createRange(); words.selectNodeContents(link);"
            " return words.getClientRects().length; })"
        )
        return [beyond, max(lines)]


@feature
def a_page_that_cannot_be_kept_current_says_so() -> list[bool]:
    """And takes it back when the server is there again."""
    with page() as opened:
        opened.goto(URL + "/system")
        opened.route("**/system", lambda route: route.abort())
        opened.wait_for_selector("#lost:not([hidden])")
        said = "cannot be reached" in opened.inner_text("#lost")
        opened.unroute("**/system")
        opened.wait_for_selector("#lost", state="hidden")
        return [said, "System" in opened.inner_text("h1")]


@feature
def an_answer_that_breaks_off_is_none() -> list[object]:
    """A stream without its end, a judgement that nobody takes."""
    with page() as opened:
        asked(opened)
        opened.wait_for_selector("[data-feedback]")
        opened.route("**/feedback", lambda route: route.abort())
        opened.click("[data-feedback] button >> nth=0")
        answered(opened, "Judge again when it can.")
        half = 'data: {"choices": [{"delta": {"content": "The answer"}}]}\n\n'
        opened.route("**/v1/chat/completions", lambda route: route.fulfill(body=half))
        opened.click("#ask button.main")
        opened.wait_for_selector("#problem:not([hidden])")
        return [opened.inner_text("#problem"), opened.inner_text("#status")]


@feature
def a_key_is_asked_for_and_forgotten() -> list[str]:
    """Of a server that needs one."""
    with page() as opened:
        opened.goto(URL + "/jobs")
        at = [opened.evaluate("location.pathname")]
        opened.fill("#key", "sk-muster-wrong")
        opened.click("button.main")
        at.append(opened.inner_text("[role=alert]")[:20])
        opened.fill("#key", os.environ["MUSTER_KEY"])
        opened.click("button.main")
        opened.wait_for_selector("#ask")
        at.append(opened.evaluate("document.cookie"))  # no script reads it
        asked(opened)
        opened.wait_for_selector("#result [data-answer]")
        opened.click("text=Log out")
        opened.goto(URL + "/experts")
        return [*at, opened.evaluate("location.pathname")]


assert features
assert KEY
if __name__ == "__main__":
    with sync_playwright() as playwright:
        AT_WORK["chromium"] = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        main()
