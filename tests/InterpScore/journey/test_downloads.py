"""Guards `interpscore data download` against a real S3 server: what arrives is whole, right, in its folder, and never lost."""

import base64
import hashlib
import os
import signal
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path

import boto3
import pytest

from Activation_Extraction.base.commands import run
from InterpScore.cli.data import data_app
from InterpScore.journey import folder, s3
from InterpScore.journey.checksums import Checked
from tests.hostile import NAMES, is_safe_part, is_shown
from tests.s3_server import own_environment, s3_server

ROOT = Path(__file__).parents[3]
PREFIX = "Image_Data/"
PICTURES = {f"{concept}/{k}.png": f"{concept} {k} ".encode() * 100 for concept in ("fire", "wet") for k in range(3)}
SESSION = cache(boto3.Session)
LARGE = bytes(range(256)) * 8000  # about 2 MB: several blocks


@pytest.fixture(scope="module")
def address():
    with s3_server() as found:
        yield found


@pytest.fixture(scope="module")
def client(address):
    return boto3.client(
        "s3", endpoint_url=address, aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1"
    )


@pytest.fixture(autouse=True)
def environment(address, tmp_path, monkeypatch):
    """The server as AWS, and a working folder; all tests share a session, since boto3 reads many files for one."""
    own_environment(monkeypatch, tmp_path, address)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(boto3, "Session", SESSION)
    monkeypatch.setattr(folder.fetch_all, "__kwdefaults__", {"timeout": 20.0, "waits": (0.0,)})


@pytest.fixture
def filled(client, request):
    """Fill a new bucket; gives its name."""
    made = []

    def fill(objects, prefix=PREFIX, **options):
        name = f"bucket-{abs(hash(request.node.nodeid)) % 10**10}-{len(made)}"
        client.create_bucket(Bucket=name)
        made.append(name)
        for key, content in objects.items():
            client.put_object(Bucket=name, Key=prefix + key, Body=content, **options)
        return name

    return fill


@pytest.fixture
def called(capfd):
    """Run `interpscore data download images`; gives exit code, standard output and standard error."""

    def call(*options, what="images"):
        with pytest.raises(SystemExit) as left:
            run(data_app, ["download", what, *map(str, options)])
        out, err = capfd.readouterr()
        assert is_shown(out + err)
        return left.value.code, out, err

    return call


@pytest.fixture
def asked(monkeypatch):
    """The first byte of each question for an object."""
    firsts = []
    ask = s3.S3Object.ask
    monkeypatch.setattr(s3.S3Object, "ask", lambda self, first, validator: firsts.append(first) or ask(self, first, validator))  # fmt: skip
    return firsts


def files(place="Data/Image_Data"):
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in Path(place).rglob("*") if path.is_file()}


def sums(contents):
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items()).encode()


# What arrives ---------------------------------------------------------------------------------------------------------


def test_everything_arrives_and_is_kept(filled, called, asked, monkeypatch):
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")  # of a page of the listing
    bucket = filled({**PICTURES, "empty.txt": b"", "folder/": b""})
    code, out, err = called("--bucket", bucket)
    assert (code, files()) == (0, {**PICTURES, "empty.txt": b""})
    assert "7 files fetched (" in out
    assert "checked by MD5: 7" in out
    assert "Fetching: " in err
    assert out.splitlines()[-1] == "see what it is good for: interpscore data check Data/Image_Data"
    asked.clear()
    code, out, _ = called("--bucket", bucket)
    assert (code, asked) == (0, [])
    assert "0 files fetched, 7 were there; checked by MD5: 7" in out


@pytest.mark.parametrize(
    ("what", "home", "variable"),
    [("activations", "Clip_Activation_Layer", "ACTIVATIONS"), ("images", "Image_Data", "IMAGES"), ("study", "Prolific_Data", "STUDY")],
)  # fmt: skip
def test_each_data_set_has_its_folder_and_its_prefix(filled, called, monkeypatch, what, home, variable):
    bucket = filled({f"{home}/a.csv": b"a", "x/y/b.csv": b"b", "c.csv": b"c"}, prefix="")
    monkeypatch.setenv("INTERPSCORE_S3_BUCKET", bucket)
    assert called("--quiet", what=what) == (0, "", "")
    assert files(f"Data/{home}") == {"a.csv": b"a"}
    monkeypatch.setenv(f"INTERPSCORE_S3_PREFIX_{variable}", "x")
    assert called("--to", "by environment", what=what)[0] == 0
    assert called("--to", "by option", "--prefix", "x/y", what=what)[0] == 0
    assert called("--to", "all", "--prefix", "", what=what)[0] == 0
    assert (files("by environment"), files("by option")) == ({"y/b.csv": b"b"}, {"b.csv": b"b"})
    assert len(files("all")) == 3


