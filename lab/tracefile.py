# SPDX-License-Identifier: MIT
# SPDX-FileCopyrightText: the hakmem authors
"""The two forms of a trace, as docs/trace-format.md has them: reads the recorder's raw file, writes
and reads the compact one, and sums one up. The C side is bench/trace/trace_format.h."""

import array
import dataclasses
import gzip
import heapq
import lzma
import struct
import sys
import time
from pathlib import Path

(END, THREAD, MALLOC, CALLOC, REALLOC, REALLOCARRAY, ALIGNED_ALLOC, POSIX_MEMALIGN, MEMALIGN,
 VALLOC, PVALLOC, FREE, FREE_SIZED, FREE_ALIGNED_SIZED, RELEASE) = range(15)
NAMES = {MALLOC: "malloc", CALLOC: "calloc", REALLOC: "realloc", REALLOCARRAY: "reallocarray",
         ALIGNED_ALLOC: "aligned_alloc", POSIX_MEMALIGN: "posix_memalign", MEMALIGN: "memalign",
         VALLOC: "valloc", PVALLOC: "pvalloc", FREE: "free", FREE_SIZED: "free_sized",
         FREE_ALIGNED_SIZED: "free_aligned_sized"}
ARRAYS = (CALLOC, REALLOCARRAY)
ALIGNED = (ALIGNED_ALLOC, POSIX_MEMALIGN, MEMALIGN)
FREES = (FREE, FREE_SIZED, FREE_ALIGNED_SIZED)

RAW_MAGIC = b"hktraw\n\0"
RAW_HEADER = struct.Struct("<8sIIQQQQQQ56s")
RAW_WORDS = {THREAD: 1, MALLOC: 3, CALLOC: 4, REALLOC: 3, REALLOCARRAY: 4, ALIGNED_ALLOC: 4,
             POSIX_MEMALIGN: 4, MEMALIGN: 4, VALLOC: 3, PVALLOC: 3, FREE: 2, FREE_SIZED: 3,
             FREE_ALIGNED_SIZED: 4, RELEASE: 2}
CHUNK_BYTES = 65536

MAGIC = b"hktrace\n"
HEADER = struct.Struct("<8sIIQQQIIQQQ56s")
VERSION = 1
WAS_CUT = 1
SIZE_MAX = (1 << 47) - 1
ALIGN_MAX = 30


class Damaged(Exception):
    """What a file has that no trace can have."""


@dataclasses.dataclass
class Header:
    page: int
    date: int
    program: str
    events: int = 0
    blocks: int = 0
    threads: int = 1
    cut: bool = False
    peak: int = 0
    failed: int = 0
    unknown: int = 0

    def pack(self):
        name = self.program.encode()[:55]
        return HEADER.pack(MAGIC, VERSION, self.page, self.date, self.events, self.blocks,
                           self.threads, WAS_CUT if self.cut else 0, self.peak, self.failed,
                           self.unknown, name)


def text_of(name):
    return name.split(b"\0")[0].decode(errors="replace")


# ---- Raw -----------------------------------------------------------------------------------------

