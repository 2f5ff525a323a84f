"""A Hugging Face Hub on 127.0.0.1 that keeps what is pushed in memory: the few routes that huggingface_hub calls for that."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

COMMIT = "c0ffee" * 6 + "c0ff"  # 40 hexadecimal digits
Repository = dict[str, bytes]


@dataclass
class FakeHub:
    url: str
    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def answer(self, status: int, body: bytes = b"{}", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def as_json(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode())

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        path, parts = self.path.partition("?")[0], self.path.partition("?")[0].strip("/").split("/")
        name = "/".join(parts[2:4] if path.startswith("/api/models/") else parts[:2])
        content = self.hub.repositories.get(name)
        if content is None:
            return self.answer(404, x_error_code="RepoNotFound", x_error_message="Repository not found")
        if path.startswith("/api/models/"):
            if len(parts) > 5 and parts[5] not in ("main", COMMIT):
                return self.answer(404, x_error_code="RevisionNotFound", x_error_message="Revision not found")
            if parts[4:5] == ["tree"]:
                return self.as_json([{"type": "file", "path": file, "size": len(data), "oid": "0" * 40} for file, data in content.items()])
            return self.as_json({"id": name, "modelId": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in content]})
        data = content.get("/".join(parts[4:]))
        if data is None:
            return self.answer(404, x_error_code="EntryNotFound", x_error_message="Entry not found")
        return self.answer(200, data, etag=f'"{hashlib.sha256(data).hexdigest()}"', x_repo_commit=COMMIT)

    def do_POST(self) -> None:
        self.hub.requests.append(f"POST {self.path}")
        body = self.body()
        parts = self.path.partition("?")[0].strip("/").split("/")
        if self.headers.get("authorization") != "Bearer hf_right" and parts[1:2] != ["validate-yaml"]:
            return self.answer(401, b'{"error": "Invalid username or password."}')
        if self.path.startswith("/api/repos/create"):
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'someone'}/{asked['name']}"
            self.hub.repositories.setdefault(name, {})
            return self.as_json({"url": f"{self.hub.url}/{name}", "name": name, "id": name})
        if parts[4:5] == ["preupload"]:
            files = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in json.loads(body)["files"]]
            return self.as_json({"files": files})
        if parts[4:5] == ["commit"]:
            lines = [json.loads(line) for line in body.decode().splitlines()]
            name = "/".join(parts[2:4])
            kept = self.hub.repositories[name]
            kept.update({line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"})
            return self.as_json({"commitUrl": f"{self.hub.url}/{name}/commit/{COMMIT}", "commitOid": COMMIT, "success": True})
        return self.as_json({"errors": [], "warnings": []})  # validate-yaml, whoami


@contextlib.contextmanager
def running_hub() -> Iterator[FakeHub]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub = FakeHub(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = type("Bound", (Handler,), {"hub": hub})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
