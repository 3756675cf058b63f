"""The keys of a study, and its list of withdrawn participants: a folder beside the database, so that a restored backup of the
database can neither bring back whom it should not, nor be read without the keys.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from Activation_Extraction.base.documents import read_json
from Activation_Extraction.base.errors import InputError, OutputError
from Activation_Extraction.base.files import as_json, flush, open_file, write_together

KEYS, WITHDRAWN = "keys.json", "withdrawn.txt"
_BYTES = 32


@dataclass(frozen=True)
class StudyKeys:
    """Keyed functions of a study: what they make can be recognized, and not be made or undone without the key."""

    secret: bytes
    folder: Path | None = None

    def digest(self, purpose: str, text: str) -> str:
        """HMAC-SHA-256 in hexadecimal, another one for each purpose."""
        key = hmac.digest(self.secret, purpose.encode(), hashlib.sha256)
        return hmac.new(key, text.encode(errors="backslashreplace"), hashlib.sha256).hexdigest()

    @property
    def fingerprint(self) -> str:
        """Tells whether a database and a state folder belong together."""
        return self.digest("fingerprint", "")

    def pseudonym(self, participant: str) -> str:
        """The name of a participant in exports."""
        return f"p{self.digest('pseudonym', participant)[:15]}"

    def tombstone(self, participant: str) -> str:
        """What is left of a withdrawn participant."""
        return self.digest("tombstone", participant)

    def signed(self, purpose: str, text: str) -> str:
        """A text that `verified` gives back, for cookies and forms."""
        coded = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
        return f"{coded}.{self.digest(purpose, text)[:40]}"

    def verified(self, purpose: str, token: str | None) -> str | None:
        """The text of a token that `signed` made for the purpose; None of any other."""
        coded, _, mac = (token or "").partition(".")
        try:
            text = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4)).decode()
        except ValueError:
            return None
        return text if hmac.compare_digest(self.digest(purpose, text)[:40].encode(), mac.encode()) else None

    def withdrawn(self) -> set[str]:
        """Tombstones in the state folder."""
        if self.folder is None or not (self.folder / WITHDRAWN).exists():
            return set()
        with open_file(self.folder / WITHDRAWN, self.folder) as file:
            return {line.strip().decode("ascii", "replace") for line in file if line.strip()}

    def bury(self, tombstone: str) -> None:
        """Add a tombstone to the state folder, on the disk when this returns."""
        if self.folder is not None and tombstone not in self.withdrawn():
            with open(self.folder / WITHDRAWN, "ab") as file:
                file.write(f"{tombstone}\n".encode())
                file.flush()
                os.fsync(file.fileno())
            flush(self.folder)


def state_folder(database: str, chosen: Path | None) -> Path:
    """The state folder of a database: beside its file, or as chosen.

    Raises:
        InputError: none was chosen for a database on a server.
    """
    if chosen is not None:
        return chosen
    if "://" in database:
        raise InputError("--state: is missing; expected a folder for the keys, since the database is on a server")
    return Path(f"{database}.state")


def study_keys(folder: Path, *, create: bool = True) -> StudyKeys:
    """The keys in a state folder; new ones if it is empty.

    Raises:
        InputError: the keys cannot be read, or are not there and must be; OutputError: they cannot be written.
    """
    path, expected = folder / KEYS, f"the {KEYS} that `interpscore study serve` wrote"
    found = read_json(path, expected=expected)
    if found is None:
        if not create:
            raise InputError(f"{path}: no such file; expected {expected}")
        secret = secrets.token_hex(_BYTES)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_together({path: as_json({"secret": secret})})
            path.chmod(0o600)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written ({error.strerror})") from None
        found = {"secret": secret}
    try:
        secret_bytes = bytes.fromhex(str(found.get("secret")))
    except ValueError:
        secret_bytes = b""
    if len(secret_bytes) != _BYTES:
        raise InputError(f"{path}: no secret of {_BYTES} bytes; expected {expected}")
    return StudyKeys(secret_bytes, folder)
