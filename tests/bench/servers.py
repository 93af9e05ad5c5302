"""The two that are compared, and the upstream of both. Each lives in a folder of its own, on loopback ports."""

import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import time

import harness
import measure

POSTFIX = harness.ROOT / ".tools" / "postfix" / "usr"
SETTINGS = pathlib.Path(__file__).resolve().parent / "postfix"
TOOLS = harness.BUILD / "tests" / "bench"
USER, PASSWORD = "relay", "benchmark"


class Sink:
    """The upstream. Keeps its port; up and down as often as wanted."""

    def __init__(self, folder, tls=False, delay_ms=0):
        self.port = harness.free_port()
        self.folder = folder
        self.tls = tls
        self.delay_ms = delay_ms
        self.process = None
        self.ca = folder / "sink.pem"
        if tls:
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                            "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out",
                            str(self.ca), "-keyout", str(folder / "sink.key")], check=True, capture_output=True)

    def start(self):
        command = [str(TOOLS / "sink"), str(self.port), str(self.folder / "counts"), "--delay", str(self.delay_ms)]
        if self.tls:
            command += ["--tls", str(self.ca), str(self.folder / "sink.key")]
        self.process = subprocess.Popen(command)
        harness.wait_until(lambda: can_connect(self.port), 10, "the sink to listen")
        return self

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def counts(self):
        """messages, connections, open now, open at most."""
        return struct.unpack("4Q", (self.folder / "counts").read_bytes())

    def wait_messages(self, n, timeout=600):
        harness.wait_until(lambda: self.counts()[0] >= n, timeout, lambda: f"{n} messages at the sink; it has {self.counts()[0]}",
                           step=0.005)


