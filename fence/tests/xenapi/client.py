# The real XenAPI client against a simulated pool: what it sees, one line a step. Arguments: url of the master, url of a slave, tls.
import ssl
import sys
import time
import xmlrpc.client

import XenAPI

master, slave, tls = sys.argv[1], sys.argv[2], sys.argv[3] == "tls"


if tls:
    # Older clients have no option for it.
    ssl._create_default_https_context = ssl._create_unverified_context


def session(url):
    return XenAPI.Session(url)


def step(name, call):
    try:
        result = call()
    except XenAPI.Failure as failure:
        result = "failure " + " ".join(str(word) for word in failure.details)
    except xmlrpc.client.ProtocolError as error:
        result = "http %d" % error.errcode
    print("%s: %s" % (name, result), flush=True)
    return result


s = session(master)
step("wrong", lambda: s.xenapi.login_with_password("root", "nonsense"))
step("login", lambda: s.xenapi.login_with_password("root", "s3cret1", "2.3", "a test"))
vm = step("names", lambda: s.xenapi.VM.get_by_name_label("node1"))[0]
step("none", lambda: s.xenapi.VM.get_by_name_label("nobody"))
record = s.xenapi.VM.get_record(vm)
step("record", lambda: (record["power_state"], record["is_a_template"], record["is_control_domain"], record["name_description"]))
step("host", lambda: s.xenapi.host.get_name_label(record["resident_on"]))
step("uuid", lambda: s.xenapi.VM.get_by_uuid(record["uuid"]) == vm)
step("no uuid", lambda: s.xenapi.VM.get_by_uuid("x"))
step("all", lambda: len(s.xenapi.VM.get_all_records()) == len(s.xenapi.VM.get_all()))
step("off", lambda: s.xenapi.VM.hard_shutdown(vm))
step("state", lambda: s.xenapi.VM.get_power_state(vm))
step("off twice", lambda: s.xenapi.VM.hard_shutdown(vm).__class__)
step("on", lambda: s.xenapi.VM.start(vm, False, True))
step("pause", lambda: s.xenapi.VM.pause(vm))
step("start paused", lambda: s.xenapi.VM.start(vm, False, True))
step("unpause", lambda: s.xenapi.VM.unpause(vm))
step("suspend", lambda: s.xenapi.VM.suspend(vm))
step("resume", lambda: s.xenapi.VM.resume(vm, False, True))
task = s.xenapi.Async.VM.hard_shutdown(vm)
while s.xenapi.task.get_status(task) == "pending":
    time.sleep(0.02)
step("task", lambda: (s.xenapi.task.get_status(task), s.xenapi.task.get_result(task), s.xenapi.task.get_progress(task)))
step("destroy", lambda: s.xenapi.task.destroy(task))
task = s.xenapi.Async.VM.hard_shutdown(vm)
step("failed", lambda: (s.xenapi.task.get_status(task), s.xenapi.task.get_error_info(task)[0]))
step("destroy", lambda: s.xenapi.task.destroy(task))
try:
    s.xenapi.VM.start(vm)
except XenAPI.Failure as failure:
    # Whether the session counts is the client's own idea.
    step("too few", lambda: failure.details[:2])
step("unknown", lambda: s.xenapi.VM.explode(vm))
step("handle", lambda: s.xenapi.VM.get_record("OpaqueRef:x"))
step("logout", lambda: s.xenapi.session.logout() or None)
other = session(slave)
step("slave", lambda: other.xenapi.login_with_password("root", "s3cret1"))
local = other.session.slave_local_login_with_password("root", "s3cret1")
step("local", lambda: local["Status"])
step("of slave", lambda: other.VM.get_all(local["Value"])["ErrorDescription"][0])
step("local logout", lambda: other.session.local_logout(local["Value"])["Status"])
reader = session(master)
reader.xenapi.login_with_password("reader", "s3cret1")
step("reader", lambda: reader.xenapi.VM.start(vm, False, True))
step("logout", lambda: reader.xenapi.session.logout() or None)
