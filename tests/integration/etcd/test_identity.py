"""Who may ask: users and roles, tokens that end, TLS, client certificates; and a gateway that is off."""

from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
import trustme

from cluster.store.contract import KeyAbsent, Put, StoreRefused, StoreUnavailable, Transaction
from tests.integration.etcd.clients import opened, operating
from tests.integration.etcd.servers import Member, running
from tests.unit.cluster.store.contract_cases import put, upcoming_batch, upcoming_list

OURS = "/isthmus/mine/"
USER = {"user": "shard", "password": "p4ss:wörd", "namespace": OURS}
FAST_HASH = ("--bcrypt-cost", "4")


@pytest.fixture
def alone(version: str) -> Iterator[Member]:
    with running(version, options=FAST_HASH) as (only,):
        yield only


async def test_users_and_their_rights(alone: Member) -> None:
    async with operating(alone.url) as operator:
        with pytest.raises(StoreRefused, match="etcdctl auth enable"):
            async with opened(alone.url, **USER) as early:
                await early.get("a")
        await operator.enable_authentication(USER["user"], USER["password"], OURS)
        async with opened(alone.url, **USER) as store, aclosing(store.watch("w/")) as watch:
            await upcoming_list(watch)
            lease = await store.grant(60)
            assert (await store.transact(Transaction((KeyAbsent("w/a"),), (Put("w/a", b"", lease.id),)))).ok
            assert [change.key for change in (await upcoming_batch(watch)).changes] == ["w/a"]
            assert (await store.keep_alive(lease)).ttl_s == 60

            # Each change of a right makes all tokens old: the store fetches a new one, the watch goes on.
            await operator.ask("auth/role/add", name="other")
            await put(store, "w/b")
            assert [change.key for change in (await upcoming_batch(watch)).changes] == ["w/b"]
            await store.revoke(lease.id)
            assert [record.key for record in (await store.list("")).records] == ["w/b"]

        async with opened(alone.url, **{**USER, "namespace": "/isthmus/theirs/"}) as stranger:
            for attempt in (stranger.get("a"), stranger.list(""), put(stranger, "a"), anext(stranger.watch("", 1))):
                with pytest.raises(StoreRefused, match="grant the user's role"):
                    await attempt
        async with opened(alone.url, **{**USER, "password": "wrong"}) as liar:
            for attempt in (liar.get("a"), anext(liar.watch(""))):
                with pytest.raises(StoreRefused, match="check user and password"):
                    await attempt
        async with opened(alone.url, namespace=OURS) as nobody:
            for attempt in (nobody.get("a"), put(nobody, "a"), anext(nobody.watch("", 1))):
                with pytest.raises(StoreRefused, match="configure a user"):
                    await attempt


async def test_tokens_end_with_the_server_that_gave_them(alone: Member) -> None:
    async with operating(alone.url) as operator:
        await operator.enable_authentication(USER["user"], USER["password"], OURS)
    async with opened(alone.url, **USER, operation_timeout_s=10) as store, aclosing(store.watch("w/")) as watch:
        await upcoming_list(watch)
        lease = await store.grant(60)
        await put(store, "w/a", b"", lease.id)
        await upcoming_batch(watch)
        alone.kill()
        alone.start()
        await put(store, "w/b", b"", lease.id)
        assert [change.key for change in (await upcoming_batch(watch)).changes] == ["w/b"]
        assert (await store.keep_alive(lease)).ttl_s == 60


class Papers:
    """An authority, a server's certificate for 127.0.0.1 and localhost, and files of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.server_cert, self.server_key = self.issue("server", self.authority.issue_cert("127.0.0.1", "localhost"))

    def issue(self, name: str, made: trustme.LeafCert) -> tuple[Path, Path]:
        cert, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        made.private_key_pem.write_to_path(str(key))
        for blob in made.cert_chain_pems:
            blob.write_to_path(str(cert), append=True)
        return cert, key

    @property
    def server_options(self) -> tuple[str, ...]:
        return ("--cert-file", str(self.server_cert), "--key-file", str(self.server_key))


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    return Papers(tmp_path)


async def test_encrypted_and_by_name(version: str, papers: Papers) -> None:
    with running(version, options=papers.server_options) as (member,):
        for url in (member.url, member.named_url):
            async with opened(url, ca=papers.ca) as store, aclosing(store.watch("")) as watch:
                await upcoming_list(watch)
                await put(store, "a")
                assert [change.key for change in (await upcoming_batch(watch)).changes] == ["a"]
        async with opened(member.url, operation_timeout_s=0.2) as trusting_nobody:
            with pytest.raises(StoreUnavailable, match=r"(?i)certificate.verify.failed") as caught:
                await put(trusting_nobody, "a")
            assert not caught.value.unknown
        plain = member.url.replace("https://", "http://")
        async with opened(plain, operation_timeout_s=0.2) as in_the_clear:
            with pytest.raises((StoreRefused, StoreUnavailable)):
                await in_the_clear.get("a")


async def test_client_certificates(version: str, papers: Papers) -> None:
    """Without CommonName they work; with one etcd's gateway takes none while authentication is on, and we say so."""
    nameless = papers.issue("nameless", papers.authority.issue_cert("shard@example.org"))
    named = papers.issue("named", papers.authority.issue_cert("shard@example.org", common_name="shard"))
    asking = ("--client-cert-auth", "--trusted-ca-file", str(papers.ca), *FAST_HASH)
    with running(version, options=(*papers.server_options, *asking)) as (member,):
        good = {"ca": papers.ca, "cert": nameless[0], "key": nameless[1]}
        async with opened(member.url, **good, namespace=OURS) as store:
            await put(store, "a")
        async with opened(member.url, ca=papers.ca, operation_timeout_s=0.2) as without:
            with pytest.raises(StoreUnavailable):
                await without.get("a")
        bad = {"ca": papers.ca, "cert": named[0], "key": named[1]}
        async with operating(member.url, **good) as operator:
            await operator.enable_authentication(USER["user"], USER["password"], OURS)
        async with opened(member.url, **good, **USER) as store:
            assert await store.get("a") is not None
        async with opened(member.url, **bad, **USER) as refused:
            for attempt in (refused.get("a"), anext(refused.watch("", 1))):
                with pytest.raises(StoreRefused, match="use one without"):
                    await attempt


async def test_a_gateway_that_is_off(version: str) -> None:
    with running(version, options=("--enable-grpc-gateway=false",)) as (member,):
        async with opened(member.url) as store:
            for attempt in (store.get("a"), put(store, "a"), store.grant(5), anext(store.watch(""))):
                with pytest.raises(StoreRefused, match="--enable-grpc-gateway=true"):
                    await attempt
