"""Redaction: no text that leaves a process shows a password, a key or a token.

The one place that knows how. Errors are redacted when they are made, log records and tracebacks when they are
written, the output of commands when it is printed. Two means: secrets that the settings and the environment
hold are remembered and replaced wherever they stand; what is written like one (`scheme://user:…@host`,
`password=…`, `Authorization: …`, `sk-…`) is replaced although nobody told of it.

Every reader here is linear in the text.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from itertools import pairwise
from urllib.parse import quote, quote_plus, unquote

REDACTED = "[redacted]"
COMMAND = "command"
"""Key of a command with its arguments, among which secrets may stand."""
SHORTEST = 6
"""Characters of a secret that is replaced wherever it stands; a shorter one would hide common words, and is
replaced as a whole word only."""

LONG_LINE = 16
"""Characters of a line of a secret that is replaced by itself: logs are written line by line."""

_SECRET_NAME = re.compile(
    r"(?:^|[_.-])(?:api[_-]?key|key|password|passwd|passphrase|pwd|secret|token|credentials?|authorization"
    r"|(?:access|private|master|secret|account|salt|signing|encryption)[_-]?key|access[_-]?key[_-]?id|dsn"
    r"|connection[_-]?string|webhook[_-]?url|license[_-]?key|cookie)$",
    re.IGNORECASE,
)
_NO_SECRET_NAME = re.compile(
    r"^(?:key|.*(?:bos|eos|pad|unk|sep|cls|mask|per|think|first|last|end|start|next)[_-]?token)$",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"(?:sk|pk|rk)[-_][A-Za-z0-9_-]{12,}"
    r"|(?:hf|gsk|glpat|ghp|gho|ghu|ghs|ghr|github_pat|r8|xai|pplx|nvapi|tgp|fw|csk|dop_v1|npm|pypi)[-_][A-Za-z0-9_-]{10,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}"
    r"|(?:AKIA|ASIA)[0-9A-Z]{12,}"
    r"|AIza[0-9A-Za-z_-]{20,}"
    r"|ya29\.[0-9A-Za-z_-]{20,}"
    r"|eyJ[A-Za-z0-9_-]{8,1024}+\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?"
    r")"
)
_PLACEHOLDER = re.compile(r"(?:Bearer )?\{[a-z_]{1,40}\}")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,40}-----)?")
_AUTHORIZATION = re.compile(
    r"(?P<name>authorization[\"']?\s{0,4}[:=]\s{0,4}(?:b?[\"'])?)(?:(?:bearer|basic|token|digest|apikey)\s+)?[^\s\"',;]+",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b(?P<name>bearer|basic)\s+(?=[^\s\"']{0,200}[0-9=._])[^\s\"',;]{6,}", re.IGNORECASE)
# In prose, `api_key: …` introduces a sentence more often than a key: a value there must look like one.
_NAMED = re.compile(
    r"(?P<name>(?:(?<=[?&])key|api[_-]?key|password|passwd|passphrase|pwd|secret|token|credentials?|(?:access|private|master|"
    r"account)[_-]?key)(?:=[\"']?|[\"']\s{0,4}[:=]\s{0,4}b?[\"']|[\"']?\]?\s{0,4}=\s{0,4}[\"']"
    r"|:\s{0,4}(?=[A-Za-z_+/=-]{0,80}[0-9])(?=[^\s\"',;&}\])]{12})))"
    r"(?!os\.environ/)(?!\*{3})(?!SecretStr\()(?![\"'\[])[^\s\"',;&}\])]+",
    re.IGNORECASE,
)
_NAMING = ("key", "pass", "pwd", "secret", "token", "credential")
_QUERY = re.compile(r"[?&]([\w.-]{1,80})=([^&#\s]+)")
_URL_NAME = re.compile(r"(?:^|[_.-])(?:url|uri|dsn)s?$", re.IGNORECASE)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,40}://\S+")
_PATH = re.compile(r"[~./]|[^\s]*\.json$")
_WORD = re.compile(r"[^\s\"'<>`]+")
_HTTP = re.compile(r"https?:/*$|wss?:/*$", re.IGNORECASE)

_known: dict[str, str] = {}
"""Forms of the secrets that this process was told, longest first, and what is shown in their place."""


def redact(text: str) -> str:
    """A text for others to read: without known secrets, and without what is written like one."""
    text = without_known(text)
    lowered = text.lower()  # most texts hold none of these words, and looking for them is cheap
    if "private key" in lowered:
        text = _PRIVATE_KEY.sub(REDACTED, text)
    if "authorization" in lowered:
        text = _AUTHORIZATION.sub(rf"\g<name>{REDACTED}", text)
    if "bearer" in lowered or "basic" in lowered:
        text = _BEARER.sub(rf"\g<name> {REDACTED}", text)
    if any(word in lowered for word in _NAMING):
        text = _NAMED.sub(rf"\g<name>{REDACTED}", text)
    text = _SECRET_VALUE.sub(REDACTED, text)
    return _WORD.sub(_without_password, text) if "@" in text else text


def without_known(text: str) -> str:
    """A text without known secrets: for results, where other people's words are left as they are."""
    for secret, shown in _known.items():
        if secret in text:
            text = _replaced(text, secret, shown)
    return text