def test_dry_run_lists_sizes_and_writes_nothing(filled, called, tmp_path):
    bucket = filled({"a.png": b"1" * 1234, "b.png": b"2"})
    Path("x").mkdir()
    Path("x/b.png").write_bytes(b"2")
    code, out, _ = called("--bucket", bucket, "--dry-run", "--quiet", "--to", "x")
    assert code == 0
    assert out.splitlines() == [
        "           1,234  new        a.png",
        "               1  here       b.png",
        f"s3://{bucket}/Image_Data/: 2 files (1.2 kB), 1 to fetch (1.2 kB)",
    ]
    assert list(files("x")) == ["b.png"]


def test_as_many_files_at_a_time_as_asked(filled, called, monkeypatch):
    seen = []
    pool = folder.ThreadPoolExecutor
    monkeypatch.setattr(folder, "ThreadPoolExecutor", lambda jobs: seen.append(jobs) or pool(jobs))
    called("--bucket", filled({"a": b"a"}), "--jobs", "3")
    assert set(seen) == {3}


def test_what_differs_is_said_and_kept_unless_it_may_be_overwritten(filled, called):
    bucket = filled({"a.png": b"theirs", "b.png": b"theirs"})
    Path("x").mkdir()
    Path("x/a.png").write_bytes(b"mine, longer")
    Path("x/b.png").write_bytes(b"mine!!")
    code, _, err = called("--bucket", bucket, "--to", "x")
    assert (code, files("x")) == (1, {"a.png": b"mine, longer", "b.png": b"mine!!"})
    assert "kept: a.png: has 12 bytes; expected 6; --overwrite replaces it" in err
    assert "kept: b.png: has the CRC32 " in err
    assert called("--bucket", bucket, "--to", "x", "--overwrite")[0] == 0
    assert files("x") == {"a.png": b"theirs", "b.png": b"theirs"}


# Interrupted and changed ----------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
from InterpScore.journey import folder
of = folder._Total.of
def dying(self, one, done):
    if done > 1_000_000:
        os.kill(os.getpid(), signal.SIGKILL)
    of(self, one, done)
