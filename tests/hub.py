"""A stand-in of the Hugging Face Hub on this machine: models as folders, with commits, and a branch that can move on.

    <root>/<owner>/<name>/<commit>/…    the files of a commit (40 hexadecimal digits)
    <root>/<owner>/<name>/refs.json     {"main": commit, …}

HF_ENDPOINT of a process names it. It answers what `hf_hub_download` and `HfApi.model_info` ask, and to whoever has TOKEN what
`HfApi.create_repo` (whose request it keeps in `created.json`) and `HfApi.upload_folder` do.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
COMMIT = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/(?P<what>preupload|commit)/main")
TOKEN = "hf_standing_in_for_a_token"
NAME = re.compile(r"[\w.-]+/[\w.-]+")
INFO = re.compile(r"/api/models/(?P<repo>[^/]+/[^/?]+)(/(revision|tree)/(?P<revision>[^/?]+))?")


@contextmanager
def serving(root: Path) -> Iterator[str]:
    """The address, while it is entered."""
    handler = type("Handler", (_Handler,), {"root": root})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def point(root: Path, repo: str, **refs: str) -> None:
    """Sets what the branches of a repository point to."""
    (root / repo / "refs.json").write_text(json.dumps(refs))


def complaints(card: str) -> list[str]:
    """What the Hub refuses in a model card's metadata, of what this project could write into it."""
    found = re.match(r"---\n(.*?)\n---\n", card, re.DOTALL)
    data = yaml.safe_load(found[1]) if found else None
    if not isinstance(data, dict):
        return ["no metadata"]
    names = [name for key in ("base_model", "datasets") for name in _listed(data.get(key))]
    wrong = [f"{name!r} is no name of the Hub" for name in names if not NAME.fullmatch(name)]
    for result in [one for model in data.get("model-index", []) for one in model["results"]]:
        parts = [result["task"], result["dataset"], *result["metrics"]]
        wrong += [f"{part} has no type" for part in parts if not isinstance(part.get("type"), str)]
    return wrong


def _listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value] if value else []


class _Handler(BaseHTTPRequestHandler):
    root: Path

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_POST(self) -> None:
        path, data = self.path.split("?")[0], self.rfile.read(int(self.headers["Content-Length"]))
        if path == "/api/validate-yaml":
            wrong = complaints(json.loads(data)["content"])
            self._json(400 if wrong else 200, {"errors": [{"message": text} for text in wrong], "warnings": []})
        elif self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._send(401, b"", {})
        elif path == "/api/repos/create":
            self._create(json.loads(data))
        elif found := COMMIT.fullmatch(path):
            self._preupload(data) if found["what"] == "preupload" else self._commit_files(found["repo"], data)
        else:
            self._send(404, b"", {})

    def _create(self, asked: dict[str, Any]) -> None:
        repo = f"{asked['organization']}/{asked['name']}"
        exists = (self.root / repo).is_dir()
        if not exists:
            (self.root / repo).mkdir(parents=True)
            (self.root / repo / "created.json").write_text(json.dumps(asked))
        self._json(409 if exists else 200, {"url": f"http://{self.headers['Host']}/{repo}"})

    def _preupload(self, data: bytes) -> None:
        files = json.loads(data)["files"]
        self._json(
            200, {"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files]}
        )

    def _commit_files(self, repo: str, data: bytes) -> None:
        commit = hashlib.sha1(data).hexdigest()
        for line in map(json.loads, data.splitlines()):
            if line["key"] == "file":
                file = self.root / repo / commit / line["value"]["path"]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(base64.b64decode(line["value"]["content"]))
        point(self.root, repo, main=commit)
        self._json(
            200,
            {
                "commitUrl": f"http://{self.headers['Host']}/{repo}/commit/{commit}",
                "commitOid": commit,
                "success": True,
            },
        )

    def _json(self, code: int, content: dict[str, Any]) -> None:
        self._send(code, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def log_message(self, *args: Any) -> None:
        """Nothing is printed."""

    def _answer(self, *, body: bool) -> None:
        path = self.path.split("?")[0]
        if found := FILE.fullmatch(path):
            self._file(found["repo"], found["revision"], found["file"], body=body)
        elif found := INFO.fullmatch(path):
            self._info(found["repo"], found["revision"] or "main", tree="/tree/" in path)
        else:
            self._send(404, b"", {})

    def _commit(self, repo: str, revision: str) -> str | None:
        refs = self.root / repo / "refs.json"
        named = json.loads(refs.read_text()) if refs.is_file() else {}
        commit = str(named.get(revision, revision))
        return commit if (self.root / repo / commit).is_dir() else None

    def _file(self, repo: str, revision: str, name: str, *, body: bool) -> None:
        commit = self._commit(repo, revision)
        path = self.root / repo / (commit or "none") / name
        if commit is None or not path.is_file():
            missing = "EntryNotFound" if commit else "RepoNotFound"
            return self._send(404, b"", {"X-Error-Code": missing, **({"X-Repo-Commit": commit} if commit else {})})
        data = path.read_bytes()
        known = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
        return self._send(200, data, known, body=body)

    def _info(self, repo: str, revision: str, *, tree: bool) -> None:
        commit = self._commit(repo, revision)
        if commit is None:
            return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        paths = [path for path in (self.root / repo / commit).rglob("*") if path.is_file()]
        names = {path.relative_to(self.root / repo / commit).as_posix(): path.stat().st_size for path in paths}
        files = [{"type": "file", "path": name, "size": size, "oid": "0" * 40} for name, size in names.items()]
        whole = {"id": repo, "sha": commit, "siblings": [{"rfilename": name} for name in names], "tags": []}
        return self._send(200, json.dumps(files if tree else whole).encode(), {"Content-Type": "application/json"})

    def _send(self, code: int, data: bytes, headers: dict[str, str], *, body: bool = True) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)
