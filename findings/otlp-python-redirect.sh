#!/usr/bin/env bash
# opentelemetry-exporter-otlp-proto-http 1.45.2 (PyPI), seen 2026-11-30.
#
# One would expect: if the endpoint redirects, the exporter follows the redirect, or the export fails and an error is logged.
#
# What happens instead: the exporter does not follow the redirect, and reports success, because it takes each status from 200 to 399
# for a success. It logs nothing. All spans are lost.
#
#   200: SUCCESS, requests: 1, accepted: 1, log lines: 0
#   301: SUCCESS, requests: 1, accepted: 0, log lines: 0
#   308: SUCCESS, requests: 1, accepted: 0, log lines: 0
#   404: FAILURE, requests: 1, accepted: 0, log lines: 1
#
# Hurt: services whose endpoint is an http:// URL of a proxy that redirects to https://.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/python"
"$work/python/bin/pip" install --quiet --disable-pip-version-check \
    opentelemetry-exporter-otlp-proto-http==1.45.2 opentelemetry-exporter-otlp-common==0.66b2 \
    opentelemetry-exporter-http-transport==0.66b2
cat >"$work/finding.py" <<'PYTHON'
import http.server
import logging
import threading

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SimpleSpanProcessor

requests = []


class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        requests.append(self.path)
        status = int(self.path[1:])
        self.send_response(status)
        if 300 <= status < 400:
            self.send_header("location", "/200")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Lines(logging.Handler):
    count = 0

    def emit(self, record):
        if record.levelno >= logging.WARNING:
            self.count += 1


class Keep(SpanExporter):
    spans = []

    def export(self, spans):
        self.spans.extend(spans)


provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Keep()))
with provider.get_tracer("finding").start_as_current_span("work"):
    pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
threading.Thread(target=server.serve_forever, daemon=True).start()
lines = Lines()
logging.getLogger().addHandler(lines)
for status in [200, 301, 308, 404]:
    requests.clear()
    lines.count = 0
    exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{server.server_port}/{status}")
    result = exporter.export(Keep.spans).name
    accepted = requests.count("/200")
    print(f"{status}: {result}, requests: {len(requests)}, accepted: {accepted}, log lines: {lines.count}")
PYTHON
seen=$("$work/python/bin/python" "$work/finding.py")
echo "$seen"
[ "$seen" = '200: SUCCESS, requests: 1, accepted: 1, log lines: 0
301: SUCCESS, requests: 1, accepted: 0, log lines: 0
308: SUCCESS, requests: 1, accepted: 0, log lines: 0
404: FAILURE, requests: 1, accepted: 0, log lines: 1' ]
