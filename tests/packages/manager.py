"""A service manager that is none: does what systemd would do for a few units, and no more.

It reads units and the files that they name as they are installed, holds sockets, starts a service as its user with its
environment, waits for READY=1 where its type is notify, reloads it, and stops it by SIGTERM. It confines nothing. Commands come
by a socket, one a line: the verb and the names of units; the answer is `ok` or what went wrong. `manager.py serve` is it; under
any other name (`systemctl`, `deb-systemd-invoke`) it asks for what the arguments say.
"""

import glob
import os
import pwd
import re
import shlex
import signal
import socket
import sys
import threading

PLACE = "/run/manager"
UNITS = "/usr/lib/systemd/system/"
REAL = "/run/tools/real-systemctl"
EXPORTER = "prometheus-coturn-exporter.service"

children = {}
sockets = {}
started = []


def setting(unit, name):
    with open(UNITS + unit) as lines:
        found = [line.strip().split("=", 1)[1] for line in lines if line.startswith(name + "=")]
    return found


def environment(unit):
    variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    for line in setting(unit, "Environment"):
        name, value = line.split("=", 1)
        variables[name] = value.replace("%S", "/var/lib")
    for path in setting(unit, "EnvironmentFile"):
        with open(path.lstrip("-")) as lines:
            for line in lines:
                if re.match(r"[A-Z_]+=", line):
                    name, value = line.strip().split("=", 1)
                    variables[name] = "".join(shlex.split(value))
    return variables


def log(unit):
    return f"/run/{unit}.log"


def sockets_of(unit):
    return sorted(name for name in sockets if unit in setting(name, "Service"))


def start_service(unit):
    user = pwd.getpwnam((setting(unit, "User") or ["root"])[0])
    for name in setting(unit, "StateDirectory"):
        os.makedirs("/var/lib/" + name, mode=0o700, exist_ok=True)
        os.chown("/var/lib/" + name, user.pw_uid, user.pw_gid)
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    place = f"notify-{os.getpid()}-{len(started)}"
    started.append(place)
    notify.bind("\0" + place)
    notify.settimeout(60)
    variables = environment(unit)
    variables["NOTIFY_SOCKET"] = "@" + place
    command = setting(unit, "ExecStart")[0].replace("$ARGS", variables.pop("ARGS", ""))
    names = sockets_of(unit)
    child = os.fork()
    if child == 0:
        out = os.open(log(unit), os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        os.dup2(out, 1)
        os.dup2(out, 2)
        held = [os.dup(sockets[name].fileno()) for name in names]
        # Above all that is to be taken.
        held = [os.dup2(fd, 100 + place, inheritable=False) for place, fd in enumerate(held)]
        for place, fd in enumerate(held):
            os.dup2(fd, 3 + place)
        if held:
            kinds = ":".join(setting(name, "FileDescriptorName")[0] for name in names)
            variables.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(held)), LISTEN_FDNAMES=kinds)
        os.chdir("/")
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        os.umask(int((setting(unit, "UMask") or ["0022"])[0], 8))
        words = shlex.split(command)
        os.execve(words[0], words, variables)
    children[unit] = child
    if "notify" in setting(unit, "Type"):
        while b"READY=1" not in notify.recv(4096):
            pass
    notify.settimeout(None)
    threading.Thread(target=hear, args=(notify,), daemon=True).start()


def hear(notify):
    while b"STOPPING=1" not in notify.recv(4096):
        pass
    notify.close()


def start(unit):
    if unit in children or unit in sockets:
        return
    if unit.endswith(".socket"):
        host, _, port = setting(unit, "ListenStream")[0].rpartition(":")
        family = socket.AF_INET if host else socket.AF_INET6
        sockets[unit] = socket.create_server((host or "::", int(port)), family=family, dualstack_ipv6=not host)
    else:
        start_service(unit)


def stop(unit):
    if unit in children:
        child = children.pop(unit)
        # One that has ended by itself is no trouble to who stops it.
        if os.waitpid(child, os.WNOHANG) == (0, 0):
            os.kill(child, signal.SIGTERM)
            status = os.waitpid(child, 0)[1]
            # To systemd an end by its signal is clean; of the exporter more is expected.
            if status and (status != signal.SIGTERM or unit == EXPORTER):
                raise RuntimeError(f"{unit} ended with {status}")
    if unit in sockets:
        sockets.pop(unit).close()


def reload(unit):
    command = setting(unit, "ExecReload")[0].replace("$MAINPID", str(children[unit]))
    if os.spawnv(os.P_WAIT, "/bin/sh", ["sh", "-c", command]):
        raise RuntimeError(f"{unit}: {command} failed")


def obey(verb, units):
    for unit in units:
        if "." not in unit:
            unit += ".service"
        if verb == "reload":
            reload(unit)
        if verb in ("stop", "restart"):
            stop(unit)
        if verb in ("start", "restart"):
            start(unit)


def serve():
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(PLACE)
    listener.listen()
    while True:
        asked, _ = listener.accept()
        with asked:
            verb, *units = asked.makefile().readline().split()
            try:
                obey(verb, units)
                answer = "ok"
            except Exception as error:  # the one who asked must hear of it
                answer = repr(error)
            asked.sendall(answer.encode())


def ask(*words):
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(PLACE)
        asking.sendall((" ".join(words) + "\n").encode())
        answer = asking.makefile().read()
    if answer != "ok":
        sys.exit(f"manager: {' '.join(words)}: {answer}")


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    if os.path.basename(sys.argv[0]) == "deb-systemd-invoke" and words[0] != "stop":
        # As the real one, it starts nothing that is disabled.
        words = words[:1] + [unit for unit in words[1:] if glob.glob(f"/etc/systemd/system/*.wants/{unit}")]
    if words[0] in ("start", "stop", "restart", "reload"):
        ask(*words)
    elif words[0] != "daemon-reload":
        # Links in /etc are its business also where it does not run.
        os.execve(REAL, [REAL] + sys.argv[1:], {**os.environ, "SYSTEMD_OFFLINE": "1"})