folder._Total.of = dying
from Activation_Extraction.base.start import start
start("InterpScore.cli.data:data_app")
"""


def test_download_resumes_after_kill_9_and_fetches_no_byte_twice(filled, called, asked):
    bucket = filled({"large.npy": LARGE})
    died = subprocess.run([sys.executable, "-c", KILLED, "download", "images", "--bucket", bucket], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True)  # fmt: skip
    assert died.returncode == -signal.SIGKILL, died.stderr
    kept = files()["large.npy.part"]
    assert 1_000_000 < len(kept) < len(LARGE)
    assert "large.npy" not in files()
    assert called("--bucket", bucket)[0] == 0
    assert (files(), asked) == ({"large.npy": LARGE}, [len(kept)])


@pytest.fixture
def interrupted(monkeypatch, called):
    """Interrupt a download in the middle of a file."""

    def interrupt(*options):
        def stop(self, one, done):
            if done > 1_000_000:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(folder._Total, "of", stop)
            return called(*options)

    return interrupt


def test_interrupt_says_that_the_same_command_resumes(filled, called, interrupted, asked):
    bucket = filled({"large.npy": LARGE})
    code, _, err = interrupted("--bucket", bucket)
    assert (code, err.splitlines()[-1]) == (130, "stopped; the same command resumes")
    assert called("--bucket", bucket)[0] == 0
    assert files() == {"large.npy": LARGE}
    assert asked[1] > 1_000_000


def test_halves_of_two_versions_are_never_joined(filled, called, client, interrupted, asked):
    bucket = filled({"large.npy": LARGE})
    interrupted("--bucket", bucket)
    client.put_object(Bucket=bucket, Key=f"{PREFIX}large.npy", Body=LARGE[::-1])
    assert called("--bucket", bucket)[0] == 0
    assert files() == {"large.npy": LARGE[::-1]}
    assert [first > 0 for first in asked] == [False, True, False]


def test_part_that_was_complete_is_moved_without_asking_again(filled, called, interrupted, asked, client):
    bucket = filled({"large.npy": LARGE})
    interrupted("--bucket", bucket)
    Path("Data/Image_Data/large.npy.part").write_bytes(LARGE)
    assert called("--bucket", bucket)[0] == 0
    assert files() == {"large.npy": LARGE}


def test_object_that_changes_after_the_listing_is_a_failure_of_its_own(filled, called, client, monkeypatch):
    bucket = filled(PICTURES)
    compare = folder.compare_all

    def change(*given):
        client.put_object(Bucket=bucket, Key=f"{PREFIX}fire/0.png", Body=b"new")
        client.delete_object(Bucket=bucket, Key=f"{PREFIX}fire/1.png")
        return compare(*given)

    monkeypatch.setattr(folder, "compare_all", change)
    code, _, err = called("--bucket", bucket)
    assert (code, len(files())) == (1, 4)
    assert f"not fetched: s3://{bucket}/{PREFIX}fire/0.png: has changed since it was listed" in err
    assert f"not fetched: s3://{bucket}/{PREFIX}fire/1.png: answered 404 NoSuchKey" in err
    assert called("--bucket", bucket)[0] == 0


def test_what_somebody_puts_there_meanwhile_is_kept(filled, called, monkeypatch):
    bucket, compare = filled({"a.png": b"theirs", "b.png": b"theirs"}), folder.compare_all

    def compare_and_plant(*given):
        found = compare(*given)
        Path("x").mkdir()
        Path("x/a.png").write_bytes(b"mine")
        Path("x/b.png").write_bytes(b"theirs")
        return found

    monkeypatch.setattr(folder, "compare_all", compare_and_plant)
    code, out, err = called("--bucket", bucket, "--to", "x")
    assert (code, files("x")) == (1, {"a.png": b"mine", "b.png": b"theirs"})
    assert "kept: a.png: has 4 bytes; expected 6" in err
    assert "0 files fetched, 1 were there" in out


def test_many_failures_in_a_row_end_the_download(filled, called, client, monkeypatch):
    monkeypatch.setattr(folder, "MOST_FAILURES", 2)
    bucket = filled(PICTURES)
    monkeypatch.setattr(s3.Bucket, "check", lambda self, found, path: Checked("MD5", "is wrong"))
    code, _, err = called("--bucket", bucket, "--jobs", 1)
    assert (code, [name for name in files() if name.endswith(".png")]) == (1, [])
    assert err.count("is wrong") >= 2
    assert "not tried, after 2 failures in a row" in err


# Checked --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [True, False], ids=["--checksums", "SHA256SUMS"])
def test_wrong_sha256_is_refused_and_the_others_arrive(filled, called, client, given):
    wrong = sums({**PICTURES, "fire/1.png": b"another", "gone.png": b""})
    bucket = filled({**PICTURES, **({} if given else {"SHA256SUMS": wrong})})
    Path("list").write_bytes(wrong)
    options = ["--bucket", bucket, *(["--checksums", "list"] if given else [])]
    code, out, err = called(*options)
    assert code == 1
    assert "not fetched: " in err
    assert f"fire/1.png: has the SHA-256 {hashlib.sha256(PICTURES['fire/1.png']).hexdigest()}; expected " in err
    assert "note: 'gone.png' is in the list of SHA-256 and not in s3://" in out
    there = set(files())
    assert there == {*PICTURES, *([] if given else ["SHA256SUMS"])} - {"fire/1.png"}
    right = sums(PICTURES)
    Path("list").write_bytes(right)
    client.put_object(Bucket=bucket, Key=f"{PREFIX}SHA256SUMS", Body=right)
    code, out, _ = called("--overwrite", *options)
    assert code == 0
    assert "SHA-256: 6" in out


def test_what_is_damaged_on_the_way_is_refused(filled, called, monkeypatch):
    bucket = filled({"a.png": b"theirs"})
    monkeypatch.setattr(s3._Body, "read1", lambda self, size: self._body.read(size).replace(b"t", b"x"))
    code, _, err = called("--bucket", bucket)
    assert (code, files()) == (1, {})
    assert "a.png: has the CRC32 " in err


class Head:
    """A client of which nothing but heads of objects is asked."""

    def __init__(self, heads):
        self.heads = heads

    def head_object(self, PartNumber=None, **_):
        return self.heads[PartNumber]


def etag_of_parts(*parts):
    digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    return f"{digest}-{len(parts)}"


MD5 = hashlib.md5(b"abcdefgh").hexdigest()
CRC = base64.b64encode(zlib.crc32(b"abcdefgh").to_bytes(4, "big")).decode()
PARTS = {1: {"ContentLength": 3, "PartsCount": 3}, 2: {"ContentLength": 3, "PartsCount": 3}, 3: {"ContentLength": 2, "PartsCount": 3}}  # fmt: skip
ODD = {n: {"ContentLength": size, "PartsCount": 3} for n, size in ((1, 2), (2, 5), (3, 1))}


@pytest.mark.parametrize(
    ("etag", "heads", "by", "is_right"),
    [
        (MD5, {}, "MD5", True),
        ("0" * 32, {None: {}}, "MD5", False),
        ("0" * 32, {None: {"ServerSideEncryption": "aws:kms"}}, "size", True),
        ("0" * 32, {None: {"SSECustomerAlgorithm": "AES256"}}, "size", True),
        ("0" * 32, {None: {"ServerSideEncryption": "aws:kms", "ChecksumCRC32": CRC}}, "CRC32", True),
        ("0" * 32, {None: {"ServerSideEncryption": "aws:kms", "ChecksumCRC32": "AAAAAA=="}}, "CRC32", False),
        (etag_of_parts(b"abc", b"def", b"gh"), {None: {}, **PARTS}, "MD5 of parts", True),
        (etag_of_parts(b"ab", b"cdefg", b"h"), {None: {}, **ODD}, "MD5 of parts", True),
        (etag_of_parts(b"abc", b"def", b"gx"), {None: {}, **PARTS}, "MD5 of parts", False),
        (etag_of_parts(b"abc", b"def", b"gh"), {None: {"ChecksumCRC32": "AAAAAA==-3"}, **PARTS}, "MD5 of parts", True),
        (etag_of_parts(b"abc", b"def", b"gh"), {None: {}, 1: {"ContentLength": 8}}, "size", True),
        ("strange", {None: {}}, "size", True),
    ],
)  # fmt: skip
def test_checksums_of_s3_are_computed_where_they_can_be(tmp_path, etag, heads, by, is_right):
    (tmp_path / "file").write_bytes(b"abcdefgh")
    bucket = s3.Bucket.__new__(s3.Bucket)
    bucket.name, bucket._client = "b", Head(heads)
    found = bucket.check(s3.Found("k", 8, etag), tmp_path / "file")
    assert (found.by, found.wrong is None) == (by, is_right)


def test_parts_of_a_large_upload_are_checked_and_what_cannot_be_is_said(filled, called, client, monkeypatch):
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", 1)
    bucket = filled({"a": b"a"})
    key = f"{PREFIX}parts.npy"
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    parts = []
    for number, content in enumerate((b"a" * 70, b"b" * 70, b"c" * 9), 1):
        part = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=content)
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    client.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    code, out, _ = called("--bucket", bucket)
    assert (code, files()["parts.npy"]) == (0, b"a" * 70 + b"b" * 70 + b"c" * 9)
    assert "checked by MD5: 1, MD5 of parts: 1" in out
    monkeypatch.setattr(s3.Bucket, "_part_size", lambda self, found, number: None)
    assert "note: of files checked by size, the server states no checksum" in called("--bucket", bucket)[1]


def test_disk_that_is_too_full_is_said_before_anything_is_fetched(filled, called, monkeypatch, asked):
    bucket = filled(PICTURES)
    monkeypatch.setattr(folder.shutil, "disk_usage", lambda place: type("Usage", (), {"free": 1000}))
    code, _, err = called("--bucket", bucket, "--quiet")
    assert (code, asked, files()) == (2, [], {})
    assert err == "error: Data/Image_Data: 3.9 kB to fetch, and 1.0 kB free there; expected a larger disk (--to)\n"


# Hostile --------------------------------------------------------------------------------------------------------------


def test_hostile_keys_stay_in_the_folder(filled, called, tmp_path):
    # A server's own paths cannot have a line end or nothing between slashes at an end; each key has a content of its own.
    keys = [name for name in NAMES if len(name.encode()) < 900 and not set("\n\r\0") & set(name)]
    keys += ["a", "a/b", "a//b", "a/./b", "a/../../b", "x.part", "x", "x.part.lock", "/"]
    contents = {f"{key}": f"{i}".encode() for i, key in enumerate(keys)}
    bucket = filled(contents)
    before = set(tmp_path.rglob("*"))
    code, _, err = called("--bucket", bucket, "--to", "deep/er/x")
    assert (code, err.count("not fetched")) == (0, 0)
    assert sorted(files("deep/er/x").values()) == sorted(contents.values())
    made = [path.relative_to(tmp_path / "deep" / "er" / "x") for path in set(tmp_path.rglob("*")) - before if path.is_file()]  # fmt: skip
    assert all(is_safe_part(part) for path in made for part in path.parts)


def test_a_link_in_the_folder_is_not_followed(filled, called, tmp_path):
    bucket = filled({"fire/0.png": b"a", "wet.png": b"b", "dry.png": b"c"})
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mine").write_bytes(b"mine")
    Path("x").mkdir()
    Path("x/fire").symlink_to(outside)
    Path("x/wet.png").symlink_to(outside / "mine")
    Path("x/dry.png.part").symlink_to(outside / "mine")
    code, _, err = called("--bucket", bucket, "--to", "x", "--overwrite")
    assert code == 1
    assert err.count("is a link, which is not followed here") == 3
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"mine": b"mine"}


@pytest.mark.parametrize("plant", [os.mkdir, os.mkfifo])
def test_what_is_no_file_at_the_place_of_one_is_said_and_left(filled, called, plant):
    Path("x").mkdir()
    plant("x/a.png")
    code, _, err = called("--bucket", filled({"a.png": b"a", "b.png": b"b"}), "--to", "x", "--overwrite")
    assert (code, "not fetched: a.png: is a " in err, files("x")) == (1, True, {"b.png": b"b"})


def test_a_file_at_the_place_of_a_folder_is_said_and_left(filled, called):
    Path("x").mkdir()
    Path("x/fire").write_bytes(b"mine")
    code, _, err = called("--bucket", filled(PICTURES), "--to", "x", "--overwrite")
    assert code == 1
    assert err.count("not fetched: fire/") == 3
    assert files("x") == {"fire": b"mine", **{key: content for key, content in PICTURES.items() if key[0] == "w"}}


# One line each --------------------------------------------------------------------------------------------------------


def refusing(client, method, code, message="no"):
    from botocore.exceptions import ClientError

    error = ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "L")
    return lambda *_: (_ for _ in ()).throw(error)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--bucket", "none-such"], "s3://none-such: no such bucket at http://127"),
        (["--bucket", "s3://a/b"], "--bucket: found 's3://a/b'; expected the name of a bucket"),
        (["--bucket", "\x1b[2J"], r"--bucket: found '\x1b[2J'; expected the name of a bucket"),
        (["--endpoint-url", "http://127.0.0.1:9"], "cannot be reached (Could not connect to the endpoint URL"),
        (["--endpoint-url", "file:///etc"], "--endpoint-url (or AWS_ENDPOINT_URL): Invalid endpoint: file:///etc"),
        (["--profile", "nobody"], "--profile: The config profile (nobody) could not be found"),
        (["--prefix", "Image_Date"], "no objects (did you mean 'Image_Data/'?); expected another --prefix (it has Image_Data/)"),
        (["--checksums", "none"], "none: cannot be read (No such file or directory); expected a list of SHA-256"),
        (["--checksums", "bad"], "bad, row 1: 'hello'; expected 64 hexadecimal digits and the name of a file"),
        (["--to", "bad"], "bad: cannot be written"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(filled, called, address, options, said):
    Path("bad").write_text("hello\n")
    options = options if "--endpoint-url" in options else [*options, "--endpoint-url", address]
    options = options if "--bucket" in options else [*options, "--bucket", filled({"a": b"a"})]
    code, out, err = called(*options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
    assert not Path("Data").exists()


@pytest.mark.parametrize(
    ("code", "options", "said"),
    [
        ("AccessDenied", [], "access denied (AccessDenied: no); set AWS_PROFILE (or --profile)"),
        ("AccessDenied", ["--anonymous"], "not public (AccessDenied: no); leave out --anonymous and set AWS_PROFILE"),
        ("ExpiredToken", [], "credentials are not accepted (ExpiredToken: no); set AWS_PROFILE"),
        ("PermanentRedirect", [], "is in another region (PermanentRedirect: no); set AWS_REGION"),
        ("\x1b[2J", [], r"cannot be read (\x1b[2J: no); is --bucket or --endpoint-url right?"),
    ],
)
def test_refusals_of_a_server_say_what_to_set(filled, called, client, monkeypatch, code, options, said):
    bucket = filled({"a": b"a"})
    from botocore.client import BaseClient

    monkeypatch.setattr(BaseClient, "_make_api_call", refusing(client, "list", code))
    found, out, err = called("--bucket", bucket, *options)
    assert (found, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_no_credentials_is_one_line_and_anonymous_needs_none(filled, called, tmp_path, monkeypatch, address):
    bucket = filled({"a": b"a"}, ACL="public-read")
    own_environment(monkeypatch, tmp_path)
    options = ("--bucket", bucket, "--endpoint-url", address)
    monkeypatch.setattr(boto3, "Session", boto3.Session.__wrapped__)  # those of before have found credentials
    code, out, err = called(*options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "no AWS credentials (Unable to locate credentials); set AWS_PROFILE, or AWS_ACCESS_KEY_ID and" in err
    assert called(*options, "--anonymous")[0] == 0
    (tmp_path / "credentials").write_text("[mine]\naws_access_key_id = a\naws_secret_access_key = b\n")
    assert called(*options, "--profile", "mine", "--to", "x")[0] == 0
    assert files("x") == files() == {"a": b"a"}


def test_without_boto3_the_error_names_the_extra(called, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    code, _, err = called()
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("error: boto3 is not installed; type: pip install ")
    assert err.rstrip().endswith("[data]'")


# The scripts ----------------------------------------------------------------------------------------------------------

SCRIPTS = {
    "download_clip_activation_s3.sh": ("activations", "Clip_Activation_Layer"),
    "download_images_data_s3.sh": ("images", "Image_Data"),
    "download_prolific_data_s3.sh": ("study", "Prolific_Data"),
}


@pytest.fixture
def clone(tmp_path):
    """A clone's Data, in a folder that may be written to."""
    (tmp_path / "a clone" / "Data").mkdir(parents=True)
    for script in (ROOT / "Data").glob("*.sh"):
        (tmp_path / "a clone" / "Data" / script.name).write_bytes(script.read_bytes())
        (tmp_path / "a clone" / "Data" / script.name).chmod(script.stat().st_mode)
    return tmp_path / "a clone"


