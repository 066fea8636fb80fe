"""All hostile programs by class of escape, and the few that one layer alone stops."""

from collections.abc import Mapping

from tests.sandbox import files, kernel, network, processes, resources, verdict
from tests.sandbox.hostile import Hostile

PROGRAMS: tuple[Hostile, ...] = (
    *files.PROGRAMS, *network.PROGRAMS, *processes.PROGRAMS, *kernel.PROGRAMS, *resources.PROGRAMS,
    *verdict.PROGRAMS,
)  # fmt: skip

OPEN_WITHOUT: Mapping[str, frozenset[str]] = {
    "limits": frozenset({"thread bomb"}),
    "mount": frozenset({"walk to the root's folders", "fill the disk"}),
    "seccomp": frozenset(
        {
            # The kernel's own surface: what they get is inside the namespaces and ends with them.
            "watch files", "netlink", "virtual sockets", "hand file descriptors on", "secret memory", "be traced",
            "page faults in user space", "a key", "a key ring", "personality", "shared memory", "message queues",
            "semaphores", "memory files", "move pipes to memory", "system calls of 32 bits",
            "fall to the next parent", "processors of its choice", "a session of its own",
            # Processes, which the limits bound and the PID namespace ends.
            "fork", "daemon", "foreign function clone", "clone by structure", "start behind the audit",
            "worker processes",
        }
    ),
}  # fmt: skip
"""Layer -> programs that get through when a person allows runs without it. No entry lets anything reach the host's
files, processes or network, forge a verdict or outlive its run, but for names of folders without `mount`."""


def is_shown(program: Hostile, layer: str) -> bool:
    """Whether a run without the layer is worth its time: what uses up resources meets the limits in any case."""
    if program.kind != "resources":
        return True
    if layer == "limits":
        return False  # it would use up the machine
    return program.representative or layer in ("mount", "seccomp")
