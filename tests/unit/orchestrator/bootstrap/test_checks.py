import pytest

from orchestrator.bootstrap.checks import check_references
from orchestrator.domain.experts import EngineSpec, Expert, Pool
from orchestrator.errors import ConfigError
from orchestrator.settings.schema import CompositionSettings, LitellmParams, Member, MusterSettings, Settings

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
