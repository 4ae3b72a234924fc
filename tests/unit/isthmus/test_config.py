"""The configuration: which source wins, and that every mistake is told at once with its place and its remedy."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.places import BUILT_IN
from isthmus.channels import channel_specs
from isthmus.config import OPTIONS, Config, ConfigProblems, Problem, load
from isthmus.config.lines import lines_of
from isthmus.config.model import BUILT_IN_PLACES
from isthmus.config.options import BadValue, from_text, show

PATH = "worlds/w/world.toml"
PRODUCTION = """
[gateway]
mode = "production"
host = "0.0.0.0"
allowed_hosts = ["world.example"]
[auth]
jwks_url = "https://id.example/keys"
issuer = "https://id.example"
audience = "isthmus"
"""


def loaded(text: str = "", environ: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None) -> Config:
    result = load(text, PATH, environ or {}, flags or {}, is_file=lambda _: True)
    assert isinstance(result, Config), str(result)
    return result


def problems(
    text: str = "", environ: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None
) -> tuple[Problem, ...]:
    result = load(text, PATH, environ or {}, flags or {}, is_file=lambda _: True)
    assert isinstance(result, ConfigProblems)
    return result.problems


def only(text: str = "", environ: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None) -> Problem:
    found = problems(text, environ, flags)
    assert len(found) == 1, "\n".join(map(str, found))
    return found[0]


def test_nothing_given_is_a_safe_configuration() -> None:
    config = loaded()
    assert config.gateway.host == "127.0.0.1"
    assert config.gateway.mode == "development"
    assert config.folder == "worlds/w"
    assert set(config.sources.values()) == {"default"}


def test_flags_win_over_the_environment_and_that_over_the_file() -> None:
    text = "[world]\nrate_hz = 10\n\n[gateway]\nport = 1\n"
    environ = {"ISTHMUS_GATEWAY_PORT": "2", "ISTHMUS_LIMITS_RESUME_S": "7.5", "HOME": "/root"}
    config = loaded(text, environ, {"gateway.port": "3"})
    assert (config.world.rate_hz, config.gateway.port, config.limits.resume_s) == (10, 3, 7.5)
    assert config.sources["world.rate_hz"] == f"{PATH}:2"
    assert config.sources["gateway.port"] == "--gateway-port"
    assert config.sources["limits.resume_s"] == "ISTHMUS_LIMITS_RESUME_S"


def test_all_mistakes_of_all_sources_are_told_at_once() -> None:
    text = '[world]\nrate_hz = "fast"\nrate = 20\n[wold]\n[view]\nradius_m = 9000\n'
    found = problems(text, {"ISTHMUS_GATEWAY_PROT": "1", "ISTHMUS_SHARD_ENTITIES_MAX": "many"}, {"gateway.port": "x"})
    assert [problem.place for problem in found] == [
        f"{PATH}:2 world.rate_hz",
        f"{PATH}:3 world.rate",
        f"{PATH}:4 wold",
        f"{PATH}:6 view.radius_m",
        "ISTHMUS_GATEWAY_PROT",
        "ISTHMUS_SHARD_ENTITIES_MAX",
        "--gateway-port",
    ]
    remedies = [problem.remedy for problem in found]
    assert remedies[0] == "give a whole number from 10 to 60; the default is 20"
    assert remedies[1] == "did you mean rate_hz?"
    assert remedies[2] == "did you mean [world]?"
    assert remedies[4] == "did you mean ISTHMUS_GATEWAY_PORT?"


def test_the_text_of_the_problems_counts_them_and_says_that_nothing_runs() -> None:
    text = str(ConfigProblems(problems("[world]\nrate_hz = 1\nseed = -1\n")))
    assert text.startswith("2 mistakes in the configuration; nothing was started.")
    assert f"{PATH}:2 world.rate_hz" in text


def test_text_that_is_not_toml_is_one_problem() -> None:
    problem = only("[world\n")
    assert problem.place == PATH
    assert "line 1" in problem.what


def test_a_value_where_a_table_belongs() -> None:
    assert only("world = 3\n").remedy == "write [world] and its options below it"


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_numbers_must_be_finite(number: str) -> None:
    assert "not a finite number" in only(f"[view]\nradius_m = {number}\n").what
    assert "not a finite number" in only(flags={"view.radius_m": number}).what


def test_an_unknown_flag_key_is_told() -> None:
    assert only(flags={"gateway.prt": "1"}).remedy == "did you mean gateway.port?"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[world]\nrate_hz = 60\nsteps_per_tick = 12\n[limits]\nmessages_per_s = 100", "world.steps_per_tick"),
        ("[limits]\nheartbeat_s = 1\nidle_ack_ms = 250\n[view]\nnear_radius_m = 200", "view.near_radius_m"),
        ("[view]\nnear_tolerance_m = 0.5", "view.near_tolerance_m"),
        ("[view]\nradius_m = 230\nhysteresis_ratio = 1.5", "view.radius_m"),
        ("[limits]\nmessages_per_s = 10", "limits.messages_per_s"),
        ("[limits]\nsessions_max = 10", "limits.connections_per_address_max"),
        ("[view]\nentities_max = 4096", "gateway.outbox_bytes"),
        ("[world]\ninhabitants_count = 20000", "shard.entities_max"),
        ('[gateway]\nhost = "0.0.0.0"', "gateway.host"),
        ('[gateway]\ntls_cert_path = "c.pem"', "gateway.tls_cert_path"),
        ('[gateway]\ntls_key_path = "k.pem"', "gateway.tls_key_path"),
        ('[gateway]\nallowed_origins = ["world.example"]', "gateway.allowed_origins"),
        ('[gateway]\nproxies = ["10.0.0.0/8", "10.0.0.7/8"]', "gateway.proxies"),
        ('[gateway]\nproxies = ["proxy.example"]', "gateway.proxies"),
        ('[auth]\njwks_url = "http://id.example/keys"', "auth.jwks_url"),
        (PRODUCTION.replace("allowed_hosts", "# "), "gateway.allowed_hosts"),
        (PRODUCTION.replace("issuer", "# "), "auth.issuer"),
        (PRODUCTION + 'jwks_path = "keys.json"', "auth.jwks_url"),
        (PRODUCTION.replace("jwks_url", "# "), "auth.jwks_url"),
    ],
)
def test_relations_between_options(text: str, key: str) -> None:
    problem = only(text)
    assert problem.place.endswith(f" {key}")
    assert problem.remedy


def test_a_heartbeat_must_outlast_idle_acknowledgements() -> None:
    config = loaded("[limits]\nheartbeat_s = 1\n")
    assert config.limits.heartbeat_s * 1000 >= 4 * config.limits.idle_ack_ms


def test_a_complete_production_configuration() -> None:
    config = loaded(PRODUCTION)
    assert config.gateway.allowed_hosts == ("world.example",)


def test_lists_come_comma_separated_from_text() -> None:
    config = loaded(flags={"gateway.allowed_origins": "https://a.example, https://b.example:8443"})
    assert config.gateway.allowed_origins == ("https://a.example", "https://b.example:8443")


def test_named_files_must_exist_in_the_worlds_folder() -> None:
    asked: list[str] = []

    def is_file(path: str) -> bool:
        asked.append(path)
        return False

    result = load('[world]\nplace = "city.osm.pbf"\nbehaviours = "b.py"\n', PATH, {}, {}, is_file=is_file)
    assert isinstance(result, ConfigProblems)
    assert asked == ["worlds/w/city.osm.pbf", "worlds/w/b.py"]
    assert [problem.place for problem in result.problems] == [f"{PATH}:2 world.place", f"{PATH}:3 world.behaviours"]


def test_a_packages_extract_is_no_file() -> None:
    assert isinstance(load('[world]\nplace = "helsinki"\n', PATH, {}, {}, is_file=lambda _: False), Config)


def test_the_built_in_places_are_those_of_the_importer() -> None:
    assert set(BUILT_IN_PLACES) == set(BUILT_IN)


def test_every_option_says_what_it_means_and_accepts_its_default() -> None:
    for option in OPTIONS.values():
        assert len(option.meaning) > 20, option.key
        if option.default is not None:
            text = ",".join(option.default) if isinstance(option.default, tuple) else str(option.default)
            assert from_text(option, text) == option.default


def test_lines_follow_tables_and_step_over_long_strings() -> None:
    text = 'top = 1\n[a]\nx = """\ny = 2\n"""\ny = 3\n[ b ] # c\nx = 4\n'
    assert lines_of(text) == {"top": 1, "a": 2, "a.x": 3, "a.y": 6, "b": 7, "b.x": 8}


@given(st.text(max_size=200))
def test_any_text_gives_a_configuration_or_problems(text: str) -> None:
    assert isinstance(load(text, PATH, {}, {}, is_file=lambda _: True), Config | ConfigProblems)


@given(st.sampled_from(list(OPTIONS.values())), st.text(max_size=30))
def test_any_text_for_an_option_is_its_value_or_a_problem_at_that_place(option: object, text: str) -> None:
    option = next(known for known in OPTIONS.values() if known is option)
    try:
        value = from_text(option, text)
    except BadValue:
        assert any(problem.place == option.variable for problem in problems(environ={option.variable: text}))
        return
    result = load("", PATH, {option.variable: text}, {}, is_file=lambda _: True)
    if isinstance(result, Config):
        assert getattr(getattr(result, option.area), option.name) == value
        assert show(value)


@given(
    st.integers(10, 60), st.integers(1, 12), st.floats(5, 230), st.floats(0, 230), st.floats(1, 2), st.floats(1, 1000)
)
def test_what_is_accepted_keeps_the_relations(
    rate_hz: int, steps: int, radius_m: float, near_m: float, hysteresis: float, messages_per_s: float
) -> None:
    flags = {
        "world.rate_hz": str(rate_hz),
        "world.steps_per_tick": str(steps),
        "view.radius_m": repr(radius_m),
        "view.near_radius_m": repr(near_m),
        "view.hysteresis_ratio": repr(hysteresis),
        "limits.messages_per_s": repr(messages_per_s),
    }
    config = load("", PATH, {}, flags, is_file=lambda _: True)
    if isinstance(config, Config):
        assert 30 <= config.world.rate_hz * config.world.steps_per_tick <= 240
        assert config.view.near_radius_m <= config.view.radius_m
        assert config.view.radius_m * config.view.hysteresis_ratio * 128 < 2**15
        assert config.limits.messages_per_s >= config.world.rate_hz + 4


def test_datagrams_are_off_unless_asked_for_and_need_an_address_that_clients_reach() -> None:
    assert not loaded().gateway.datagrams
    assert loaded("[gateway]\ndatagrams = true\n").gateway.datagrams_port is None
    anywhere = f"{PRODUCTION}\n[view]\n".replace("[gateway]", "[gateway]\ndatagrams = true")
    assert "0.0.0.0" in str(only(anywhere))
    told = anywhere.replace("datagrams = true", 'datagrams = true\nadvertise_udp = "world.example:8080"')
    assert loaded(told).gateway.advertise_udp == "world.example:8080"


def test_webtransport_is_off_unless_asked_for_and_needs_an_address_that_browsers_reach() -> None:
    assert not loaded().gateway.webtransport
    assert loaded("[gateway]\nwebtransport = true\n").gateway.webtransport_port is None
    anywhere = f"{PRODUCTION}\n[view]\n".replace("[gateway]", "[gateway]\nwebtransport = true")
    assert "gateway.advertise_webtransport" in only(anywhere).remedy


def test_both_carriers_of_datagrams_need_ports_of_their_own() -> None:
    both = "[gateway]\ndatagrams = true\nwebtransport = true\n"
    assert "gateway.webtransport_port" in only(both).place
    assert loaded(both + "webtransport_port = 8443\n").gateway.webtransport_port == 8443
    assert loaded(both + "datagrams_port = 0\nwebtransport_port = 0\n").gateway.datagrams


@pytest.mark.parametrize("option", ["advertise_udp", "advertise_webtransport"])
@pytest.mark.parametrize("address", ["world.example", ":8080", "host:0", "host:99999", "::1:8080", "host:port", "[]:1"])
def test_an_address_for_datagrams_is_host_and_port(option: str, address: str) -> None:
    problem = only(f'[gateway]\n{option} = "{address}"\n')
    assert f"gateway.{option}" in problem.place


@pytest.mark.parametrize("option", ["datagrams_port", "webtransport_port"])
@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_udp_port_is_one(option: str, port: int) -> None:
    assert f"gateway.{option}" in only(f"[gateway]\n{option} = {port}\n").place


def test_channels_are_tables_of_their_own() -> None:
    text = """
