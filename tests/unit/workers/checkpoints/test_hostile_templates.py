"""Chat templates that were made to do harm: each is a fault in time, and no stack trace."""

from pathlib import Path

import pytest

from orchestrator.domain.experts import EngineSpec
from workers.checkpoints import template_allowance
from workers.checkpoints.reading import read_folder
from workers.checkpoints.templates import ChatTemplate, TemplateFaultError

NESTED = "".join(f"{{% for a{n} in range(9999) %}}" for n in range(9)) + "x" + "{% endfor %}" * 9
LISTS = "".join(f"{{% for a{n} in [{'1,' * 99}] %}}" for n in range(9)) + "x" + "{% endfor %}" * 9
MACROS = "{% macro twice(n) %}{% if n %}{{ twice(n - 1) }}{{ twice(n - 1) }}{% endif %}{% endmacro %}"


@pytest.mark.parametrize("text", [NESTED, LISTS, MACROS + "{{ twice(99) }}"])
def test_template_that_does_not_end_is_ended(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_allowance, "MOST_S", 0.05)
    with pytest.raises(TemplateFaultError, match=r"did not end within 0\.05 s"):
        ChatTemplate(text, {}).render([{"role": "user", "content": "Hello"}])


GROWN = (
    "{{% set n = namespace(x={0}) %}}{{% for _ in range(60) %}}{{% set n.x = {1} %}}{{% endfor %}}"
    "{{{{ n.x }}}}"
)
LONG = "'ab' * 400000"
MADE_AT_ONCE = (
    "'ab' * 10 ** 12", "9 ** 999999999", "[1] * 2 ** 40", "'%1000000000d' % 1", "'%*d' % (10 ** 9, 1)",
    "'%.1000000000f' % 1", "('%s' * 99999) % (('ab' * 99999,) * 99999)", "'{:1000000000}'.format(1)",
    "'{:{w}}'.format(1, w=10 ** 9)", f"('{{a}}' * 99999).format_map({{'a': {LONG}}})",
    "'%1000000000d'|format(1)", "('{:1000000000}'|attr('format'))(1)", "('%1000000000d'|safe) % 1",
    "'s'|center(10 ** 9)", "'s'|center(1000000000)", "'s'.center(10 ** 9)", "'s'.zfill(10 ** 9)",
    "'s'.ljust(10 ** 9)", "'s'.encode().rjust(10 ** 9)", "('\t' * 99999).expandtabs(99999)",
    "('\n' * 99999)|indent(99999)", f"('\n' * 99999)|indent({LONG})", f"({LONG})|replace('a', {LONG})",
    f"({LONG}).replace('', {LONG})", f"({LONG}).translate({{97: {LONG}}})", f"range(999)|join({LONG})",
    f"({LONG}).join({LONG})", f"({LONG}).join(range(999)|map('string'))",
    f"messages|join({LONG} * 99, attribute='role')", "range(99999)|map('center', 99999)|join",
    "[1]|batch(10 ** 9, 'x')|list", "[1]|slice(10 ** 9)|list", "[1]|tojson(indent=10 ** 9)",
    "[1]|tojson(separators=('x' * 10 ** 8, ''))", "5|round(-10 ** 9)", "5|round(10 ** 9, 'ceil')",
    "(1).to_bytes(10 ** 9, 'big')", "('a ' * 20000000).split()", "('\n' * 60000000)|list",
    "range(9999)|batch(1)|sum(start=[])",
)  # fmt: skip


@pytest.mark.parametrize("made", MADE_AT_ONCE)
def test_template_makes_nothing_beyond_a_bound(made: str) -> None:
    with pytest.raises(TemplateFaultError, match="so large"):
        ChatTemplate(f"{{% set x = {made} %}}", {}).render([{"role": "user", "content": "Hello"}])


