"""A stand-in for the dataset repositories of the Hugging Face hub, on 127.0.0.1."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_good"


@dataclass
class Hub:
    """Repositories by name: the files of every commit, oldest first; the first has no sets."""

    address: str = ""
    repos: dict[str, list[dict[str, bytes]]] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    refuses_commits: bool = False

    def files(self, repo: str, revision: str = "main") -> tuple[str, dict[str, bytes]] | None:
        """The id and the files of a commit."""
        commits = self.repos.get(repo, [])
        named = {commit_id(repo, i): files for i, files in enumerate(commits)}
        if commits and revision == "main":
            revision = [*named][-1]
        return (revision, named[revision]) if revision in named else None


def commit_id(repo: str, number: int) -> str:
    return hashlib.sha1(f"{repo} {number}".encode()).hexdigest()  # noqa: S324


@contextmanager
def serving() -> Generator[Hub]:
    """Run the stand-in for the duration of a block."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/revision/(.+))?", self.path.partition("?")[0]):
            found = self.hub.files(match[1], match[2] or "main")
            if found is None:
                self._refuse(404, "RepoNotFound", "Repository not found")
                return
            siblings = [{"rfilename": name} for name in found[1]]
            self._json(200, {"id": match[1], "sha": found[0], "siblings": siblings, "private": False, "tags": []})
        elif match := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path):
            found = self.hub.files(match[1], match[2])
            if found is None or match[3] not in found[1]:
                self._refuse(404, "EntryNotFound", "Entry not found")
                return
            content = found[1][match[3]]
            self._send(
                200,
                content,
                {"X-Repo-Commit": found[0], "ETag": f'"{hashlib.sha1(content).hexdigest()}"'},  # noqa: S324
            )
        else:
            self._refuse(404, "", "not found")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._refuse(401, "", "Invalid username or password.")
        elif self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif self.path == "/api/validate-yaml":
            self._json(200, {"errors": [], "warnings": []})
        elif match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/preupload/main", self.path):
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self._json(200, {"files": files})
        elif match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/commit/main", self.path):
            self._commit(match[1], [json.loads(line) for line in body.splitlines()])
        else:
            self._refuse(404, "", "not found")

    def _create(self, facts: dict[str, Any]) -> None:
        repo = f"{facts['organization']}/{facts['name']}"
        if repo in self.hub.repos:
            self._json(409, {"error": "You already created this dataset repo", "url": f"{self.hub.address}/{repo}"})
            return
        self.hub.created.append(facts)
        self.hub.repos[repo] = [{".gitattributes": b""}]
        self._json(200, {"url": f"{self.hub.address}/datasets/{repo}"})

    def _commit(self, repo: str, lines: list[dict[str, Any]]) -> None:
        head, files = self.hub.files(repo) or ("", {})
        if self.hub.refuses_commits or lines[0]["value"].get("parentCommit") not in {None, head}:
            self._refuse(403, "", "the storage of this account is full")
            return
        new = {line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines[1:]}
        self.hub.repos[repo].append({**files, **new})
        oid = commit_id(repo, len(self.hub.repos[repo]) - 1)
        self._json(200, {"commitUrl": f"{self.hub.address}/datasets/{repo}/commit/{oid}", "commitOid": oid})

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._send(status, json.dumps({"error": message}).encode(), {"X-Error-Code": code, "X-Error-Message": message})

    def _json(self, status: int, value: Any) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
