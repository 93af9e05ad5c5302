"""What a crowd, a trickle or a flood of devices and strangers can do to the relay: little, and the log says which limit held.

TORTURE=1 (make torture) has the full numbers."""

import concurrent.futures
import contextlib
import os
import re
import resource
import select
import socket
import subprocess
import threading
import time

import pytest

import harness
from certificates import make_tls
from harness import blind, has_read, make_mail, raw, raw_begin_data, talk, wait_until


TORTURE = bool(os.environ.get("TORTURE"))
MIB = 1024 * 1024
ABOVE_IDLE = 64 * MIB
PRINTER = [{"name": "printer", "address": ["127.0.0.1"]}]


def stranger(relay, number):
    """A connection from one of many addresses, none of them 127.0.0.1."""
    s = socket.socket()
    s.bind((f"127.{1 + number // 60000}.{number // 250 % 240}.{1 + number % 250}", 0))
    s.settimeout(30)
    s.connect(("127.0.0.1", relay.port))
    return s


def resident(relay):
    """Bytes of memory that the listener has."""
    return harness.memory(relay, "listener", "VmRSS")


def descriptors(relay):
    """How many the listener has; only root may count them."""
    return len(os.listdir(f"/proc/{relay.pid('listener')}/fd")) if os.geteuid() == 0 else 0


@contextlib.contextmanager
def bounded(relay):
    """The listener is the same afterwards, has no descriptor more, and has never had more than 64 MiB above what it had before."""
    pid, open_before, before, over = relay.pid("listener"), descriptors(relay), resident(relay), []
    ended = threading.Event()

    def watch():
        while not ended.wait(0.02):
            over.append(resident(relay) - before)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
    assert relay.pid("listener") == pid and not relay.events("worker-died")
    assert harness.is_sanitized() or max(over, default=0) < ABOVE_IDLE, f"{max(over) / MIB:.0f} MiB"
    wait_until(lambda: descriptors(relay) <= open_before, 10, lambda: f"{descriptors(relay)} descriptors to be {open_before} again")


def is_served(relay):
    """An honest device is served within a second; of three tries, for the machine may be busy with other things."""
    took = []
    for _ in range(3):
        begun = time.monotonic()
        relay.send(make_mail())
        took.append(time.monotonic() - begun)
        if took[-1] < 1:
            return
    assert False, f"an honest device waited {took} s"


def pour(s, piece, times):
    """Send piece so many times, until the relay closes. What it has said last."""
    said = b""
    try:
        for _ in range(times):
            s.sendall(piece)
    except OSError:
        pass
    try:
        while part := s.recv(65536):
            said = (said + part)[-2000:]
    except OSError:
        pass
    s.close()
    return said


def closed_with(s, code):
    """The last words, when the relay has closed; they begin with code."""
    got = b""
    while part := s.recv(4096):
        got += part
    s.close()
    assert got.startswith(code), got
    return got


def wait_alone(relay):
    """Until no session is left, the harness's own included."""
    wait_until(lambda: relay.status()["counters"]["sessions_now"] == 0, 10, "all sessions to end")


# --- time

def test_a_trickle_inside_data_ends_by_its_rate_and_a_page_turner_may_go_on(sim, make_relay):
    relay = make_relay(sim, clock=True, limits={"idle": "1h", "message_time": "1d"})
    slow, pages = raw(relay), raw(relay)
    raw_begin_data(slow)
    raw_begin_data(pages)
    slow.sendall(b"Subject: x\r\n\r\nx\r\n")
    pages.sendall(b"Subject: x\r\n\r\n" + b"page\r\n" * 10000)
    wait_until(lambda: has_read(relay, pages), 10, "the pages to be read")
    relay.clock.forward(301)
    assert b"limits.min_data_rate" in closed_with(slow, b"421 4.4.2 ")
    assert relay.wait_event("incomplete")[0]["reason"] == "limits.min_data_rate"
    assert talk(pages, b".\r\n").startswith(b"250 ")
    pages.close()


