"""An input's life across a gateway and a shard, as an OpenTelemetry collector receives it from their processes."""

from itertools import pairwise
from pathlib import Path

from tests.integration.cluster.conftest import running
from tests.integration.cluster.running import bots, until
from tests.integration.observe.collecting import OF_GATEWAY, OF_SHARD, collector

SKEW_NS = 5_000_000
"""Of what two processes of one machine take for Unix time."""


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
    assert taking.worlds == {"Ducks"}
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
