"""A server that answers as Elasticsearch does to the requests of the guide.

Source: https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, Any]]


class SearchEngine(ThreadingHTTPServer):
    """Has one index, in which `delivery` must be a date."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.documents: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, int] = {}
        """Of all documents, also of the deleted ones."""

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        match method, path.removeprefix("/orders"):
            case "PUT", "":
                return 200, {"acknowledged": True, "index": "orders"}
            case "POST", "/_bulk":
                return self._bulk([json.loads(line) for line in body.splitlines()])
            case "POST", "/_refresh":
                return 200, {}
            case "GET", "/_count":
                return 200, {"count": len(self.documents)}
            case "GET", name:
                return self._document(name.removeprefix("/_doc/"))
        return 405, {"error": f"{method} {path}"}

    def _document(self, id: str) -> Answer:
        if (source := self.documents.get(id)) is None:
            return 404, {"_index": "orders", "_id": id, "found": False}
        return 200, {"_index": "orders", "_id": id, "found": True, "_source": source}

    def _bulk(self, lines: list[Any]) -> Answer:
        items = []
        while lines:
            [(action, target)] = lines.pop(0).items()
            source = None if action == "delete" else lines.pop(0)
            items.append({action: {"_id": target["_id"], **self._change(target, source)}})
        errors = any("error" in result for item in items for result in item.values())
        return 200, {"took": 1, "errors": errors, "items": items}

    def _change(self, target: Any, source: Any) -> dict[str, Any]:
        id, version = target["_id"], target["version"]
        if target["version_type"] != "external" or version <= self.versions.get(id, 0):
            reason = f"[{id}]: version conflict, current version [{self.versions.get(id)}]"
            return _error(409, "version_conflict_engine_exception", reason)
        if source and not re.fullmatch(r"\d{4}-\d\d-\d\d", source["delivery"]):
            reason = f"failed to parse field [delivery] of type [date] in document with id '{id}'"
            return _error(400, "document_parsing_exception", reason)
        self.versions[id] = version
        if source:
            self.documents[id] = source
            return {"status": 200, "result": "updated"}
        if self.documents.pop(id, None) is None:
            return {"status": 404, "result": "not_found"}
        return {"status": 200, "result": "deleted"}


def _error(status: int, kind: str, reason: str) -> dict[str, Any]:
    return {"status": status, "error": {"type": kind, "reason": reason}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SearchEngine

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        status, answer = self.server.answer(self.command, self.path, body)
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self.do_POST()

    def do_PUT(self) -> None:
        self.do_POST()

    def log_message(self, *args: Any) -> None:
        """Nothing is logged."""


@contextmanager
def search_engine() -> Iterator[SearchEngine]:
    with SearchEngine() as engine:
        thread = threading.Thread(target=engine.serve_forever, args=[0.01])
        thread.start()
        try:
            yield engine
        finally:
            engine.shutdown()
            thread.join()