class Raw:
    """The recorder's file. Its events come out in the order of their numbers."""

    def __init__(self, path):
        self.path = Path(path)
        with open(path, "rb") as file:
            head = file.read(RAW_HEADER.size)
            if len(head) < RAW_HEADER.size or not head.startswith(RAW_MAGIC):
                raise Damaged("is no recording of hakmem")
            (_, version, self.page, self.date, self.cut_at, self.chunks, self.failed, self.skipped,
             _, name) = RAW_HEADER.unpack(head)
            if version != VERSION:
                raise Damaged(f"is of version {version}, and this program reads {VERSION}")
            self.program = text_of(name)
            self.streams = {}  # thread: [(first event, words of a piece)]
            limit = self.path.stat().st_size // CHUNK_BYTES
            for number in range(1, min(self.chunks, limit)):
                file.seek(number * CHUNK_BYTES)
                self.split(file.read(CHUNK_BYTES))

    @property
    def cut(self):
        return self.cut_at != (1 << 64) - 1

    @property
    def about(self):
        """The number of an event near the last one."""
        return max((number for pieces in self.streams.values() for number, _ in pieces), default=1)

    def split(self, chunk):
        """A chunk's pieces, each of which is one thread's. One word tells whose it is."""
        words = array.array("Q")
        words.frombytes(chunk)
        if sys.byteorder == "big":
            words.byteswap()
        words.append(0)
        thread, start, at = None, 0, 0
        while True:
            op = words[at] & 255
            if op in (THREAD, END):
                if thread is not None and at > start:
                    piece = words[start:at]
                    self.streams.setdefault(thread, []).append((piece[0] >> 8, piece))
                if op == END:
                    return
                thread, start = words[at] >> 8, at + 1
            elif op not in RAW_WORDS or thread is None:
                raise Damaged(f"has an operation {op} that does not exist")
            at += RAW_WORDS[op]
            if at >= len(words):
                raise Damaged("has an event that goes past its chunk")

    @staticmethod
    def stream(thread, pieces):
        for _, words in sorted(pieces, key=lambda piece: piece[0]):
            at = 0
            while at < len(words):
                first = words[at]
                length = RAW_WORDS[first & 255]
                yield first >> 8, thread, first & 255, words[at + 1:at + length]
                at += length

    def events(self):
        """(number, thread, operation, values); none from the first that was lost at the limit."""
        streams = [self.stream(*item) for item in sorted(self.streams.items())]
        for event in heapq.merge(*streams) if len(streams) > 1 else streams[0] if streams else ():
            if event[0] >= self.cut_at:
                return
            yield event


# ---- From raw to compact -------------------------------------------------------------------------

class Writer:
    """Collects the events of a compact trace."""

    def __init__(self, header):
        self.header = header
        self.out = bytearray()
        self.thread = 0

    def number(self, value):
        while value > 127:
            self.out.append(value & 127 | 128)
            value >>= 7
        self.out.append(value)

    def event(self, thread, op, *values):
        if thread != self.thread:
            self.out.append(THREAD)
            self.number(thread)
            self.thread = thread
        self.out.append(op)
        for value in values:
            self.number(value)
        self.header.events += 1

    def block(self):
        """The number of a new one."""
        self.header.blocks += 1
        return self.header.blocks

    def back(self, block):
        """How a block is named: by its distance from the next one. 0 is NULL."""
        return self.header.blocks + 1 - block if block else 0

    def bytes(self):
        return self.header.pack() + bytes(self.out) + bytes([END])


