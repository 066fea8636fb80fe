"""Chat templates that were made to do harm: each is a fault in time, and no stack trace."""

from pathlib import Path

import pytest

from orchestrator.domain.experts import EngineSpec
from workers.checkpoints import templates
from workers.checkpoints.reading import read_folder
from workers.checkpoints.templates import ChatTemplate, TemplateFaultError

NESTED = "".join(f"{{% for a{n} in range(9999) %}}" for n in range(9)) + "x" + "{% endfor %}" * 9
LISTS = "".join(f"{{% for a{n} in [{'1,' * 99}] %}}" for n in range(9)) + "x" + "{% endfor %}" * 9
MACROS = "{% macro twice(n) %}{% if n %}{{ twice(n - 1) }}{{ twice(n - 1) }}{% endif %}{% endmacro %}"


@pytest.mark.parametrize("text", [NESTED, LISTS, MACROS + "{{ twice(99) }}"])
def test_template_that_does_not_end_is_ended(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "MOST_S", 0.05)
    with pytest.raises(TemplateFaultError, match=r"did not end within 0\.05 s"):
        ChatTemplate(text, {}).render([{"role": "user", "content": "Hello"}])


@pytest.mark.parametrize("made", ["'ab' * 10 ** 12", "9 ** 999999999", "[1] * 2 ** 40"])
def test_template_makes_nothing_beyond_a_bound(made: str) -> None:
    with pytest.raises(TemplateFaultError, match="so large"):
        ChatTemplate(f"{{% set x = {made} %}}", {}).render([])


def test_loops_products_and_macros_are_what_they_are_in_jinja() -> None:
    text = (
        "{% macro twice(x) %}{{ x * 2 }}{% endmacro %}"
        "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ '' if loop.last else ',' }}{% endfor %}"
        "{% for m in [] %}{% else %} none{% endfor %}{% for m in missing %}{% endfor %}"
        " {{ twice('ab') }} {{ 3 * 4 }} {{ 2 ** 3 }} {{ 0.5 * 3 }} {{ '-' * 3 }}"
        "{% for a in [[1, [2]]] recursive %}{% if a is iterable %}({{ loop(a) }}){% else %}{{ a }}{% endif %}"
        "{% endfor %}"
    )
    assert ChatTemplate(text, {}).render([{"role": "user"}] * 2) == "1/2,2/2 none abab 12 8 1.5 ---(1(2))"


def test_template_that_refuses_other_words_than_it_was_tried_with_is_a_defect(tmp_path: Path) -> None:
    text = "{% if 'zq' not in messages[-1].content %}{{ raise_exception('no') }}{% endif %}"
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "chat_template.jinja").write_text(text + "{% for m in messages %}{{ m.content }}{% endfor %}")
    engine = EngineSpec(id="e", backend="transformers", model=str(folder))
    assert [str(defect) for defect in read_folder(engine, None).defects] == [
        "chat_template.jinja holds no usable chat template: no"
    ]
