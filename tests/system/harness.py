"""What the system tests and the demo run on: the simulator, the daemon, and mail as scanners send it.

Python's standard library only. Everything is on 127.0.0.1, in folders that the caller names. BUILD is the folder of
the binaries (default: build).
"""

import base64
import copy
import email.utils
import itertools
import json
import mmap
import os
import pathlib
import random
import re
import signal
import smtplib
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import time
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD", "build"))
if not BUILD.is_absolute():
    BUILD = ROOT / BUILD

TENANT = "contoso.onmicrosoft.com"
CLIENT_ID = "11111111-2222-3333-4444-555555555555"
SECRET = "simulated-secret~Zx.42"
MAILBOX = "scanner@contoso.com"

# What no process may ever have written: a sanitizer's or valgrind's report, or an assertion or a library that ended it.
SANITIZER = re.compile(r"AddressSanitizer|runtime error:|LeakSanitizer|ThreadSanitizer|Assertion `.*' failed"
                       r"|\*\*\* stack smashing detected|\*\*\* buffer overflow detected"
                       r"|==\d+== (?:Invalid |Conditional jump|Use of uninit|Syscall param|Source and destination|Mismatched|"
                       r".* definitely lost)")
SLOWER = int(os.environ.get("SLOWER", 1))  # how many times as long what is waited for may take: make valgrind


# The simulator's counts of what a correct client never does.
CLIENT_MISTAKES = ("protocol_errors", "command_too_long", "lf_commands", "auth_plaintext", "plaintext_after_starttls",
                   "unoffered_pipelining", "early_content", "unoffered_parameters", "bare_lf", "bare_cr", "unstuffed_dots")


class HarnessError(Exception):
    """Something that the test needs did not happen; says what, and what to look at."""


def binary(name):
    """Of BUILD; MFDRELAY names another daemon, as the script that runs it by valgrind."""
    path = pathlib.Path(os.environ["MFDRELAY"]) if name == "mfdrelay" and "MFDRELAY" in os.environ else BUILD / name
    if not path.exists():
        raise HarnessError(f"{path} is missing: `make demo` and `make check`, in the project's folder, build it first")
    return str(path)


def is_valgrind():
    """Whether the daemon runs by valgrind: a script starts it."""
    return pathlib.Path(binary("mfdrelay")).read_bytes().startswith(b"#!")


def is_sanitized():
    """Whether the daemon was built with a sanitizer, or runs by valgrind: then no library can be loaded before its own, the
    sandbox would refuse what it does at the process's end, and memory is no measure."""
    return is_valgrind() or b"__asan_init" in pathlib.Path(binary("mfdrelay")).read_bytes()


def let_others_enter(folder):
    """Open a test's folder, and those it lies in, to users other than the one who runs the tests."""
    root = pathlib.Path(tempfile.gettempdir())
    for one in [folder, *folder.parents]:
        if one == root:
            return
        one.chmod(0o755)


def wait_until(condition, timeout=10, what="a condition", step=0.02):
    """Return condition()'s first true value; HarnessError after timeout seconds, times SLOWER."""
    end = time.monotonic() + timeout * SLOWER
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise HarnessError(f"waited {timeout} s in vain for {what() if callable(what) else what}")
        time.sleep(step)


def read_text(path):
    try:
        return pathlib.Path(path).read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):  # a process may end between open and read
        return ""


PORTS_EACH = 500
_claims = []


def claim_ports():
    """Round and round, ports that no other process gives to its tests, below those that the kernel gives to whoever connects: what a
    test has stopped for a while finds its port free again."""
    end = max(32768, int(read_text("/proc/sys/net/ipv4/ip_local_port_range").split()[0]))
    for begin in range(end - PORTS_EACH, 2048, -PORTS_EACH):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0mfdrelay tests have ports from {begin}")
        except OSError:
            claim.close()
            continue
        _claims.append(claim)  # until the end of this process
        return itertools.cycle(range(begin, begin + PORTS_EACH))
    raise HarnessError("too many tests run at the same time: none of the ports that they share out is left")


_ports = claim_ports()


def free_port():
    """A loopback port nobody listens on."""
    for port in _ports:
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def wait_open(port):
    """Wait until somebody listens on a loopback port: the simulator does a moment after it has forgotten `connect refuse`."""
    def is_open():
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return True
        except OSError:
            return False
    wait_until(is_open, 10, f"port {port} to be open")


