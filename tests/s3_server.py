"""A local S3 server for tests, and credentials and configuration of AWS that are the test's own."""

import logging
from contextlib import contextmanager

VARIABLES = (
    "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN", "AWS_REGION",
    "INTERPSCORE_S3_BUCKET", "INTERPSCORE_S3_PREFIX_IMAGES", "INTERPSCORE_S3_PREFIX_STUDY",
    "INTERPSCORE_S3_PREFIX_ACTIVATIONS",
)  # fmt: skip


@contextmanager
def s3_server():
    """moto's server in this process; gives its address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield "http://{}:{}".format(*server.get_host_and_port())
    finally:
        server.stop()


def own_environment(monkeypatch, folder, address=None):
    """No credentials and configuration but those of the test; with an address, credentials for the server there."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    settings = {
        "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1", "AWS_DEFAULT_REGION": "us-east-1", "no_proxy": "*",
        "AWS_CONFIG_FILE": str(folder / "config"), "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        if address:
            monkeypatch.setenv(name, "test")
        else:
            monkeypatch.delenv(name, raising=False)
    if address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
