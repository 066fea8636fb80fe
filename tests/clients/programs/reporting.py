"""What a program does, one function a feature, and what came out, as one line of JSON."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

WEATHER = "What is the weather in Paris?"
FRANCE = "What is the capital of France?"
NAME = "My name is Ada."
WHO = "What is my name?"
CITY = "Describe the capital of France as a city."
LONG = "word " * 30_000

URL, CLIENT = sys.argv[1:3]
KEY = os.environ.get("MUSTER_KEY", "none")
REFUSED = f"Refuse this of [{CLIENT}]."
features: dict[str, Callable[[], Any]] = {}


def feature(function: Callable[[], Any]) -> Callable[[], Any]:
    features[function.__name__] = function
    return function


def code_of(error: Exception) -> object:
    """The error code that a client of the OpenAI SDK shows."""
    return getattr(error, "code", None)


def status_of(act: Callable[[], Any]) -> Any:
    """Class and HTTP status of the error that `act` ends in."""
    try:
        act()
    except Exception as error:
        return [type(error).__name__, getattr(error, "status_code", None)]
    return "no error"


def main() -> None:
    """Run the features that are named; print what each returned, or how it failed."""
    outcomes = {}
    for name in sys.argv[3:]:
        try:
            outcomes[name] = {"got": features[name]()}
        except Exception as error:
            outcomes[name] = {"failed": f"{type(error).__name__}: {str(error)[:600]}"}
    print("\n" + json.dumps(outcomes))
