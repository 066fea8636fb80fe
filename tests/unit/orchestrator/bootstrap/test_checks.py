import pytest

from orchestrator.bootstrap.checks import sandbox_layers
from orchestrator.bootstrap.references import check_references
from orchestrator.domain.experts import EngineSpec, Expert, Pool
from orchestrator.errors import ConfigError, MistakesError
from orchestrator.settings.members import LitellmParams, Member
from orchestrator.settings.schema import CompositionSettings, MusterSettings, Settings
from skills.grading.sandbox import LAYERS

KNN = CompositionSettings(router="knn", aggregator="majority")


def checked(expert_id: str = "alpha", *compositions: str) -> None:
    engine = EngineSpec(id="engine", backend="scripted", model="/w")
    muster = MusterSettings(compositions=dict.fromkeys(compositions, KNN))
    member = Member(model_name=expert_id, litellm_params=LitellmParams(model="/w"))
    settings = Settings(model_list=(member,), muster=muster)
    check_references(settings, Pool(experts=(Expert(id=expert_id, engine=engine),)))


@pytest.mark.parametrize("expert_id", ["auto", "muster/auto", "mine", "muster/mine"])
def test_an_expert_that_a_composition_hides_is_refused(expert_id: str) -> None:
    with pytest.raises(ConfigError, match=f"expert '{expert_id}' has the name of a composition"):
        checked(expert_id, "mine")


@pytest.mark.parametrize("expert_id", ["mine/auto", "muster/other", "expert:mine"])
def test_other_names_are_an_experts_own(expert_id: str) -> None:
    checked(expert_id, "mine")


@pytest.mark.parametrize("name", ["expert:alpha", "route:mine", "exam", "roll_call", "annotate"])
def test_a_composition_may_not_be_called_as_jobs_are_on_the_books(name: str) -> None:
    with pytest.raises(ConfigError, match=f"composition '{name}' has a name that Muster uses itself"):
        checked("alpha", name)


def test_each_layer_of_the_sandbox_is_a_check_that_no_answer_needs() -> None:
    checks = sandbox_layers()
    assert [check.check for check in checks] == [f"sandbox: {name}" for name in LAYERS]
    assert not any(check.required for check in checks)
    assert all(check.ok or check.remedy for check in checks)


def test_all_names_that_lead_nowhere_are_told_at_once() -> None:
    engine = EngineSpec(id="engine", backend="nosuch", model="/w")
    expert = Expert(id="auto", engine=engine, prompt="odd", synthesize_prompt="odder")
    spec = CompositionSettings(router="knn", aggregator="synthesize", experts=("nobody",))
    settings = Settings(
        model_list=(Member(model_name="auto", litellm_params=LitellmParams(model="/w")),),
        muster=MusterSettings(compositions={"exam": KNN, "mine": spec}),
    )
    with pytest.raises(MistakesError) as told:
        check_references(settings, Pool(experts=(expert,)))
    message = str(told.value)
    for part in (
        "unknown engine 'nosuch'",
        "unknown prompt 'odd'",
        "unknown synthesize_prompt 'odder'",
        "composition 'exam' has a name that Muster uses",
        "expert 'auto' has the name of a composition",
        "'nobody' is no expert of the pool",
        "composition 'mine' synthesizes",
    ):
        assert part in message


@pytest.mark.parametrize(("name", "model"), [("openai/*", "openai/*"), ("*", "*"), ("any", "anthropic/*")])
def test_a_wildcard_is_no_expert(name: str, model: str) -> None:
    settings = Settings(model_list=(Member(model_name=name, litellm_params=LitellmParams(model=model)),))
    engine = EngineSpec(id="engine", backend="remote", model=model)
    with pytest.raises(ConfigError, match="is a wildcard"):
        check_references(settings, Pool(experts=(Expert(id=name, engine=engine),)))
