#!/usr/bin/env python3
"""Reads an event stream as docs/reference/events.md describes it, and checks what it promises.

Input: frames, from the file that is named, from the socket behind `--socket`, or from standard input. Output: a JSON
object a frame; an error and exit code 1 where a promise is broken. Not here: Provium's own code, not even for MessagePack.
"""

import json
import socket
import struct
import sys


def unpack(data, at):
    """The value at a place in MessagePack data, and the place behind it."""
    kind = data[at]
    at += 1
    if kind <= 0x7F:
        return kind, at
    if kind >= 0xE0:
        return kind - 0x100, at
    if kind <= 0x8F:
        return mapping(data, at, kind & 0x0F)
    if kind <= 0x9F:
        return array(data, at, kind & 0x0F)
    if kind <= 0xBF:
        return text(data, at, kind & 0x1F)
    if kind in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[kind], at
    numbers = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q", 0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
    if kind in numbers:
        size = struct.calcsize(numbers[kind])
        return struct.unpack(numbers[kind], data[at : at + size])[0], at + size
    lengths = {0xC4: (">B", binary), 0xC5: (">H", binary), 0xC6: (">I", binary), 0xD9: (">B", text), 0xDA: (">H", text), 0xDB: (">I", text), 0xDC: (">H", array), 0xDD: (">I", array), 0xDE: (">H", mapping), 0xDF: (">I", mapping)}
    if kind not in lengths:
        raise ValueError(f"byte {kind:#x} begins nothing")
    form, read = lengths[kind]
    size = struct.calcsize(form)
    return read(data, at + size, struct.unpack(form, data[at : at + size])[0])


def binary(data, at, length):
    return {"binary": list(data[at : at + length])}, at + length


def text(data, at, length):
    return data[at : at + length].decode("utf-8"), at + length


def array(data, at, length):
    items = []
    for _ in range(length):
        item, at = unpack(data, at)
        items.append(item)
    return items, at


def mapping(data, at, length):
    items = {}
    for _ in range(length):
        key, at = unpack(data, at)
        items[key], at = unpack(data, at)
    return items, at


def frames(data):
    at = 0
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        frame, end = unpack(data, at + 4)
        if end != at + 4 + length:
            raise ValueError(f"the frame at byte {at} is not as long as it says")
        at = end
        yield frame


class Promises:
    """What is open, and what may come."""

    def __init__(self, late):
        self.last, self.late = None, late
        self.found, self.dispatched, self.open = set(), False, {}

    def must(self, condition, why):
        if not condition:
            raise ValueError(f"{why}, at {self.last}")

    def begin(self, *what):
        self.open[what] = self.open.get(what, 0) + 1

    def end(self, *what):
        if self.late and not self.open.get(what):
            return  # it began before we came
        self.must(self.open.get(what, 0) > 0, f"{what} ends and has not begun")
        self.open[what] -= 1

    def take(self, frame):
        first, self.last = self.last is None, frame
        self.must(sorted(frame) == ["kind", "payload", "ts"] and frame["ts"] > 1 << 60, "no frame")
        kind, of = frame["kind"], frame["payload"]
        self.must(first == (kind == "run_started"), "run_started is the first, and there is one")
        file, test = of.get("path"), (of.get("path"), of.get("name"))
        vm = (of.get("file"), of.get("vm_name"))
        if kind == "run_started":
            self.must(of["schema"] == "provium-events" and of["version"] == 1, "another schema")
        elif kind == "file_discovered":
            self.must(not self.dispatched, "a file is discovered late")
            self.found.add(file)
        elif kind == "file_dispatched":
            self.must(self.late or file in self.found, "a file is dispatched that was not discovered")
            self.dispatched = True
            self.begin("file", file)
        elif kind == "file_completed":
            self.end("file", file)
            left = [what for what, count in self.open.items() if count and what[1] == file and what[0] != "fixture"]
            self.must(not left, f"left open by a file: {left}")
        elif kind == "test_started":
            self.begin("test", *test)
        elif kind in ("test_passed", "test_failed"):
            self.end("test", *test)
        elif kind == "test_skipped" and self.open.get(("test", *test)):
            self.end("test", *test)  # one that skipped itself; others have no start
        elif kind == "vm_spawned":
            self.begin("vm", *vm)
        elif kind in ("vm_shutdown", "vm_died"):
            self.end("vm", *vm)
        elif kind == "claim_acquired":
            self.begin("claim", file)
        elif kind == "claim_released":
            self.end("claim", file)
        elif kind == "fixture_build_started":
            self.begin("fixture", file)
        elif kind == "fixture_build_done":
            self.end("fixture", file)
        elif kind == "run_ended":
            left = [what for what, count in self.open.items() if count]
            self.must(not left, f"left open: {left}")


def main(arguments):
    if arguments[:1] == ["--socket"]:
        client = socket.socket(socket.AF_UNIX)
        client.connect(arguments[1])
        print("connected", file=sys.stderr, flush=True)
        data = b"".join(iter(lambda: client.recv(1 << 16), b""))
    elif arguments:
        data = open(arguments[0], "rb").read()
    else:
        data = sys.stdin.buffer.read()
    promises = Promises(late=arguments[:1] == ["--socket"])
    for frame in frames(data):
        promises.take(frame)
        print(json.dumps(frame))
    if promises.last is None or promises.last["kind"] != "run_ended":
        raise ValueError(f"the last frame is no run_ended: {promises.last}")


main(sys.argv[1:])
