"""Bad inputs 24 and 26: experts that a request names."""

import pytest
from fastapi.testclient import TestClient

from tests.bad_inputs.table import CHAT, own, refusal


def test_24_experts_that_are_named_twice_are_asked_once(client: TestClient) -> None:
    body = own(experts=["alpha", "alpha", "gamma"], composition="majority_all", answer_type="text")
    response = client.post(CHAT, json={**body, "model": "auto"})
    assert response.status_code == 200, response.text
    assert sorted(response.json()["muster"]["recruits"]) == ["alpha", "gamma"]


@pytest.mark.parametrize("experts", [[], ["nobody"], ["alpha", "nobody"], "alpha", [3]])
def test_26_nobody_who_may_answer_is_told(client: TestClient, experts: object) -> None:
    response = client.post(CHAT, json={**own(experts=experts), "model": "auto"})
    assert response.status_code in (400, 404)
    assert refusal(response)["param"].startswith("muster.experts")


def test_26_experts_and_a_model_that_is_none_of_them_contradict(client: TestClient) -> None:
    response = client.post(CHAT, json=own(experts=["gamma"]))
    assert response.status_code == 400, response.text
    refusal(response)