def environment(clock=None):
    """For children: sanitizers report to stderr and end the process. With a clock they run by it; clock.so has none of what a
    sanitizer wants to see first among the libraries."""
    own = dict(os.environ, ASAN_OPTIONS="abort_on_error=0:detect_leaks=1:" + os.environ.get("ASAN_OPTIONS", ""),
               UBSAN_OPTIONS="print_stacktrace=1:" + os.environ.get("UBSAN_OPTIONS", ""))
    if clock:
        own.update(LD_PRELOAD=binary("clock.so"), CLOCK_CONTROL=str(clock.path),
                   ASAN_OPTIONS="verify_asan_link_order=0:" + own["ASAN_OPTIONS"])
    return own


# --- the simulator -----------------------------------------------------------------------------------------------------

class Message:
    """One message as the simulator got it: the envelope's fields as a dict, and the bytes."""

    def __init__(self, path):
        self.envelope = json.loads(path.read_text())
        self.path = path.with_suffix(".eml")

    @property
    def content(self):
        return self.path.read_bytes()

    def __getitem__(self, key):
        return self.envelope[key]

    def __repr__(self):
        return f"<message {self['number']} from {self['mail_from']} to {self['rcpt']}, {self['size']} bytes>"


class Sim:
    """m365sim. start() and restart() keep the ports. Options are those of its command line; by default it lets the mailbox send as
    anybody, with send_as=None only as itself, as Microsoft does. With clock=True it runs by Sim.clock, which a relay can share:
    Relay(clock=sim.clock)."""

    def __init__(self, folder, clock=False, **options):
        self.dir = pathlib.Path(folder)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.clock = Clock(self.dir / "clock") if clock else None
        self.options = dict(tenant=TENANT, client_id=CLIENT_ID, secret=SECRET, mailbox=MAILBOX, send_as="*") | options
        self.ports = {name: free_port() for name in ("smtp", "login", "mx", "imds", "arc")}
        self.process = None
        self.serves_daemon = False
        self._tags = 0

    smtp_port = property(lambda self: self.ports["smtp"])
    login_port = property(lambda self: self.ports["login"])
    mx_port = property(lambda self: self.ports["mx"])
    ca = property(lambda self: str(self.dir / "ca.pem"))

    def start(self):
        arguments = [binary("m365sim"), "--dir", str(self.dir)]
        for name, value in self.options.items():
            if value is not None:
                arguments += ["--" + name.replace("_", "-"), str(value)]
        for name, port in self.ports.items():
            arguments += [f"--{name}-port", str(port)]
        (self.dir / "ports.json").unlink(missing_ok=True)
        with open(self.dir / "stderr", "ab") as stderr:
            self.process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=stderr, env=environment(self.clock))
        wait_until(self._ready, 60, lambda: f"the simulator to start: {read_text(self.dir / 'stderr')}")
        return self

    def _ready(self):
        if self.process.poll() is not None:
            raise HarnessError(f"the simulator ended with {self.process.returncode}: {read_text(self.dir / 'stderr')}")
        return (self.dir / "ports.json").exists()

    def stop(self):
        """SIGTERM; HarnessError when it does not end in order, or is not clean. Fine when it is not running."""
        self._end(signal.SIGTERM, 0)

    def crash(self):
        """kill -9, once its counts of until now are looked at."""
        self.stats()
        self._end(signal.SIGKILL, -signal.SIGKILL)

    def _end(self, number, expected):
        if self.process is not None:
            process, self.process = self.process, None
            process.send_signal(number)
            status = process.wait(30)
            if status != expected:
                raise HarnessError(f"the simulator ended with {status}: {read_text(self.dir / 'stderr')}")
        self.check_clean()

    def restart(self):
        """Start on the same ports with the same CA."""
        self.stop()
        return self.start()

    def faults(self, *rules):
        """Replace all rules (strings, or lists of them); returns when they are in force. A bad rule raises ValueError."""
        lines = []
        for rule in rules:
            lines += [rule] if isinstance(rule, str) else list(rule)
        self._tags += 1
        tag = f"{os.getpid()}-{self._tags}"
        draft = self.dir / "control.tmp"
        draft.write_text("\n".join([f"# {tag}", *lines]) + "\n")
        draft.rename(self.dir / "control")

        def answer():
            text = read_text(self.dir / "control.status")
            status = json.loads(text) if text else {}
            return status if status.get("tag") == tag else None
        status = wait_until(answer, 10, "the simulator to read its rules")
        if status["errors"]:
            raise ValueError("; ".join(status["errors"]))

    def clear(self):
        self.faults()

    def stats(self):
        """All counts as of now."""
        path = self.dir / "stats.json"
        if self.process is None:
            return json.loads(path.read_text())

        def newer():
            stats = json.loads(path.read_text())
            return stats if stats["serial"] > before else None
        for _ in range(2):  # the first may have been on its way, with the counts of a moment ago
            before = json.loads(path.read_text())["serial"]
            self.process.send_signal(signal.SIGUSR1)
            stats = wait_until(newer, 10, "the simulator's counts", step=0.005)
        return stats

    def used(self, rule):
        """How often a rule, given as in faults(), has been used."""
        return sum(r["used"] for r in self.stats()["rules"] if r["rule"] == rule)

    def messages(self):
        return [Message(p) for p in sorted((self.dir / "mail").glob("[0-9]*.json"))]

    def wait_messages(self, n, timeout=20):
        """Wait for n messages in all, and return them."""
        def there():
            return len(list((self.dir / "mail").glob("[0-9]*.json"))) >= n
        wait_until(there, timeout, lambda: f"{n} messages at the simulator; {len(self.messages())} came. Its log ends:\n"
                   + self.log()[-3000:])
        return self.messages()

    def log(self):
        return read_text(self.dir / "log")

    def check_clean(self):
        """HarnessError on a sanitizer's report or a failed assertion, or when the daemon spoke to it as no client may."""
        text = read_text(self.dir / "stderr")
        if SANITIZER.search(text):
            raise HarnessError("the simulator's sanitizer says:\n" + text)
        counts = json.loads(read_text(self.dir / "stats.json") or "{}") if self.serves_daemon else {}
        wrong = {name: counts[name] for name in CLIENT_MISTAKES if counts.get(name)}
        if wrong:
            raise HarnessError(f"the daemon made mistakes in SMTP: {wrong}. The simulator's log ends:\n{self.log()[-3000:]}")