def can_connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Server:
    """A daemon under test. start() can be given a command to put in front, as strace's."""

    def __init__(self, folder, sink, connections=10, sessions=60):
        self.folder = folder
        self.sink = sink
        self.connections = connections  # towards the upstream
        self.sessions = sessions  # that devices will have at a time
        self.port = harness.free_port()
        self.process = None
        folder.mkdir()

    def start(self, prefix=(), wait=True):
        self.log = os.memfd_create("log")  # a log on the disk would take part in its syncs
        self.process = subprocess.Popen([*prefix, *self.command()], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        env=self.environment(), start_new_session=True)
        self.root = self.process.pid
        if wait:
            harness.wait_until(self._answers, 60, lambda: f"a banner of {self.name}; it says:\n{self.said()}", step=0.001)
        if prefix:
            self.root = harness.children(self.process.pid)[0]
        return self

    def _answers(self):
        if self.process.poll() is not None:
            raise harness.HarnessError(f"{self.name} ended with {self.process.returncode}:\n{self.said()}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), 30) as s:
                return s.recv(100).startswith(b"220")
        except OSError:
            return False

    def said(self):
        return os.pread(self.log, 4000, max(0, os.fstat(self.log).st_size - 4000)).decode(errors="replace")

    def stop(self):
        if self.process is None:
            return
        left = measure.tree(self.root)
        harness.kill(self.root, signal.SIGTERM)
        self.process.wait(60)
        self.process = None
        harness.wait_until(lambda: not any(map(harness.alive, left)), 60, f"the processes of {self.name} to end")
        os.close(self.log)

    def cpu_s(self):
        return measure.cpu_s(self.root)

    def pss_kb(self):
        return measure.pss_kb(self.root)


class Mfdrelay(Server):
    name = "mfdrelay"

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.config = self.folder / "mfdrelay.conf"
        self.config.write_text(harness.config_text(self.settings()))

    def settings(self):
        upstream = {"name": "sink", "kind": "smtp", "host": "localhost", "port": self.sink.port,
                    "window": {"connections": self.connections}}
        if self.sink.tls:
            secret = self.folder / "password"
            secret.write_text(PASSWORD)
            secret.chmod(0o600)
            upstream |= {"ca": str(self.sink.ca), "user": USER, "password": f"file:{secret}"}
        else:
            upstream |= {"tls": "none"}
        return {
            "hostname": "relay.test",
            "spool": str(self.folder / "spool"),
            "listen": [{"address": "127.0.0.1", "port": self.port}],
            "devices": [{"name": "lan", "address": ["127.0.0.0/8"]}],
            "upstreams": [upstream],
            "routes": [{"recipients": ["*"], "via": ["sink"]}],
            "report_to": "it@contoso.com",
            "limits": {"message_size": "50M", "sessions": self.sessions, "sessions_per_address": self.sessions},
        }

    @staticmethod
    def version():
        return measure.output(harness.binary("mfdrelay"), "--version").split()[-1]

    def command(self):
        return [harness.binary("mfdrelay"), "serve", "-c", str(self.config)]

    def environment(self):
        return {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}

    def flush(self):
        """Try what waits, now."""
        subprocess.run([harness.binary("mfdrelay"), "queue", "retry", "all", "-c", str(self.config)], check=True,
                       capture_output=True)

    def queued(self):
        return len(os.listdir(self.folder / "spool" / "queue"))


class Postfix(Server):
    """Debian's, out of the unpacked package, with a queue, a config and a master of its own. Needs root, as master does."""

    name = "Postfix"
    OWNED = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace")

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        for path in self.folder.parents:  # the owner of the queue must come to it
            if not path.stat().st_mode & 0o001:
                raise harness.HarnessError(f"Postfix cannot run below {path}, which others may not enter: set BENCH_DIR")
        self.folder.chmod(0o755)
        self._make_folders()
        (self.folder / "config").mkdir()
        for name in ("main.cf", "master.cf"):
            (self.folder / "config" / name).write_text(self._filled_in((SETTINGS / name).read_text()))
        shutil.copy(POSTFIX / "share" / "postfix" / "dynamicmaps.cf", self.folder / "config")

    @staticmethod
    def missing():
        """Why it cannot run here; None where it can."""
        if os.geteuid() != 0:
            return "its master runs as root only"
        if not (POSTFIX / "lib" / "postfix" / "sbin" / "master").exists():
            return f"{POSTFIX} is missing: sh contrib/setup.sh"
        return None

    @staticmethod
    def version():
        return measure.output(POSTFIX / "sbin" / "postconf", "-c", "/dev/null", "-dh", "mail_version", stderr=subprocess.DEVNULL,
                              env=dict(os.environ, LD_LIBRARY_PATH=str(POSTFIX / "lib" / "postfix"))).strip()

    def _make_folders(self):
        queue = self.folder / "queue"
        for path in (queue, queue / "pid"):
            path.mkdir()
        for name in self.OWNED:
            (queue / name).mkdir(mode=0o700)
            shutil.chown(queue / name, "mail")
        for name, mode in (("maildrop", 0o730), ("public", 0o710)):
            (queue / name).mkdir()
            shutil.chown(queue / name, "mail", "uucp")
            (queue / name).chmod(mode)
        (self.folder / "data").mkdir(mode=0o700)
        shutil.chown(self.folder / "data", "mail")

    def _filled_in(self, text):
        words = {"DIR": self.folder, "LIB": POSTFIX / "lib" / "postfix", "SBIN": POSTFIX / "sbin", "PORT": self.port,
                 "SESSIONS": self.sessions, "CONNECTIONS": self.connections, "USER": USER, "PASSWORD": PASSWORD,
                 "RELAYHOST": f"[127.0.0.1]:{self.sink.port}", "CA": self.sink.ca if self.sink.tls else "",
                 "TLS": "secure" if self.sink.tls else "none", "AUTH": "yes" if self.sink.tls else "no"}
        for word, value in words.items():
            text = text.replace(f"@{word}@", str(value))
        return text

    def command(self):
        return [*hidden_syslog(), str(POSTFIX / "lib" / "postfix" / "sbin" / "master"), "-c", str(self.folder / "config")]

    def environment(self):
        return dict(os.environ, LD_LIBRARY_PATH=str(POSTFIX / "lib" / "postfix"), MAIL_CONFIG=str(self.folder / "config"))

    def flush(self):
        subprocess.run([str(POSTFIX / "sbin" / "postqueue"), "-c", str(self.folder / "config"), "-f"], check=True,
                       env=self.environment())

    def queued(self):
        return sum(len(files) for name in ("incoming", "active", "deferred", "maildrop")
                   for _, _, files in os.walk(self.folder / "queue" / name))


def hidden_syslog():
    """A mount namespace in which nobody listens on /dev/log: a message to it fails at once, and nothing waits."""
    if not os.path.exists("/dev/log"):
        return []
    return ["unshare", "-m", "sh", "-c", 'mount --bind /dev/null "$(readlink -f /dev/log)" && exec "$@"', "sh"]


class IdleSessions:
    """Sessions that have said EHLO and nothing since."""

    def __init__(self, port):
        self.port = port
        self.sockets = []

    def open_until(self, n):
        while len(self.sockets) < n:
            s = socket.create_connection(("127.0.0.1", self.port), 60)
            self.sockets.append(s)
            self._expect(s, b"220")
            s.sendall(b"EHLO idle\r\n")
            self._expect(s, b"250")
        time.sleep(0.5)

    @staticmethod
    def _expect(s, code):
        reply = s.recv(1000)
        if not reply.startswith(code):
            raise harness.HarnessError(f"an idle session was answered {reply!r}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in self.sockets:
            s.close()
