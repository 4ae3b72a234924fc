"""From facts about a machine to findings: interpreter, kernels, limits, CPU, addresses, secrets.

Pure. Decides what is enough, and what to do where it is not. Not responsible for: stores and the cluster
(``services``).
"""

from collections.abc import Iterator
from ipaddress import ip_address

from isthmus.config import Config
from isthmus.doctor.facts import Advertised, Certificate, Facts, Finding, Level, Machine, Port, Secret

PYTHON_LEAST = (3, 11)
DESCRIPTORS_BESIDE = 320
"""Beside one for each session: links, stores, files, visitors of the page."""
MEMORY_LEAST_BYTES = 512 << 20
"""A gateway with compiled kernels has some 300 MB before anybody comes."""
STEAL_MOST = 0.05
CERTIFICATE_SOON_S = 14 * 86_400
OK, NOTE, WARNING, ERROR = Level


def check(facts: Facts, config: Config) -> Iterator[Finding]:
    """All that concerns this machine."""
    machine = facts.machine
    yield from _python(machine)
    yield from _kernels(machine)
    yield from _limits(machine, config)
    yield from _cpu(machine)
    if not machine.page_built:
        yield Finding(WARNING, "web page", "the page is not built: browsers get 404", "run `make web`")
    for port in facts.ports:
        yield _port(port)
    for place in facts.advertised:
        yield _advertised(place, config)
    for secret in facts.secrets:
        yield _secret(secret)
    for certificate in facts.certificates:
        yield _certificate(certificate)
    for what, why in facts.writable.items():
        yield Finding(
            ERROR,
            "folders",
            f"{what}: {why}",
            "let the process's user write there, or name another place in the options",
        )
    yield from _exposure(config)


def _python(machine: Machine) -> Iterator[Finding]:
    told = ".".join(map(str, machine.python))
    if machine.python < PYTHON_LEAST:
        yield Finding(
            ERROR, "Python", f"{told} is too old", "install Python 3.11 or newer, and a new virtual environment"
        )
    elif machine.optimised:
        yield Finding(ERROR, "Python", "assertions are off (-O)", "start without -O and without PYTHONOPTIMIZE")
    else:
        yield Finding(OK, "Python", told)
    if machine.strangers:
        yield Finding(ERROR, "packages", machine.strangers, "run from another folder, or remove the other package")
    if machine.missing:
        names = ", ".join(machine.missing)
        yield Finding(ERROR, "packages", f"not installed: {names}", f"pip install {' '.join(machine.missing)}")
    elif not machine.strangers:
        yield Finding(OK, "packages", "all that these options need are installed")


def _kernels(machine: Machine) -> Iterator[Finding]:
    where = machine.kernels_folder
    if machine.kernels_cached:
        yield Finding(OK, "kernels", f"{machine.kernels_cached} compiled in {where}")
    elif machine.kernels_writable:
        yield Finding(
            WARNING,
            "kernels",
            f"none are compiled in {where}: the first start takes a minute",
            "run `isthmus warmup`; in an image's build, with NUMBA_CACHE_DIR inside the image",
        )
    else:
        yield Finding(
            ERROR,
            "kernels",
            f"none are compiled in {where}, and nothing can be written there: each start takes a minute",
            "name a folder that can be written in NUMBA_CACHE_DIR and run `isthmus warmup`",
        )


def _limits(machine: Machine, config: Config) -> Iterator[Finding]:
    soft, hard = machine.descriptors
    needed = config.limits.sessions_max + DESCRIPTORS_BESIDE
    if hard < needed:
        yield Finding(
            ERROR,
            "file descriptors",
            f"{hard} may be open; {config.limits.sessions_max} sessions need {needed}",
            f"raise the hard limit (ulimit -Hn {needed}, systemd's LimitNOFILE={needed}), or lower limits.sessions_max",
        )
    else:
        yield Finding(OK, "file descriptors", f"{soft} may be open now, {hard} at most; {needed} are needed")
    if config.gateway.datagrams:
        wanted = config.gateway.datagrams_buffer_bytes
        for name, most in zip(("net.core.rmem_max", "net.core.wmem_max"), machine.socket_buffers, strict=True):
            if most is None:
                yield Finding(NOTE, "UDP buffers", f"{name} cannot be read here")
            elif most < wanted:
                yield Finding(
                    WARNING,
                    "UDP buffers",
                    f"{name} is {most}: bursts of more than that are lost ({wanted} are asked for)",
                    f"sysctl -w {name}={wanted} (on the node), or lower gateway.datagrams_buffer_bytes",
                )
            else:
                yield Finding(OK, "UDP buffers", f"{name} is {most}")
    memory = machine.memory_bytes
    if memory is not None and memory < MEMORY_LEAST_BYTES:
        yield Finding(
            WARNING,
            "memory",
            f"{memory >> 20} MiB are granted: a process needs some 300 before anybody comes",
            "grant a process 512 MiB or more",
        )


