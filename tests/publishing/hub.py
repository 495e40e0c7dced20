"""A local fake of what the Hugging Face hub answers to an upload of small files."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeHub:
    """Listens on a free port; `repositories` has the files of each, by "model OWNER/NAME".

    Args:
        token: the one that may write.
    """

    def __init__(self, token: str):
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.created: list[dict] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers["Authorization"] != f"Bearer {token}":
                    self.answer(401, {"error": "Invalid username or password."})
                else:
                    self.answer(*hub.post(self.path.split("?")[0].strip("/").split("/"), body))

            def answer(self, status, values):
                text = json.dumps(values).encode()
                self.send_response(status)
                if "error" in values:
                    self.send_header("X-Error-Message", values["error"])
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def post(self, path: list[str], body: bytes) -> tuple[int, dict]:
        if path == ["api", "repos", "create"]:
            wanted = json.loads(body)
            self.created.append(wanted)
            name = f"{wanted['organization']}/{wanted['name']}"
            if wanted["organization"] == "forbidden":
                return 403, {"error": "You don't have the rights to create a model under the namespace forbidden"}
            kind = wanted.get("type", "model")
            self.repositories[f"{kind} {name}"] = {}
            return 200, {"url": f"{self.url}/{'spaces/' if kind == 'space' else ''}{name}"}
        if path == ["api", "validate-yaml"]:
            return 200, {"warnings": [], "errors": []}
        kind, name, what = path[1].removesuffix("s"), "/".join(path[2:4]), path[4]
        if what == "preupload":
            files = json.loads(body)["files"]
            plain = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
            return 200, {"files": plain}
        assert what == "commit", path
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                file = entry["value"]
                self.repositories[f"{kind} {name}"][file["path"]] = base64.b64decode(file["content"])
        return 200, {"commitUrl": f"{self.url}/{name}/commit/1", "commitOid": "1" * 40, "pullRequestUrl": None}
