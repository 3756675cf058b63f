"""What errors of S3 and boto3 mean, in one line: what to set, or whether to ask again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from Activation_Extraction.base.downloads.sources import TransferError
from Activation_Extraction.base.errors import DownloadError, InputError, InterpScoreError, first_line, shown

_NO_BUCKET = ("NoSuchBucket", "404", "NotFound")
_DENIED = ("AccessDenied", "403", "Forbidden", "AllAccessDisabled")
_BAD_KEYS = (
    "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired",
    "RequestTimeTooSkewed", "AuthorizationHeaderMalformed",
)  # fmt: skip
_REGION = ("PermanentRedirect", "301", "IllegalLocationConstraintException")
_LONGEST_CODE, _LONGEST_SAID = 40, 160
KEYS = "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


@contextmanager
def explained(bucket: str, endpoint_url: str | None, anonymous: bool) -> Iterator[None]:
    """Say in one line what an error of boto3 means, and what to set.

    Raises:
        InputError: an option, the environment or AWS's configuration is wrong.
        DownloadError: the server does not answer, or not as S3 does.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise _refusal(*_code_and_message(error), bucket, endpoint_url, anonymous) from None
    except InputError:
        raise
    except (BotoCoreError, ValueError) as error:
        raise _meaning(error, bucket) from None


def _refusal(code: str, message: str, bucket: str, endpoint_url: str | None, anonymous: bool) -> InterpScoreError:
    place, said = f"s3://{bucket}", f"{code}: {message}" if message not in ("", code) else code
    if code in _NO_BUCKET:
        at = f" at {endpoint_url}" if endpoint_url else ""
        return InputError(f"{place}: no such bucket{at}; expected another --bucket, or --endpoint-url")
    if code == "InvalidBucketName":
        return _no_name(bucket)
    if code in _DENIED and anonymous:
        return InputError(f"{place}: not public ({said}); leave out --anonymous and set {KEYS}")
    if code in _DENIED:
        keys = "AWS_PROFILE (or --profile) to one that may list and read it"
        return InputError(f"{place}: access denied ({said}); set {keys}, or pass --anonymous if it is public")
    if code in _BAD_KEYS:
        return InputError(f"{place}: credentials are not accepted ({said}); set {KEYS} again, or pass --anonymous")
    if code in _REGION:
        return InputError(f"{place}: is in another region ({said}); set AWS_REGION to it")
    return DownloadError(f"{place}: cannot be read ({said}); is --bucket or --endpoint-url right?")


def _meaning(error: Exception, bucket: str) -> InterpScoreError:
    """An error of boto3 itself, mostly by the name of its class: there are many."""
    from botocore.exceptions import ConnectionError, HTTPClientError

    name, said, place = type(error).__name__, first_line(error), f"s3://{bucket}"
    if name == "ProfileNotFound":
        return InputError(f"--profile: {said}; expected one of `aws configure list-profiles`")
    if name == "ParamValidationError":
        return _no_name(bucket)
    if any(word in name for word in ("Credential", "Token", "SSO", "Login")):
        return InputError(f"{place}: no AWS credentials ({said}); set {KEYS}, or pass --anonymous if it is public")
    if isinstance(error, ConnectionError | HTTPClientError):
        return DownloadError(f"{place}: cannot be reached ({said}); expected a network, or another --endpoint-url")
    if isinstance(error, ValueError):
        return InputError(f"--endpoint-url (or AWS_ENDPOINT_URL): {said}; expected http://… or https://…")
    if "Config" in name or "Region" in name:
        return InputError(f"AWS's configuration: {said}; see `aws configure`")
    return DownloadError(f"{place}: does not answer as S3 does ({said}); is --endpoint-url right?")


def _no_name(bucket: str) -> InputError:
    return InputError(f"--bucket: found {shown(bucket)}; expected the name of a bucket, without s3://")


def _code_and_message(error: Any) -> tuple[str, str]:
    stated = error.response.get("Error", {})
    code = str(stated.get("Code") or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", "error"))
    return code[:_LONGEST_CODE], str(stated.get("Message", "")).partition("\n")[0][:_LONGEST_SAID]


def as_fault(error: Exception) -> TransferError | None:
    from botocore.exceptions import BotoCoreError
    from urllib3.exceptions import HTTPError

    return fault_of(error) if isinstance(error, BotoCoreError | HTTPError | OSError) else None


def fault_of(error: Exception, *, is_old: bool = False) -> TransferError:
    """A failed request as what the loop of downloads understands. `is_old`: the version that was asked for is not the listed one."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return TransferError(first_line(error))
    code, message = _code_and_message(error)
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if status == 412:
        reason = "has changed since it was listed; the same command fetches the new one"
        return TransferError(reason, again=is_old, afresh=True)
    again = status >= 500 or status in (0, 408, 416, 429) or code in ("SlowDown", "RequestTimeout")
    return TransferError(f"answered {status} {code} {message}".strip(), again=again, afresh=status == 416)