@pytest.mark.parametrize(
    ("first", "grown"),
    [
        ("'a' * 1000", "n.x ~ n.x"),
        ("'a' * 1000", "n.x + n.x"),
        ("'a' * 1000", "'%s%s' % (n.x, n.x)"),
        ("'a' * 1000", "n.x|replace('a', 'aa')"),
        ("[1]", "n.x + n.x"),
        ("[1]", "[n.x, n.x]"),
        ("(1,)", "(n.x, n.x)"),
        ("1", "dict(a=n.x, b=n.x)"),
        ("3", "n.x * n.x"),
    ],
)
def test_template_makes_nothing_beyond_a_bound_by_small_steps(
    first: str, grown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template_allowance, "MOST_MADE", 1 << 22)
    with pytest.raises(TemplateFaultError, match=r"so large"):
        ChatTemplate(GROWN.format(first, grown), {}).render([])


@pytest.mark.parametrize(
    "text",
    [
        "{% for _ in range(99999) %}{{ s }}{% endfor %}",
        "{% set t %}{% for _ in range(99999) %}{{ s }}{% endfor %}{% endset %}",
        "{% macro m() %}{% for _ in range(99999) %}{{ s }}{% endfor %}{% endmacro %}{% set t = m() %}",
        "{% macro m(n) %}{{ m(varargs, varargs, varargs) }}{% endmacro %}{{ m(1, 2, 3) }}",
        "{% macro m(n, t) %}{% set u = t ~ n %}{{ m(n + 1, u) }}{{ u }}{% endmacro %}{{ m(1, s) }}",
        "{% set n = namespace() %}{% for i in range(9999) %}"
        "{% set n.p = namespace(p=n.p, s=s ~ i) %}{% endfor %}",
        "{% set n = namespace(g=[1]) %}{% for i in range(9999) %}"
        "{% set n.g = n.g|map('replace', 'a', s ~ i) %}{% endfor %}",
        "{% filter center(1000000000) %}a{% endfilter %}",
        "".join(f"{{% set s{n} = s[{n}:] %}}" for n in range(999)),
    ],
)
def test_template_keeps_and_writes_nothing_beyond_a_bound(text: str) -> None:
    with pytest.raises(TemplateFaultError, match=r"so large"):
        ChatTemplate("{% set s = 'ab' * 400000 %}" + text, {}).render([])


def test_what_grows_with_its_square_is_small() -> None:
    with pytest.raises(TemplateFaultError, match="may not striptags anything so large"):
        ChatTemplate("{{ ('<!---->' * 99999)|striptags }}", {}).render([])


def test_namespaces_that_would_grow_unseen_stand_in_no_list() -> None:
    with pytest.raises(TemplateFaultError, match="namespace in a list"):
        ChatTemplate("{% set a = namespace() %}{% set b = [a, a] %}", {}).render([])


def test_long_conversations_render_as_they_are() -> None:
    """A template may take a text apart and put it together several times, however long it is."""
    turns = [{"role": "user", "content": f" {'ä' * 500}</think>{n} "} for n in range(2000)]
    text = (
        "{% set n = namespace(last='') %}{% for m in messages %}"
        "{% set c = m['content'].split('</think>')[-1] %}"
        "{{ '<' + m.role ~ '>' }}{{ m.content|trim|replace('ä', 'a')|upper }}{% set n.last = c %}{% endfor %}"
        "{{ messages|map(attribute='content')|join('|')|length }}{{ messages[-1]|tojson|length }}{{ n.last }}"
    )
    joined = "|".join(str(turn["content"]) for turn in turns)
    prompt = ChatTemplate(text, {}).render(turns)
    assert prompt.startswith(f"<user>{'A' * 500}</THINK>0<user>")
    assert prompt.endswith(f"</THINK>1999{len(joined)}{len(joined.split('|')[-1]) + 31}1999 ")


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


def test_template_of_a_program_s_size_is_not_compiled() -> None:
    with pytest.raises(TemplateFaultError, match="larger than 128 KiB"):
        ChatTemplate("{{ x }}" * 20000, {})


def test_items_are_joined_and_summed_by_an_attribute_as_in_jinja() -> None:
    text = "{{ m|join('-', 'n') }} {{ m|join(d='-', attribute='n') }} {{ m|sum('n') }} {{ m|sum('n', 5) }}"
    assert ChatTemplate("{% set m = [{'n': 1}, {'n': 2}] %}" + text, {}).render([]) == "1-2 1-2 3 8"
