"""Certificates for tests, made by openssl: one authority and what it signs."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from builders.peers import need_program


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates for 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._openssl = folder, need_program("openssl")
        folder.mkdir(parents=True, exist_ok=True)
        self.pair = Pair(folder / "ca.pem", folder / "ca.key")
        self._run("req", "-x509", *self._key(self.pair), "-subj", "/CN=test authority", "-days", "2", "-out", str(self.pair.certificate))

    def issue(self, name: str) -> Pair:
        """A new certificate; issued again under the same name it replaces the old one."""
        pair, request = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key"), self._folder / f"{name}.csr"
        extension = self._folder / "san.cnf"
        extension.write_text("subjectAltName=IP:127.0.0.1\n")
        self._run("req", *self._key(pair), "-subj", f"/CN={name}", "-out", str(request))
        signer = ["-CA", str(self.pair.certificate), "-CAkey", str(self.pair.key), "-CAcreateserial"]
        files = ["-in", str(request), "-extfile", str(extension), "-out", str(pair.certificate)]
        self._run("x509", "-req", *signer, *files, "-days", "2")
        return pair

    @staticmethod
    def _key(pair: Pair) -> list[str]:
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(pair.key)]

    def _run(self, *arguments: str) -> None:
        subprocess.run([self._openssl, *arguments], check=True, capture_output=True, timeout=60)
