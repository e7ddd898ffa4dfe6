#!/usr/bin/python3
# time-monitors.py OURS THEIRS NAME=VALUE...: the shortest of seven runs of `monitor` of each, in turn, with the parameters given.
# Prints "code code seconds seconds". Without a monitor of its own, THEIRS is what starting any program costs here.
import os, sys, time

ours, theirs, *words = sys.argv[1:]
parameters = {f"OCF_RESKEY_{word.split('=', 1)[0]}": word.split("=", 1)[1] for word in words}
environment = {**os.environ, **parameters, "OCF_ROOT": "/usr/lib/ocf", "OCF_RESOURCE_INSTANCE": "lab",
               "OCF_RESKEY_CRM_meta_interval": "10000", "OCF_RESKEY_CRM_meta_timeout": "60000"}
nowhere = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in range(3)]


def once(program):
    began = time.perf_counter()
    pid = os.posix_spawn(program, [program, "monitor"], environment, file_actions=nowhere)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return time.perf_counter() - began, code


runs = [(once(ours), once(theirs)) for _ in range(7)]
codes = [{run[which][1] for run in runs} for which in (0, 1)]
print(*(codes[which].pop() if len(codes[which]) == 1 else "differ" for which in (0, 1)),
      *(f"{min(run[which][0] for run in runs):.4f}" for which in (0, 1)))
