"""Ways out by a proxy: to the login host, and to the upstream."""

import base64
import socket
import struct
import threading

import pytest

import harness
from harness import make_mail


class Proxy:
    """An HTTP and SOCKS5 proxy on loopback. login: "user:password", or none; refuse: a status (HTTP) or code (SOCKS5) to refuse
    with. targets: to whom it was asked to connect, as it was asked."""

    def __init__(self, login=None):
        self.login, self.refuse, self.targets = login, None, []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near = self._server.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near):
        try:
            first = near.recv(1, socket.MSG_PEEK)
            target = self._socks(near) if first == b"\x05" else self._http(near)
            if target:
                self._carry(near, socket.create_connection(("127.0.0.1", target[1]), 10))
        except (OSError, EOFError):
            pass
        near.close()

    def _read(self, near, n):
        data = b""
        while len(data) < n:
            more = near.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def _http(self, near):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._read(near, 1)
        wanted = f"Proxy-Authorization: Basic {base64.b64encode((self.login or '').encode()).decode()}\r\n".encode()
        if self.login and wanted not in head:
            near.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n")
            return None
        host, _, port = head.split()[1].decode().rpartition(":")
        self.targets.append(host)
        if self.refuse:
            near.sendall(b"HTTP/1.1 %d Refused\r\nContent-Length: 0\r\n\r\n" % self.refuse)
            return None
        near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return host, int(port)

    def _socks(self, near):
        methods = self._read(near, self._read(near, 2)[1])
        method = 2 if self.login else 0
        near.sendall(bytes([5, method if method in methods else 0xff]))
        if method not in methods:
            return None
        if self.login:
            user = self._read(near, self._read(near, 2)[1])
            password = self._read(near, self._read(near, 1)[0])
            good = self.login.encode() == user + b":" + password
            near.sendall(bytes([1, 0 if good else 1]))
            if not good:
                return None
        assert self._read(near, 4) == b"\x05\x01\x00\x03"
        host = self._read(near, self._read(near, 1)[0]).decode()
        port = struct.unpack("!H", self._read(near, 2))[0]
        self.targets.append(host)
        near.sendall(bytes([5, self.refuse or 0, 0, 1, 127, 0, 0, 1, 0, 0]))
        return None if self.refuse else (host, port)

    @staticmethod
    def _carry(near, far):
        back = threading.Thread(target=harness.Wire._pump, args=(far, near, bytearray()), daemon=True)
        back.start()
        harness.Wire._pump(near, far, bytearray())
        back.join()
        far.close()

    def close(self):
        harness.hang_up(self._server)
        self._server.close()


@pytest.fixture
def make_proxy():
    made = []

    def make(**options):
        made.append(Proxy(**options))
        return made[-1]
    yield make
    for one in made:
        one.close()


def start(relay, upstream):
    relay.settings["upstreams"] = [upstream]
    return relay.start()


