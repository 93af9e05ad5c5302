"""A name server for tests, on 127.0.0.1: answers what its records say, and counts what it is asked."""

import collections
import contextlib
import socket
import struct
import threading

TYPES = {1: "A", 15: "MX", 16: "TXT", 28: "AAAA"}
REFUSALS = {"nxdomain": 3, "servfail": 2}


def name_bytes(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


class NameServer:
    """records: {("contoso.com", "MX"): [(10, "mx.contoso.com")], ("mx.contoso.com", "A"): ["127.0.0.1"], ("gone.test", "MX"):
    "nxdomain", ("contoso.com", "TXT"): ["v=spf1 -all", ("in ", "parts")]}; what is not there has no records, "silence" gets no answer. It can be changed at any time, as can ttl."""

    def __init__(self, records, ttl=300):
        self.records, self.ttl = records, ttl
        self.asked = collections.Counter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                question, peer = self._socket.recvfrom(2000)
            except OSError:
                return
            if len(question) < 17:  # nothing: it is closed
                return
            answer = self._answer(question)
            if answer:
                self._socket.sendto(answer, peer)

    def _answer(self, question):
        at, labels = 12, []
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode())
            at += 1 + question[at]
        at += 5
        key = (".".join(labels).lower(), TYPES.get(struct.unpack_from("!H", question, at - 4)[0]))
        self.asked[key] += 1
        found = self.records.get(key, [])
        if found == "silence":
            return None
        refusal = REFUSALS.get(found, 0) if isinstance(found, str) else 0
        records = b"".join(self._record(key[1], value) for value in (found if not refusal else []))
        return (question[:2] + struct.pack("!HHHHH", 0x8180 | refusal, 1, 0 if refusal else len(found), 0, 0) +
                question[12:at] + records)

    def _record(self, kind, value):
        if kind == "MX":
            data = struct.pack("!H", value[0]) + name_bytes(value[1])
        elif kind == "TXT":
            data = b"".join(bytes([len(part)]) + part.encode() for part in ([value] if isinstance(value, str) else value))
        else:
            data = socket.inet_pton(socket.AF_INET if kind == "A" else socket.AF_INET6, value)
        number = next(n for n, name in TYPES.items() if name == kind)
        return b"\xc0\x0c" + struct.pack("!HHIH", number, 1, self.ttl, len(data)) + data

    def close(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:  # it was never connected; whoever waits on it wakes up all the same
            pass
        self._socket.close()


SERVICE_ENDS = b"421 4.3.2 Service not available\r\n"
CLOSES = None
SILENCE = b""


@contextlib.contextmanager
def first_host_says(records, port, greeting):
    """A new first MX of contoso.com, which once says that in place of a greeting, closes, or keeps silent. Yields the
    event of its being connected to."""
    met = threading.Event()

    def serve_one(listening):
        connection, _ = listening.accept()
        met.set()
        with connection:
            if greeting is not CLOSES:
                connection.sendall(greeting)
                connection.recv(100)

    records[("contoso.com", "MX")] = [(10, "first.mx.microsoft"), *((20, host) for _, host in records[("contoso.com", "MX")])]
    records[("first.mx.microsoft", "A")] = ["127.0.0.9"]
    with socket.create_server(("127.0.0.9", port)) as first:
        threading.Thread(target=serve_one, args=(first,)).start()
        yield met
