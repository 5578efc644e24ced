"""A hub on this machine that answers what huggingface_hub asks when files are pushed and pulled, and nothing else.

Weights go the way of Git LFS: the storage Xet, which huggingface_hub takes where it can, is not imitated.
"""

import base64
import hashlib
import json
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

TOKEN = "hf_right"


class Hub:
    """Repositories by name, with the files of each; all requests in their order."""

    def __init__(self):
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.gated: set[str] = set()
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.commits = 0
        self.address = ""


def handler_of(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *given):
            pass

        def body(self):
            if self.headers.get("Transfer-Encoding") == "chunked":
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def answer(self, status, content=b"", **headers):
            content = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def do_POST(self):
            hub.asked.append(f"{self.command} {self.path}")
            body = self.body()
            if self.path == "/api/validate-yaml":
                self.answer(200, {"errors": [], "warnings": []})
            elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.answer(401, {"error": "Invalid username or password."})
            elif self.path == "/api/repos/create":
                self.create(json.loads(body))
            elif found := re.fullmatch(r"/api/models/(.+)/(preupload|commit)/main", self.path):
                {"preupload": self.preupload, "commit": self.commit}[found[2]](found[1], body)
            elif self.path.endswith(".git/info/lfs/objects/batch"):
                objects = json.loads(body)["objects"]
                place = {each["oid"]: {"upload": {"href": f"{hub.address}/lfs/{each['oid']}"}} for each in objects}
                self.answer(
                    200,
                    {"transfer": "basic", "objects": [{**each, "actions": place[each["oid"]]} for each in objects]},
                    Content_Type="application/vnd.git-lfs+json",
                )
            else:
                self.answer(404, {"error": "unknown"})

        def do_PUT(self):
            hub.asked.append(f"{self.command} {self.path.rpartition('/')[0]}")
            content = self.body()
            assert hashlib.sha256(content).hexdigest() == self.path.rpartition("/")[2]
            hub.objects[self.path.rpartition("/")[2]] = content
            self.answer(200)

        def create(self, given):
            name = f"{given.get('organization') or 'me'}/{given['name']}"
            if name in hub.repositories:
                self.answer(409, {"error": "You already created this model repo", "url": f"{hub.address}/{name}"})
                return
            hub.repositories[name] = {}
            hub.private[name] = given.get("visibility") == "private" or bool(given.get("private"))
            self.answer(200, {"url": f"{hub.address}/{name}"})

        def preupload(self, name, body):
            files = json.loads(body)["files"]
            modes = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for each in files
            ]
            self.answer(200 if name in hub.repositories else 404, {"files": modes})

        def commit(self, name, body):
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    hub.repositories[name][value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    hub.repositories[name][value["path"]] = hub.objects[value["oid"]]
            hub.commits += 1
            oid = f"{hub.commits:040x}"
            self.answer(200, {"success": True, "commitUrl": f"{hub.address}/{name}/commit/{oid}", "commitOid": oid})

        def do_GET(self):
            hub.asked.append(f"{self.command} {self.path}")
            found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
            allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            if not found or found[1] not in hub.repositories or (hub.private[found[1]] and not allowed):
                self.answer(404, X_Error_Code="RepoNotFound")
            elif found[1] in hub.gated:
                self.answer(403, X_Error_Code="GatedRepo")
            elif found[2] not in ("main", f"{hub.commits:040x}"):
                self.answer(404, X_Error_Code="RevisionNotFound")
            elif found[3] not in hub.repositories[found[1]]:
                self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=f"{hub.commits:040x}")
            else:
                content = hub.repositories[found[1]][found[3]]
                etag = f'"{hashlib.sha256(content).hexdigest()}"'
                self.answer(200, content, ETag=etag, X_Repo_Commit=f"{hub.commits:040x}")

        do_HEAD = do_GET

    return Handler


@contextmanager
def serving():
    """A hub that answers at its `address` on 127.0.0.1."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(hub))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
