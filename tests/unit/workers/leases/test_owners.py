"""Owners of leases tell whether their process lives, to those who can know, and to nobody else."""

import os
import subprocess
import sys

import pytest

from workers.leases import owners
from workers.leases.owners import Machine, berth_of, is_dead, new_owner, this_machine

HERE = this_machine()
NOBODY = 2**22 + 1
"""A process number that no Linux gives by default."""


def owner_of(machine: Machine, pid: int = NOBODY, start: str = "1") -> str:
    return f"{machine}|{pid}|{start}|1"


def test_a_process_that_lives_is_not_dead_and_neither_are_its_places() -> None:
    owner = new_owner()
    assert not is_dead(owner)
    assert not is_dead(berth_of(owner, "1"))
    assert new_owner() != owner


def test_a_process_of_this_machine_that_ended_is_dead() -> None:
    program = "from workers.leases.owners import new_owner; print(new_owner())"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert is_dead(ended.stdout.strip())


def test_whoever_took_over_a_dead_ones_number_does_not_make_it_live() -> None:
    assert is_dead(owner_of(HERE, pid=os.getpid()))


@pytest.mark.parametrize(
    "elsewhere",
    [
        HERE._replace(boot="00000000-0000-4000-8000-000000000000"),
        HERE._replace(namespace="pid:[4026532999]"),
        HERE._replace(name="another"),
    ],
    ids=["another machine of this name", "another container of this machine", "another name"],
)
def test_of_another_machine_nobody_here_knows_who_is_dead(elsewhere: Machine) -> None:
    there = owner_of(elsewhere)
    assert not is_dead(there)
    assert is_dead(there, elsewhere), "but over there they do"
    assert not is_dead(owner_of(HERE), elsewhere)


@pytest.mark.parametrize(
    "owner",
    ["", "me", "beat", f"{HERE.name}|{HERE.namespace}|{NOBODY}|1|1", f"{HERE}|many|1|1", f"{HERE}|1|1"],
    ids=["nothing", "a word", "a beat", "a release without boots", "no number", "too short"],
)
def test_names_that_say_too_little_are_not_of_the_dead(owner: str) -> None:
    assert not is_dead(owner)


def test_two_machines_of_one_name_boot_apart() -> None:
    assert len(HERE.boot) >= 12
    assert HERE.boot == this_machine().boot, "the same for every process of the machine"
    assert "|" not in str(HERE._replace(name="x")).removeprefix("x|")


def test_where_the_kernel_tells_no_number_of_its_run_the_network_card_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setattr(owners, "_BOOT_ID", owners.Path("/nowhere/boot_id"))
    monkeypatch.setattr(owners.uuid, "getnode", lambda: 0xABCDEF)
    owners._boot.cache_clear()
    try:
        assert this_machine().boot == "abcdef"
    finally:
        owners._boot.cache_clear()
