"""A bucket on S3, or on a server that speaks its protocol: listing, reading, and S3's own checksums."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Activation_Extraction.base.downloads.sources import Answer
from Activation_Extraction.base.errors import InputError, did_you_mean, listed_up_to
from Activation_Extraction.base.extras import naming_extras
from InterpScore.journey.checksums import BY_SIZE, Checked, digests_of, md5_of_parts
from InterpScore.journey.s3_errors import as_fault, explained, fault_of

CONNECT_SECONDS, READ_SECONDS = 10, 30
_MOST_CONNECTIONS = 64
_MD5 = re.compile(r"[0-9a-f]{32}")
_PARTS = re.compile(r"([0-9a-f]{32})-(\d{1,5})")
_CHECKSUMS = {"sha256": "ChecksumSHA256", "sha1": "ChecksumSHA1", "crc32": "ChecksumCRC32"}
"""Algorithm → field of an object's attributes; CRC-32C and CRC-64/NVME need a library of their own."""

_SHOWN_PREFIXES = 12


@dataclass(frozen=True)
class Found:
    """An object of a listing."""

    key: str
    size: int
    etag: str


class Bucket:
    """A bucket opened for reading.

    Args:
        name: of the bucket.
        endpoint_url: of a server that is not Amazon's; else what AWS's configuration says.
        profile: of AWS's configuration; else its usual chain of credentials.
        anonymous: ask without credentials.

    Raises:
        InputError: no such profile, or an address or name that is none.
        MissingPackageError: boto3 is not installed.
    """

    def __init__(self, name: str, *, endpoint_url: str | None, profile: str | None, anonymous: bool) -> None:
        with naming_extras():
            import boto3  # late: most commands need no bucket
            from botocore import UNSIGNED
            from botocore.config import Config
        self.name, self._anonymous, self._endpoint_url = name, anonymous, endpoint_url
        # What arrives is checked here, also where it arrives in pieces.
        options: dict[str, Any] = {"response_checksum_validation": "when_required"}
        if anonymous:
            options["signature_version"] = UNSIGNED
        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=_MOST_CONNECTIONS,
            **options,
        )
        with explained(self.name, self._endpoint_url, self._anonymous):
            session = boto3.Session(profile_name=profile)
            self._client = session.client("s3", endpoint_url=endpoint_url, config=config)

    def __str__(self) -> str:
        return f"s3://{self.name}"

    # Listing

    def objects(self, prefix: str) -> list[Found]:
        """All objects below a prefix, in the order of their keys.

        Raises:
            InputError: no such bucket, no object there, no credentials, or access denied.
            DownloadError: the server cannot be reached.
        """
        found: list[Found] = []
        with explained(self.name, self._endpoint_url, self._anonymous):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix):
                found += [Found(o["Key"], int(o["Size"]), o["ETag"].strip('"')) for o in page.get("Contents", ())]
            if found:
                return found
            page = self._client.list_objects_v2(Bucket=self.name, Delimiter="/", MaxKeys=1000)
        folders = [one["Prefix"] for one in page.get("CommonPrefixes", ())]
        there = f"it has {', '.join(listed_up_to(folders, _SHOWN_PREFIXES))}" if folders else "it has no folders"
        near = did_you_mean(prefix, folders)
        raise InputError(f"{self}/{prefix}: no objects{near}; expected another --prefix ({there})")

    def small_object(self, key: str, largest: int) -> bytes:
        """The bytes of an object.

        Raises:
            InputError: it is larger, or as `objects`.
        """
        with explained(self.name, self._endpoint_url, self._anonymous):
            answer = self._client.get_object(Bucket=self.name, Key=key)
            with answer["Body"] as body:
                if answer["ContentLength"] > largest:
                    raise InputError(f"{self}/{key}: {answer['ContentLength']:,} bytes; expected at most {largest:,}")
                return bytes(body.read())

    # Reading

    def source(self, found: Found) -> S3Object:
        """Where an object's bytes come from."""
        return S3Object(f"{self}/{found.key}", self._client, self.name, found)

    def check(self, found: Found, path: Path) -> Checked:
        """A file compared with an object by the checksums that S3 has of it, else by nothing.

        Raises:
            OSError: it cannot be read.
            TransferError: S3 does not answer.
        """
        md5 = digests_of(path, ["md5"])["md5"].hex() if _MD5.fullmatch(found.etag) else None
        if md5 == found.etag:
            return Checked("MD5")
        about = self._head(found.key, IfMatch=f'"{found.etag}"', ChecksumMode="ENABLED")
        for algorithm, field in _CHECKSUMS.items():
            if (stated := about.get(field)) and "-" not in stated:  # with a dash, it is one of the parts' checksums
                digest = base64.b64encode(digests_of(path, [algorithm])[algorithm]).decode()
                return Checked(
                    algorithm.upper(), None if digest == stated else _other(algorithm.upper(), digest, stated)
                )
        if _is_encrypted(about):  # then an ETag is no MD5
            return Checked(BY_SIZE)
        if md5 is not None:
            return Checked("MD5", _other("MD5", md5, found.etag))
        return self._check_parts(found, path)

    def _check_parts(self, found: Found, path: Path) -> Checked:
        if (parts := _PARTS.fullmatch(found.etag)) is None:
            return Checked(BY_SIZE)
        count = int(parts[2])
        first = self._part_size(found, 1)
        if first is None or path.stat().st_size != found.size:
            return Checked(BY_SIZE)
        sizes = [first] * (count - 1) + [found.size - first * (count - 1)]
        digest = md5_of_parts(path, sizes) if sizes[-1] > 0 else ""
        if digest != parts[1]:  # parts of several sizes are rare, and asked for one by one
            asked = [self._part_size(found, number) for number in range(1, count + 1)]
            each = [size for size in asked if size is not None]
            if len(each) < count or sum(each) != found.size:
                return Checked(BY_SIZE)
            digest = md5_of_parts(path, each)
        return Checked("MD5 of parts", None if digest == parts[1] else _other("MD5 of parts", digest, parts[1]))

    def _part_size(self, found: Found, number: int) -> int | None:
        about = self._head(found.key, PartNumber=number)
        return int(about["ContentLength"]) if about.get("PartsCount") else None

    def _head(self, key: str, **options: Any) -> Mapping[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            about: Mapping[str, Any] = self._client.head_object(Bucket=self.name, Key=key, **options)
        except (BotoCoreError, ClientError) as error:
            raise fault_of(error) from None
        return about


@dataclass(frozen=True)
class S3Object:
    """A source of an object's bytes: always of the version that was listed, or of the one that has begun."""

    name: str
    client: Any
    bucket: str
    found: Found

    @contextmanager
    def ask(self, first: int, validator: str | None) -> Iterator[Answer]:
        from botocore.exceptions import BotoCoreError, ClientError

        listed = self.found.etag
        if first == self.found.size and first and validator == listed:  # complete, and killed before it was moved
            yield Answer(_Nothing(), first, 0, first, listed, as_fault)
            return
        options = {"Range": f"bytes={first}-"} if first else {}
        version = validator or listed
        try:
            answer = self.client.get_object(Bucket=self.bucket, Key=self.found.key, IfMatch=f'"{version}"', **options)
        except (BotoCoreError, ClientError) as error:
            raise fault_of(error, is_old=version != listed) from None
        with answer["Body"] as body:
            at, total = _first_and_total(answer)
            yield Answer(_Body(body), at, int(answer["ContentLength"]), total, version, as_fault)


class _Nothing:
    def read1(self, size: int, /) -> bytes:
        return b""


class _Body:
    """A body of boto3, which gives what it was asked for."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def read1(self, size: int, /) -> bytes:
        return bytes(self._body.read(size))


def _first_and_total(answer: Mapping[str, Any]) -> tuple[int | None, int | None]:
    if "ContentRange" not in answer:
        return 0, int(answer["ContentLength"])
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer["ContentRange"])
    return (int(found[1]), int(found[2])) if found else (None, None)


def _is_encrypted(about: Mapping[str, Any]) -> bool:
    return "SSECustomerAlgorithm" in about or str(about.get("ServerSideEncryption", "")).startswith("aws:kms")


def _other(what: str, found: str, stated: str) -> str:
    return f"has the {what} {found}; expected {stated}, as S3 states"
