"""Passwords from files, which then stand in no URL, no environment and no list of processes."""

import stat
from pathlib import Path
from urllib.parse import quote, urlsplit

from orchestrator.errors import ConfigError
from orchestrator.redaction import remember

LONGEST = 4096


def with_password(url: str, file: Path, *, param: str) -> str:
    """A URL with the password of a file.

    Raises:
        ConfigError: the file cannot be used, others may read it, or the URL holds a password already.
    """
    parts = urlsplit(url)
    if parts.password:
        raise ConfigError(
            f"{param}: the URL holds a password, and there is a file for it, too.",
            param=param,
            remedy="Keep the file, and take the password out of the URL.",
        )
    secret = _read(file, param)
    remember(secret)
    place = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username or ''}:{quote(secret, safe='')}@{place}").geturl()


def _read(file: Path, param: str) -> str:
    try:
        if file.stat().st_mode & stat.S_IRWXO:
            raise ConfigError(
                f"{param}: other users can read {file}.", param=param, remedy="Run `chmod 600` on it."
            )
        with file.open(encoding="utf-8") as opened:
            secret = opened.read(LONGEST).strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(
            f"{param}: cannot read {file}: {reason}.", param=param, remedy="Mend the path or the file."
        ) from None
    if not secret:
        raise ConfigError(f"{param}: {file} is empty.", param=param, remedy="Write the password into it.")
    return secret