def test_who_says_nothing_first_has_a_minute(sim, make_relay):
    relay = make_relay(sim, clock=True)
    with raw(relay) as silent, raw(relay) as spoken:
        assert talk(spoken, b"NOOP\r\n").startswith(b"250 ")
        relay.clock.forward(61)
        assert b"No command for 60 seconds" in closed_with(silent, b"421 4.4.2 ")
        assert talk(spoken, b"NOOP\r\n").startswith(b"250 ")


def test_where_most_sessions_are_taken_the_idle_ones_make_room(sim, make_relay):
    """Above 80 % until 70 %: of nine sessions of ten two must go."""
    relay = make_relay(sim, clock=True, limits={"sessions": 10, "sessions_per_address": 10})
    wait_alone(relay)
    idle = [raw(relay) for _ in range(8)]
    relay.clock.forward(15)
    idle.append(raw(relay))
    assert relay.wait_event("crowded")[0]["sessions"] == "9"
    assert not relay.events("session-closed")
    relay.clock.forward(20)
    closed = relay.wait_event("session-closed", 2)
    assert all("limits.sessions" in one["reply"] for one in closed)
    readable = wait_until(lambda: len(told := select.select(idle, [], [], 0)[0]) >= 2 and told, 10, "what they are told")
    assert len(readable) == 2 and all(closed_with(s, b"421 4.4.2 ") for s in readable)
    relay.send(make_mail())
    for s in idle:
        s.close()


def test_where_strangers_have_taken_most_of_their_places_the_idle_ones_make_room(sim, make_relay):
    """They have 15 of 20 places: above 12 and until 10 are taken, and who is listed keeps his time."""
    relay = make_relay(sim, clock=True, devices=PRINTER, limits={"sessions": 20, "sessions_per_address": 20})
    wait_alone(relay)
    listed, idle = raw(relay), []
    for number in range(14):
        idle.append(stranger(relay, number))
        assert idle[-1].recv(1000).startswith(b"220 ")
    assert "not listed" in relay.wait_event("crowded")[0]["consequence"]
    relay.clock.forward(35)
    closed = relay.wait_event("session-closed", 4)
    assert all("30 seconds" in one["reply"] and one["device"] == "" for one in closed)
    with stranger(relay, 20) as s:
        assert s.recv(1000).startswith(b"220 ")
    assert talk(listed, b"NOOP\r\n").startswith(b"250 ")
    for s in [listed, *idle]:
        s.close()


# --- handshakes

