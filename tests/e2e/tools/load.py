"""Asks URL over and over until it is told to end (SIGTERM) or SECONDS are over, and counts what failed.

Half of the workers keep their connection, as services do; half open one for each request, as short-lived clients
do. There is no second try: whatever is not a 2xx, or is no answer, has failed.
usage: load.py URL SECONDS REQUESTS_PER_SECOND
"""

import collections
import http.client
import signal
import sys
import threading
import time
import urllib.parse

WORKERS = 8

url = urllib.parse.urlsplit(sys.argv[1])
end = time.monotonic() + float(sys.argv[2])
pause = WORKERS / float(sys.argv[3])
stop = threading.Event()
lock = threading.Lock()
outcomes = collections.Counter()
failures = []


def connect():
    return http.client.HTTPConnection(url.hostname, url.port or 80, timeout=10)


def work(keep):
    connection = connect()
    while not stop.is_set() and time.monotonic() < end:
        began = time.monotonic()
        try:
            connection.request("GET", url.path or "/", headers={} if keep else {"Connection": "close"})
            answer = connection.getresponse()
            answer.read()
            outcome = str(answer.status)
            # http.client opens a new connection where the server has said that it closes this one.
        except (OSError, http.client.HTTPException) as error:
            outcome = type(error).__name__
            connection.close()
            connection = connect()
        with lock:
            outcomes[outcome] += 1
            if not outcome.startswith("2"):
                failures.append(f"{time.strftime('%H:%M:%S')} {'kept' if keep else 'new'} connection: {outcome}")
        stop.wait(max(0, pause - (time.monotonic() - began)))


signal.signal(signal.SIGTERM, lambda *_: stop.set())
workers = [threading.Thread(target=work, args=(number % 2 == 0,)) for number in range(WORKERS)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
for line in failures[:20]:
    print(line)
print(f"{sum(outcomes.values())} requests, {len(failures)} failed ({dict(outcomes)})")
sys.exit(1 if failures else 0)
