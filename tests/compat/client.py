"""A client of the old action dialect, on Python's standard library alone.

It knows only what old clients know: one JSON object per line, the eight keys, a time limit of
30 s for each line; lines that it can't read, of other requests or with unknown actions are
passed over; `done` ends a request and carries its result.

usage: client.py SOCKET ACTION INPUT
"""

import json
import socket
import sys
import uuid

KNOWN_ACTIONS = {"plan", "ask", "research", "shell", "toolSpec", "observe", "commitKB", "done"}
KEYS = ["action", "action_id", "input", "result", "metadata", "timestamp", "source", "model"]


def request(path, action, text, show):
    """Sends one request and returns its `done` line; other known lines go to `show`."""
    action_id = str(uuid.uuid4())
    message = dict.fromkeys(KEYS)
    message.update(action=action, action_id=action_id, input=text)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(30)
        connection.connect(path)
        connection.sendall(json.dumps(message).encode() + b"\n")
        for line in connection.makefile("rb"):
            try:
                reply = json.loads(line)
            except ValueError:
                continue
            if reply.get("action_id") != action_id or reply.get("action") not in KNOWN_ACTIONS:
                continue
            if list(reply)[: len(KEYS)] != KEYS:
                sys.exit(f"the eight keys are not in their order: {list(reply)}")
            if reply["action"] == "done":
                return reply
            show(reply.get("result"))
    sys.exit("the connection ended without done")


if __name__ == "__main__":
    done = request(*sys.argv[1:4], show=print)
    print(done["metadata"]["status"], done["source"], done["model"])
    print(done["result"])
