"""Published pools: what a process with a pool file writes to the database, and workers without one read."""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue, ValidationError

from orchestrator.bootstrap.references import check_references
from orchestrator.domain.experts import Expert, Pool
from orchestrator.domain.fleet import PublishedPool, StatedExpert
from orchestrator.domain.values import content_hash
from orchestrator.errors import ConfigError, StoreError
from orchestrator.pool import build_pool
from orchestrator.runtime.files import replacing
from orchestrator.runtime.private import private_folder
from orchestrator.settings.environment import REFERENCE, referred
from orchestrator.settings.load import load_published, rows_of
from orchestrator.settings.pasted import Mapped
from orchestrator.settings.schema import MusterSettings, Settings
from orchestrator.store import SqlFleetStore, open_database
from workers.backends.registry import REMOTE_BACKENDS, SERVER_BACKENDS, features_of, parts_of
from workers.checkpoints.identity import weights_hash
from workers.checkpoints.turns import rendering_of

log = logging.getLogger(__name__)

SECTIONS = frozenset(
    {
        "seed",
        "embedder",
        "sessions",
        "skills",
        "grading",
        "infer_types",
        "compositions",
        "feedback",
        "retention",
        "shadow",
        "scheduler",
    }
)
"""Parts of `muster:` that all processes share. Addresses, folders, logs and merges are each host's own."""

MOST_VOCABULARY_BYTES = 1 << 20
LOOK_S = 2.0
REMIND_S = 30.0


def make_pool(settings: Settings) -> Pool:
    """The pool of the settings: weights are identified here, or as whoever published it did.

    Raises:
        ConfigError: a pool that cannot be used.
    """
    stated = settings.stated_weights
    pool = build_pool(
        settings,
        weights_hash=weights_hash if stated is None else lambda _model, _adapter: "",
        servers=SERVER_BACKENDS,
        parts=parts_of,
        features=features_of,
        renderings=rendering_of,
    )
    if stated is not None:
        pool = Pool(experts=[e.replaced(weights_hash=stated.get(e.id, "")) for e in pool.experts])
    elif settings.is_stack:
        pool = Pool(experts=[e if e.weights_hash else _placed(e) for e in pool.experts])
    check_references(settings, pool)
    return pool


def _placed(expert: Expert) -> Expert:
    """An expert whose weights are not on this host: for the stack they count by the place that its pool file
    says, and so do those of workers that take the pool from here, wherever they have them."""
    places = [expert.engine.model, expert.adapter, *expert.engine.members.values()]
    return expert.replaced(weights_hash=content_hash(["place", *places]))


def publication_of(settings: Settings, pool: Pool, *, config_hash: str, host: str) -> PublishedPool:
    """The configuration of a pool file, for workers that have none.

    Raises:
        ConfigError: the file cannot be read any more.
    """
    found = rows_of(Path(settings.source))
    muster = settings.muster.model_dump(mode="json", include=set(SECTIONS))
    return PublishedPool(
        config_hash=config_hash,
        host=host,
        rows=tuple(_with_engine(row, pool) for row in found.rows),
        router_settings=settings.router_settings.model_dump(mode="json"),
        sections=muster,
        experts={
            e.id: StatedExpert(
                engine_id=e.engine.id,
                definition=dict(e.engine.fields_of_definition),
                weights_hash=e.weights_hash,
            )
            for e in pool.experts
            if any(member.model_name == e.id for member in settings.model_list)
        },
        vocabulary=_vocabulary(settings),
        keyless=found.keyless,
    )


def _with_engine(row: Mapped, pool: Pool) -> Mapped:
    """A row that names its engine, which is not guessed again from a key that others do not have, and has
    the text of its chat template, whose file others lack, too."""
    expert = pool.by_id.get(str(row.get("model_name")))
    if expert is None:
        return row
    info = _section(row, "model_info")
    muster = {**_section(info, "muster"), "engine": expert.engine.backend}
    if expert.engine.chat_template is not None:
        muster["chat_template"] = expert.engine.chat_template
    return {**row, "model_info": {**info, "muster": muster}}


def await_settings(*, models_dir: Path | None, waits: bool) -> Settings:
    """Settings of a process without a pool file: MUSTER_DATABASE_URL and MUSTER_BROKER_URL say where its
    stack is, and the pool is the one that was published there.

    Args:
        models_dir: as `--models-dir`; None = `muster.models_dir`.
        waits: until a pool is published.

    Raises:
        ConfigError: an address is missing, a pool that cannot be used here, or none was published.
        StoreError: the database cannot be used.
    """
    muster = _own_settings()
    missing = [
        name
        for name, url in (
            ("MUSTER_DATABASE_URL", muster.database_url),
            ("MUSTER_BROKER_URL", muster.broker_url),
        )
        if url is None
    ]
    if missing:
        raise ConfigError(
            f"there is no pool file here, and {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} "
            "not set.",
            remedy="Set them to those of the API's host, or give --config FILE.",
        )
    assert muster.database_url is not None, "it was looked at"
    published = _awaited(muster.database_url, waits=waits)
    return settings_of(published, muster, models_dir or muster.models_dir)


