"""Counts coturn's events with redis-py and prometheus_client, as one would begin to. Arguments: host, port, events."""
import re
import resource
import sys

import prometheus_client
import redis

host, port, wanted = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
bytes_total = prometheus_client.Counter("relayed_bytes", "", ["realm", "leg", "direction"])
statuses = prometheus_client.Counter("statuses", "", ["realm", "word"])
channel = re.compile(r"turn/realm/([^/]*)/user/.*/allocation/\d+/(.*)")
numbers = re.compile(r"rcvp=\d+, rcvb=(\d+), sentp=\d+, sentb=(\d+)")

subscription = redis.Redis(host=host, port=port).pubsub(ignore_subscribe_messages=True)
subscription.psubscribe("turn/*")
heard = 0
while heard < wanted:
    message = subscription.get_message(timeout=3)
    if message is None:
        if heard:
            break
        continue
    heard += 1
    realm, kind = channel.fullmatch(message["channel"].decode()).groups()
    payload = message["data"].decode()
    if kind == "status":
        statuses.labels(realm, payload.split(" ", 1)[0]).inc()
    elif not kind.startswith("total"):
        received, sent = numbers.fullmatch(payload).groups()
        leg = "peer" if kind.endswith("/peer") else "client"
        bytes_total.labels(realm, leg, "received").inc(int(received))
        bytes_total.labels(realm, leg, "sent").inc(int(sent))
usage = resource.getrusage(resource.RUSAGE_SELF)
# What is in memory now. The most there ever was, as rusage has it, begins with what the parent had when it forked.
resident = int(re.search(r"VmRSS:\s+(\d+)", open("/proc/self/status").read()).group(1))
print(heard, usage.ru_utime + usage.ru_stime, resident * 1024)