def stop_all(*those):
    """Stop each of these relays and simulators, then tell all that was wrong with them."""
    problems = []
    for one in those:
        try:
            one.stop()
        except HarnessError as problem:
            problems.append(str(problem))
    if problems:
        raise HarnessError("\n".join(problems))


# --- between the daemon and the simulator ------------------------------------------------------------------------------

class Wire:
    """A port that leads to another one on loopback and keeps all that comes in by it: sent, a bytearray a connection."""

    def __init__(self, port):
        self._target = port
        self._pairs = []
        self.sent = []
        self._server = socket.socket()
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # a stall is soon felt at the other end
        self._server.bind(("127.0.0.1", 0))
        self._server.listen(64)
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near = self._server.accept()[0]
            except OSError:
                return
            far = socket.socket()
            far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.sent.append(bytearray())
            self._pairs.append((near, far))
            threading.Thread(target=self._carry, args=(near, far, self.sent[-1]), daemon=True).start()

    def _carry(self, near, far, kept):
        try:
            far.connect(("127.0.0.1", self._target))
            back = threading.Thread(target=self._pump, args=(far, near, bytearray()), daemon=True)
            back.start()
            self._pump(near, far, kept)
            back.join()
        except OSError:
            pass
        near.close()
        far.close()

    @staticmethod
    def _pump(source, sink, kept):
        try:
            while data := source.recv(65536):
                kept += data
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            hang_up(source)
            hang_up(sink)

    def cut(self):
        """All connections end now, also where somebody has stopped reading."""
        for near, far in self._pairs:
            hang_up(near)
            hang_up(far)
        self._pairs.clear()

    def close(self):
        hang_up(self._server)
        self._server.close()
        self.cut()


def hang_up(s):
    try:
        s.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def has_connection_to(port):
    """Whether somebody on this machine has a connection to that port, begins one, or has not read yet that it has ended."""
    lines = (read_text("/proc/net/tcp") + read_text("/proc/net/tcp6")).splitlines()
    return any(re.search(rf":{port:04X} 0[128] ", line) for line in lines)


