"""Ancestry of merged experts: a tree as deep as the merges are."""

from api.dashboard.experts import Ancestry, ancestry
from orchestrator.domain.merges import Lineage


def line(*parents: str, method: str = "ties") -> Lineage:
    return Lineage(method=method, recipe_hash="0" * 64, parents=parents, verdict="kept: better")


def test_a_merge_of_merges_stands_above_what_these_were_made_of() -> None:
    tree = ancestry("both", {"both": line("half", "law"), "half": line("roman", "sort", method="linear")})
    half, law = tree.parents
    assert (tree.name, tree.method) == ("both", "ties")
    assert [parent.name for parent in half.parents] == ["roman", "sort"]
    assert (half.method, law) == ("linear", Ancestry("law", "", "", ()))


def test_an_expert_among_its_own_ancestors_ends_the_tree() -> None:
    tree = ancestry("a", {"a": line("b"), "b": line("a")})
    assert tree.parents[0].parents == (Ancestry("a", "", "", ()),)