def test_the_login_host_is_reached_by_a_proxy_that_knows_it_by_name(sim, make_relay, make_proxy, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # the environment's is not used
    proxy = make_proxy(login="relay:s3cret/:")
    relay = make_relay(sim, start=False)
    password = relay.write_secret("s3cret/:", "proxy-password")
    start(relay, relay.upstream(oauth={"proxy": f"http://localhost:{proxy.port}", "proxy_user": "relay",
                                       "proxy_password": f"file:{password}"}))
    relay.send(make_mail())
    sim.wait_messages(1)
    assert proxy.targets == ["localhost"]


@pytest.mark.parametrize("login, refuse, words", [
    ("relay:other", None, "wants a login, or another one (407)"),
    (None, 403, "opens no tunnel to localhost"),
])
def test_a_proxy_that_refuses_is_named(sim, make_relay, make_proxy, login, refuse, words):
    proxy = make_proxy(login=login)
    proxy.refuse = refuse
    relay = make_relay(sim, start=False)
    start(relay, relay.upstream(oauth={"proxy": f"http://127.0.0.1:{proxy.port}"}))
    relay.send(make_mail())
    held = relay.wait_event("upstream-held")[0]
    assert words in held["text"] and f"http://127.0.0.1:{proxy.port}" in held["text"]
    proxy.login, proxy.refuse = None, None
    relay.cli("queue", "retry", "all", check=True)
    sim.wait_messages(1)


def test_a_silent_proxy_is_told_from_a_silent_login_host(sim, make_relay):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"http://127.0.0.1:{silent.getsockname()[1]}"
        relay = make_relay(sim, start=False, clock=True)
        start(relay, relay.upstream(oauth={"proxy": place}))
        relay.send(make_mail())
        near = silent.accept()[0]
        near.recv(1000)  # its CONNECT: from here on it waits
        relay.clock.forward(60)
        held = relay.wait_event("upstream-held")[0]
        near.close()
    assert held["reason"] == "login-proxy-fails" and f"the proxy {place} gave no answer in time" in held["text"]
    assert "oauth.proxy" in held["remedy"]


@pytest.mark.parametrize("scheme", ["http", "socks5"])
def test_mail_leaves_by_a_proxy_that_knows_the_server_by_name(sim, make_relay, make_proxy, scheme):
    proxy = make_proxy(login="relay:s3cret")
    relay = make_relay(sim, start=False)
    password = relay.write_secret("s3cret", "proxy-password")
    start(relay, relay.upstream(proxy=f"{scheme}://127.0.0.1:{proxy.port}", proxy_user="relay",
                                proxy_password=f"file:{password}"))
    relay.send(make_mail())
    sim.wait_messages(1)
    assert proxy.targets == ["localhost"]
    relay.write_secret("other", "proxy-password")
    proxy.login = "relay:other"  # read anew for each connection
    relay.reload(hostname="other.test")
    relay.wait_event("reloaded")
    relay.send(make_mail())
    sim.wait_messages(2)


def test_a_long_password_is_told_whole_to_http_and_to_socks_not_at_all(sim, make_relay, make_proxy):
    """RFC 1929 counts it in one octet. Nothing is said to such a proxy, no QUIT either."""
    proxy = make_proxy(login="relay:" + 300 * "p")
    relay = make_relay(sim, start=False)
    password = relay.write_secret(300 * "p", "proxy-password")
    wire = harness.Wire(proxy.port)
    start(relay, relay.upstream(proxy=f"socks5://127.0.0.1:{wire.port}", proxy_user="relay", proxy_password=f"file:{password}"))
    relay.send(make_mail())
    held = relay.wait_event("upstream-held")[0]
    assert f"file:{password}: longer than the 255 octets" in held["text"] and held["class"] == "C"
    relay.reload(upstreams=[relay.upstream(proxy=f"http://127.0.0.1:{proxy.port}", proxy_user="relay",
                                           proxy_password=f"file:{password}")])
    sim.wait_messages(1)
    assert not any(wire.sent)


@pytest.mark.parametrize("scheme, login, refuse, name, words", [
    ("http", "relay:other", None, "proxy-login-refused", "it answers 407"),
    ("http", None, 403, "proxy-refused", "it answers 403 to CONNECT localhost"),
    ("socks5", "relay:other", None, "proxy-login-refused", "it wants a login"),
    ("socks5", None, 2, "proxy-refused", "its rules do not allow that"),
])
def test_an_upstream_whose_proxy_refuses_is_held_and_goes_on_when_it_does_not(sim, make_relay, make_proxy, scheme, login, refuse,
                                                                           name, words):
    proxy = make_proxy(login=login)
    proxy.refuse = refuse
    relay = make_relay(sim, start=False)
    start(relay, relay.upstream(proxy=f"{scheme}://127.0.0.1:{proxy.port}"))
    relay.send(make_mail())
    held = relay.wait_event("upstream-held")[0]
    assert words in held["text"] and f"PROXY: {scheme}://127.0.0.1:{proxy.port}: " in held["text"]
    assert held["class"] == ("C" if name == "proxy-login-refused" else "T")
    proxy.login, proxy.refuse = None, None
    relay.cli("queue", "retry", "all", check=True)
    sim.wait_messages(1)


def test_a_proxy_that_is_not_there_is_named(sim, make_relay):
    relay = make_relay(sim, start=False)
    start(relay, relay.upstream(proxy="socks5://127.0.0.1:9"))
    relay.send(make_mail())
    held = relay.wait_event("upstream-held")[0]
    assert "CONNECT of socks5://127.0.0.1:9: " in held["text"]


def test_check_online_goes_by_the_proxy(sim, make_relay, make_proxy):
    proxy = make_proxy()
    relay = make_relay(sim, start=False)
    place = f"http://127.0.0.1:{proxy.port}"
    relay.write_config(upstreams=[relay.upstream(proxy=place)])
    text = relay.cli("check", "--online", check=True).stdout
    assert f"the proxy {place} is 127.0.0.1" in text and f"connected to localhost port {sim.smtp_port}, by the proxy" in text
    assert proxy.targets == ["localhost"] and sim.messages() == []
    proxy.refuse = 403
    result = relay.cli("check", "--online")
    assert result.returncode == 1 and "FAILED  tcp" in result.stdout and "403" in result.stdout