@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return make_tls(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def tls_relay(sim, make_relay, pair):
    """With 8 handshakes a second for strangers, and 2 for one address; 127.0.0.1 is listed."""
    return make_relay(sim, tls=pair, devices=PRINTER, limits={"handshakes_per_second": 8})


def begin_tls(s):
    """Say STARTTLS; the answer to it. The greeting may still come before it."""
    s.sendall(b"STARTTLS\r\n")
    said = b""
    while not (answer := re.search(rb"^(220 2\.0\.0|4\d\d) .*(?=\r\n)", said, re.MULTILINE)):
        part = s.recv(1000)
        assert part, said
        said += part
    return answer[0]


def test_handshakes_of_one_address_wait_for_their_turn_and_are_refused_beyond(tls_relay):
    """Who is refused is told so in place of the 220, and the session goes on."""
    refused = b"454 4.7.0 TLS is begun too often (limits.handshakes_per_second): try again later"

    def shake(s):
        said = begin_tls(s)
        if said == refused:
            assert talk(s, b"NOOP\r\n").startswith(b"250 ")
            return s, False
        assert said.startswith(b"220 ")
        return blind().wrap_socket(s), True
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        sessions = list(pool.map(shake, [stranger(tls_relay, 1) for _ in range(30)]))
    took = time.monotonic() - begun
    assert 8 < sum(served for _, served in sessions) < 28 and took > 3, "8 at once, 2 a second for 5 s"
    refused = tls_relay.wait_event("handshake-refused")[0]
    assert refused["limit"] == "limits.handshakes_per_second" and refused["of_an_address"] == "2"
    for s, _ in sessions:
        s.close()


def junk(relay, number=None):
    """A handshake that is none, by a stranger of his own address, or by 127.0.0.1. Returns when the relay has closed."""
    with raw(relay) if number is None else stranger(relay, number) as s:
        try:
            if not begin_tls(s).startswith(b"220 "):
                return
            s.sendall(b"\x16\x03\x01\x00\x05junk!")
            while s.recv(1000):
                pass
        except OSError:
            pass


@pytest.mark.skipif(harness.is_valgrind(), reason="a handshake takes too long by valgrind; make check has it")
def test_a_flood_of_handshakes_holds_up_no_device(tls_relay):
    """Eight of them are served at once and as many each second; meanwhile a device's handshake does not wait behind theirs."""
    def failed():
        return sum(tls_relay.status()["counters"][name] for name in ("tls_failures", "sessions_refused"))
    with concurrent.futures.ThreadPoolExecutor(48) as pool:
        flood = [pool.submit(junk, tls_relay, number) for number in range(48)]
        wait_until(lambda: failed() >= 8, 10, "the first to be served")
        for _ in range(3):
            with tls_relay.smtp() as client:
                client.starttls(context=blind())
                client.helo("printer")
        assert sum(not one.done() for one in flood) >= 8, "it has waited with them"
        for one in flood:
            one.result()
    wait_until(lambda: failed() >= 48, 10, "all of them to be counted")


def test_junk_in_handshakes_fills_no_log(sim, make_relay, pair):
    relay = make_relay(sim, tls=pair, devices=PRINTER, limits={"handshakes_per_second": 0})
    for _ in range(100):
        junk(relay, 1)
    lines = relay.wait_event("tls-failed", 60)
    assert len(lines) < 90
    junk(relay)
    wait_until(lambda: relay.events("tls-failed")[-1]["device"] == "printer", 10, "the failure of who is listed, in the log")
    wait_until(lambda: relay.status()["counters"]["tls_failures"] == 101, 10, "all failures to be counted")
    lines = relay.events("tls-failed")
    time.sleep(1)
    junk(relay, 1)
    assert any(int(one["withheld"]) > 0 for one in relay.wait_event("tls-failed", len(lines) + 1))


def test_refused_strangers_fill_no_log(sim, make_relay):
    """Neither with what is refused nor with what is not SMTP; a device that is listed is always heard."""
    relay, begun = make_relay(sim, devices=PRINTER), time.monotonic()
    refused = b"MAIL FROM:<a@b.test>\r\n" + b"RCPT TO:<c@d.test>\r\n" * 15 + b"QUIT\r\n"
    for said in [refused] * 10 + [b"GET / HTTP/1.1\r\n"] * 90:
        with stranger(relay, 1) as s:
            s.sendall(said)
            with contextlib.suppress(ConnectionError):
                while s.recv(4000):
                    pass
    assert relay.status()["counters"]["recipients_refused"] == 150
    with raw(relay) as s:
        talk(s, b"MAIL FROM:<no address at all>\r\n")
    wait_until(lambda: any(one["peer"] == "127.0.0.1" for one in relay.events("refused")), 15, "the printer's refusal")
    lines = len(relay.events("refused")) + len(relay.events("not-smtp"))
    assert 60 < lines <= 63 + time.monotonic() - begun, lines
    time.sleep(1)
    with stranger(relay, 1) as s:
        s.sendall(refused)
        while s.recv(4000):
            pass
    wait_until(lambda: any(int(one.get("withheld", 0)) > 0 for one in relay.events("refused")), 10, "how many were withheld")


# --- crowds

@pytest.fixture
def many_files():
    """So many descriptors as the crowd takes, here and in the daemon."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    hard = max(before[1], 20000) if os.geteuid() == 0 else before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_crowd_of_idle_connections_costs_little_and_holds_up_nobody(sim, make_relay, many_files):
    crowd = 5000 if TORTURE else 500
    if many_files < 3 * crowd:
        pytest.skip(f"the crowd takes {3 * crowd} descriptors, {many_files} are allowed: raise the hard limit (ulimit -Hn)")
    relay = make_relay(sim, devices=PRINTER, limits={"sessions": 2 * crowd})
    with bounded(relay):
        idle = [stranger(relay, number) for number in range(crowd)]
        for s in idle:
            assert s.recv(1000).startswith(b"220 ")
        is_served(relay)
        for s in idle:
            s.close()
    wait_alone(relay)


def test_connections_in_a_burst_are_all_served(sim, make_relay):
    """Power is back: all devices at once, from many addresses and a few."""
    burst = 2500 if TORTURE else 300
    relay = make_relay(sim, devices=[{"name": "lan", "address": ["127.0.0.0/8"]}])

    def device(number):
        with stranger(relay, number) as s:
            return s.recv(1000).startswith(b"220 ") and talk(s, b"HELO x\r\n").startswith(b"250 ") \
                and talk(s, b"QUIT\r\n").startswith(b"221 ")
    with bounded(relay), concurrent.futures.ThreadPoolExecutor(50) as pool:
        served = pool.map(device, range(burst))
        is_served(relay)
        assert all(served)


# --- floods

def test_a_command_that_comes_byte_by_byte_has_the_time_of_one_line(sim, make_relay):
    relay = make_relay(sim, clock=True, devices=PRINTER, limits={"idle": "5m"})
    slow = [stranger(relay, 1) for _ in range(20)]
    for s in slow:
        assert s.recv(1000).startswith(b"220 ")
        assert talk(s, b"NOOP\r\n").startswith(b"250 ")
        s.sendall(b"NO")
    wait_until(lambda: all(has_read(relay, s) for s in slow), 10, "the first bytes to be read")
    relay.clock.forward(200)
    for s in slow:
        s.sendall(b"O")
    wait_until(lambda: all(has_read(relay, s) for s in slow), 10, "the next bytes to be read")
    is_served(relay)
    relay.clock.forward(110)
    for s in slow:
        assert b"limits.idle" in closed_with(s, b"421 4.4.2 ")


FLOODS = {
    "a-line-without-end": (b"A" * MIB, 100, 8, b"A line without end"),
    "noops": (b"NOOP\r\n" * 10000, 100, 1, b"Too many commands without a message"),
    "commands-in-one-write": (b"RSET\r\n" * 100000, 1, 1, b"Too many commands without a message"),
    "empty-lines": (b"\r\n" * 100000, 10, 1, b"Too many empty lines"),
    "unknown-commands": (b"XYZZY\r\n" * 100000, 1, 1, b"Too many unknown commands"),
    "recipients": (b"MAIL FROM:<a@contoso.com>\r\n" + b"RCPT TO:<b@contoso.com>\r\n" * 100000, 1, 1, b"Too many errors"),
}


@pytest.fixture(scope="module")
def flooded(tmp_path_factory):
    """One relay for all floods; only 127.0.0.1 is listed."""
    folder = tmp_path_factory.mktemp("flooded")
    sim = harness.Sim(folder / "sim").start()
    relay = harness.Relay(folder / "relay", sim, devices=PRINTER).start()
    yield relay
    harness.stop_all(relay, sim)


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_is_cut_and_told(flooded, flood):
    piece, full, short, reason = FLOODS[flood]
    with bounded(flooded):
        floods = [threading.Thread(target=pour, args=(stranger(flooded, n), piece, full if TORTURE else short)) for n in range(4)]
        for one in floods:
            one.start()
        is_served(flooded)
        for one in floods:
            one.join()
    assert any(reason.decode() in event["reply"] for event in flooded.wait_event("session-closed"))


def test_a_hundred_megabytes_in_one_line_of_content_are_refused_by_their_size(flooded):
    with bounded(flooded):
        s = raw(flooded)
        raw_begin_data(s)
        said = pour(s, b"x" * MIB, 100)
        assert b"limits.message_size" in said or said == b""
    reasons = [event["reason"] for event in flooded.wait_event("incomplete")]
    assert "more than twice as large as it may be" in reasons
    is_served(flooded)


# --- peers that are not there any more

def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True)


@pytest.fixture
def island():
    """A network namespace that is reached by 198.51.100.1/30 and fd00:5::1/64, and can be cut off. The name of its end's device here."""
    name = f"mfd{os.getpid()}"
    made = ip("netns", "add", name)
    if made.returncode != 0:
        pytest.skip(f"a network namespace takes root with CAP_SYS_ADMIN and CAP_NET_ADMIN (sudo make check): {made.stderr.strip()}")
    steps = (["link", "add", name, "type", "veth", "peer", "name", "far", "netns", name], ["addr", "add", "198.51.100.1/30", "dev", name],
             ["addr", "add", "fd00:5::1/64", "dev", name, "nodad"], ["link", "set", name, "up"],
             ["-n", name, "addr", "add", "198.51.100.2/30", "dev", "far"],
             *(["-n", name, "addr", "add", f"fd00:5::{n}/64", "dev", "far", "nodad"] for n in (2, 3, 4)),
             ["-n", name, "link", "set", "far", "up"])
    try:
        for step in steps:
            done = ip(*step)
            if done.returncode != 0:
                pytest.skip(f"this kernel makes no veth (modprobe veth), or not here: {done.stderr.strip()}")
        yield name
    finally:
        ip("link", "del", name)
        ip("netns", "del", name)


def kept_alive(relay):
    """Connections of which the kernel will find out when their peer is gone."""
    said = subprocess.run(["ss", "-tno", "state", "established", f"( sport = :{relay.port} )"], capture_output=True, text=True)
    return said.stdout.count("timer:(keepalive")


def test_half_open_peers_keep_no_place(sim, make_relay, island):
    """Devices whose power was cut send nothing more, not even a reset. The kernel asks after them, and idle limits end them."""
    relay = make_relay(sim, clock=True, limits={"idle": "5m"}, listen=[{"address": "*", "port": harness.free_port()}], start=False)
    relay.port = relay.settings["listen"][0]["port"]
    relay.start()
    wait_alone(relay)
    code = (f"import socket, time; c = [socket.create_connection(('198.51.100.1', {relay.port})) for _ in range(10)];"
            "[s.sendall(b'HELO x\\r\\n') for s in c]; print('up', flush=True); time.sleep(60)")
    peers = subprocess.Popen(["ip", "netns", "exec", island, "python3", "-c", code], stdout=subprocess.PIPE)
    try:
        assert peers.stdout.readline() == b"up\n"
        wait_until(lambda: relay.status()["counters"]["sessions_now"] == 10, 10, "all of them to be there")
        wait_until(lambda: kept_alive(relay) == 10, 10, "the kernel to ask after them")
        ip("link", "set", island, "down")
        is_served(relay)
        relay.clock.forward(301)
        wait_alone(relay)
    finally:
        peers.kill()
        peers.wait()


def test_neighbours_in_an_ipv6_network_take_no_place_of_who_is_listed(sim, make_relay, island):
    """All the office is one network of 64 bits: two of those that are not listed share their places, the printer has its own."""
    relay = make_relay(sim, devices=[{"name": "printer", "address": ["fd00:5::4"]}], limits={"sessions_per_address": 3},
                       listen=[{"address": "*", "port": harness.free_port()}], start=False)
    relay.port = relay.settings["listen"][0]["port"]
    relay.start()
    code = ("import socket; c = [socket.create_connection(('fd00:5::1', %d), 10, (f'fd00:5::{n}', 0)) for n in (2, 3, 2, 3, 4, 4, 4, 4)];"
            "print(*(s.makefile().readline().strip() for s in c), sep='\\n')" % relay.port)
    said = subprocess.run(["ip", "netns", "exec", island, "python3", "-c", code], check=True, capture_output=True, text=True).stdout
    greeted = [line[:3] for line in said.splitlines()]
    assert greeted == ["220"] * 3 + ["421"] + ["220"] * 3 + ["421"], said
    assert "from fd00:5::/64 (" in said and "from fd00:5::4 (" in said
