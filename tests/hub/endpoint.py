"""A Hugging Face Hub of the tests' own: repositories in memory, behind the addresses that huggingface_hub asks."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_of_the_tests"


@dataclass
class Repository:
    """One repository: the files of its newest commit, and of every commit by its number."""

    private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    @property
    def head(self) -> str:
        """The number of the newest commit."""
        return list(self.commits)[-1]

    def commit(self, message: str) -> None:
        """Keep the files as they are as a commit."""
        self.messages.append(message)
        names = json.dumps({name: hashlib.sha1(data).hexdigest() for name, data in self.files.items()})
        self.commits[hashlib.sha1(f"{len(self.commits)}{names}".encode()).hexdigest()] = dict(self.files)


@dataclass
class HubServer:
    """What the Hub has, and what was asked of it."""

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def add(self, name: str, files: dict[str, bytes]) -> Repository:
        """Add a repository with these files."""
        made = self.repositories[name] = Repository(files=dict(files))
        made.commit("first")
        return made


@contextmanager
def serving() -> Iterator[HubServer]:
    """Serve a Hub until the ``with`` ends."""
    hub = HubServer()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""

    def _read(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().strip(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, body: bytes | dict[str, Any] | list[Any] = b"", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._answer(status, {"error": message}, X_Error_Code=code, X_Error_Message=message)

    @property
    def _is_known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def do_GET(self) -> None:
        """Answer a question about a repository, or send a file."""
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?(?:/.*)?", path):
            self._describe(found[1], found[2] or "revision", found[3] or "main")
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._send(found[1], found[2], found[3])
        else:
            self._answer(404)

    do_HEAD = do_GET

    def _commit(self, name: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Return a commit with its files; None after an answer that there is none."""
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and not self._is_known):
            self._refuse(404 if self._is_known else 401, "RepoNotFound", "Repository not found")
            return None
        sha = repository.head if revision == "main" else revision
        if sha not in repository.commits:
            self._refuse(404, "RevisionNotFound", "Invalid rev id")
            return None
        return sha, repository.commits[sha]

    def _describe(self, name: str, what: str, revision: str) -> None:
        found = self._commit(name, revision)
        if found is None:
            return
        sha, files = found
        if what == "tree":
            entries = [
                {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for path, data in files.items()
            ]
            self._answer(200, entries, X_Repo_Commit=sha)
        else:
            siblings = [{"rfilename": path} for path in files]
            self._answer(
                200,
                {
                    "id": name,
                    "modelId": name,
                    "sha": sha,
                    "siblings": siblings,
                    "private": self.hub.repositories[name].private,
                },
            )

    def _send(self, name: str, revision: str, path: str) -> None:
        found = self._commit(name, revision)
        if found is None:
            return
        sha, files = found
        if path not in files:
            self._refuse(404, "EntryNotFound", "Entry not found")
            return
        etag = f'"{hashlib.sha256(files[path]).hexdigest()}"'
        self._answer(200, files[path], ETag=etag, X_Repo_Commit=sha)

    def do_PUT(self) -> None:
        """Keep a large file until a commit names it."""
        self.hub.objects[self.path.rpartition("/")[2]] = self._read()
        self._answer(200)

    def do_POST(self) -> None:
        """Create a repository, or add a commit."""
        body, path = self._read(), urlsplit(self.path).path
        self.hub.asked.append(f"POST {path}")
        if path == "/api/validate-yaml":
            self._validate(json.loads(body)["content"])
        elif not self._is_known:
            self._answer(401, {"error": "Invalid username or password."})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif "/preupload/" in path:
            files = [
                {"path": each["path"], "uploadMode": _mode(each["path"]), "shouldIgnore": False}
                for each in json.loads(body)["files"]
            ]
            self._answer(200, {"files": files})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [
                each | {"actions": {"upload": {"href": f"{self.hub.address}/objects/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            self._answer(200, {"transfer": "basic", "objects": objects})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            self._take(found[1], [json.loads(line) for line in body.splitlines() if line])
        else:
            self._answer(404)

    def _validate(self, content: str) -> None:
        """Check the front matter of a model card as the Hub does."""
        front = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        data = yaml.safe_load(front[1]) if front else None
        errors = []
        if not isinstance(data, dict):
            errors.append("there is no front matter")
        else:
            errors += [
                f'"{key}" must be a string' for key in _TEXTS if not isinstance(data.get(key, ""), str)
            ]
            errors += [f'"{key}" must be a list' for key in _LISTS if not isinstance(data.get(key, []), list)]
            if not re.fullmatch(r"([\w.-]+/)?[\w.-]+", str(data.get("base_model", "a"))):
                errors.append('"base_model" with value is not valid')
        messages = [{"message": each} for each in errors]
        self._answer(400 if errors else 200, {"errors": messages, "warnings": []})

    def _create(self, asked: dict[str, Any]) -> None:
        owner = asked.get("organization") or "user"
        name = f"{owner}/{asked['name']}"
        if owner == "other":
            self._answer(403, {"error": "You don't have the rights to create a model under this namespace"})
        elif name in self.hub.repositories:
            self._answer(409, {"error": "exists", "url": f"{self.hub.address}/{name}"})
        else:
            self.hub.repositories[name] = Repository(
                private=asked.get("visibility") == "private" or bool(asked.get("private"))
            )
            self.hub.repositories[name].commit("initial")
            self._answer(200, {"url": f"{self.hub.address}/{name}", "name": name})

    def _take(self, name: str, lines: list[dict[str, Any]]) -> None:
        repository, message = self.hub.repositories[name], ""
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                message = value["summary"]
            elif line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                repository.files[value["path"]] = self.hub.objects[value["oid"]]
        repository.commit(message)
        url = f"{self.hub.address}/{name}/commit/{repository.head}"
        self._answer(200, {"commitUrl": url, "commitOid": repository.head, "success": True})


_TEXTS = ("library_name", "pipeline_tag", "license")
_LISTS = ("tags", "datasets", "metrics", "model-index")


def _mode(path: str) -> str:
    return "lfs" if path.endswith(".safetensors") else "regular"
