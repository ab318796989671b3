"""Runs one command and prints what the kernel says of it: wall and CPU seconds, peak resident memory in bytes, exit code."""
import json, os, sys, time

started = time.monotonic()
pid = os.fork()
if pid == 0:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    if os.environ.get("BENCH_VERBOSE") != "1":
        os.dup2(null, 2)
    os.execvp(sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(pid, 0)
print(json.dumps({
    "wall": time.monotonic() - started,
    "cpu": usage.ru_utime + usage.ru_stime,
    "rss": usage.ru_maxrss * 1024,
    "code": os.waitstatus_to_exitcode(status),
}))
