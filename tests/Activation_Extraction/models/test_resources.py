"""What a model may use: sizes are read exactly, devices that are not there are refused, threads are given back."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.models import resources
from Activation_Extraction.models.resources import (
    best_precision,
    check_fits,
    check_precision,
    computes_bfloat16,
    device_named,
    limited_threads,
    parse_bytes,
    weight_bytes,
)

POWERS = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
POWERS |= {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}


@given(st.integers(1, 10**400))
def test_number_of_bytes_is_taken_as_it_is(size):
    assert parse_bytes(size) == parse_bytes(f" {size} B ") == size


@given(st.integers(1, 10**6), st.integers(0, 999), st.sampled_from(sorted(POWERS)), st.sampled_from(["", " ", "  "]))
def test_size_with_a_unit_is_exact(whole, thousandths, unit, space):
    text = f"{whole}.{thousandths:03d}{space}{unit}"
    expected = int((whole + Fraction(thousandths, 1000)) * POWERS[unit])
    assert parse_bytes(text) == parse_bytes(text.upper()) == parse_bytes(text.lower()) == expected


@pytest.mark.parametrize(
    "size", ["", "0", "0 GB", "0.4", "-1", "-4 GB", "4 G B", "4 PB", "GB", "4,5 GB", "1e9", "nan", "inf", "4 GB!", ".", "1."]
)  # fmt: skip
def test_what_is_no_size_is_refused(size):
    with pytest.raises(InputError) as caught:
        parse_bytes(size)
    assert caught.value.problems == [
        f"memory limit: found {size!r}; expected bytes, or a size such as '4 GB' or '500 MiB'"
    ]


@pytest.mark.parametrize("size", [float("nan"), float("inf"), True, None, 0, -5])
def test_numbers_that_are_no_size_are_refused(size):
    with pytest.raises(InputError, match="memory limit: found"):
        parse_bytes(size)


@pytest.mark.parametrize("name", ["cpu", "cpu:0", torch.device("cpu")])
def test_the_processor_is_a_device_with_one_name(name):
    assert device_named(name) == torch.device("cpu")


@pytest.mark.parametrize(
    "name", ["cuda:99", "gpu", "", "cpu:x", "xla", "mps:7", "cpu, cuda", "CPU!", None, 2.5, "meta"]
)
def test_device_that_is_not_there_is_refused_with_those_that_are(name):
    there = ", ".join(["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))])
    with pytest.raises(InputError) as caught:
        device_named(name)
    assert caught.value.problems == [f"device: found '{name}'; expected one of this machine: {there}"]


def fail_with(threads):
    with limited_threads(threads):
        raise KeyError(torch.get_num_threads())


def test_threads_are_limited_inside_and_given_back_whatever_happens():
    before = torch.get_num_threads()
    with limited_threads(before + 3):
        assert torch.get_num_threads() == before + 3
        with limited_threads(None):
            assert torch.get_num_threads() == before + 3
        with pytest.raises(KeyError, match="1"):
            fail_with(threads=1)
        assert torch.get_num_threads() == before + 3
    assert torch.get_num_threads() == before


def test_bytes_of_weights_count_buffers_and_what_is_shared_once():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 4).half())
    network.append(network[0])
    in_single = 3 * 4 + 4 + 4 * 4  # linear, then gain, bias, mean and variance
    assert weight_bytes(network) == 4 * in_single + 8 + 2 * (16 + 4)  # 8: the count of batches


def test_weights_that_just_fit_pass_and_a_byte_less_is_refused(tmp_path):
    network = nn.Linear(10, 10, bias=False)
    file = tmp_path / "weights.bin"
    file.write_bytes(bytes(400))
    for what in (network, file):
        check_fits(what, 400)
        check_fits(what, None)
    with pytest.raises(InputError, match=r"^net: the weights take 400 bytes; the memory limit is 399$"):
        check_fits(network, 399, "net")
    with pytest.raises(InputError, match=r"weights.bin: the weights take 400 bytes; the memory limit is 399$"):
        check_fits(file, 399)


@pytest.mark.parametrize(
    ("machine", "has_flag", "convolves", "wanted"),
    [
        ("x86_64", True, True, True),
        ("x86_64", True, False, False),  # oneDNN reads the processor in its own way
        ("AMD64", False, True, False),  # emulated
        ("aarch64", False, True, True),
        ("aarch64", False, False, False),
    ],
)
def test_bfloat16_is_what_the_processor_and_a_convolution_say(machine, has_flag, convolves, wanted, monkeypatch):
    def convolution(*_):
        if not convolves:
            raise RuntimeError("mkldnn_convolution: bf16 path needs the cpu support avx512bw")

    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_flag)
    monkeypatch.setattr(torch, "mkldnn_convolution", convolution)
    assert computes_bfloat16.__wrapped__(torch.device("cpu")) is wanted


@pytest.mark.parametrize(("is_there", "best"), [(True, "bf16"), (False, "fp32")])
def test_precision_is_that_of_the_device(is_there, best, monkeypatch):
    monkeypatch.setattr(resources, "computes_bfloat16", lambda device: is_there)
    cpu = torch.device("cpu")
    assert best_precision(cpu) == best
    for precision in {"fp32", best}:
        check_precision(precision, cpu)
    with pytest.raises(InputError, match="precision: found 'fp8'; expected fp32 or bf16"):
        check_precision("fp8", cpu)
    if not is_there:
        with pytest.raises(InputError, match=r"^precision bf16: this device \(cpu .*; expected precision fp32$"):
            check_precision("bf16", cpu)
