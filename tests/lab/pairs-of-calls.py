#!/usr/bin/python3
"""COUNT PROGRAM PROGRAM ARGUMENT...: runs the two programs in turns, COUNT times each after a first time that does not count, and
says for each: its exit code, the least wall and CPU seconds of a call."""

import resource
import subprocess
import sys
import time

count, programs, rest = int(sys.argv[1]), sys.argv[2:4], sys.argv[4:]
walls, cpus, codes = [[], []], [[], []], [0, 0]


def spent():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


for turn in range(count + 1):
    for which, program in enumerate(programs):
        before, began = spent(), time.monotonic()
        codes[which] = subprocess.call([program] + rest, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if turn:
            walls[which].append(time.monotonic() - began)
            cpus[which].append(spent() - before)
for which in (0, 1):
    print(codes[which], "%.6f" % min(walls[which]), "%.6f" % min(cpus[which]))
