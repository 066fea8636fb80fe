"""Published pools: what travels to a host without a pool file, and what it makes of it there."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from api.cli.session import Session
from orchestrator.bootstrap.app import open_app
from orchestrator.bootstrap.checks import config_hash
from orchestrator.bootstrap.published import await_settings, located, make_pool, publication_of, settings_of
from orchestrator.domain.fleet import PublishedPool
from orchestrator.errors import ConfigError, StoreError
from orchestrator.settings.load import load_settings
from orchestrator.settings.schema import MusterSettings, Settings
from tests.integration.scripted_pool import write_pool

BROKER = "redis://127.0.0.1:1/0"


@pytest.fixture(autouse=True)
def _stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSTER_BROKER_URL", BROKER)
    monkeypatch.delenv("MUSTER_CONFIG", raising=False)


def model(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def member(
    name: str, path: str, *, muster: Mapping[str, object] | None = None, **params: object
) -> dict[str, object]:
    row: dict[str, object] = {"model_name": name, "litellm_params": {"model": path, **params}}
    return row | ({"model_info": {"muster": dict(muster)}} if muster is not None else {})


def pool_file(folder: Path, *members: Mapping[str, object], **muster: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pool.yaml"
    path.touch(mode=0o600)
    common = {"embedder": {"model": "hash"}, **muster}
    path.write_text(yaml.safe_dump({"model_list": list(members), "muster": common}))
    return path


def published(path: Path) -> tuple[Settings, PublishedPool]:
    settings = load_settings(path)
    pool = make_pool(settings)
    digest = config_hash(settings, pool)
    return settings, PublishedPool.model_validate_json(
        publication_of(settings, pool, config_hash=digest, host="hub").model_dump_json()
    )


def taken_over(pool: PublishedPool, models_dir: Path | None) -> Settings:
    return settings_of(pool, MusterSettings(), models_dir)


def test_a_worker_without_a_pool_file_has_the_same_configuration_wherever_its_weights_lie(
    tmp_path: Path,
) -> None:
    model(tmp_path / "hub" / "models" / "big")
    path = pool_file(
        tmp_path / "hub",
        member("x", "models/big"),
        member("y", str(tmp_path / "hub" / "models" / "big"), muster={"dtype": "float32"}),
        compositions={"vote": {"router": "all", "aggregator": "majority"}},
        scheduler={"lease_s": 7},
        data_dir="elsewhere",
    )
    _, pool = published(path)
    assert "elsewhere" not in pool.model_dump_json()
    model(tmp_path / "two" / "weights" / "big")
    (tmp_path / "hub").rename(tmp_path / "gone")
    settings = taken_over(pool, tmp_path / "two" / "weights")
    there = make_pool(settings)
    assert {e.id: e.engine.model for e in there.experts} == dict.fromkeys(
        "xy", str(tmp_path / "two/weights/big")
    )
    assert config_hash(settings, there) == pool.config_hash
    assert {e.id: e.engine.id for e in there.experts} == {n: one.engine_id for n, one in pool.experts.items()}
    assert settings.muster.scheduler.lease_s == 7
    assert settings.muster.data_dir != Path("elsewhere")


def test_weights_that_the_api_does_not_have_count_by_their_place_on_both_sides(tmp_path: Path) -> None:
    _, pool = published(pool_file(tmp_path / "hub", member("x", "models/big")))
    model(tmp_path / "two" / "big")
    settings = taken_over(pool, tmp_path / "two")
    there = make_pool(settings)
    assert there.by_id["x"].engine.model == str(tmp_path / "two" / "big")
    assert config_hash(settings, there) == pool.config_hash


def test_secrets_do_not_travel_and_whoever_lacks_them_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWN_KEY", "sk-value-of-the-hub")
    path = pool_file(
        tmp_path / "hub",
        member("a", "openai/m", api_key="sk-literal-in-the-file-77", api_base="http://h/v1"),
        member("b", "openai/m", api_key="os.environ/OWN_KEY", api_base="http://h/v1"),
        member("c", "scripted/c", muster={"engine": "scripted", "options": {"answers": {}}}),
        database_url="postgresql://u:pw-of-the-hub@h/d",
    )
    hub, pool = published(path)
    sent = pool.model_dump_json()
    assert not [s for s in ("sk-literal", "sk-value", "pw-of-the-hub", "postgresql") if s in sent]
    monkeypatch.delenv("OWN_KEY")
    there = taken_over(pool, None)
    assert there.unreached.keys() == {"a", "b"}
    assert "pool file of hub" in there.unreached["a"]
    assert "OWN_KEY is not set" in there.unreached["b"]
    assert config_hash(there, make_pool(there)) == config_hash(hub, make_pool(hub))
    monkeypatch.setenv("OWN_KEY", "sk-value-of-this-host")
    assert taken_over(pool, None).unreached.keys() == {"a"}


@pytest.mark.parametrize(
    "command", ["vllm serve --api-key of-the-hub-only {port}", ["serve", "--token=of-the-hub-only", "{port}"]]
)
def test_a_command_with_a_secret_in_it_does_not_travel_and_its_engine_is_withheld(
    tmp_path: Path, command: object
) -> None:
    own = {"engine": "command", "max_model_len": 64, "options": {"command": command}}
    file = pool_file(tmp_path / "hub", member("a", "models/a", muster=own))
    _, pool = published(file)
    assert "of-the-hub-only" not in pool.model_dump_json()
    there = taken_over(pool, None)
    assert there.unreached.keys() == {"a"}
    assert make_pool(there).by_id["a"].engine.backend == "command"
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="holds a secret in a command and other users can read it"):
        load_settings(file)


def test_a_file_of_skills_travels_with_the_pool(tmp_path: Path) -> None:
    path = pool_file(
        tmp_path / "hub",
        member("c", "scripted/c", muster={"engine": "scripted", "options": {"answers": {}}}),
        skills={"vocabulary": "skills.txt"},
    )
    (tmp_path / "hub" / "skills.txt").write_text("algebra\nhistory\n")
    _, pool = published(path)
    (tmp_path / "hub").rename(tmp_path / "gone")
    settings = taken_over(pool, None)
    assert config_hash(settings, make_pool(settings)) == pool.config_hash
    assert Path(settings.muster.skills.vocabulary).read_text() == "algebra\nhistory\n"


def test_the_environment_of_a_host_goes_before_what_was_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expert = member("c", "scripted/c", muster={"engine": "scripted", "options": {"answers": {}}})
    _, pool = published(pool_file(tmp_path / "hub", expert, scheduler={"lease_s": 7}))
    monkeypatch.setenv("MUSTER_SCHEDULER__LEASE_S", "9")
    assert taken_over(pool, None).muster.scheduler.lease_s == 9


@pytest.mark.parametrize(
    ("written", "here"),
    [
        ("/srv/models/org/big", "org/big"),
        ("models/org/big", "org/big"),
        ("org/big", "org/big"),
        ("/elsewhere/small", "small"),
        ("../small", None),
        ("/srv/../small", None),
        ("unknown", None),
        ("/small/", "small"),
    ],
)
def test_a_path_is_found_by_the_longest_end_of_it_that_is_there(
    tmp_path: Path, written: str, here: str | None
) -> None:
    for name in ("org/big", "big", "small"):
        (tmp_path / name).mkdir(parents=True)
    assert located(written, tmp_path) == (written if here is None else str(tmp_path / here))


def test_a_folder_for_weights_that_is_not_there_is_told(tmp_path: Path) -> None:
    _, pool = published(pool_file(tmp_path / "hub", member("x", "models/big")))
    with pytest.raises(ConfigError, match=r"no folder .*nowhere.*--models-dir"):
        taken_over(pool, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (("MUSTER_DATABASE_URL",), "MUSTER_DATABASE_URL is not set"),
        (("MUSTER_BROKER_URL",), "MUSTER_BROKER_URL is not set"),
        (
            ("MUSTER_DATABASE_URL", "MUSTER_BROKER_URL"),
            "MUSTER_DATABASE_URL and MUSTER_BROKER_URL are not set",
        ),
    ],
)
def test_an_address_that_is_missing_is_one_line_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], said: str
) -> None:
    monkeypatch.setenv("MUSTER_DATABASE_URL", f"sqlite:///{tmp_path}/db")
    for name in missing:
        monkeypatch.delenv(name)
    with pytest.raises(ConfigError) as told:
        await_settings(models_dir=None, waits=True)
    assert said in str(told.value)
    assert "--config FILE" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_database_in_which_nothing_is_published_is_told_to_who_does_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_DATABASE_URL", f"sqlite:///{tmp_path}/db")
    with pytest.raises(ConfigError, match=r"none is published.*muster serve"):
        await_settings(models_dir=None, waits=False)


def test_a_url_with_an_address_of_ipv6_is_read_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_DATABASE_URL", "postgresql://u:secret-pw@[::1]:1/d")
    with pytest.raises(StoreError) as told:
        await_settings(models_dir=None, waits=False)
    assert '"::1", port 1' in str(told.value)
    assert "secret-pw" not in str(told.value)


def test_an_api_of_the_stack_publishes_and_a_worker_takes_it_from_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_DATABASE_URL", f"sqlite:///{tmp_path}/shared.sqlite3")
    (tmp_path / "hub").mkdir()
    with open_app(load_settings(write_pool(tmp_path / "hub")), background=True) as api:
        settings = await_settings(models_dir=None, waits=False)
        with open_app(settings) as worker:
            worker.fleet.join("worker", config_hash=worker.config_hash, device="cpu")
            state = api.fleet.desk.state()
            assert worker.fleet.withheld() == {}
            assert worker.config_hash == api.config_hash
        [host] = state.hosts
        assert {(p.report.role, p.report.source) for p in host.processes} == {("worker", "database")}, (
            "both are of one process here, and the worker told last"
        )
        assert [c.check for c in state.checks if not c.ok] == ["processes", "engines"]


def test_an_engine_that_a_pool_file_defines_otherwise_is_not_served_there_and_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_DATABASE_URL", f"sqlite:///{tmp_path}/shared.sqlite3")

    def scripted(name: str, **options: object) -> dict[str, object]:
        return member(
            name, f"scripted/{name}", muster={"engine": "scripted", "options": {"answers": {}, **options}}
        )

    one = pool_file(tmp_path / "1", scripted("a"), scripted("b"))
    two = pool_file(tmp_path / "2", scripted("a", accuracy=0.5), scripted("b"), scripted("only"))
    with open_app(load_settings(one), background=True), open_app(load_settings(two)) as worker:
        worker.fleet.join("worker", config_hash=worker.config_hash, device="cpu")
        withheld = worker.fleet.withheld()
        assert withheld.keys() == {"a"}
        assert "(options)" in withheld["a"].why
        told = {one.engine_id: one.why for one in worker.fleet.store.processes(60)[0].engines}
        assert told == {"a": withheld["a"].why, "b": None, "only": None}


def test_a_published_pool_of_another_version_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_DATABASE_URL", f"sqlite:///{tmp_path}/shared.sqlite3")
    (tmp_path / "hub").mkdir()
    with open_app(load_settings(write_pool(tmp_path / "hub")), background=True) as api:
        pool = api.fleet.store.published()
        assert pool is not None
        newer = json.loads(pool.model_dump_json()) | {"tomorrow": 1}
        monkeypatch.setattr(PublishedPool, "model_dump_json", lambda *_, **__: json.dumps(newer))
        api.fleet.store.publish(pool)
        monkeypatch.undo()
        monkeypatch.setenv("MUSTER_BROKER_URL", BROKER)
        monkeypatch.setenv("MUSTER_DATABASE_URL", f"sqlite:///{tmp_path}/shared.sqlite3")
        with pytest.raises(ConfigError, match=r"another version.*same version"):
            await_settings(models_dir=None, waits=False)
        assert api.fleet.desk.state().hosts, "whoever looks at the fleet is shown it all the same"
        with open_app(load_settings(tmp_path / "hub" / "pool.yaml")) as worker:
            worker.fleet.join("worker", config_hash=worker.config_hash, device="cpu")
            assert worker.fleet.withheld() == {}, "it has a pool file, and needs no other one"


def test_a_publication_that_could_not_be_read_is_read_at_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_DATABASE_URL", f"sqlite:///{tmp_path}/shared.sqlite3")

    def scripted(**options: object) -> dict[str, object]:
        return member("a", "scripted/a", muster={"engine": "scripted", "options": {"answers": {}, **options}})

    one, two = pool_file(tmp_path / "1", scripted()), pool_file(tmp_path / "2", scripted(accuracy=0.5))
    with open_app(load_settings(one), background=True), open_app(load_settings(two)) as worker:
        read = worker.fleet.store.published
        failures = [StoreError("the database was away for a moment.")]

        def published() -> PublishedPool | None:
            if failures:
                raise failures.pop()
            return read()

        monkeypatch.setattr(worker.fleet.store, "published", published)
        with pytest.raises(StoreError):
            worker.fleet.forget_weights("a")
        worker.fleet.forget_weights("a")
        assert worker.fleet.withheld().keys() == {"a"}


def test_a_command_that_asks_one_question_publishes_nothing_and_is_no_process_of_the_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`muster ask` at a terminal once replaced the pool of the whole stack by that of its own file."""
    monkeypatch.setenv("MUSTER_DATABASE_URL", f"sqlite:///{tmp_path}/shared.sqlite3")
    (tmp_path / "own").mkdir()
    with Session(config=write_pool(tmp_path / "own")).app(background=True) as app:
        assert app.fleet.store.publication() is None
        assert app.fleet.store.processes(60) == []
