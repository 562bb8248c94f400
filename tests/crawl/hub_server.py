"""A Hugging Face Hub on loopback: the few endpoints that `datasets` and `huggingface_hub` ask for a public dataset."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.crawl.loopback import serve

OLD, NEW = "1" * 40, "2" * 40


class Hub:
    def __init__(self) -> None:
        self.base = ""
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        """Repository -> commit -> path -> content."""
        self.errors: list[int] = []
        """Statuses to answer the next requests for files with."""
        self.faults: dict[str, tuple[int, dict[str, str], bytes]] = {}
        """Repository -> status, headers and body of every answer about it."""
        self.requests: list[str] = []
        self.sent = 0


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        path = unquote(address.path).lstrip("/")
        self.hub.requests.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        for repository, answer in self.hub.faults.items():
            if f"datasets/{repository}" in path:
                return self._send(*answer)
        if match := re.fullmatch(r"datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self._file(*match.groups())
        match = re.fullmatch(r"api/datasets/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?", path)
        if not match or match[1] not in self.hub.repositories:
            return self._json(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        repository, what, revision, below = match.groups()
        commit = self._commit(repository, revision or "main")
        if commit is None:
            return self._json(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound"})
        files = self.hub.repositories[repository][commit]
        if what == "tree":
            found = tree(files, below or "", "recursive=true" in address.query.lower())
            return self._json(200, found) if found else self._json(404, {"error": "No"}, {"X-Error-Code": "EntryNotFound"})
        if what == "paths-info":
            wanted = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
            found = [entry(name, files[name]) for name in wanted if name in files]
            folders = [folder(name) for name in wanted if any(file.startswith(f"{name}/") for file in files)]
            return self._json(200, found + folders)
        siblings = [{"rfilename": name} for name in files]
        return self._json(200, {"id": repository, "sha": commit, "siblings": siblings, "private": False, "tags": []})

    def _commit(self, repository: str, revision: str) -> str | None:
        commits = self.hub.repositories[repository]
        return max(commits) if revision == "main" else revision if revision in commits else None

    def _file(self, repository: str, revision: str, name: str) -> None:
        commit = self._commit(repository, revision) if repository in self.hub.repositories else None
        if commit is None or name not in self.hub.repositories[repository][commit]:
            return self._json(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        data = self.hub.repositories[repository][commit][name]
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if self.command == "GET" and "train" in name and self.hub.errors:
            return self._json(self.hub.errors.pop(0), {"error": "busy"}, {})
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            return self._send(200, headers, data)
        first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        return self._send(206, headers, data[first : last + 1])

    def _json(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, {"Content-Type": "application/json"} | (headers or {}), json.dumps(answer).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.hub.sent += len(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serve_hub() -> Iterator[Hub]:
    hub = Hub()
    with serve(type("Handler", (_Handler,), {"hub": hub})) as hub.base:
        yield hub


def entry(name: str, data: bytes) -> dict[str, Any]:
    """A file as the Hub's tree and paths-info list it."""
    return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}


def folder(name: str) -> dict[str, Any]:
    """A folder as the Hub lists it."""
    return {"type": "directory", "path": name, "size": 0, "oid": "0" * 40}


def tree(files: dict[str, bytes], below: str, recursive: bool) -> list[dict[str, Any]]:
    """What is in a folder, or all below it."""
    start = f"{below}/" if below else ""
    inside = {name: data for name, data in files.items() if name.startswith(start)}
    rests = [name.removeprefix(start).split("/") for name in inside]
    depth = max(map(len, rests), default=0) if recursive else 2
    folders = sorted({start + "/".join(rest[:level]) for rest in rests for level in range(1, min(len(rest), depth))})
    shown = inside if recursive else {name: data for name, data in inside.items() if "/" not in name.removeprefix(start)}
    return [folder(name) for name in folders] + [entry(name, data) for name, data in shown.items()]