def before_tls(sent):
    """What was sent before the first record of TLS; HarnessError when anything but records follows it."""
    found = sent.find(b"\x16\x03")
    at = start = found if found >= 0 else len(sent)
    while at + 5 <= len(sent):
        kind, major, length = struct.unpack_from("!BBxH", sent, at)
        if not 20 <= kind <= 23 or major != 3 or length > 16384 + 256:
            raise HarnessError(f"after {at} bytes, behind the start of TLS: {bytes(sent[at:at + 60])}")
        at += 5 + length
    return bytes(sent[:start])


# --- the daemon's config -----------------------------------------------------------------------------------------------

def render(value, indent=0):
    """A Python value in libconfig's syntax: dict {..}, list of dicts (..), list of others [..]."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, dict):
        pad = "  " * (indent + 1)
        inner = "".join(f"{pad}{k} = {render(v, indent + 1)};\n" for k, v in value.items())
        return "{\n" + inner + "  " * indent + "}"
    items = [render(v, indent + 1) for v in value]
    is_list = any(isinstance(v, (dict, list, tuple)) for v in value)
    return ("( " if is_list else "[ ") + ", ".join(items) + (" )" if is_list else " ]")


def config_text(settings):
    """The file's text. A key whose value is None is left out."""
    return "".join(f"{k} = {render(v)};\n" for k, v in settings.items() if v is not None)


def merge(base, overrides):
    """base with overrides put in: dicts are merged, anything else is replaced, None takes a key out."""
    result = copy.deepcopy(base)
    for key, value in overrides.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merge(result[key], value)
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = copy.deepcopy(value)
    return result


# --- the daemon's time -------------------------------------------------------------------------------------------------

DAY = 86400
YEAR = 365 * DAY


class Clock:
    """The time of a daemon that runs under clock.so: the page that they share (clock.c, struct page)."""

    SETTING = struct.Struct("=qqqq")

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(8 + 2 * self.SETTING.size))
        with open(path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), 0)
        self._current, self._speed, self._wall = 0, 1, 0
        self._since = self._begin = time.monotonic_ns()
        self._set()

    def _set(self, ahead=0, speed=None, wall=0):
        """All arguments in seconds, but for the speed."""
        now = time.monotonic_ns()
        self._begin += (now - self._since) * self._speed + int(ahead * 1e9)
        self._since = now
        self._speed = speed or self._speed
        self._wall += int(wall * 1e9)
        self._current = 1 - self._current
        at = 8 + self._current * self.SETTING.size
        self.page[at:at + self.SETTING.size] = self.SETTING.pack(self._since, self._begin, self._speed, self._wall)
        self.page[0:4] = struct.pack("=I", self._current)

    def now(self):
        """The daemon's monotonic clock, in seconds."""
        return (self._begin + (time.monotonic_ns() - self._since) * self._speed) / 1e9

    def wall(self):
        """The daemon's wall clock, in seconds."""
        return time.time() + self.now() - time.monotonic() + self._wall / 1e9

    def run(self, speed):
        """From now on time passes so many times as fast, on both clocks."""
        self._set(speed=speed)

    def forward(self, seconds):
        """So much time has passed at once, on both clocks: what was due in it is due now."""
        self._set(ahead=seconds)

    def set_wall(self, seconds):
        """The wall clock alone is set forward or back by so much, as by an admin or NTP, or behind a suspended machine."""
        self._set(wall=seconds)


# --- the daemon --------------------------------------------------------------------------------------------------------

