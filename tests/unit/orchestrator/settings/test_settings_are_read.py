"""No setting is accepted and then read by nobody: whoever set it would rely on it."""

import ast
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from orchestrator.settings import litellm_keys
from orchestrator.settings.environment import section_of
from orchestrator.settings.schema import Settings

ROOT = Path(__file__).parents[4]
PRODUCT = ("aggregators", "api", "orchestrator", "skills", "workers")
READ_WHILE_LOADING = frozenset({("ModelInfo", "mode"), ("Settings", "general_settings")})
"""`mode`: members that are no chat models are left out. `general_settings`: `Settings.database_url`."""


def sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        inner = section_of(field.annotation)
        if inner is not None:
            yield from sections(inner)


def attributes_read() -> frozenset[str]:
    """Names after a dot, in the product outside the settings."""
    files = [file for package in PRODUCT for file in (ROOT / package).rglob("*.py")]
    trees = [ast.parse(file.read_text()) for file in files if "settings" not in file.parts]
    return frozenset(
        node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)
    )


def test_every_setting_is_read_outside_the_settings() -> None:
    read = attributes_read()

    unread = {
        (model.__name__, name)
        for model in sections(Settings)
        for name in model.model_fields
        if name not in read
    }

    assert unread <= READ_WHILE_LOADING


def test_no_key_is_both_ours_and_said_to_do_nothing() -> None:
    fields = {model.__name__: set(model.model_fields) for model in sections(Settings)}

    assert not fields["LitellmParams"] & (litellm_keys.PARAMS | set(litellm_keys.REFUSED_PARAMS))
    assert not fields["ModelInfo"] & litellm_keys.INFO
    assert not fields["RouterSettings"] & litellm_keys.ROUTER
    assert not fields["GeneralSettings"] & (litellm_keys.GENERAL | set(litellm_keys.REFUSED_GENERAL))
    assert not fields["Settings"] & litellm_keys.TOP
