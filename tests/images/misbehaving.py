"""What a decoder could do to the child that runs it; called by test_limited.py."""

import os
import signal
import sys
import time


def echo(data, *, twice):
    return {"length": len(data)}, data * (2 if twice else 1)


def crash(data):
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(data):
    os._exit(0)


def spin(data):
    while True:
        pass


def sleep(data):
    time.sleep(600)


def hoard(data):
    return {}, bytearray(4 * 2**30)


def stumble(data):
    raise KeyError(data.decode())


def chatter(data):
    print(data)
    print(data, file=sys.stderr)
    os.write(1, data)
    os.write(2, data)
    return {}, b"done"


def process(data):
    return {"id": os.getpid()}, b""