class Relay:
    """mfdrelay serve, with its config, spool and log in folder. Keyword arguments are config keys, merged into the default
    one; Relay.settings can be changed freely before start() or reload(). With clock=True the daemon runs by Relay.clock; clock=sim.clock shares the
    simulator's. Relay.under is a command that all runs by, and which ends in exec."""

    def __init__(self, folder, sim=None, clock=False, **overrides):
        self.dir = pathlib.Path(folder)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.clock = Clock(self.dir / "clock") if clock is True else clock or None
        self.sim = sim
        if sim:
            sim.serves_daemon = True
        self.port = free_port()
        self.under = []
        self.config = self.dir / "mfdrelay.conf"
        self.log_file = self.dir / "relay.log"
        self.process = None
        self.may_die = False
        self.write_secret(sim.options["secret"] if sim else SECRET)
        self.settings = merge(self.defaults(), overrides)
        self.spool = pathlib.Path(self.settings["spool"])

    def write_secret(self, text, name="client-secret", mode=0o600):
        path = self.dir / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def upstream(self, **overrides):
        """The default upstream: submission by OAuth at the simulator, which lets the mailbox send as anybody."""
        return merge({
            "name": "submission", "kind": "submission", "mailbox": MAILBOX, "sender": "keep", "host": "localhost",
            "window": {"messages_per_minute": 0, "recipients_per_day": 0},  # what tests of other things send is not paced
            "port": self.sim.smtp_port if self.sim else 9, "ca": self.sim.ca if self.sim else "/dev/null",
            "oauth": {"tenant": TENANT, "client_id": CLIENT_ID, "client_secret": f"file:{self.dir}/client-secret",
                      "authority": f"https://localhost:{self.sim.login_port if self.sim else 9}",
                      "ca": self.sim.ca if self.sim else "/dev/null"},
        }, overrides)

    def defaults(self):
        return {
            "hostname": "relay.test",
            "spool": str(self.dir / "spool"),
            "listen": [{"address": "127.0.0.1", "port": self.port}],
            "devices": [{"name": "lan", "address": ["127.0.0.0/8"]}],
            "upstreams": [self.upstream()],
            "routes": [{"recipients": ["*"], "via": ["submission"]}],
            "report_to": "it@contoso.com",
            "retry": {"first": "1s", "max": "4s", "give_up": "5d"},
            "sandbox": "off" if is_sanitized() else "on",
        }

    def write_config(self, **overrides):
        """Write the file; overrides stay."""
        self.settings = merge(self.settings, overrides)
        self.config.write_text(config_text(self.settings))
        return self.config

    def start(self, wait=True, timeout=30):
        """Start; with wait, return when the banner answers and the sender is ready: where the clock leaps, one that took an hour to
        start is one that hangs."""
        self.write_config()
        before = len(self.log())
        self._log = open(self.log_file, "ab")
        self.process = subprocess.Popen([*self.under, binary("mfdrelay"), "serve", "-c", str(self.config)], stdin=subprocess.DEVNULL,
                                        stdout=self._log, stderr=self._log, env=environment(self.clock), cwd=self.dir)
        self._log.close()
        if wait:
            self.wait_started(before, timeout)
        return self

    def wait_started(self, since, timeout=30):
        """The banner, and the sender; since: the log's length at the start."""
        self.wait_banner(timeout)
        wait_until(lambda: self.events("ready", since=since), timeout, lambda: f"the sender to be ready:\n{self.log()[-4000:]}")

    def wait_banner(self, timeout=30):
        def banner():
            if self.process.poll() is not None:
                raise HarnessError(f"mfdrelay ended with {self.process.returncode}. Its log:\n{self.log()[-4000:]}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), 2) as s:
                    s.settimeout(2)
                    return s.recv(100).startswith(b"220")
            except OSError:
                return False
        wait_until(banner, timeout, lambda: f"the daemon's banner on port {self.port}. Its log:\n{self.log()[-4000:]}")

    def reload(self, **overrides):
        """Write the config and send SIGHUP. What comes of it is the caller's to wait for."""
        self.write_config(**overrides)
        self.process.send_signal(signal.SIGHUP)

    def stop(self):
        """SIGTERM; HarnessError when it does not end in time (kill -9 for all, then) and in order, or is not clean. Fine when it is
        not running."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            status = self.wait_end()
            if status != 0:
                raise HarnessError(f"mfdrelay ended with {status}. Its log:\n{self.log()[-4000:]}")
        self.check_clean()

    def wait_end(self, timeout=20):
        """The exit status of a daemon that ends by itself, or has been told to. Late: kill -9 for all, and HarnessError."""
        pids = list(self.pids().values())
        process, self.process = self.process, None
        try:
            return process.wait(timeout * SLOWER)
        except subprocess.TimeoutExpired:
            for pid in [process.pid, *pids]:
                kill(pid)
            process.wait(5)
            raise HarnessError(f"mfdrelay did not end within {timeout} s. Its log:\n{self.log()[-4000:]}") from None

    def kill_all(self):
        """kill -9 for the supervisor and its workers, all at once."""
        pids = [self.process.pid, *self.pids().values()]
        for pid in pids:
            kill(pid)
        self.process.wait(10)
        self.process = None
        wait_until(lambda: not any(alive(pid) for pid in pids), 10, "the killed processes to be gone")

    def kill(self, role):
        """kill -9 for "supervisor", "listener" or "sender"; the process id it had."""
        pid = self.pid(role)
        kill(pid)
        if role == "supervisor":
            self.process.wait(10)
            self.process = None
        return pid

    def pids(self):
        """{"listener": pid, "sender": pid} of those that run now (while a reload drains: the youngest)."""
        found = {}
        if self.process is None:
            return found
        for pid in sorted(children(self.process.pid)):
            name = read_text(f"/proc/{pid}/comm").strip()
            if name.startswith("mfd-"):
                found[name.removeprefix("mfd-")] = pid
        return found

    def pid(self, role):
        if role == "supervisor":
            return self.process.pid
        return wait_until(lambda: self.pids().get(role), 10, f"a process of the {role}")

    # what it says and keeps

    def log(self):
        return read_text(self.log_file)

    def events(self, name, component=None, since=0):
        """The log's events of that name, each a dict of its keys (and "component"); since: characters of it to pass over."""
        found = []
        for line in self.log()[since:].splitlines():
            match = re.search(r"(?:^|[ >])(supervisor|listener|sender|certificate) (\S+)((?: [a-z_0-9]+=.*)?)$", line)
            if match and match[2] == name and component in (None, match[1]):
                keys = re.findall(r'([a-z_0-9]+)=("(?:\\.|[^"\\])*"|\S*)', match[3])
                found.append({"component": match[1], **{k: v.strip('"') for k, v in keys}})
        return found

    def wait_event(self, name, n=1, timeout=25):
        """Wait for n events of that name in all, and return them."""
        def there():
            events = self.events(name)
            return events if len(events) >= n else None
        return wait_until(there, timeout, lambda: f"{n} x '{name}' in the log:\n{self.log()[-4000:]}")

    def let_due_timers_run(self):
        """Before a test says that something has not happened: the sender answers behind the timers that are over, and what
        they begin needs a moment of real time."""
        self.status()
        time.sleep(0.1)

    def wait_log(self, pattern, timeout=25):
        return wait_until(lambda: re.search(pattern, self.log()), timeout,
                          lambda: f"/{pattern}/ in the log:\n{self.log()[-4000:]}")

    def queue_ids(self, folder="queue"):
        try:
            return sorted(p.name for p in (self.spool / folder).iterdir() if "." not in p.name)
        except FileNotFoundError:
            return []

    def wait_empty(self, timeout=20):
        """Wait until nothing is queued."""
        wait_until(lambda: not self.queue_ids(), timeout,
                   lambda: f"an empty queue; {len(self.queue_ids())} are left. The log:\n{self.log()[-4000:]}")

    def cli(self, *arguments, check=False, timeout=20, variables=None, **options):
        """Run a subcommand on this relay's config: cli("queue", "list", "--json"); variables: of its environment. Returns the
        CompletedProcess."""
        command = [*self.under, binary("mfdrelay"), *map(str, arguments)]
        if arguments and arguments[0] not in ("explain", "passwd", "--version", "--help"):
            command += ["-c", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, errors="replace", check=check, timeout=timeout * SLOWER,
                              env={**environment(), **(variables or {})}, **options)

    def status(self):
        return json.loads(self.cli("status", "--json").stdout)

    def wait_replaced(self, role, pid, timeout=20):
        """Another process does what pid did."""
        wait_until(lambda: self.pids().get(role) not in (None, pid), timeout, f"a new {role}")

    def leap(self, seconds, without=None):
        """The clock goes forward when both workers have had their turn, or all but the role that cannot answer: by leaps in a
        row, one that the machine gives none in between would count as hung."""
        if without != "listener":
            self.wait_banner()
        if without != "sender":
            self.status()
        self.clock.forward(seconds)

    def waiting(self):
        """How many messages' parts stand in wait of their time, as the sender says."""
        return sum(u["waiting"] for u in self.status()["upstreams"])

    def is_at_rest(self):
        """Whether no transaction is under way, which a leap of the clock would end: all upstreams are held, or all messages, of one part
        each, wait for one that is, or for their time."""
        status = self.status()
        held = [u for u in status["upstreams"] if u["health"] == "held"]
        resting = sum(u["waiting"] for u in status["upstreams"]) + sum(u["ready"] for u in held)
        return len(held) == len(status["upstreams"]) or resting == status["queue"]["messages"]

    def check_clean(self):
        """HarnessError when a sanitizer or an assertion of any process has written to the log, or a worker has ended neither in order
        nor by somebody's kill -9, unless the test says with Relay.may_die that it is meant to."""
        match = SANITIZER.search(self.log())
        if match:
            raise HarnessError("a sanitizer or an assertion reports in the daemon's log:\n" + self.log()[max(0, match.start() - 500):][:6000])
        died = [e for e in self.events("worker-died") if e.get("signal") != "9" and e.get("exit") != "0"]
        if not self.may_die and (died or self.events("worker-killed")):
            raise HarnessError(f"a worker has died, or has not ended in time: {died}. The daemon's log:\n{self.log()[-6000:]}")

    # a device

    def smtp(self, timeout=30):
        """A connected smtplib.SMTP, without EHLO."""
        return smtplib.SMTP("127.0.0.1", self.port, timeout=timeout * SLOWER, local_hostname="printer.test")

    def send(self, content, sender="printer@contoso.com", recipients=("boss@contoso.com",), login=None):
        """Send as a device does (HELO, no TLS; with login, a user and its password, by STARTTLS); the queue id of the 250. Content
        goes out as given, dots stuffed."""
        with self.smtp() as client:
            if login is None:
                client.helo("printer")
            else:
                client.starttls(context=blind())
                client.login(*login)
            expect(client.mail(sender), 250)
            for recipient in [recipients] if isinstance(recipients, str) else recipients:
                expect(client.rcpt(recipient), 250)
            expect(client.docmd("DATA"), 354)
            client.send(stuffed(content) + b".\r\n")
            code, text = expect(client.getreply(), 250)
        match = re.search(rb"\b([0-9a-z]{8,})\b", text.removeprefix(b"2.0.0"))
        return match[1].decode() if match else None


def blind():
    """A client's TLS that checks no certificate, as that of most devices."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Together:
    """Jobs on threads of their own, as long as a context lasts. At its end, and where one of them has a problem, `stop` tells all of
    them to end; the problem is then raised."""

    def __init__(self, jobs):
        self.stop, self.problems = threading.Event(), []
        self.threads = [threading.Thread(target=self._watch, args=(job,)) for job in jobs]

    def _watch(self, job):
        try:
            job()
        except BaseException as problem:
            self.problems.append(problem)
            self.stop.set()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()
        if self.problems:
            raise self.problems[0]


# a peer that is no SMTP library

def raw(relay):
    """A connected socket, the banner read."""
    s = socket.create_connection(("127.0.0.1", relay.port), 10)
    s.settimeout(15)
    assert s.recv(1000).startswith(b"220 ")
    return s


def talk(s, line):
    """Send bytes, return what comes first."""
    s.sendall(line)
    return s.recv(1000)


def raw_begin_data(s):
    for line, code in ((b"HELO p\r\n", b"250"), (b"MAIL FROM:<printer@contoso.com>\r\n", b"250"),
                       (b"RCPT TO:<boss@contoso.com>\r\n", b"250"), (b"DATA\r\n", b"354")):
        assert talk(s, line).startswith(code)


def memory(relay, role, what):
    """Bytes that a worker has ("VmRSS"), or has had at most ("VmHWM")."""
    return int(re.search(rf"{what}:\s+(\d+) kB", read_text(f"/proc/{relay.pid(role)}/status"))[1]) * 1024


def has_read(relay, s):
    """Whether the relay has read all that was sent on s."""
    ends = f":{relay.port:04X}", f":{s.getsockname()[1]:04X}"
    for line in read_text("/proc/net/tcp").splitlines()[1:]:
        _, local, remote, _, queues = line.split()[:5]
        if local.endswith(ends[0]) and remote.endswith(ends[1]):
            return queues.endswith(":00000000")
    return False


def password_hash(password):
    """What `mfdrelay passwd` makes of it."""
    made = subprocess.run([binary("mfdrelay"), "passwd"], input=password + "\n", capture_output=True, text=True, check=True,
                          env=environment())
    return next(word for word in made.stdout.replace('"', " ").split() if word.startswith("$"))


def expect(reply, code):
    if reply[0] != code:
        raise HarnessError(f"expected {code}, got {reply[0]} {reply[1].decode(errors='replace')}")
    return reply


def stuffed(content):
    """Content with a dot more in front of each line that starts with one, ended by CRLF."""
    content = re.sub(rb"(?m)^\.", b"..", content)
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def children(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            stat = read_text(f"/proc/{entry}/stat")
            fields = stat[stat.rfind(")") + 2:].split()
            if len(fields) > 1 and fields[1] == str(pid) and fields[0] != "Z":
                found.append(int(entry))
    return found


def alive(pid):
    stat = read_text(f"/proc/{pid}/stat")
    return bool(stat) and stat[stat.rfind(")") + 2] != "Z"


def kill(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


# --- mail ---------------------------------------------------------------------------------------------------------------

def make_pdf(pages=5, size=3_000_000, seed=2009):
    """A PDF of about size bytes: on each page one gray image, as noisy as a scan of bad paper."""
    noise = random.Random(seed)
    width = 1240
    height = max(8, size // pages // width)
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>",
               b"<< /Type /Pages /Count %d /Kids [%s] >>" % (pages, b" ".join(b"%d 0 R" % (3 + 3 * i) for i in range(pages)))]
    for i in range(pages):
        image = zlib.compress(noise.randbytes(width * height), 1)
        drawing = b"q 595 0 0 842 0 0 cm /Scan Do Q"
        objects += [
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R /Resources << /XObject << /Scan %d 0 R >> >> >>"
            % (4 + 3 * i, 5 + 3 * i),
            b"<< /Length %d >>\nstream\n%s\nendstream" % (len(drawing), drawing),
            b"<< /Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 8 "
            b"/Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (width, height, len(image), image)]
    out, offsets = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table)
    return bytes(out)


def make_scan(pdf=None, sender="printer@contoso.com", recipient="boss@contoso.com", subject="Scan from MFD-2009",
              message_id=None):
    """A mail as a multifunction printer sends it: a line of text and the PDF, all lines ended by CRLF."""
    pdf = make_pdf() if pdf is None else pdf
    encoded = base64.b64encode(pdf)
    boundary = "----_MFD_0000_Part_42"
    head = [
        f"From: \"MFD Floor 2\" <{sender}>",
        f"To: {recipient}",
        f"Subject: {subject}",
        f"Date: {email.utils.formatdate()}",
        f"Message-ID: {message_id or email.utils.make_msgid('mfd', 'printer.contoso.local')}",
        "X-Mailer: MFD-2009 Network Scanner",
        "MIME-Version: 1.0",
        f"Content-Type: multipart/mixed; boundary=\"{boundary}\"",
        "", "This is a multi-part message in MIME format.", "",
        f"--{boundary}", "Content-Type: text/plain; charset=us-ascii", "Content-Transfer-Encoding: 7bit", "",
        "Scanned at the panel. Do not reply.", "",
        f"--{boundary}", "Content-Type: application/pdf; name=\"scan_0001.pdf\"", "Content-Transfer-Encoding: base64",
        "Content-Disposition: attachment; filename=\"scan_0001.pdf\"", "", ""]
    body = b"".join(encoded[i:i + 76] + b"\r\n" for i in range(0, len(encoded), 76))
    return "\r\n".join(head).encode() + body + f"\r\n--{boundary}--\r\n".encode()


def make_mail(subject="test", body="Hello.\r\n", sender="printer@contoso.com", recipient="boss@contoso.com"):
    """A small plain mail as bytes."""
    text = body if isinstance(body, bytes) else body.encode()
    head = (f"From: {sender}\r\nTo: {recipient}\r\nSubject: {subject}\r\nDate: {email.utils.formatdate()}\r\n"
            f"Message-ID: {email.utils.make_msgid('t', 'printer.contoso.local')}\r\n\r\n")
    return head.encode() + text


def behind_trace(received, sent):
    """Whether received is sent with trace headers on top, and nothing else."""
    if not received.endswith(sent):
        return False
    top = received[:len(received) - len(sent)]
    return re.fullmatch(rb"(?:Received:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)+", top) is not None
