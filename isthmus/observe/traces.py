"""Lives of inputs as OpenTelemetry traces: spans with given numbers and times, sent by OTLP over HTTP.

Decides names of services and attributes. Spans are made when a life is over, in the process's own time, and sent by a
thread of the SDK, whose queue is bounded: what a collector does not take is dropped, and the world does not wait.
Needs the extra ``tracing``; only who traces imports it. Not responsible for: which inputs (``lives``).
"""

from collections.abc import Sequence
from importlib.metadata import version as installed_version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator, RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from isthmus.config import Config
from isthmus.observe.clock import unix_of_monotonic_s
from isthmus.observe.lives import Life, Part

QUEUE = 4096
"""Spans that wait for a collector; more are dropped."""
EXPORT_S = 5.0
END_S = 2.0
"""For the last spans of a process that ends."""


class _Numbers(IdGenerator):
    """Numbers of spans: random, but for root spans, whose numbers both sides know."""

    def __init__(self) -> None:
        self._random = RandomIdGenerator()
        self.trace = 0
        self.root = 0

    def generate_trace_id(self) -> int:
        return self.trace or self._random.generate_trace_id()

    def generate_span_id(self) -> int:
        return self.root or self._random.generate_span_id()


class Traces:
    """Of the process ``name`` of a ``kind`` (gateway, shard, serve)."""

    def __init__(self, config: Config, name: str, kind: str) -> None:
        endpoint = config.tracing.endpoint
        assert endpoint is not None, "who does not trace makes none"
        resource = Resource.create(
            {
                "service.name": f"isthmus-{kind}",
                "service.instance.id": name,
                "service.version": installed_version("isthmus"),
                "isthmus.world": config.world.name,
            }
        )
        self._numbers = _Numbers()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, id_generator=self._numbers, shutdown_on_exit=False
        )
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_S)
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=QUEUE, schedule_delay_millis=1000)
        )
        self._tracer = self._provider.get_tracer("isthmus")

    def tell(self, lives: Sequence[Life]) -> None:
        """Make and send the spans of lives that are over."""
        if not lives:
            return
        to_unix_s = unix_of_monotonic_s()
        for life in lives:
            facts = {f"isthmus.{what}": value for what, value in life.facts.items()}
            facts["isthmus.input"] = life.seq
            if life.whole is not None:
                self._tell_whole(life, life.whole, facts, to_unix_s)
            root = SpanContext(life.trace, life.root, is_remote=life.whole is None, trace_flags=TraceFlags(1))
            context = set_span_in_context(NonRecordingSpan(root))
            for part in life.parts:
                span = self._tracer.start_span(
                    part.name, context, SpanKind.INTERNAL, facts, start_time=_ns(part.begin_s + to_unix_s)
                )
                span.end(_ns(part.end_s + to_unix_s))

    def _tell_whole(self, life: Life, whole: Part, facts: dict[str, int], to_unix_s: float) -> None:
        self._numbers.trace, self._numbers.root = life.trace, life.root
        try:
            span = self._tracer.start_span(
                whole.name, None, SpanKind.SERVER, facts, start_time=_ns(whole.begin_s + to_unix_s)
            )
        finally:
            self._numbers.trace = self._numbers.root = 0
        if not life.done:
            span.set_status(Status(StatusCode.ERROR, "no frame told of it in time"))
        span.end(_ns(whole.end_s + to_unix_s))

    def close(self) -> None:
        """Send what waits, for a moment. Blocks."""
        self._provider.force_flush(int(END_S * 1000))
        self._provider.shutdown()


def _ns(unix_s: float) -> int:
    return int(unix_s * 1e9)