def script(clone, name, *options, path="/usr/bin:/bin", cwd=None):
    environment = {**os.environ, "PATH": path}
    command = [str(clone / "Data" / name), *options]
    return subprocess.run(command, cwd=cwd or clone, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_pass_on_their_arguments_from_anywhere(clone, tmp_path, name):
    for folder_of_program in (tmp_path / "bin", clone / ".venv" / "bin"):
        folder_of_program.mkdir(parents=True)
        program = folder_of_program / "interpscore"
        program.write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
        program.chmod(0o755)
        done = script(clone, name, "--prefix", "a b", path=f"{tmp_path / 'bin'}:/usr/bin:/bin", cwd=tmp_path)
        what, home = SCRIPTS[name]
        called_as, *arguments = done.stdout.splitlines()
        assert Path(called_as).resolve() == program  # that of the clone, where there is one
        assert arguments == ["data", "download", what, "--to", f"{clone}/Data/{home}", "--prefix", "a b"]


def test_scripts_say_what_to_type_where_nothing_is_installed(clone):
    done = script(clone, "download_images_data_s3.sh")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: interpscore is not installed; type: pip install --editable '{clone}[data]'\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_fetch(clone, filled, name):
    bucket = filled({"a.csv": b"a"}, prefix=f"{SCRIPTS[name][1]}/")
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = script(clone, name, "--bucket", bucket, path=programs)
    assert done.returncode == 0, done.stderr
    assert files(clone / "Data" / SCRIPTS[name][1]) == {"a.csv": b"a"}
