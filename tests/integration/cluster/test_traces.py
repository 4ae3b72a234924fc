"""An input's life across a gateway and a shard, as an OpenTelemetry collector receives it from their processes."""

import gzip
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.integration.cluster.conftest import running
from tests.integration.cluster.running import bots, until

OF_GATEWAY = ["gateway.receive", "gateway.await_region", "gateway.await_frame", "gateway.encode", "gateway.send"]
OF_SHARD = ["shard.inbox", "shard.step", "shard.publish"]
SKEW_NS = 5_000_000
"""Of what two processes of one machine take for Unix time."""


@dataclass
class Collector:
    """OTLP over HTTP, as a collector takes it. ``spans`` by trace, each with its service and process."""

    spans: dict[bytes, list[tuple[str, str, Span]]] = field(default_factory=lambda: defaultdict(list))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            told = {fact.key: fact.value.string_value for fact in resource.resource.attributes}
            assert told["isthmus.world"] == "Ducks"
            for scope in resource.scope_spans:
                with self.lock:
                    for span in scope.spans:
                        self.spans[span.trace_id].append((told["service.name"], told["service.instance.id"], span))

    def whole(self) -> list[dict[str, tuple[str, str, Span]]]:
        """Traces that both sides have told of to the end, their spans by name."""
        with self.lock:
            traces = [{span.name: (service, who, span) for service, who, span in told} for told in self.spans.values()]
        return [trace for trace in traces if {"input", *OF_GATEWAY, *OF_SHARD} <= trace.keys()]


@contextmanager
def collector() -> Iterator[tuple[Collector, str]]:
    taking = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taking.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield taking, f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_one_trace_has_the_spans_of_both_processes_in_their_order(tmp_path: Path) -> None:
    with collector() as (taking, url):
        flags = ["--tracing-endpoint", url, "--tracing-sample-ratio", "0.2"]
        with running(tmp_path, "memory:", flags) as cluster:
            crowd = bots(cluster.urls[0], seed=1, count=4)
            try:
                until("inputs are traced", lambda: len(taking.whole()) >= 10)
            finally:
                crowd.terminate()
                crowd.wait(20)
    for trace in taking.whole():
        service, _, root = trace["input"]
        assert service == "isthmus-gateway"
        assert not root.parent_span_id
        spans = {name: span for name, (_, _, span) in trace.items()}
        for name in (*OF_GATEWAY, *OF_SHARD):
            service, who, span = trace[name]
            assert service == ("isthmus-gateway" if name in OF_GATEWAY else "isthmus-shard")
            assert who.partition("-")[0] == service.partition("-")[2]
            assert span.parent_span_id == root.span_id
            assert span.start_time_unix_nano <= span.end_time_unix_nano
        for names in (OF_GATEWAY, OF_SHARD):
            for before, after in pairwise(names):
                assert abs(spans[before].end_time_unix_nano - spans[after].start_time_unix_nano) <= SKEW_NS
        # The shard's part lies within what the gateway waited for.
        assert spans["gateway.receive"].end_time_unix_nano <= spans["shard.inbox"].start_time_unix_nano + SKEW_NS
        assert spans["shard.publish"].end_time_unix_nano <= spans["gateway.await_frame"].start_time_unix_nano + SKEW_NS
        facts = {fact.key: fact.value.int_value for fact in spans["shard.step"].attributes}
        assert facts["isthmus.tick"] <= {f.key: f.value.int_value for f in root.attributes}["isthmus.frame_tick"]
        assert facts["isthmus.input"] > 0
    followed = [told for told in taking.spans.values() if any(span.name == "gateway.send" for _, _, span in told)]
    assert len(taking.whole()) >= 0.9 * len(followed), "both sides follow the same inputs"
