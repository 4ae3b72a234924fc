"""A collector of OpenTelemetry's traces, as processes reach one: OTLP over HTTP on a port of loopback."""

import gzip
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

OF_GATEWAY = ["gateway.receive", "gateway.await_region", "gateway.await_frame", "gateway.encode", "gateway.send"]
OF_SHARD = ["shard.inbox", "shard.step", "shard.publish"]


@dataclass
class Collector:
    """OTLP over HTTP, as a collector takes it. ``spans`` by trace, each with its service and process."""

    spans: dict[bytes, list[tuple[str, str, Span]]] = field(default_factory=lambda: defaultdict(list))
    worlds: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            told = {fact.key: fact.value.string_value for fact in resource.resource.attributes}
            self.worlds.add(told["isthmus.world"])
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
