"""The decoder in C (protocol/c) as a process: compiled with the system's compiler and its sanitizers, asked by lines.

A sanitizer that finds something ends the process, so that the next question fails with what it said; what was not freed
is told at the end. The decoder has no cipher: what it asks of its engine's is answered here. Not responsible for: what
a question means (``c/driver.c``).
"""

import json
import os
import shutil
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

SOURCES = Path(__file__).parents[2] / "protocol" / "c"
DRIVER = Path(__file__).parent / "c" / "driver.c"
FLAGS = ["-std=c99", "-O1", "-g", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

U32 = 2**32
STREAM_MESSAGE_BYTES = 65_536
"""What the vectors of streams take for the longest message (STANDARD.md §9.3)."""
OK, DROPPED, WAITS, MALFORMED, BROKEN, FULL = 0, 1, 2, -1, -2, -3
"""What functions answer: protocol/c/isthmus.h."""


def compile_c(sources: list[Path], out: Path, *flags: str) -> None:
    """Compile ``sources`` with all warnings as errors; raises AssertionError with what the compiler said."""
    compiler = shutil.which("cc")
    assert compiler, "no C compiler: install gcc and libc6-dev, or run `make compiler` as root"
    command = [compiler, *FLAGS, f"-I{SOURCES}", *flags, "-o", str(out), *map(str, sources), "-lm"]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout


def compile_driver(folder: Path) -> Path:
    """The driver and the decoder, with the sanitizers in them."""
    program = folder / "driver"
    compile_c([SOURCES / "isthmus.c", DRIVER], program, "-Wno-conversion", *SANITIZERS)
    return program


def said(data: bytes | None) -> str:
    """Bytes as the driver reads them; None is nil."""
    return "-" if data is None else "." + data.hex()


def cipher(question: dict[str, str]) -> str:
    """What an engine's crypto library answers."""
    data = bytes.fromhex(question["bytes"])
    if question["cipher"] == "sha256":
        return sha256(data).hexdigest()
    key = ChaCha20Poly1305(bytes.fromhex(question["key"]))
    nonce, binding = bytes.fromhex(question["nonce"]), bytes.fromhex(question["with"])
    if question["cipher"] == "seal":
        return key.encrypt(nonce, data, binding).hex()
    try:
        return key.decrypt(nonce, data, binding).hex()
    except InvalidTag:
        return "-"


class Native:
    """One driver. Use it as a context."""

    def __init__(self, program: Path) -> None:
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        code = self._process.wait(60)
        errors = self._said()
        self._errors.close()
        assert code == 0, errors

    def ask(self, *words: object) -> dict[str, Any]:
        """One question and its answer; raises AssertionError if the driver ended over it."""
        line = " ".join(map(str, words))
        answer = self._line(line)
        while "cipher" in answer:
            answer = self._line(cipher(answer))
        return answer

    def _line(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer.endswith("\n"), f"ended over {line[:4000]!r}:\n{self._said()}"
        out: dict[str, Any] = json.loads(answer)
        return out

    def _said(self) -> str:
        self._process.wait(60)
        self._errors.seek(0)
        return self._errors.read()

    def take(self, data: bytes) -> dict[str, Any]:
        """Give the view a message."""
        return self.ask("take", said(data))

    def shown(self, tick: float) -> dict[str, list[float]]:
        """Position in metres and yaw of each entity, by id."""
        shown: dict[str, Any] = self.ask("shown", repr(tick))["shown"]
        return {entity: place for entity, place in shown.items() if place}


def messages_in(stream: bytes) -> list[str]:
    """The whole messages at the beginning of a reliable stream, as hex."""
    out, at = [], 0
    while at + 4 <= len(stream) and (end := at + 4 + int.from_bytes(stream[at : at + 4], "little")) <= len(stream):
        out.append(stream[at + 4 : end].hex())
        at = end
    return out


class Link:
    """A new datagram connection of the driver, and its other end (STANDARD.md §9.2, §9.3), made here of the cipher
    alone. ``vector``: whose key, number, session and address both directions have."""

    def __init__(
        self,
        native: Native,
        vector: dict[str, Any] | None = None,
        *,
        room: int = STREAM_MESSAGE_BYTES,
        received: int = 0,
        sent: int = 0,
        sequence: int = 0,
    ) -> None:
        one = vector or {"key": "07" * 32, "number": 7, "session": "9", "address": "[::1]:8081"}
        key, address = bytes.fromhex(one["key"]), one["address"].encode()
        self.native, self.number, self.sequence = native, int(one["number"]), 0
        self.key = ChaCha20Poly1305(key)
        ids = int(one["session"]).to_bytes(8, "little") + self.number.to_bytes(4, "little")
        self.binding = sha256(b"isthmus datagrams 1\0" + ids + address).digest()[:16]
        token = msgpack.packb([27, one["address"], self.number, key, key, 5000, ""])
        assert native.ask("link", one["session"], said(token), room, received, sent, sequence)["result"] == 1

    def _parts(self, sequence: int) -> tuple[bytes, bytes]:
        head = b"\x31" + self.number.to_bytes(4, "little") + sequence.to_bytes(8, "little")
        return head, bytes(4) + sequence.to_bytes(8, "little")

    def sealed(self, plain: bytes, sequence: int | None = None) -> str:
        """A datagram as the driver reads it; numbered by itself unless ``sequence`` is given."""
        self.sequence = self.sequence + 1 if sequence is None else sequence
        head, nonce = self._parts(self.sequence)
        return said(head + self.key.encrypt(nonce, plain, head + self.binding))

    def opened(self, datagram: str) -> tuple[int, list[tuple[int, bytes]]]:
        """``received`` and the parts of what the driver wrote."""
        data = bytes.fromhex(datagram)
        head, nonce = self._parts(int.from_bytes(data[5:13], "little"))
        assert data[:13] == head
        plain, at, parts = self.key.decrypt(nonce, data[13:], head + self.binding), 4, []
        while at < len(plain):
            size = int.from_bytes(plain[at + 1 : at + 3], "little")
            assert at + 3 + size <= len(plain)
            parts.append((plain[at], plain[at + 3 : at + 3 + size]))
            at += 3 + size
        return int.from_bytes(plain[:4], "little"), parts

    def read(self, *parts: tuple[int, bytes], received: int = 0, now_ms: int = 0) -> dict[str, Any]:
        """Give the driver these in a datagram."""
        plain = b"".join(bytes([kind]) + len(data).to_bytes(2, "little") + data for kind, data in parts)
        return self.native.ask("read", self.sealed(received.to_bytes(4, "little") + plain), now_ms)

    def flow(self, offset: int, data: bytes) -> dict[str, Any]:
        """Give the driver a piece of the stream, in as many datagrams as it takes."""
        answers = [
            self.read((1, ((offset + at) % U32).to_bytes(4, "little") + data[at : at + 1000]))
            for at in range(0, max(1, len(data)), 1000)
        ]
        return answers[-1] | {"messages": [[], *(m for each in answers for m in each["messages"][1:])]}
