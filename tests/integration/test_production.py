"""Production mode: nothing starts without an issuer, only its tokens open the door; TLS in process; development stays
on loopback."""

import asyncio
import contextlib
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from joserfc.jwk import OKPKey

from protocol.codes import Advice, Close, advice_of
from protocol.messages import Bye, encode_client
from tests.integration.issuer import AUTH, Issuer
from tests.integration.server import Server, launch, serving, write_world
from tests.integration.wire import peer, upgrade

PRODUCTION = f"""
[gateway]
mode = "production"
tls_cert_path = "cert.pem"
tls_key_path = "key.pem"
{AUTH}
[limits]
connections_per_address_max = 8
"""
UNSIGNED = "eyJhbGciOiJub25lIn0"
"""The header {"alg": "none"}."""


@dataclass(slots=True)
class Deployment:
    """A server in production, its issuer, and what a client trusts."""

    server: Server
    issuer: Issuer
    tls: ssl.SSLContext

    def token(self, key: OKPKey | None = None, **claims: Any) -> str:
        return self.issuer.token(key, **claims)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("production")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(folder / "cert.pem", append=True)
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    issuer = Issuer()
    (folder / "keys.json").write_text(issuer.key_set())
    with serving(write_world(folder, PRODUCTION)) as server:
        assert server.url.startswith("https://")
        yield Deployment(server, issuer, tls)


async def test_a_client_with_a_signed_token_walks_over_tls(deployed: Deployment) -> None:
    async with peer(deployed.server.port, tls=deployed.tls) as one:
        welcome = await one.join(deployed.token(name="Ada"))
        assert welcome.body is not None
        start = one.own["p"].copy()
        for seq in range(1, 11):
            one.walk(127)
            await one.until(lambda seq=seq: int(one.own["seq"]) >= seq)  # type: ignore[misc]
        assert int(one.own["p"][0]) > int(start[0]) + 20, "ten commands of three steps are half a metre at least"
        one.say(encode_client(Bye()))
        assert (await one.end()).code == Close.GOING_AWAY


async def test_tokens_that_prove_nothing(deployed: Deployment) -> None:
    now_s = int(time.time())
    good = deployed.token()
    head, body, signature = good.split(".")
    stranger = OKPKey.generate_key("Ed25519", {"kid": "first", "use": "sig"})
    cases = {
        "none": (None, Close.TOKEN_MISSING),
        "empty": ("", Close.TOKEN_MISSING),
        "expired": (deployed.token(exp=now_s - 3600), Close.TOKEN_EXPIRED),
        "another audience": (deployed.token(aud="somebody-else"), Close.TOKEN_INVALID),
        "another issuer": (deployed.token(iss="https://evil.example"), Close.TOKEN_INVALID),
        "no end": (deployed.token(exp=None), Close.TOKEN_INVALID),
        "no subject": (deployed.token(sub=None), Close.TOKEN_INVALID),
        "unsigned": (f"{UNSIGNED}.{body}.", Close.TOKEN_INVALID),
        "signature of another": (deployed.token(stranger), Close.TOKEN_INVALID),
        "changed": (f"{head}.{body[:-4]}AAAA.{signature}", Close.TOKEN_INVALID),
        "no JWT": ("guest", Close.TOKEN_INVALID),
    }
    for name, (token, code) in cases.items():
        async with peer(deployed.server.port, tls=deployed.tls) as one:
            one.hello(token)
            ended = await one.end()
        assert ended.code == code, f"{name}: {ended}"
        assert advice_of(ended.code) is Advice.NEW_TOKEN
        assert ended.closing is not None
        assert not token or token not in ended.closing.text
    assert good not in deployed.server.log


async def test_a_key_that_the_issuer_adds_is_found_or_refused(deployed: Deployment) -> None:
    """A token of an unknown key waits for the key set, which was fetched a moment ago and is not fetched again."""
    new = OKPKey.generate_key("Ed25519", {"kid": "unheard-of", "use": "sig"})
    async with peer(deployed.server.port, tls=deployed.tls) as one:
        one.hello(deployed.token(new))
        assert (await one.end()).code == Close.TOKEN_INVALID


MISTAKES = {
    "production without an issuer": ('[gateway]\nmode = "production"\n', ["auth.jwks", "auth.issuer", "auth.audience"]),
    "development for everybody": ('[gateway]\nhost = "0.0.0.0"\n', ["gateway.host"]),
    "several at once": (
        '[gateway]\nport = 99999\ncolour = "red"\n[view]\nradius_m = 9000\n[limits]\nheartbeat_s = "soon"\n',
        ["gateway.port", "gateway.colour", "view.radius_m", "limits.heartbeat_s"],
    ),
}


@pytest.mark.parametrize("case", MISTAKES, ids=str)
def test_mistakes_are_all_listed_before_anything_listens(tmp_path: Path, case: str) -> None:
    toml, expected = MISTAKES[case]
    # The port of the flags would hide that of the file.
    world = write_world(tmp_path, toml)
    process = launch(world, port=None)
    out, _ = process.communicate(timeout=60)
    said = (tmp_path / "stderr.txt").read_text()
    assert process.returncode == 78, said
    assert out == ""
    for key in expected:
        assert key in said
    assert "Traceback" not in said


def test_missing_keys_end_the_start(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("")
    (tmp_path / "key.pem").write_text("")
    (tmp_path / "keys.json").write_text('{"keys": []}')
    toml = PRODUCTION.replace("tls_", "# tls_").replace(
        'mode = "production"', 'mode = "production"\nhost = "127.0.0.1"'
    )
    process = launch(write_world(tmp_path, toml))
    out, _ = process.communicate(timeout=60)
    said = (tmp_path / "stderr.txt").read_text()
    assert process.returncode != 0
    assert "JWKS" in said
    assert out == ""
    assert "Traceback" not in said


@pytest.mark.parametrize(("proxies", "told"), [('["127.0.0.1"]', True), ("[]", False)], ids=["believed", "not"])
async def test_limits_for_an_address_count_clients_behind_a_proxy_that_is_named(
    tmp_path: Path, proxies: str, told: bool
) -> None:
    (tmp_path / "keys.json").write_text(Issuer().key_set())
    toml = PRODUCTION.replace("tls_cert_path", f"proxies = {proxies}\n# tls").replace("tls_key_path", "# ")
    with serving(write_world(tmp_path, toml)) as server:
        async with contextlib.AsyncExitStack() as connections:

            async def comes(client: str) -> bool:
                """Whether a connection that a proxy opens for that address is kept."""
                status, reader, writer = await upgrade(server.port, headers=f"X-Forwarded-For: {client}\r\n")
                connections.push_async_callback(_dropped, writer)
                assert status == 101
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 0.5)
                    return False
                return True

            assert all([await comes("203.0.113.7") for _ in range(8)])
            assert not await comes("203.0.113.7")
            assert await comes("203.0.113.8") is told, "another client, told apart only if the proxy is believed"


async def _dropped(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