def _cpu(machine: Machine) -> Iterator[Finding]:
    if machine.quota is not None and machine.quota < 1.0:
        yield Finding(
            WARNING,
            "CPU",
            f"the control group grants {machine.quota:g} of a core: ticks are late whenever it is used up",
            "grant each process a whole core, best without a limit",
        )
    else:
        granted = "" if machine.quota is None else f", {machine.quota:g} granted"
        yield Finding(OK, "CPU", f"{machine.cores} cores{granted}; a process computes with one")
    if machine.steal is not None and machine.steal > STEAL_MOST:
        yield Finding(
            WARNING,
            "CPU",
            f"the hypervisor gave {100 * machine.steal:.0f} % of the time to other machines: ticks will be late",
            "take a machine whose cores are its own",
        )
    if machine.clock_synchronised is False:
        yield Finding(
            WARNING,
            "clock",
            "it follows no time server: ticks of processes on several machines drift apart",
            "run chrony or systemd-timesyncd (on the node)",
        )


def _port(port: Port) -> Finding:
    about = f"port {port.address}"
    if port.taken is None:
        return Finding(OK, about, f"free ({port.option})")
    if port.ours:
        return Finding(NOTE, about, f"an Isthmus serves there already ({port.option})")
    return Finding(
        ERROR, about, f"{port.option}: {port.taken}", f"end what has it (`ss -lptun`), or set {port.option} to another"
    )


def _advertised(place: Advertised, config: Config) -> Finding:
    about = place.option
    if place.problem is not None:
        return Finding(
            ERROR, about, f"{place.address}: {place.problem}", "name an address that clients resolve and reach"
        )
    ips = [ip_address(ip) for ip in place.ips]
    if any(ip.is_unspecified for ip in ips):
        return Finding(
            ERROR,
            about,
            f"clients are sent to {place.address}, which is nobody's address",
            f"set {place.option} to the host and port at which clients reach this gateway",
        )
    local = config.gateway.host in ("localhost", "::1") or config.gateway.host.startswith("127.")
    if any(ip.is_loopback for ip in ips) and not local:
        return Finding(
            ERROR,
            about,
            f"clients are sent to {place.address}, which is their own machine",
            f"set {place.option} to the host and port at which clients reach this gateway",
        )
    if any(ip.is_private and not ip.is_loopback for ip in ips):
        return Finding(NOTE, about, f"{place.address} is in a private network: clients from outside do not reach it")
    return Finding(OK, about, place.address)


def _secret(secret: Secret) -> Finding:
    if secret.problem is not None:
        return Finding(ERROR, secret.option, secret.problem, "see the text")
    if secret.weak:
        return Finding(
            ERROR,
            secret.option,
            "it is no random key: few different bytes",
            "make one: `(umask 077; head -c 32 /dev/urandom > cluster.key)`, for all members",
        )
    return Finding(OK, secret.option, "readable by its owner alone")


def _certificate(certificate: Certificate) -> Finding:
    about = f"certificate of {certificate.of}"
    left_s = certificate.ends_in_s
    if left_s is None:
        return Finding(ERROR, about, f"{certificate.path}: {certificate.problem}", "give a PEM file that can be read")
    days = left_s / 86_400
    if left_s <= 0:
        return Finding(
            ERROR, about, f"{certificate.path} ran out {-days:.0f} days ago", "renew it, and restart by drains"
        )
    if left_s < CERTIFICATE_SOON_S:
        return Finding(
            WARNING, about, f"{certificate.path} runs out in {days:.0f} days", "renew it, and restart by drains"
        )
    return Finding(OK, about, f"{certificate.path} is good for {days:.0f} days")


def _exposure(config: Config) -> Iterator[Finding]:
    gateway = config.gateway
    encrypted = gateway.tls_cert_path is not None or (gateway.public_url or "").startswith("https:")
    if gateway.mode == "production" and not encrypted:
        yield Finding(
            WARNING,
            "TLS",
            "clients come without it: tokens can be read on the way, headsets get no VR, nobody goes on over datagrams",
            "set gateway.tls_cert_path and tls_key_path, or gateway.public_url = https://… behind a proxy",
        )
    listen = config.observe.listen
    if listen is not None and listen.rpartition(":")[0].strip("[]") in ("0.0.0.0", "::"):
        yield Finding(
            NOTE, "observe.listen", "figures are shown to every network of this machine: let only Prometheus in"
        )
