"""A coturn that opens allocations, one after the other, until it gets SIGTERM; then prints how many there are, and how often
it could not connect.

A command counts when the exporter has answered it; one whose connection breaks before is sent again, on a new one.
"""

import signal
import socket
import time

ended, refused = False, 0


def end(*_):
    global ended
    ended = True


def command(*words):
    words = [word.encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def tell(connection, message):
    """Sends it until it was answered; gives the connection."""
    global refused
    while True:
        try:
            if connection is None:
                connection = socket.create_connection(("127.0.0.1", 6390), timeout=60)
            connection.sendall(message)
            if connection.recv(4096):
                return connection
        except ConnectionRefusedError:
            refused += 1
        except OSError:
            pass
        if connection is not None:
            connection.close()
        connection = None
        time.sleep(0.01)


signal.signal(signal.SIGTERM, end)
connection, opened = None, 0
while not ended:
    opened += 1
    key = f"turn/realm/shop.example/user/alice/allocation/{opened:018}/status"
    status = "new lifetime=600, type=UDP, local=192.0.2.1:3478, remote=198.51.100.7:40000, ssl=NONE, cipher=NONE"
    connection = tell(connection, command("PUBLISH", key, status))
    time.sleep(0.005)
print(opened, refused)
