#!/usr/bin/python3
"""write DEVICE: numbered records, each with its checksum, one after the other until it is ended; `ack N SECONDS` for each that
the device has acknowledged, written and flushed. What is refused is tried again: `retry N WHY`.
check DEVICE COUNT: `ok` and how many there are when each of the first COUNT records is there (or a later one in the same slot)."""

import hashlib
import mmap
import os
import struct
import sys
import time

SIZE = 4096
MAGIC = b"ringfence record"
HEAD = struct.Struct("<16sQ32s")


def made(number):
    body = hashlib.sha256(b"%d" % number).digest() * ((SIZE - HEAD.size) // 32)
    body += bytes(SIZE - HEAD.size - len(body))
    return HEAD.pack(MAGIC, number, hashlib.sha256(b"%d:" % number + body).digest()) + body


def opened(path, flags):
    device = os.open(path, flags | os.O_DIRECT)
    return device, os.lseek(device, 0, os.SEEK_END) // SIZE


def say(*words):
    print(*words, flush=True)


def write(path):
    device, slots = opened(path, os.O_RDWR)
    buffer = mmap.mmap(-1, SIZE)
    number = 0
    while True:
        buffer[:] = made(number)
        try:
            if os.pwrite(device, buffer, number % slots * SIZE) != SIZE:
                raise OSError("a short write")
            os.fdatasync(device)
        except OSError as why:
            say("retry", number, why)
            time.sleep(0.2)
            try:
                # A device that came back under the same name is another one.
                fresh, _ = opened(path, os.O_RDWR)
                os.close(device)
                device = fresh
            except OSError:
                pass
            continue
        say("ack", number, "%.3f" % time.monotonic())
        number += 1
        # Without a rest, writing is all that the emulated processors of client and target do.
        time.sleep(0.02)


def check(path, count):
    device, slots = opened(path, os.O_RDONLY)
    buffer = mmap.mmap(-1, SIZE)
    for slot in range(min(slots, count)):
        if os.preadv(device, [buffer], slot * SIZE) != SIZE:
            sys.exit("slot %d: a short read" % slot)
        wanted = slot + (count - 1 - slot) // slots * slots
        magic, number, _ = HEAD.unpack(buffer[: HEAD.size])
        if magic != MAGIC:
            sys.exit("slot %d: no record where %d was acknowledged" % (slot, wanted))
        if number % slots != slot or number < wanted:
            sys.exit("slot %d: record %d where %d was acknowledged" % (slot, number, wanted))
        if buffer[:] != made(number):
            sys.exit("slot %d: record %d is damaged" % (slot, number))
    say("ok", min(slots, count))


if sys.argv[1] == "write":
    write(sys.argv[2])
else:
    check(sys.argv[2], int(sys.argv[3]))
