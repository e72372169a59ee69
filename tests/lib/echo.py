"""Local servers whose refusals repeat the secrets that they received."""

import base64
import socket
import socketserver
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from tests.lib.certificates import write_certificates
from tests.lib.serving import HttpHandler, QuietTcpServer, Served

WISHES_TO_ENCRYPT = [struct.pack("!i", number) for number in (80877103, 80877104)]  # with TLS, with Kerberos


@contextmanager
def echoing_postgresql() -> Iterator[int]:
    """Yield the port of a PostgreSQL that asks for the password in clear text, and repeats it in three ways."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self._told()[:4] in WISHES_TO_ENCRYPT:
                self.request.sendall(b"N")
            self.request.sendall(b"R" + struct.pack("!ii", 8, 3))
            self.request.recv(1)
            password = self._told().rstrip(b"\0")
            ways = b" ".join((password, quote(password).encode(), base64.b64encode(b"dpa:" + password)))
            fields = b"SFATAL\0C28P01\0Mpassword authentication failed: " + ways + b"\0\0"
            self.request.sendall(b"E" + struct.pack("!i", len(fields) + 4) + fields)

        def _told(self) -> bytes:
            (length,) = struct.unpack("!i", self.request.recv(4, socket.MSG_WAITALL))
            return bytes(self.request.recv(length - 4, socket.MSG_WAITALL))

    with Served(Handler, kind=QuietTcpServer) as server:
        yield server.port


@contextmanager
def echoing_mail_server(ca: Path, certificate: Path) -> Iterator[int]:
    """Yield the port of a mail server with TLS that refuses each login by repeating it."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 mail\r\n")
            while line := self.rfile.readline():
                word, _, rest = line.strip().partition(b" ")
                if word.upper() == b"EHLO":
                    self.wfile.write(b"250-mail\r\n250 AUTH PLAIN\r\n")
                elif word.upper() == b"AUTH":
                    said = base64.b64decode(rest.split()[-1]).replace(b"\0", b" ")
                    self.wfile.write(b"535 " + rest + b" is " + quote(said).encode() + b" or " + said + b"\r\n")
                else:
                    self.wfile.write(b"221 bye\r\n")

    with Served(Handler, _made(ca, certificate), QuietTcpServer) as server:
        yield server.port


KAFKA_KEYS = ((3, 1), (17, 1), (18, 0), (36, 0))  # metadata, handshake, versions, login: each with its newest version
KAFKA_LOGIN_FAILED, KAFKA_UNSUPPORTED = 58, 35


@contextmanager
def echoing_kafka(ca: Path, certificate: Path) -> Iterator[int]:
    """Yield the port of a Kafka with TLS that refuses each login by repeating it."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while head := self.request.recv(4):
                asked = self._rest(struct.unpack("!i", head)[0])
                key, version, correlation = struct.unpack("!hhi", asked[:8])
                answer = struct.pack("!i", correlation) + self._answer(key, version, asked)
                self.request.sendall(struct.pack("!i", len(answer)) + answer)

        def _rest(self, size: int) -> bytes:
            came = b""
            while len(came) < size:
                came += self.request.recv(size - len(came))
            return came

        def _answer(self, key: int, version: int, asked: bytes) -> bytes:
            if key == 18:
                keys = b"".join(struct.pack("!hhh", known, 0, newest) for known, newest in KAFKA_KEYS)
                error = 0 if version == 0 else KAFKA_UNSUPPORTED
                return struct.pack("!hi", error, len(KAFKA_KEYS)) + keys
            if key == 17:
                return struct.pack("!hih", 0, 1, 5) + b"PLAIN"
            login = asked[asked.index(b"\0dpa\0") :]
            said = b"no: " + login.replace(b"\0", b" ") + b" or " + base64.b64encode(login)
            return struct.pack("!hh", KAFKA_LOGIN_FAILED, len(said)) + said + struct.pack("!i", 0)

    with Served(Handler, _made(ca, certificate), QuietTcpServer) as server:
        yield server.port


@contextmanager
def echoing_http(ca: Path | None = None, certificate: Path | None = None) -> Iterator[int]:
    """Yield the port of an HTTP server whose refusals repeat the request in every part of the response."""

    class Handler(HttpHandler):
        def refuse(self) -> None:
            asked = quote(f"{self.path} {dict(self.headers)}")
            body = f"<Error><Code>{asked}</Code><Message>{self.path} {dict(self.headers)}</Message></Error>".encode()
            self.answer(403, body, {"x-ms-error-code": asked[:1_000], "Content-Type": "application/xml"}, asked[:1_000])

        do_GET = do_HEAD = do_POST = refuse

    with Served(Handler, _made(ca, certificate) if ca and certificate else None) as server:
        yield server.port


def _made(ca: Path, certificate: Path) -> Path:
    write_certificates(ca, certificate)
    return certificate
