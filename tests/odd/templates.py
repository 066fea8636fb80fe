"""Odd chat templates."""

import json
from pathlib import Path

from tests.odd.making import (
    QUESTION,
    TEMPLATE,
    TOKENIZER_CONFIG,
    Made,
    Odd,
    assistant,
    copied,
    edited,
    system,
    user,
    with_template,
)

TURNS = "{% for m in messages %}<{{ m.role[0] }}>{{ m.content }}{% endfor %}"
NO_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + TURNS
    + ">"
)
ALTERNATING = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "<{{ m.role[0] }}>{{ m.content }}{% endfor %}>"
)
FIRST_SYSTEM_ONLY = (
    "{% for m in messages %}{% if m.role == 'system' and not loop.first %}"
    "{{ raise_exception('only the first') }}{% endif %}<{{ m.role[0] }}>{{ m.content }}{% endfor %}>"
)
TURN = "<{{ m.role[0] }}>{{ m.content }}"
DROPS_SYSTEM = "{% for m in messages %}{% if m.role != 'system' %}" + TURN + "{% endif %}{% endfor %}>"
PARTS = "{% for m in messages %}<{{ m.role[0] }}>{{ m.content[0].text }}{% endfor %}>"
ONE_TURN = (
    "{% if messages | length > 1 %}{{ raise_exception('one turn') }}{% endif %}<u>{{ messages[0].content }}>"
)
BEFORE = "Be brief.\n\n" + QUESTION
SAID_BEFORE = (user("Hi"), assistant(), user())


def listed(plain: Path, folder: Path) -> Made:
    (copied(plain, folder) / TEMPLATE).unlink()
    templates = [{"name": "default", "template": TURNS + ">"}, {"name": "tool_use", "template": "T" + TURNS}]
    edited(folder / TOKENIZER_CONFIG, chat_template=templates)
    return Made(folder)


def named(plain: Path, folder: Path) -> Made:
    listed(plain, folder)
    return Made(folder, {"chat_template": "tool_use"}, prompt=f"T<u>{QUESTION}")


def no_default(plain: Path, folder: Path) -> Made:
    (copied(plain, folder) / TEMPLATE).unlink()
    templates = [{"name": name, "template": TURNS} for name in ("rag", "tool_use")]
    edited(folder / TOKENIZER_CONFIG, chat_template=templates)
    return Made(folder)


