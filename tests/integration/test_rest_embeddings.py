"""`/v1/embeddings` through the real app and the official client."""

import base64
from collections.abc import Iterator

import numpy as np
import openai
import pytest
import yaml

from orchestrator.bootstrap.app import App, open_app
from orchestrator.settings.load import load_settings
from tests.harness.live import live_client


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("embeddings")
    member = {
        "model_name": "alpha",
        "litellm_params": {"model": "scripted/alpha"},
        "model_info": {"muster": {"engine": "scripted"}},
    }
    muster = {"data_dir": str(folder / "data"), "embedder": {"model": "hash"}}
    path = folder / "pool.yaml"
    path.write_text(yaml.safe_dump({"model_list": [member], "muster": muster}))
    with open_app(load_settings(path)) as app:
        yield app


@pytest.fixture(scope="module")
def client(app: App) -> Iterator[openai.OpenAI]:
    with live_client(app) as client:
        yield client


def post(client: openai.OpenAI, path: str = "/embeddings", **fields: object) -> dict[str, object]:
    return client.post(path, body={"model": "embed", **fields}, cast_to=dict[str, object])


def test_each_text_has_its_vector_in_order(client: openai.OpenAI) -> None:
    """The SDK asks for base64 by itself."""
    both = client.embeddings.create(model="embed", input=["a cat sat", "prime numbers"])
    alone = client.embeddings.create(model="embed", input="prime numbers")
    assert [item.index for item in both.data] == [0, 1]
    assert both.data[1].embedding == alone.data[0].embedding
    assert np.linalg.norm(both.data[0].embedding) == pytest.approx(1.0, abs=1e-5)
    assert both.usage.total_tokens >= 2


def test_base64_holds_the_same_numbers(client: openai.OpenAI) -> None:
    plain = post(client, input="prime numbers", encoding_format="float")["data"]
    packed = post(client, input="prime numbers", encoding_format="base64")["data"]
    assert isinstance(plain, list)
    assert isinstance(packed, list)
    numbers = np.frombuffer(base64.b64decode(packed[0]["embedding"]), dtype="<f4")
    assert numbers.tolist() == pytest.approx(plain[0]["embedding"])


def test_more_texts_than_are_embedded_at_once_come_back_in_order(client: openai.OpenAI) -> None:
    texts = [f"text number {i}" for i in range(130)]
    data = client.embeddings.create(model="embed", input=texts).data
    last = client.embeddings.create(model="embed", input=texts[-1]).data
    assert len(data) == 130
    assert data[-1].embedding == last[0].embedding


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [1, 2, 3]}, "input"),
        ({"input": [[1, 2], [3]]}, "input"),
        ({"input": ["fine", ""]}, "input.1"),
        ({"input": " \n"}, "input.0"),
        ({"input": "x" * 200_001}, "input.0"),
        ({"input": ["x"] * 2049}, "input"),
        ({"input": "x", "dimensions": 7}, "dimensions"),
        ({"input": "x", "dimensions": 0}, "dimensions"),
        ({"input": "x", "encoding_format": "int8"}, "encoding_format"),
    ],
)
def test_what_cannot_be_embedded_is_refused_by_its_name(
    client: openai.OpenAI, fields: dict[str, object], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        post(client, **fields)
    assert refused.value.param == param


def test_a_chat_model_embeds_nothing(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.embeddings.create(model="alpha", input="x")
    assert missing.value.code == "model_not_found"
    assert "embed" in str(missing.value)


def test_the_embedder_answers_no_chat(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="embed", messages=[{"role": "user", "content": "x"}])


def test_moderations_are_refused_with_the_remedy(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.moderations.create(input="x")
    assert refused.value.code == "unsupported_parameter"
    assert "Ask a model" in str(refused.value)
