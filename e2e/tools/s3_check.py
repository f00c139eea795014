#!/usr/bin/env python3
"""Checks that an S3 server does what Spillway asks of one: signed URLs for PUT, GET and ranges, and no others.

Usage: s3_check.py S3S_FS_BINARY

Starts the server on a free loopback port with a folder of its own, talks to it with signatures made here from
the specification (AWS Signature Version 4, query and header form), and ends it. Exit 1 names the failed check.
"""

import datetime
import hashlib
import hmac
import http.client
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

REGION = "us-east-1"
ACCESS_KEY = "check"
SECRET_KEY = secrets.token_hex(16)  # of this run alone


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def digest(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature(secret, now, canonical_request):
    """Signature Version 4 of a canonical request, as hex."""
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    scope = f"{day}/{REGION}/s3/aws4_request"
    hashed = hashlib.sha256(canonical_request.encode()).hexdigest()
    key = ("AWS4" + secret).encode()
    for part in (day, REGION, "s3", "aws4_request"):
        key = digest(key, part)
    return digest(key, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}").hex()


def presign(method, host, path, secret=SECRET_KEY, expires=300, age=0):
    """Target (path and query) of a signed URL made `age` seconds ago."""
    now = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=age)
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{ACCESS_KEY}/{now:%Y%m%d}/{REGION}/s3/aws4_request",
        "X-Amz-Date": f"{now:%Y%m%dT%H%M%SZ}",
        "X-Amz-Expires": str(expires),
        "X-Amz-SignedHeaders": "host",
    }
    text = "&".join(f"{k}={urllib.parse.quote(v, safe='')}" for k, v in sorted(query.items()))
    request = f"{method}\n{path}\n{text}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    return f"{path}?{text}&X-Amz-Signature={signature(secret, now, request)}"


class Server:
    def __init__(self, binary, folder):
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        command = [binary, "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY, folder]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.wait()

    def wait(self):
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                return socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        sys.exit("s3_check: the server did not start")

    def ask(self, method, target, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read(), response.headers

    def end(self):
        self.process.kill()
        self.process.wait()


def check(what, holds, seen):
    if not holds:
        sys.exit(f"s3_check: {what}: FAILED, saw {seen}")
    print(f"s3_check: {what}: ok")


def run(server):
    host, path = server.host, "/bucket/in/reviews%20%2B1.jsonl"
    data = secrets.token_bytes(3 << 20)

    def signed(method, target=path, body=None, headers=None, **how):
        return server.ask(method, presign(method, host, target, **how), body, headers)

    status, text, _ = signed("PUT", "/bucket")
    check("signed PUT makes a bucket", status == 200, (status, text))
    status, text, _ = signed("PUT", body=data)
    check("signed PUT of 3 MiB", status == 200, (status, text))
    status, text, _ = signed("GET")
    check("signed GET gives the same bytes", (status, text) == (200, data), status)
    status, text, headers = signed("GET", headers={"Range": "bytes=1048570-1048580"})
    check("signed GET of a range", (status, text) == (206, data[1048570:1048581]), status)
    check("Content-Range", headers["Content-Range"] == f"bytes 1048570-1048580/{len(data)}", headers["Content-Range"])
    status, text, _ = signed("GET", headers={"Range": f"bytes={len(data) - 5}-"})
    check("signed GET of a tail", (status, text) == (206, data[-5:]), status)
    status, _, headers = signed("HEAD")
    check("signed HEAD gives the length", (status, headers["Content-Length"]) == (200, str(len(data))), status)
    status, text, _ = signed("GET", "/bucket/missing")
    check("a missing object is 404 NoSuchKey", status == 404 and b"NoSuchKey" in text, (status, text))

    status, text, _ = signed("GET", secret="not the key")
    check("GET signed with another key is refused", status == 403, (status, text))
    status, text, _ = signed("PUT", body=b"x", secret="not the key")
    check("PUT signed with another key is refused", status == 403, (status, text))
    status, text, _ = signed("GET", expires=60, age=120)
    check("an expired URL is refused", status == 403, (status, text))
    status, text, _ = server.ask("PUT", presign("GET", host, path), b"x")
    check("a URL for GET does not serve PUT", status == 403, (status, text))
    status, text, _ = server.ask("GET", presign("GET", host, "/bucket/other").replace("/bucket/other", path, 1))
    check("a URL for one object does not serve another", status == 403, (status, text))
    status, text, _ = server.ask("GET", path)
    check("no signature is refused", status == 403, (status, text))
    status, text, _ = signed("GET")
    check("nothing refused was written", (status, text) == (200, data), status)


def main():
    if len(sys.argv) != 2 or not os.access(sys.argv[1], os.X_OK):
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(sys.argv[1], folder)
        try:
            run(server)
        finally:
            server.end()


if __name__ == "__main__":
    main()