def in_a_folder(plain: Path, folder: Path) -> Made:
    (copied(plain, folder) / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("T" + TURNS)
    return Made(folder)


def in_a_file(plain: Path, folder: Path) -> Made:
    copied(plain, folder)
    (folder / "own.jinja").write_text("F" + TURNS)
    return Made(folder, {"chat_template": f"{folder.name}/own.jinja"}, prompt=f"F<u>{QUESTION}")


def no_template(plain: Path, folder: Path) -> Made:
    (copied(plain, folder) / TEMPLATE).unlink()
    return Made(folder, prompt=f"Be brief.\n\n{QUESTION}")


def twice_begun(plain: Path, folder: Path) -> Made:
    (copied(plain, folder) / TEMPLATE).write_text("{{ eos_token }}{{ eos_token }}" + TURNS)
    return Made(folder)


def rewritten(template: str, *messages: object) -> object:
    def make(plain: Path, folder: Path) -> Made:
        return with_template(template)(plain, folder)._replace(read_as=messages)  # type: ignore[arg-type]

    return make


def path_in_place(plain: Path, folder: Path) -> Made:
    (copied(plain, folder) / TEMPLATE).unlink()
    edited(folder / TOKENIZER_CONFIG, chat_template="chat_template.jinja")
    return Made(folder)


def not_text(plain: Path, folder: Path) -> Made:
    (copied(plain, folder) / TEMPLATE).write_bytes(b"\xff\xfe{\x00{\x00")
    return Made(folder)


def odd_list(plain: Path, folder: Path) -> Made:
    (copied(plain, folder) / TEMPLATE).unlink()
    document = json.loads((folder / TOKENIZER_CONFIG).read_text())
    (folder / TOKENIZER_CONFIG).write_text(json.dumps({**document, "chat_template": [{"name": "default"}]}))
    return Made(folder)


SYSTEM = (system(), user())
TEMPLATES = {
    "no system role": Odd(
        rewritten(NO_SYSTEM, user(BEFORE)), messages=SYSTEM, remark="takes no system message"
    ),
    "strict alternation": Odd(
        rewritten(ALTERNATING, user(f"Be brief.\n\nHi\n\n{QUESTION}")),
        messages=(system(), user("Hi"), user()),
        remark="two turns of one role",
    ),
    "strict alternation, history": Odd(
        rewritten(ALTERNATING, user("Be brief.\n\nHi"), assistant("Yes.\n\nNo."), user()),
        messages=(system(), user("Hi"), assistant(), assistant("No."), user()),
        remark="two turns of one role",
    ),
    "system left out": Odd(rewritten(DROPS_SYSTEM, user(BEFORE)), messages=SYSTEM, remark="no system"),
    "a later system": Odd(
        rewritten(FIRST_SYSTEM_ONLY, system("Be brief.\n\nBe kind."), user("Hi"), assistant(), user(BEFORE)),
        messages=(system(), system("Be kind."), user("Hi"), assistant(), system(), user()),
    ),
    "one turn": Odd(
        rewritten(ONE_TURN, user(f"Hi\n\nYes.\n\n{QUESTION}")), messages=SAID_BEFORE, remark="earlier turns"
    ),
    "last turn": Odd(
        with_template("<u>{{ messages[-1].content }}>"), messages=SAID_BEFORE, remark="last question only"
    ),
    "contents in parts": Odd(with_template(PARTS), messages=SYSTEM, remark="answer that is begun"),
    "a list of templates": Odd(listed),
    "a template by its name": Odd(named),
    "a folder of templates": Odd(in_a_folder),
    "a template in a file": Odd(in_a_file),
    "no template": Odd(no_template, messages=SYSTEM, remark="no chat template"),
    "begun twice": Odd(twice_begun),
    "of a date": Odd(with_template("{{ strftime_now('%Y') }}" + TURNS)),
    "of tools": Odd(
        with_template("{% if tools %}{{ tools | tojson }}{% endif %}{{ tools is none }}" + TURNS)
    ),
    "of generations": Odd(
        with_template(
            "{% for m in messages %}{% if m.role == 'assistant' %}"
            "{% generation %}{{ m.content }}{% endgeneration %}"
            "{% else %}<{{ m.content | trim }}>{% endif %}{% endfor %}"
        ),
        messages=SAID_BEFORE,
    ),
    "of loops": Odd(
        with_template(
            "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
            "<{{ ns.n }}>{{ m['content'] }}{% if ns.n > 9 %}{% break %}{% endif %}{% endfor %}"
        )
    ),
    "broken template": Odd(with_template("{% for m in messages %}"), "down", TEMPLATE, "end of template"),
    "raising template": Odd(with_template("{{ raise_exception('never') }}"), "down", TEMPLATE, "never"),
    "template without the question": Odd(with_template("{{ 1 }}"), "down", TEMPLATE, "leaves out"),
    "template that needs what nobody gives": Odd(
        with_template("{{ reasons.length }}" + TURNS), "down", TEMPLATE, "undefined"
    ),
    "template that leads into Python": Odd(
        with_template("{{ ''.__class__.__mro__ }}" + TURNS), "down", TEMPLATE, "unsafe"
    ),
    "path in place of a template": Odd(path_in_place, "down", TOKENIZER_CONFIG, "leaves out"),
    "templates without a default": Odd(no_default, "down", TOKENIZER_CONFIG, "no default: rag, tool_use"),
    "template that is no text": Odd(not_text, "down", TEMPLATE, "UTF-8"),
    "list without templates": Odd(odd_list, "down", TOKENIZER_CONFIG, "neither a template"),
}
