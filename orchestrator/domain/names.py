"""Model names: what a request's `model` names, and what a composition is called on the wire."""

EXPERT_PREFIX = "expert:"
"""`expert:<id>` is the composition that asks one expert and returns its words."""

ROUTE_PREFIX = "route:"
"""`route:<composition>` ends with the decision of that composition."""


def model_name(composition: str) -> str:
    """The name under which the REST API offers a resolved composition."""
    if composition == "auto":
        return composition
    expert = composition.removeprefix("expert:")
    return expert if expert != composition else f"muster/{composition}"
