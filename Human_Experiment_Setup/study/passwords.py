"""The password of the admin page, hashed by argon2."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

SHORTEST_PASSWORD = 10


def hashed(password: str) -> str:
    """A password as the database keeps it."""
    return PasswordHasher().hash(password)


def is_password(password: str, kept: str) -> bool:
    """Whether a password is the one that was hashed."""
    try:
        return PasswordHasher().verify(kept, password)
    except (Argon2Error, InvalidHashError):
        return False