def remember(secret: str, *, shown: str = REDACTED) -> None:
    """Replace this value in every text from now on, also as URLs, JSON and Python write it."""
    global _known  # replaced in one step: other threads redact meanwhile
    if len(secret) < 2 or secret.isspace() or (secret in _known and shown == REDACTED):
        return
    forms = {secret, unquote(secret), quote(secret, safe=""), quote_plus(secret), quote(secret)}
    forms |= {line.strip() for line in secret.splitlines() if len(line.strip()) >= LONG_LINE}
    forms |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    merged = {**_known, **dict.fromkeys(forms, shown)}
    _known = dict(sorted(merged.items(), key=lambda form: -len(form[0])))


def remember_url(url: str) -> None:
    """Replace the password of a URL, also of one that cannot be parsed: libraries then show parts of it."""
    user, secret = _credentials(url)
    if secret and secret != user:
        remember(secret)
        parts = re.split(r"[@/;:?#]", secret)
        for part in parts if len(parts) > 1 else ():
            if len(part) >= SHORTEST and not part.isalpha():
                remember(part)
    for name, value in _QUERY.findall(url):
        if is_secret(name, value):
            remember(value)


def remember_mapping(data: object, name: str = "") -> None:
    """Replace what a configuration holds of secrets: by the names of keys, or by how a value is written."""
    for value in _secrets_in(data, name):
        remember(value)
    for key, value in _texts_in(data, name):
        if _is_url(key, value):
            remember_url(value)


def remember_environment(environment: Mapping[str, str]) -> None:
    """Replace the values of variables that are named like secrets, and passwords in URLs; a shell's `PWD`
    is the working directory, which stands in every path."""
    remember_mapping(
        {
            name: value
            for name, value in environment.items()
            if len(value) >= SHORTEST and not (name == "PWD" and value.startswith("/"))
        }
    )


def is_secret(name: str, value: str) -> bool:
    """True if a setting of this name and value holds a secret; `{api_key}` is filled in later."""
    if not value or _PLACEHOLDER.fullmatch(value) or ("credential" in name.lower() and _PATH.match(value)):
        return False
    if _SECRET_NAME.search(name) is not None and _NO_SECRET_NAME.match(name) is None:
        return True
    return _SECRET_VALUE.match(value) is not None or (_is_url(name, value) and bool(_credentials(value)[1]))


def secrets_in_command(command: object) -> Iterator[str]:
    """Secrets among the words of a command, a line or a list: `--api-key SECRET`, `TOKEN=SECRET`, `sk-…`."""
    for word, following in pairwise([*_words(command), ""]):
        name, equals, value = word.partition("=")
        value = value if equals else following if word.startswith("-") else ""
        is_other = value.startswith(("-", "os.environ/")) or value.isdecimal() or _PATH.match(value)
        if not is_other and is_secret(name.lstrip("-"), value):
            yield _credentials(value)[1] or value
        elif is_secret("", word):
            yield _credentials(word)[1] or word


def _words(command: object) -> list[str]:
    if isinstance(command, list | tuple):
        return [word for word in command if isinstance(word, str)]
    if not isinstance(command, str):
        return []
    try:
        return shlex.split(command)
    except ValueError:  # a quote is not closed, which is told elsewhere
        return command.split()


def _is_url(name: str, value: str) -> bool:
    """True if a setting is a URL, by its name or its form: lists of paths and prose hold `:` and `@`, too."""
    return _URL_NAME.search(name) is not None or _URL.fullmatch(value) is not None


def _secrets_in(data: object, name: str) -> Iterator[str]:
    if name == COMMAND:
        yield from secrets_in_command(data)
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _secrets_in(value, str(key))
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _secrets_in(value, name)
    elif isinstance(data, str) and is_secret(name, data) and not data.startswith("os.environ/"):
        with_scheme = data.lower().startswith(("bearer ", "basic "))
        if not _credentials(data)[1]:  # of a URL, only its password is a secret
            yield data.split(None, 1)[-1] if with_scheme else data


def _texts_in(data: object, name: str) -> Iterator[tuple[str, str]]:
    """Texts, each with the key that it stands under."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _texts_in(value, str(key))
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _texts_in(value, name)
    elif isinstance(data, str):
        yield name, data


def _replaced(text: str, secret: str, shown: str) -> str:
    if len(secret) >= SHORTEST:
        return text.replace(secret, shown)
    return re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", shown, text)


def _without_password(match: re.Match[str]) -> str:
    word = match[0]
    start, end = _userinfo(word)
    if start == end:
        return word
    user, colon, _ = word[start:end].partition(":")
    if colon:
        return f"{word[:start]}{user}:{REDACTED}{word[end:]}"
    return f"{word[:start]}{REDACTED}{word[end:]}" if _HTTP.search(word[:start]) else word


def _credentials(url: str) -> tuple[str, str]:
    """User and password of a URL, however badly it is written."""
    if "\n" in url.strip() or len(url) > 4096:
        return "", ""
    start, end = _userinfo(url)
    user, _, secret = url[start:end].partition(":")
    return user, secret


def _userinfo(word: str) -> tuple[int, int]:
    """Where `user:password` begins and ends: up to the last `@`, as passwords hold what should be escaped."""
    end = word.rfind("@")
    if end < 0:
        return 0, 0
    if (slashes := word.find("//", 0, end)) >= 0:
        return slashes + len(word[slashes:end]) - len(word[slashes:end].lstrip("/")), end
    if (slash := word.find(":/", 0, end)) >= 0:
        return slash + 2, end
    head, colon, rest = word[:end].partition(":")
    if colon and ":" in rest and head.isalnum():
        return len(head) + 1, end  # `scheme:user:password@host`
    return (0, end) if colon else (0, 0)