class Converter:
    """Follows the addresses of a raw trace and names blocks by number instead."""

    def __init__(self, raw):
        self.raw = raw
        self.header = Header(raw.page, raw.date, raw.program, cut=raw.cut, failed=raw.failed)
        self.writer = Writer(self.header)
        self.live = {}      # address: (number, bytes)
        self.moving = {}    # thread: what its realloc has released: (address, number, bytes)
        self.threads = {}   # recorder's number: ours, in order of the first event
        self.bytes = 0

    def take(self, address):
        """(number, bytes) of a block that ends; number 0 for NULL, None for an unknown one."""
        if address == 0:
            return 0, 0
        number, size = self.live.pop(address, (None, 0))
        if number is None:
            self.header.unknown += 1
        return number, size

    def give(self, address, size):
        # A block whose end nobody saw stays live, and its address is another block's from now on.
        self.bytes += size
        self.live[address] = (self.writer.block(), size)
        self.header.peak = max(self.header.peak, self.bytes)

    def reallocate(self, thread, op, address, sizes):
        old, number, had = self.moving.pop(thread, (0, 0, 0))
        size = sizes[0] if op == REALLOC else sizes[0] * sizes[1]
        if address:
            if size > SIZE_MAX:
                raise Damaged("has a size of 2^47 or more")
            self.writer.event(self.number_of(thread), op, self.writer.back(number or 0), *sizes)
            self.bytes -= had
            self.give(address, size)
        elif size == 0 and number:
            self.writer.event(self.number_of(thread), FREE, self.writer.back(number))
            self.bytes -= had
        elif number:  # it failed
            self.live[old] = (number, had)

    def number_of(self, thread):
        return self.threads.setdefault(thread, len(self.threads))

    def allocate(self, thread, op, address, values):
        size = values[-1]
        if op == CALLOC:
            size *= values[0]
        if size > SIZE_MAX:
            raise Damaged("has a size of 2^47 or more")
        if op in ALIGNED:  # memalign takes any number, and means the power of two above it
            values = ((max(values[0], 1) - 1).bit_length(), size)
        self.writer.event(self.number_of(thread), op, *values)
        self.give(address, size)

    def free(self, thread, op, values):
        number, had = self.take(values[0])
        if number is None:
            return
        self.bytes -= had
        more = ()
        if op == FREE_ALIGNED_SIZED:
            more = ((max(values[1], 1) - 1).bit_length(),)
        self.writer.event(self.number_of(thread), op, self.writer.back(number), *more)

    def convert(self, told=lambda number: None):
        """(header, bytes of the compact form). Calls told(number) now and then."""
        for number, thread, op, values in self.raw.events():
            if number % 65536 == 0:
                told(number)
            if op in FREES:
                self.free(thread, op, values)
            elif op == RELEASE:
                self.moving[thread] = (values[0], *self.take(values[0]))
            elif op in (REALLOC, REALLOCARRAY):
                self.reallocate(thread, op, values[0], values[1:])
            else:
                self.allocate(thread, op, values[0], values[1:])
        self.header.threads = max(1, len(self.threads))
        return self.header, self.writer.bytes()


# ---- Compact -------------------------------------------------------------------------------------

def compress(path, data):
    """Writes a compact trace; the name's end tells how: .xz, .gz, or not at all."""
    path = Path(path)
    if path.suffix == ".xz":
        data = lzma.compress(data, preset=6)
    elif path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    path.write_bytes(data)


def load(path):
    """The bytes of a compact trace, whichever way it is compressed."""
    data = Path(path).read_bytes()
    try:
        if data.startswith(b"\xfd7zXZ"):
            data = lzma.decompress(data)
        elif data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
    except (lzma.LZMAError, EOFError, OSError, ValueError) as error:
        raise Damaged(f"cannot be decompressed: {error}") from None
    return data


def read_header(data):
    if len(data) < HEADER.size or not data.startswith(MAGIC):
        raise Damaged("is no trace of hakmem")
    (_, version, page, date, events, blocks, threads, flags, peak, failed, unknown,
     name) = HEADER.unpack_from(data)
    if version != VERSION:
        raise Damaged(f"is of version {version}, and this program reads {VERSION}")
    return Header(page, date, text_of(name), events, blocks, threads, bool(flags & WAS_CUT), peak,
                  failed, unknown)


