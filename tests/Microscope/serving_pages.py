"""The explorer as the tests open it: as a static site below a path, and as the Streamlit app."""

import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from socket import socket

from Microscope.cli.serve import command_of
from Microscope.serving.site import export_site
from tests.Activation_Extraction.local_server import serving


class Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or the body waits 40 ms for the acknowledgement of the headers

    def log_message(self, *_):
        pass


@contextmanager
def static_site(bundle, folder):
    """The address of a bundle's site, below a path of the server."""
    export_site(bundle, folder / "below" / "a path")
    with serving(partial(Quiet, directory=str(folder))) as address:
        yield f"{address}/below/a%20path/"


@contextmanager
def streamlit_app(bundle):
    """The address of the app that shows a bundle."""
    with started(command_of(str(bundle), port := free_port(), "127.0.0.1"), port) as address:
        yield address


@contextmanager
def running(script):
    """The address of a Streamlit script."""
    port = free_port()
    options = [
        f"--server.port={port}",
        "--server.address=127.0.0.1",
        "--server.headless=true",
        "--browser.gatherUsageStats=false",
    ]
    with started([sys.executable, "-m", "streamlit", "run", script, *options], port) as address:
        yield address


@contextmanager
def started(command, port):
    """A server while it runs, once it answers."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        address = f"http://127.0.0.1:{port}/"
        wait_for(address, process)
        yield address
    finally:
        process.terminate()
        process.communicate(timeout=30)


def free_port():
    with socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_for(address, process, seconds=120):
    """Until the app answers."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise AssertionError(process.stdout.read())
        try:
            urllib.request.urlopen(f"{address}_stcore/health", timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the app does not answer")