def settings_of(published: PublishedPool, muster: MusterSettings, models_dir: Path | None) -> Settings:
    """Settings of a published pool on this host.

    Raises:
        ConfigError: they cannot be used here, such as for want of a variable.
    """
    base = (models_dir or Path()).absolute()
    if models_dir is not None and not base.is_dir():
        raise ConfigError(
            f"there is no folder '{base}' for weights.",
            param="muster.models_dir",
            remedy="Name the folder that holds this host's weights in --models-dir.",
        )
    rows = [_here(row, base) for row in published.rows]
    unreached = {row.name: row.why for row in rows if row.why is not None}
    for name in published.keyless:
        unreached[name] = (
            f"its key stands in the pool file of {published.host} only. Write os.environ/NAME there, and set "
            "NAME here"
        )
    data: Mapped = {
        "model_list": [row.row for row in rows],
        "router_settings": dict(published.router_settings),
        "muster": _sections(published, muster, base),
    }
    settings = load_published(
        data,
        base_dir=base,
        source=f"the pool that {published.host} published",
        stated_weights={name: stated.weights_hash for name, stated in published.experts.items()},
    )
    return settings.model_copy(update={"unreached": unreached})


class _Row(NamedTuple):
    """A row as it is on this host; `why` it cannot be asked."""

    name: str
    row: Mapped
    why: str | None = None


def _here(row: Mapped, base: Path) -> _Row:
    params, info = _section(row, "litellm_params"), _section(row, "model_info")
    why = None
    key = params.get("api_key")
    if isinstance(key, str) and key.startswith(REFERENCE) and referred(key) is None:
        del params["api_key"]
        why = f"environment variable {key.removeprefix(REFERENCE)} is not set on this host"
    if _section(info, "muster").get("engine") not in REMOTE_BACKENDS:
        _located(params, "model", base)
        _located(info, "base_model", base)
    return _Row(str(row.get("model_name")), {**row, "litellm_params": params, "model_info": info}, why)


def _section(data: Mapping[str, JsonValue], key: str) -> Mapped:
    found = data.get(key)
    return dict(found) if isinstance(found, dict) else {}


def _located(section: Mapped, key: str, base: Path) -> None:
    written = section.get(key)
    if isinstance(written, str):
        section[key] = located(written, base)


def located(written: str, base: Path) -> str:
    """Place of the weights of a published path on this host: the path itself, or below `base` the longest end
    of it that is there; as it is written where nothing is."""
    path = Path(os.path.expandvars(os.path.expanduser(written)))  # noqa: PTH111 -- it may be a hub id
    if path.is_absolute() and path.exists():
        return str(path)
    parts = path.parts[1:] if path.is_absolute() else path.parts
    if ".." not in parts:
        for start in range(len(parts)):
            here = base.joinpath(*parts[start:])
            if here.exists():
                return str(here)
    return written


def _sections(published: PublishedPool, muster: MusterSettings, base: Path) -> Mapped:
    sections: Mapped = {name: value for name, value in published.sections.items() if name in SECTIONS}
    embedder = _section(sections, "embedder")
    if "/" in str(embedder.get("model")):
        sections["embedder"] = {**embedder, "model": located(str(embedder["model"]), base)}
    if published.vocabulary is not None:
        skills = _section(sections, "skills")
        sections["skills"] = {**skills, "vocabulary": str(_kept_vocabulary(published, muster))}
    return sections


def _kept_vocabulary(published: PublishedPool, muster: MusterSettings) -> Path:
    assert published.vocabulary is not None, "somebody looked"
    folder = muster.data_dir.absolute()
    try:
        private_folder(folder)
        with replacing(folder / "published-vocabulary.txt", private=True) as file:
            file.write(published.vocabulary.encode())
    except OSError as error:
        raise ConfigError(
            f"cannot write to '{folder}': {error.strerror}.",
            param="muster.data_dir",
            remedy="Name a folder that this user may write to in MUSTER_DATA_DIR.",
        ) from error
    return folder / "published-vocabulary.txt"


def _vocabulary(settings: Settings) -> str | None:
    """Content of the file of skills, where one is named."""
    path = settings.base_dir / settings.muster.skills.vocabulary
    if not path.is_file() or path.stat().st_size > MOST_VOCABULARY_BYTES:
        return None
    return path.read_text()


def _own_settings() -> MusterSettings:
    try:
        return MusterSettings()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "MUSTER_" + "__".join(str(part) for part in first["loc"]).upper()
        raise ConfigError(f"{name}: {first['msg']}.", param=name, remedy="Mend or unset it.") from None


def _awaited(url: str, *, waits: bool) -> PublishedPool:
    database = open_database(url)
    try:
        store, reminded_at = SqlFleetStore(database), -REMIND_S
        while (published := _published(store, waits=waits)) is None:
            if not waits:
                raise ConfigError(
                    "there is no pool file here, and none is published in the database.",
                    remedy="Start `muster serve` with the pool file, or give --config FILE.",
                )
            if time.monotonic() - reminded_at >= REMIND_S:
                reminded_at = time.monotonic()
                log.warning(
                    "no pool is published yet: start `muster serve` with the pool file. Waiting for it"
                )
            time.sleep(LOOK_S)
        return published
    finally:
        database.close()


def _published(store: SqlFleetStore, *, waits: bool) -> PublishedPool | None:
    try:
        return store.published()
    except StoreError as error:
        if not waits:
            raise
        log.warning("%s", error)
        return None
    except ValueError:
        raise ConfigError(
            "the published pool is of another version of Muster.",
            remedy="Use the same version as the API, or give --config FILE.",
        ) from None
