"""The workloads. Each is a function of a bench (folders, counts) and the class of a server; it returns one run's figures, by
name. Rates are a second, CPU is seconds for 1,000 messages, all processes of the daemon together."""

import contextlib
import os
import subprocess
import time

import harness
import measure
import servers

SMALL = 2048
SCAN = 5_000_000
SOURCE = harness.ROOT / ".tools" / "bin" / "smtp-source"
IDLE_FEW, IDLE_MANY = 1000, 5000


@contextlib.contextmanager
def running(bench, server_class, tls=False, delay_ms=0, prefix=(), sink_up=True, **options):
    """A server and its sink in a fresh folder."""
    with bench.folder() as folder:
        sink = servers.Sink(folder, tls, delay_ms)
        server = server_class(folder / "server", sink, **options)
        try:
            if sink_up:
                sink.start()
            yield server.start(prefix), sink
        finally:
            server.stop()
            sink.stop()


def smtp_source(port, count, size, sessions):
    """One message a connection; the seconds until the last was accepted."""
    watch = measure.Stopwatch()
    subprocess.run([str(SOURCE), "-s", str(sessions), "-m", str(count), "-l", str(size), "-f", "load@contoso.com", "-t",
                    "boss@contoso.com", f"127.0.0.1:{port}"], check=True)
    return watch.s()


def probe(port, count, size, sessions, per_connection=1):
    """The seconds until the last was accepted, and median, 99th percentile and maximum of the wait for the final 250 in ms."""
    output = measure.output(servers.TOOLS / "probe", port, sessions, count, size, per_connection)
    return list(map(float, output.split()))


def through(server, sink, count, send):
    """What send(count) costs until all of its messages are at the sink. It returns the seconds until all were accepted. Some go
    before, so that neither starts its processes and makes its connections meanwhile."""
    before = max(50, count // 40)
    send(before)
    sink.wait_messages(before)
    connections = sink.counts()[1]
    cpu, watch = server.cpu_s(), measure.Stopwatch()
    accepted_s = send(count)
    sink.wait_messages(before + count)
    delivered_s = watch.s()
    counts = sink.counts()
    return {"accepts": count / accepted_s, "delivers": count / delivered_s, "cpu": (server.cpu_s() - cpu) / count * 1000,
            "connections": counts[3], "connections_new": counts[1] - connections}


def one_a_connection(bench, server_class):
    with running(bench, server_class) as (server, sink):
        found = through(server, sink, bench.count(20000), lambda n: smtp_source(server.port, n, SMALL, 50))
    with running(bench, server_class) as (server, sink):
        probe(server.port, 500, SMALL, 50)
        sink.wait_messages(500)
        found["p99_ms"] = probe(server.port, bench.count(10000), SMALL, 50)[2]
    return found


def many_a_connection(bench, server_class, tls=False):
    with running(bench, server_class, tls=tls) as (server, sink):
        return through(server, sink, bench.count(20000), lambda n: probe(server.port, n, SMALL, 50, 20)[0])


def with_tls(bench, server_class):
    return many_a_connection(bench, server_class, tls=True)


def scans(bench, server_class):
    count = bench.count(400)
    with running(bench, server_class) as (server, sink):
        os.sync()
        written, device = measure.written_bytes(server.root), measure.device_bytes(server.folder)
        found = through(server, sink, count, lambda n: smtp_source(server.port, n, SCAN, 20))
        os.sync()
        sent = sink.counts()[0] * SCAN
        found["written"] = (measure.written_bytes(server.root) - written) / sent
        found["device"] = (measure.device_bytes(server.folder) - device) / sent if device is not None else None
    return found


def idle_sessions(bench, server_class):
    """Rates beside no, few and many of them; memory of the few from a fresh start, and of the rest after some mail."""
    count, found = bench.count(2000), {}

    def rate(server, sink):
        before = sink.counts()[0]
        seconds = smtp_source(server.port, count, SMALL, 50)
        sink.wait_messages(before + count)
        return count / seconds

    with running(bench, server_class) as (server, sink):
        rate(server, sink)  # the first makes processes and fills caches
        found["alone"] = rate(server, sink)
    with running(bench, server_class, sessions=IDLE_MANY + 100) as (server, sink), servers.IdleSessions(server.port) as idle:
        kb = server.pss_kb()
        idle.open_until(IDLE_FEW)
        found["kb_few"] = (server.pss_kb() - kb) / IDLE_FEW
        rate(server, sink)
        found["share_few"] = rate(server, sink) / found["alone"]
        kb = server.pss_kb()
        idle.open_until(IDLE_MANY)
        found["kb"] = (server.pss_kb() - kb) / (IDLE_MANY - IDLE_FEW)
        found["share"] = rate(server, sink) / found["alone"]
    return found


def backlog(bench, server_class):
    """In while the upstream is down; a restart with all of it queued; then the upstream is up."""
    count = bench.count(50000)
    with running(bench, server_class, sink_up=False) as (server, sink):
        with measure.PeakMemory(server.root) as memory_in:
            in_s = smtp_source(server.port, count, SMALL, 50)
        queued = server.queued()
        if queued < count:
            raise harness.HarnessError(f"{count} messages were accepted, and {queued} are queued")
        server.stop()
        watch = measure.Stopwatch()
        server.start()
        first_220_s = watch.s()
        with measure.PeakMemory(server.root) as memory_out:
            time.sleep(2)
            sink.start()
            watch = measure.Stopwatch()
            server.flush()
            sink.wait_messages(count)
        return {"accepts": count / in_s, "delivers": count / watch.s(), "first_220_s": first_220_s,
                "mb": max(memory_in.kb, memory_out.kb) / 1024}


def slow_upstream(bench, server_class):
    """The final dot is answered after 100 ms: so no connection can take more than 10 messages a second."""
    connections, delay_ms = 20, 100
    count = bench.count(2000)
    with running(bench, server_class, tls=True, delay_ms=delay_ms, connections=connections) as (server, sink):
        found = through(server, sink, count, lambda n: probe(server.port, n, SMALL, 50, 20)[0])
        found["share"] = found["delivers"] / connections * delay_ms / 1000
        return found


def empty_and_idle(bench, server_class):
    seconds = bench.count(20)
    with running(bench, server_class) as (server, _):
        time.sleep(2)
        before = measure.wakeups(server.root)
        time.sleep(seconds)
        return {"wakeups": (measure.wakeups(server.root) - before) / seconds, "mb": server.pss_kb() / 1024}


def syncs(bench, server_class):
    """A message, at 1, 8 and 50 sessions: both daemons whole, under strace. What start and stop sync is taken off."""
    def counted(sessions, count):
        report = bench.base / f"strace-{os.getpid()}"
        with running(bench, server_class, prefix=measure.strace_prefix(report)) as (server, sink):
            if count > 0:
                smtp_source(server.port, count, SMALL, sessions)
            sink.wait_messages(count)
        calls = measure.counted_syncs(report)
        report.unlink()
        return calls
    empty = counted(1, 0)
    return {f"syncs_{sessions}": (counted(sessions, count) - empty) / count
            for sessions, count in ((1, 200), (8, 1000), (50, 2000))}
