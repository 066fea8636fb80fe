"""A process sees the GPU that it was given, and its children see the same."""

import os

import pytest

from orchestrator.errors import ConfigError
from orchestrator.settings.environment import unknown_variables
from orchestrator.settings.schema import MusterSettings
from workers.device.own_gpu import CHOSEN, ORDER, VISIBLE, own_device, visible


@pytest.mark.parametrize(
    ("device", "seen", "expected"),
    [
        ("cuda:0", None, "0"),
        ("cuda:1", None, "1"),
        ("cuda:01", None, "1"),
        ("cuda:1", "2,5", "5"),
        ("cuda:0", " GPU-8932f937 , GPU-46abccd6 ", "GPU-8932f937"),
        ("cuda:1", "MIG-a,MIG-b,", "MIG-b"),
        ("cpu", None, ""),
        ("cpu:1", "0,1", ""),
        ("auto", "0,1", None),
        ("cuda", "0,1", None),
        ("tpu:3", None, None),
        ("cudaX", None, None),
    ],
)
def test_what_cuda_may_see(device: str, seen: str | None, expected: str | None) -> None:
    assert visible(device, seen) == expected


@pytest.mark.parametrize(
    ("device", "seen"),
    [
        ("cuda:2", "0,1"),
        ("cuda:0", ""),
        ("cuda:x", None),
        ("cuda:", None),
        ("cuda:-1", None),
        ("cuda:1:2", None),
    ],
)
def test_a_gpu_that_cannot_be_is_refused(device: str, seen: str | None) -> None:
    with pytest.raises(ConfigError) as refused:
        visible(device, seen)
    assert device in refused.value.message
    assert refused.value.remedy


def test_the_choice_is_in_the_order_of_nvidia_smi_unless_the_user_says_otherwise() -> None:
    environment: dict[str, str] = {}
    own_device("cuda:1", environment)
    assert (environment[VISIBLE], environment[ORDER]) == ("1", "PCI_BUS_ID")
    environment = {ORDER: "FASTEST_FIRST"}
    own_device("cuda:1", environment)
    assert environment[ORDER] == "FASTEST_FIRST"


def test_a_second_service_on_the_same_device_sees_the_same_gpu() -> None:
    """Not the second of the one that is left."""
    environment = {VISIBLE: "4,6"}
    own_device("cuda:1", environment)
    own_device("cuda:1", environment)
    assert environment[VISIBLE] == "6"


def test_another_device_in_the_same_process_is_refused() -> None:
    environment: dict[str, str] = {}
    own_device("cpu", environment)
    with pytest.raises(ConfigError, match="has chosen 'cpu'"):
        own_device("cuda:0", environment)
    assert environment[VISIBLE] == ""


def test_places_of_one_cpu_may_share_a_process() -> None:
    environment: dict[str, str] = {}
    own_device("cpu", environment)
    own_device("cpu:1", environment)
    assert environment[VISIBLE] == ""


def test_a_child_chooses_among_what_its_parent_left_it() -> None:
    """Such as Muster started as an engine of another one."""
    environment = {VISIBLE: "6", CHOSEN: f"{os.getpid() + 1} cuda:1"}
    own_device("cuda:0", environment)
    assert environment[VISIBLE] == "6"


def test_auto_leaves_everything_as_it_is() -> None:
    environment: dict[str, str] = {}
    own_device("auto", environment)
    assert environment == {}


def test_what_is_noted_is_no_unknown_setting_to_a_muster_that_is_started_as_an_engine() -> None:
    assert unknown_variables({CHOSEN: "7 cuda:1"}, MusterSettings) == []
