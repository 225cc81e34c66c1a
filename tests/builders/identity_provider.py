"""An OpenID Connect provider on loopback that lets everybody in as whom the test says, and lies as the test says."""

import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey


@dataclass
class Provider:
    """What the provider says; ``changes`` replaces claims of the ID token (None leaves one out)."""

    issuer: str = ""
    groups: tuple[str, ...] = ("readers",)
    changes: dict[str, Any] = field(default_factory=dict)
    key: Any = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    signing_key: Any = None
    _challenges: dict[str, tuple[str, str]] = field(default_factory=dict)

    def authorize(self, url: str) -> str:
        """What a browser gets after the person has logged in: the address that it is sent back to."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        code = f"code-{len(self._challenges)}"
        self._challenges[code] = (query["code_challenge"], query["nonce"])
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def token(self, form: dict[str, list[str]]) -> dict[str, Any]:
        """Answer of the token endpoint."""
        challenge, nonce = self._challenges.pop(form["code"][0])
        verifier = form["code_verifier"][0]
        if urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=") != challenge:
            return {"error": "invalid_grant"}
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": "trabecula",
            "sub": "4711",
            "preferred_username": "rita.reader",
            "groups": list(self.groups),
            "nonce": nonce,
            "iat": now,
            "exp": now + 300,
            **self.changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        id_token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.signing_key or self.key)
        return {"access_token": "a", "token_type": "Bearer", "id_token": id_token}


@contextmanager
def identity_provider() -> Iterator[Provider]:
    """A provider on a free port."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith("/openid-configuration"):
                base = provider.issuer
                self._answer(
                    {"issuer": base, "authorization_endpoint": f"{base}/go", "token_endpoint": f"{base}/token", "jwks_uri": f"{base}/keys"}
                )
            else:
                self._answer({"keys": [provider.key.as_dict(private=False)]})

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            answer = provider.token(form)
            self._answer(answer, status=400 if "error" in answer else 200)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

        def _answer(self, body: dict[str, Any], *, status: int = 200) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.issuer = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