class Reader:
    """Walks a compact trace, and checks it on the way."""

    def __init__(self, data):
        self.data = data
        self.header = read_header(data)
        self.at = HEADER.size
        self.sizes = [0]  # by block; None: no longer live
        self.count = 0

    def damaged(self, what):
        raise Damaged(f"damaged trace: event {self.count}: {what}")

    def number(self, limit=(1 << 63) - 1):
        value = shift = 0
        while True:
            if self.at == len(self.data):
                self.damaged("the file ends inside")
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if value > limit:
            self.damaged("a number that is too large")
        return value

    def take(self):
        """(number, bytes) of a block that ends here."""
        back = self.number()
        if back == 0:
            return 0, 0
        number = len(self.sizes) - back
        if number < 1 or self.sizes[number] is None:
            self.damaged("a block that is not live")
        size, self.sizes[number] = self.sizes[number], None
        return number, size

    def event(self, op):
        """(block given, block taken, bytes given, bytes taken, alignment) of one event."""
        old, had, align = 0, 0, 0
        if op in FREES or op in (REALLOC, REALLOCARRAY):
            old, had = self.take()
        if op in ALIGNED or op == FREE_ALIGNED_SIZED:
            align = self.number(ALIGN_MAX)
        if op in FREES:
            return 0, old, 0, had, align
        size = self.number(SIZE_MAX)
        if op in ARRAYS:
            size *= self.number(SIZE_MAX)
            if size > SIZE_MAX:
                self.damaged("a size of 2^47 or more")
        self.sizes.append(size)
        return len(self.sizes) - 1, old, size, had, align

    def events(self):
        """(thread, operation, block given, block taken, bytes given, bytes taken, log2 of the
        alignment)."""
        thread, threads = 0, 1
        while True:
            if self.at == len(self.data):
                self.damaged("the file ends before the trace does")
            op = self.data[self.at]
            self.at += 1
            if op == THREAD:
                thread = self.number()
                if thread > threads:
                    self.damaged("a thread out of turn")
                threads = max(threads, thread + 1)
            elif op in NAMES:
                yield thread, op, *self.event(op)
                self.count += 1
            elif op == END:
                break
            else:
                self.damaged("an operation that does not exist")
        if self.at != len(self.data):
            self.damaged("the file goes on after the end of the trace")
        header = self.header
        if (self.count, len(self.sizes) - 1, threads) != (header.events, header.blocks,
                                                           header.threads):
            self.damaged("the header has other counts than the trace")


@dataclasses.dataclass
class Summary:
    header: Header
    calls: dict           # name: how often
    sizes: dict           # power of two that holds it: [calls, bytes]
    peak: int = 0
    peak_blocks: int = 0
    left: int = 0         # bytes live at the end
    left_blocks: int = 0
    crossing: int = 0     # blocks freed or moved by another thread than the one that took them


def summarize(data):
    reader = Reader(data)
    result = Summary(reader.header, {}, {})
    owner = [0]
    live = blocks = 0
    for thread, op, given, taken, size, had, _ in reader.events():
        name = NAMES[op]
        result.calls[name] = result.calls.get(name, 0) + 1
        live += size - had
        if given:
            owner.append(thread)
            blocks += 1
            row = result.sizes.setdefault(max(4, (max(size, 1) - 1).bit_length()), [0, 0])
            row[0] += 1
            row[1] += size
        if taken:
            blocks -= 1
            result.crossing += owner[taken] != thread
        result.peak = max(result.peak, live)
        result.peak_blocks = max(result.peak_blocks, blocks)
    if result.peak != reader.header.peak:
        raise Damaged("damaged trace: the header has another peak than the trace")
    result.left, result.left_blocks = live, blocks
    return result


def bytes_text(size):
    for unit in ("bytes", "KiB", "MiB"):
        if size < 10240:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.0f} GiB"


def describe(summary):
    """The summary as lines of text."""
    header = summary.header
    date = time.strftime("%Y-%m-%d", time.gmtime(header.date))
    yield f"{header.program}, recorded {date}, pages of {header.page} bytes" + \
        (", cut at the limit" if header.cut else "")
    yield f"{header.events} calls, {header.threads} threads, {header.blocks} blocks"
    calls = sorted(summary.calls.items(), key=lambda item: -item[1])
    yield "calls: " + ", ".join(f"{count} {name}" for name, count in calls)
    yield f"peak: {bytes_text(summary.peak)} live, {summary.peak_blocks} blocks at most; at the " \
          f"end: {bytes_text(summary.left)}, {summary.left_blocks} blocks"
    yield f"freed or moved by another thread: {summary.crossing} blocks"
    if header.failed or header.unknown:
        yield f"left out: {header.failed} calls that failed, {header.unknown} blocks from before " \
              "the recording"
    yield "sizes:"
    given = max(1, sum(count for count, _ in summary.sizes.values()))
    for power, (count, size) in sorted(summary.sizes.items()):
        yield f"  up to {bytes_text(1 << power):>11}  {count:>9} blocks {count / given:>4.0%}  " \
              f"{bytes_text(size)}"
