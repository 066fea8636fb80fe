"""JSON schemas from strangers."""

import time

import pytest

from orchestrator.questions.json_schemas import SchemaError, checked, fault

PERSON = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"name": {"type": "string", "pattern": "^[A-Z]"}, "age": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}
TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"left": {"$ref": "#/$defs/node"}, "right": {"$ref": "#/$defs/node"}},
        }
    },
}


def test_a_value_keeps_to_its_schema_or_the_fault_has_its_place() -> None:
    schema = checked(PERSON)
    assert fault(schema, {"name": "Ann", "age": 3}) is None
    assert fault(schema, {"name": "Ann", "age": "3"}) == 'age: "3" is not of type "integer"'
    assert '"name" is a required property' in str(fault(schema, {}))


def test_schemas_may_refer_to_themselves_further_in() -> None:
    schema = checked(TREE)
    assert fault(schema, {"left": {"right": {}}}) is None
    assert fault(schema, {"left": {"right": 3}}) == 'left.right: 3 is not of type "object"'


def nested(depth: int) -> object:
    return {"a": nested(depth - 1)} if depth else {}


def test_what_refers_to_itself_twice_may_not_be_deep() -> None:
    """Two branches at every level: 2 ** 64 looks."""
    below = {"properties": {"a": {"$ref": "#"}}}
    schema = checked({"anyOf": [{**below, "required": ["b"]}, {**below, "required": ["c"]}]})
    began = time.process_time()
    assert fault(schema, nested(60)) == "it is nested too deep"
    assert fault(schema, nested(8)) is not None
    assert time.process_time() - began < 20


def laughing(n: int) -> dict[str, object]:
    """A schema whose parts are looked at 2 ** n times."""
    defs = {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(n)}
    return {"$ref": "#/$defs/d0", "$defs": {**defs, f"d{n}": {"type": "string"}}}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "strin"}, "the schema is none"),
        ({"properties": 3}, "the schema is none"),
        ({"pattern": "("}, "the schema is none"),
        ({"$ref": "#/nowhere"}, "which is not there"),
        ({"$ref": "http://169.254.169.254/x"}, "which is not in it"),
        ({"items": {"$ref": "other.json"}}, "which is not in it"),
        ({"properties": {"enum": {"$ref": "file:///etc/passwd"}}}, "which is not in it"),
        ({"$ref": "#"}, "refers to itself at the same place"),
        ({"allOf": [{"$ref": "#"}]}, "refers to itself at the same place"),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"$ref": "#/$defs/a"}}},
            "refers to itself at the same place",
        ),
        ({"$dynamicRef": "#x"}, r"uses \$dynamicRef"),
        ({"items": {"$id": "http://x/y"}}, r"has an \$id"),
        (laughing(30), "too often"),
        (laughing(120), "more than 100 places"),
        ({"properties": {str(i): {} for i in range(6000)}}, "more than 5,000 parts"),
        ({"description": "x" * 200_001}, "longer than 200,000"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_schemas_that_cannot_be_used_are_refused(schema: dict[str, object], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        checked(schema)


def test_data_in_a_schema_is_no_reference() -> None:
    schema = checked({"const": {"$ref": "http://x"}})
    assert fault(schema, {"$ref": "http://x"}) is None


def test_patterns_take_linear_time() -> None:
    schema = checked({"pattern": "^(a+)+$"})
    assert fault(schema, "a" * 50_000 + "b") is not None


def test_a_long_message_is_shortened() -> None:
    assert len(str(fault(checked({"type": "integer"}), "x" * 9999))) < 400