[world]
name = "x"

[[channel]]
name = "square"
camera = "fixed"
place_m = [1, 2, 3.5]
rate_hz = 4

[[channel]]
name = "flight"
camera = "path"
path = [[0, 0, 20, 60, 0, 0, 0], [20.5, 60, 20, 0, 0, 0, 0]]
"""
    loaded = load(text, "w.toml", {}, {})
    assert isinstance(loaded, Config)
    square, flight = loaded.channels
    assert (square.name, square.place_m, square.rate_hz) == ("square", (1.0, 2.0, 3.5), 4.0)
    specs = channel_specs(loaded)
    assert [point.at_s for point in specs[1].path] == [0.0, 20.5]
    assert specs[1].path[1].eye_m == flight.path[1][1:4]
    bare = load("", "w.toml", {}, {})
    assert isinstance(bare, Config)
    assert [(spec.name, spec.camera) for spec in channel_specs(bare)] == [("live", "director")]


@pytest.mark.parametrize(
    ("lines", "place", "what"),
    [
        ('name = "a"\ncolour = 3', "w.toml:3 channel[0].colour", "a channel has no colour"),
        ('name = "a"\nrate_hz = 0', "w.toml:3 channel[0].rate_hz", ">= 1"),
        ("radius_m = 20", "w.toml:1 channel[0]", "without a name"),
        ('name = "a"\n[[channel]]\nname = "a"', "w.toml:4 channel[1].name", "two channels are called a"),
        ('name = "a"\ncamera = "follow"', "w.toml:3 channel[0].camera", "follows nobody"),
        ('name = "a"\ncamera = "path"', "w.toml channel[0].path", "a path of 0 points"),
        (
            'name = "a"\ncamera = "path"\npath = [[0,0,0,0,0,0,0],[0,1,1,1,0,0,0]]',
            "w.toml:4 channel[0].path",
            "do not ascend",
        ),
        ('name = "a"\nplace_m = [0, nan, 0]', "w.toml:3 channel[0].place_m", "finite"),
        ('name = "a"\nplace_m = [0, 1]', "w.toml:3 channel[0].place_m", "length 3"),
        ('name = "a"\nnear_radius_m = 200', "w.toml:3 channel[0].near_radius_m", "beyond the view"),
        ('name = "a"\nshot_least_s = 60', "w.toml:3 channel[0].shot_least_s", "above the greatest"),
    ],
)
def test_mistakes_in_channels(lines: str, place: str, what: str) -> None:
    found = load(f"[[channel]]\n{lines}\n", "w.toml", {}, {})
    assert isinstance(found, ConfigProblems)
    [problem] = found.problems
    assert problem.place == place
    assert what in problem.what


def test_a_channel_sees_no_farther_than_records_reach() -> None:
    found = load('[view]\nhysteresis_ratio = 1.5\n[[channel]]\nname = "a"\nradius_m = 200\n', "w.toml", {}, {})
    assert isinstance(found, ConfigProblems)
    assert [problem.place for problem in found.problems] == ["w.toml channel[0].radius_m"]


def test_channels_are_a_list_of_finite_length() -> None:
    for text, what in (("channel = 3", "list of tables"), ("[[channel]]\n" * 65, "65 channels")):
        found = load(text, "w.toml", {}, {})
        assert isinstance(found, ConfigProblems)
        assert what in found.problems[0].what


def test_an_option_that_may_be_absent_tells_its_bounds() -> None:
    problems = load("[profile_vr]\nrate_hz = 0\n[gateway]\ndatagrams_port = 'x'\n", "w.toml", {}, {})
    assert isinstance(problems, ConfigProblems)
    text = str(problems)
    assert "give a whole number from 1 to 120; the default is absent" in text
    assert "give a whole number; the default is absent" in text
