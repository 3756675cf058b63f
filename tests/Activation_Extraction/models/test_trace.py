"""Guards the one way to touch a layer: what is kept, what an edit changes, where a run ends, and that nothing stays."""

import asyncio
import copy
import io
import re
import threading
from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from Activation_Extraction.base.errors import InputError
from Activation_Extraction.models.trace import EVERY, trace
from tests.Activation_Extraction.small_networks import Block, hooks_of


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.stage = nn.Sequential(Block(), Block())
        self.head = nn.Linear(4, 5)
        self.spare = nn.Linear(2, 2)

    def forward(self, x):
        return self.head(self.stage(self.stem(x)).mean((2, 3)))


CALLS = [
    "stem", "stage.0.conv1", "stage.0.bn1", "stage.0.relu#1", "stage.0.conv2", "stage.0.relu#2", "stage.0",
    "stage.1.conv1", "stage.1.bn1", "stage.1.relu#1", "stage.1.conv2", "stage.1.relu#2", "stage.1", "stage", "head", "",
]  # fmt: skip
NAMES = sorted({call.split("#")[0] for call in CALLS} - {""})


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network().eval()


@pytest.fixture
def x():
    return torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def by_hand(block, x):
    """Every step of a block without any in-place operation."""
    conv1 = block.conv1(x)
    bn1 = block.bn1(conv1)
    relu1 = bn1.clamp(min=0)
    conv2 = block.conv2(relu1)
    return {"conv1": conv1, "bn1": bn1, "relu#1": relu1, "conv2": conv2, "relu#2": (conv2 + x).clamp(min=0)}


MODES = {"no_grad": torch.no_grad, "inference": torch.inference_mode, "gradients": torch.enable_grad}


@pytest.fixture(params=MODES)
def mode(request):
    with MODES[request.param]():
        yield request.param


# What is kept


def test_outputs_are_those_of_each_step_whatever_is_done_in_place_later(network, x, mode):
    with trace(network, CALLS) as retained:
        network(x)
    expected = {"stem": network.stem(x)}
    for block in ("stage.0", "stage.1"):
        steps = by_hand(network.get_submodule(block), expected["stem" if block == "stage.0" else "stage.0"])
        expected |= {f"{block}.{step}": value for step, value in steps.items()} | {block: steps["relu#2"]}
    expected["stage"] = expected["stage.1"]
    expected["head"] = expected[""] = network.head(expected["stage"].mean((2, 3)))
    assert list(retained) == CALLS
    for name, value in retained.items():
        torch.testing.assert_close(value, expected[name], msg=name)


def test_what_is_kept_is_a_copy_of_its_own(network, x):
    with torch.no_grad(), trace(network, CALLS) as retained:
        network(x)
    places = [value.untyped_storage().data_ptr() for value in retained.values()]
    # One call of one layer is kept once, so the block and its last ReLU differ, and nothing shares memory with x.
    assert len({*places, x.untyped_storage().data_ptr()}) == len(CALLS) + 1


def test_layer_that_returns_its_input_does_not_hand_out_the_images():
    x = torch.zeros(1, 2)
    with trace(nn.Sequential(nn.Identity(), nn.Flatten()), "0") as retained:
        retained.run(x)
    x += 1
    assert retained["0"].tolist() == [[0, 0]]


def test_tracing_changes_no_bit_of_the_output(network, x, mode):
    plain = network(x)
    with trace(network, EVERY):
        assert torch.equal(network(x), plain)
    assert torch.equal(network(x), plain)


def test_a_name_alone_keeps_the_last_call_and_a_number_that_call(network, x):
    with torch.no_grad(), trace(network, ["stage.0.relu", "stage.0.relu#1", "stage.0.relu#2"]) as retained:
        network(x)
    assert torch.equal(retained["stage.0.relu"], retained["stage.0.relu#2"])
    assert not torch.equal(retained["stage.0.relu"], retained["stage.0.relu#1"])


def test_calls_are_counted_anew_in_each_run(network, x):
    with torch.no_grad(), trace(network, ["stage.0.relu#2", "stem"]) as retained:
        network(x)
        first = dict(retained)
        network(x[:1])
    assert (len(first["stage.0.relu#2"]), len(retained["stage.0.relu#2"]), len(retained["stem"])) == (2, 1, 1)


def test_layer_that_only_an_earlier_run_reached_is_not_there():
    class Either(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Identity(), nn.Identity()

        def forward(self, x):
            return self.left(x) if x.sum() > 0 else self.right(x)

    network = Either()
    with trace(network, ["left", "right"]) as retained:
        network(torch.ones(2))
        network(-torch.ones(2))
        assert list(retained) == ["right"]
        with pytest.raises(InputError, match="layer 'left' was not reached"):
            retained["left"]


def test_network_called_after_a_run_goes_to_its_end(network, x):
    with torch.no_grad(), trace(network, "stem") as retained:
        retained.run(x)
        assert network(x).shape == (2, 5)
        with pytest.raises(RuntimeError, match="channels"):
            retained.run(x[:, :1])
        assert network(x).shape == (2, 5)


def test_every_layer_is_seen_when_the_run_may_end_early(network, x):
    with torch.no_grad(), trace(network, [EVERY, "stem"]) as retained:
        retained.run(x)
    assert "head#1" in retained


def test_every_call_of_every_layer_in_order_of_return(network, x):
    with torch.no_grad(), trace(network, EVERY, reduce=lambda x: tuple(x.shape)) as retained:
        network(x)
    assert list(retained) == [call if "#" in call else f"{call}#1" for call in CALLS]
    assert retained["stage.1.relu#2"] == (2, 4, 6, 6)


def test_reduction_is_applied_at_once_and_may_change_what_it_gets(network, x):
    plain = network(x)
    maxima = []

    def top(x):
        maxima.append(x.amax((2, 3)))
        return x.zero_().sum((2, 3))

    with torch.no_grad(), trace(network, ["stage.0", "stage.1"], reduce=top) as retained:
        output = network(x)
    assert torch.equal(output, plain)
    assert len(maxima) == 2
    assert all(value.shape == (2, 4) and not value.any() for value in retained.values())
    with torch.no_grad():
        torch.testing.assert_close(maxima[1], network.stage(network.stem(x)).amax((2, 3)))


def test_one_name_may_stand_without_a_list(network, x):
    with trace(network, "stem") as retained:
        network(x)
    assert list(retained) == ["stem"]


def test_what_is_kept_is_saved_without_the_network(network, x):
    with torch.no_grad(), trace(network, "stem") as retained:
        network(x)
    file = io.BytesIO()
    torch.save(retained, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=True)["stem"], retained["stem"])


# Gradients


def test_gradients_with_respect_to_a_layer_are_those_of_the_rest_of_the_network(network, x):
    with trace(network, ["stage.0.conv2", "stage.0"]) as retained:
        network(x)[:, 2].sum().backward(inputs=list(retained.values()), retain_graph=True)
    middle = retained["stage.0"].detach().requires_grad_()
    network.head(network.stage[1](middle).mean((2, 3)))[:, 2].sum().backward()
    torch.testing.assert_close(retained["stage.0"].grad, middle.grad)
    through_relu = middle.grad * (middle > 0)
    torch.testing.assert_close(retained["stage.0.conv2"].grad, through_relu)


def test_retain_grad_works_after_the_block(network, x):
    with trace(network, "stage.1.bn1") as retained:
        output = network(x)
    retained["stage.1.bn1"].retain_grad()
    output.sum().backward()
    assert retained["stage.1.bn1"].grad.abs().sum() > 0


def test_images_get_gradients_from_a_layer_where_the_run_ends(network, x):
    x.requires_grad_()
    with trace(network, "stage.0", reduce=lambda x: x[:, 1].mean()) as retained:
        retained.run(x)
    retained["stage.0"].backward()
    other = x.detach().requires_grad_()
    network.stage[0](network.stem(other))[:, 1].mean().backward()
    torch.testing.assert_close(x.grad, other.grad)


# Edits


@pytest.mark.parametrize("name", NAMES)
def test_identity_changes_no_bit_of_the_output(network, x, mode, name):
    plain = network(x)
    for identity in (lambda a: a, lambda a: a.clone(), lambda a: a.mul_(1)):
        with trace(network, name, edit={name: identity}):
            assert torch.equal(network(x), plain)


def test_identity_keeps_two_names_of_one_tensor_one():
    class Aliased(nn.Module):
        def __init__(self):
            super().__init__()
            self.same = nn.Identity()

        def forward(self, x):
            x = x * 2
            self.same(x).add_(1)
            return x

    network = Aliased()
    with torch.no_grad(), trace(network, "same", edit={"same": lambda a: a}) as retained:
        assert network(torch.ones(2)).tolist() == [3, 3]
    assert retained["same"].tolist() == [2, 2]


def test_edit_is_what_the_rest_of_the_network_sees(network, x, mode):
    with trace(network, ["stage.0", "head"], edit={"stage.0": lambda a: a * 2}) as retained:
        output = network(x)
    middle = 2 * network.stage[0](network.stem(x))
    torch.testing.assert_close(retained["stage.0"], middle)
    torch.testing.assert_close(output, network.head(network.stage[1](middle).mean((2, 3))))
    torch.testing.assert_close(retained["head"], output)


def test_edit_in_place_of_a_copy_touches_nothing_before_it():
    # The input of the Identity is used once more after it.
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.same = nn.Identity()

        def forward(self, x):
            return self.same(x) + x

    x = torch.ones(2)
    twice = Twice()
    with trace(twice, edit={"same": lambda a: a.mul_(10)}):
        assert twice(x).tolist() == [11, 11]
    assert x.tolist() == [1, 1]


def test_tensor_that_an_edit_holds_on_to_is_not_changed_later(network, x):
    constant = -torch.ones(2, 4, 6, 6)
    with torch.no_grad(), trace(network, edit={"stage.0.bn1": lambda a: constant}):
        network(x)  # an in-place ReLU comes next
    assert (constant == -1).all()


def test_edits_take_place_in_the_order_of_the_layers(network, x):
    order = []
    edit = {name: lambda a, name=name: order.append(name) or a for name in ("stage.1", "stem", "stage.0.conv1")}
    with trace(network, edit=edit):
        network(x)
    assert order == ["stem", "stage.0.conv1", "stage.1"]


def test_a_name_alone_edits_every_call_and_a_number_that_call(network, x):
    seen = []
    edit = {"stage.0.relu": lambda a: seen.append("every") or a, "stage.0.relu#2": lambda a: seen.append("second") or a}
    with trace(network, edit=edit):
        network(x)
    assert seen == ["every", "every", "second"]


@pytest.mark.parametrize(
    ("function", "got"),
    [
        (lambda a: a[:, :2], "a tensor (2, 2, 6, 6) of torch.float32 on cpu"),
        (lambda a: a.double(), "a tensor (2, 4, 6, 6) of torch.float64 on cpu"),
        (lambda a: None, "NoneType"),
    ],
)
def test_edit_that_gives_something_else_is_refused(network, x, function, got):
    with pytest.raises(InputError) as caught, trace(network, edit={"stage.0": function}):
        network(x)
    expected = "expected a tensor (2, 4, 6, 6) of torch.float32 on cpu"
    assert str(caught.value) == f"edit of layer 'stage.0': gave {got}; {expected}"
    assert hooks_of(network) == 0


def test_edit_may_cut_the_gradient(network, x):
    x.requires_grad_()
    with trace(network, edit={"stage.0": lambda a: a.detach()}):
        network(x).sum().backward()
    assert x.grad is None


@given(st.permutations(NAMES), st.integers(1, 4), st.floats(-2, 2, width=32))
def test_several_edits_equal_the_network_with_them_built_in(names, number, factor):
    torch.manual_seed(0)
    network = Network().eval()
    x = torch.randn(1, 3, 4, 4)
    chosen = [name for name in names if name not in ("head", "stem")][:number]
    with torch.no_grad(), trace(network, edit=dict.fromkeys(chosen, lambda a: a * factor)):
        edited = network(x)

    class Scaled(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, x):
            return self.module(x) * factor

    for name in sorted(chosen, key=len, reverse=True):
        network.set_submodule(name, Scaled(network.get_submodule(name)))
    with torch.no_grad():
        torch.testing.assert_close(edited, network(x))


# Where a run ends


@pytest.mark.parametrize("name", [call for call in CALLS if call])
def test_run_ends_after_the_layer_and_keeps_what_a_whole_run_keeps(network, x, mode, name):
    with trace(network, name) as whole:
        network(x)
    ran = []
    handles = [
        module.register_forward_hook(lambda m, i, o, n=n: ran.append(n)) for n, module in network.named_modules()
    ]
    with trace(network, name) as retained:
        retained.run(x)
        still_here = True
    for handle in handles:
        handle.remove()
    assert still_here
    assert torch.equal(retained[name], whole[name])
    # `ran` has the calls up to the layer; what returns at the same time as its parent may be followed by the parent.
    assert ran == [call.split("#")[0] for call in CALLS][: len(ran)]
    assert len(ran) == CALLS.index(name) + 1


def test_shared_relu_without_a_number_is_kept_at_its_last_call_when_the_run_ends_early(network, x):
    with torch.no_grad(), trace(network, "stage.0.relu") as whole:
        network(x)
    ran = []
    handle = network.stage[1].register_forward_hook(lambda *_: ran.append("stage.1"))
    with torch.no_grad(), trace(network, "stage.0.relu") as retained:
        retained.run(x)
    handle.remove()
    assert torch.equal(retained["stage.0.relu"], whole["stage.0.relu"])
    assert ran == []


def test_module_under_two_names_is_kept_at_its_last_call_when_the_run_ends_early():
    relu = nn.ReLU()
    network = nn.Sequential(OrderedDict(a=nn.Sequential(relu), minus=nn.Linear(1, 1), b=nn.Sequential(relu)))
    with torch.no_grad(), trace(network, "a.0") as retained:
        network.minus.weight.fill_(0.5)
        network.minus.bias.fill_(1)
        retained.run(torch.ones(1, 1))
    assert retained["a.0"].item() == 1.5


def test_run_goes_on_until_edited_and_kept_layers_of_all_depths_were_seen(network, x):
    seen = []
    edit = {"stage.1.conv1": lambda a: seen.append("edited") or a}
    with torch.no_grad(), trace(network, ["stage.0", "stem"], edit=edit) as retained:
        retained.run(x)
        for _ in range(2):  # a loop goes on after a run that ended early
            retained.run(x)
    assert seen == ["edited"] * 3
    assert list(retained) == ["stem", "stage.0"]


def test_keeping_and_editing_one_layer_ends_the_run_only_when_both_are_done(network, x):
    with torch.no_grad(), trace(network, "stage.0.relu", edit={"stage.0.relu": lambda a: a + 1}) as retained:
        retained.run(x)
    with torch.no_grad(), trace(network, "stage.0.relu", edit={"stage.0.relu": lambda a: a + 1}) as whole:
        network(x)
    assert torch.equal(retained["stage.0.relu"], whole["stage.0.relu"])


def test_network_that_catches_exceptions_lets_the_run_end(x):
    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x):
            try:
                return self.conv(x)
            except Exception:
                raise AssertionError from None

    with torch.no_grad(), trace(Careful(), "conv") as retained:
        retained.run(x)
    assert retained["conv"].shape == (2, 2, 6, 6)


def test_named_inputs_reach_the_network():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, *, pixel_values):
            return self.linear(pixel_values)

    with trace(Named(), "linear") as retained:
        retained.run(pixel_values=torch.ones(1, 2))
    assert retained["linear"].shape == (1, 2)


# Outputs that are no tensor


Pair = namedtuple("Pair", "note first second")


@dataclass(frozen=True)
class Output:
    note: str
    hidden: torch.Tensor
    more: tuple = ()


class Wrapped(nn.Module):
    def __init__(self, wrap):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(self.linear(x))


@pytest.mark.parametrize(
    ("wrap", "unwrap"),
    [
        (lambda x: (x, x + 1), lambda out: out[0]),
        (lambda x: [None, x, 3], lambda out: out[1]),
        (lambda x: Pair("note", x, x + 1), lambda out: out.first),
        (lambda x: {"note": 1, "hidden": x, "other": x + 1}, lambda out: out["hidden"]),
        (lambda x: Output("note", x, (x + 1,)), lambda out: out.hidden),
        (lambda x: (None, {"deep": [x]}), lambda out: out[1]["deep"][0]),
        (lambda x: x.max(1, keepdim=True), lambda out: out.values),
    ],
)
def test_first_tensor_is_the_output_and_an_edit_goes_back_into_its_place(wrap, unwrap):
    network = nn.Sequential(Wrapped(wrap))
    plain = network(torch.ones(1, 2))
    with trace(network, "0", edit={"0": lambda a: a + 5}) as retained:
        output = network(torch.ones(1, 2))
    assert type(output) is type(plain)
    assert torch.equal(unwrap(output), unwrap(plain) + 5)
    assert torch.equal(retained["0"], unwrap(output))

    def others(out):
        # All but the edited tensor, as text, so that one comparison serves all kinds of output.
        return repr(out).replace(repr(unwrap(out)), "…")

    assert re.sub("grad_fn=<[^>]*>", "", others(output)) == re.sub("grad_fn=<[^>]*>", "", others(plain))


@pytest.mark.parametrize("arguments", [{"retain": "0"}, {"edit": {"0": lambda a: a}}])
def test_output_without_a_tensor_is_named(arguments):
    network = nn.Sequential(Wrapped(lambda x: ("text", 3)))
    with (
        pytest.raises(InputError, match="layer '0': returned tuple without a tensor in it"),
        trace(network, **arguments),
    ):
        network(torch.ones(1, 2))


def test_outputs_without_a_tensor_are_left_out_of_every_layer():
    network = nn.Sequential(Wrapped(lambda x: "text"))
    with trace(network, EVERY) as retained:
        network(torch.ones(1, 2))
    assert list(retained) == ["0.linear#1"]


# Errors


def test_unknown_layers_are_all_named_with_the_nearest(network):
    with pytest.raises(InputError) as caught, trace(network, ["stage.0.conv3", "stem"], edit={"Haed": lambda a: a}):
        pass
    assert len(caught.value.problems) == 2
    assert "no layer 'stage.0.conv3' among" in caught.value.problems[0]
    assert "stage.0.conv2" in caught.value.problems[0].split("nearest: ")[1]
    assert "no layer 'Haed' among 14; nearest: head" in caught.value.problems[1]


@pytest.mark.parametrize("name", ["stem#0", "stem#-1", "stem#x", "stem#", "#1#1", "stem#1.0", "stem#²"])
def test_what_is_no_number_of_a_call_is_an_unknown_layer(network, name):
    with pytest.raises(InputError, match="no layer "), trace(network, name):
        pass


def test_layer_that_is_never_reached_is_named(network, x):
    with pytest.raises(InputError) as caught, trace(network, ["stem", "spare"], edit={"stage.0.relu#3": lambda a: a}):
        network(x)
    assert caught.value.problems == [
        "layer 'spare' was not reached in the traced block: it did not run, or in another thread",
        "layer 'stage.0.relu#3' was not reached in the traced block: it ran 2 times",
    ]
    assert hooks_of(network) == 0


def test_asking_for_what_is_not_there_says_why(network, x):
    with trace(network, "stem") as retained:
        with pytest.raises(InputError, match="layer 'stem' was not reached"):
            retained["stem"]
        network(x)
    with pytest.raises(InputError, match="nothing is kept under 'head'; kept: stem"):
        retained["head"]
    assert "head" not in retained
    assert retained.get("head") is None


def test_error_in_the_block_is_not_hidden_by_layers_not_reached(network):
    with pytest.raises(ZeroDivisionError), trace(network, "stem"):
        1 / 0  # noqa: B018


# Nothing stays


class BrokenError(Exception):
    pass


@pytest.mark.parametrize("error", [BrokenError, KeyboardInterrupt, GeneratorExit, SystemExit])
@pytest.mark.parametrize("place", ["edit", "reduce", "block", "network"])
def test_hooks_are_gone_whatever_ended_the_block(network, x, error, place):
    def fail(*_):
        raise error

    plain = network(x)
    handle = network.stage[1].register_forward_hook(fail) if place == "network" else None
    edit = {"stage.0": fail} if place == "edit" else {}
    reduce = fail if place == "reduce" else None
    with pytest.raises(error), trace(network, "stem", edit=edit, reduce=reduce):  # noqa: PT012
        if place == "block":
            fail()
        network(x)
    if handle:
        handle.remove()
    assert hooks_of(network) == 0
    assert torch.equal(network(x), plain)


def test_user_hooks_and_training_flags_are_as_before(network, x):
    network.stage[0].train()
    calls = []
    handle = network.stem.register_forward_hook(lambda *_: calls.append(1))
    before = [module.training for module in network.modules()]
    with trace(network, ["stem", "stage.0"], edit={"stem": lambda a: a}) as retained:
        retained.run(x)
    assert [module.training for module in network.modules()] == before
    assert list(network.stem._forward_hooks) == [handle.id]
    assert calls == [1]


def test_copy_made_inside_a_block_is_not_traced(network, x):
    with trace(network, [EVERY, "stem"], edit={"stem": lambda a: a * 0}) as retained:
        retained.run(x)
        before = dict(retained)
        other = copy.deepcopy(network)
        output = other(x[:1])
        assert all(retained[name] is before[name] for name in before)
    assert torch.equal(output, network(x[:1]))


def test_closed_generator_leaves_no_hook(network, x):
    def features():
        with trace(network, "stem") as retained:
            while True:
                network(x)
                yield retained["stem"]

    running = features()
    next(running)
    assert hooks_of(network) > 0
    running.close()
    assert hooks_of(network) == 0


def test_blocks_may_end_in_another_order_than_they_began(network, x):
    first, second = trace(network, "stem"), trace(network, "head")
    a = first.__enter__()
    b = second.__enter__()
    network(x)
    first.__exit__(None, None, None)
    network(x[:1])
    second.__exit__(None, None, None)
    assert (len(a["stem"]), len(b["head"])) == (2, 1)
    assert hooks_of(network) == 0
    with trace(network, "stem") as retained:  # the record of open blocks is as before, too: runs end early again
        retained.run(x)
    assert list(retained) == ["stem"]


# Nested blocks, threads, tasks


def test_outer_block_keeps_what_an_inner_block_edited(network, x):
    with torch.no_grad(), trace(network, ["stage.0", "head"]) as outer:
        with trace(network, "stage.0", edit={"stage.0": lambda a: a + 1}) as inner:
            output = network(x)
        middle = network.stage[0](network.stem(x)) + 1
    torch.testing.assert_close(inner["stage.0"], middle)
    torch.testing.assert_close(output, network.head(network.stage[1](middle).mean((2, 3))))
    # The outer block has seen the calls by hand since, which count on because the network itself was not started.
    torch.testing.assert_close(outer["head"], network.head(network.stage[1](middle).mean((2, 3))))


def test_inner_edit_comes_first(network, x):
    with torch.no_grad(), trace(network, "stem", edit={"stem": lambda a: a * 2}) as retained:
        with trace(network, edit={"stem": lambda a: a + 1}):
            network(x)
        torch.testing.assert_close(
            retained["stem"], (nn.functional.conv2d(x, network.stem.weight, network.stem.bias) + 1) * 2
        )


def test_run_goes_to_its_end_while_an_outer_block_wants_to_see_more(network, x):
    with torch.no_grad(), trace(network, "head") as outer, trace(network, "stem") as inner:
        inner.run(x)
    assert (list(outer), list(inner)) == (["head"], ["stem"])


@pytest.mark.slow
def test_threads_that_share_a_network_do_not_see_each_other(network):
    threads, rounds = 6, 25
    barrier = threading.Barrier(threads)
    failures = []

    def work(k):
        x = torch.full((k + 1, 3, 4, 4), float(k))
        generator = torch.Generator().manual_seed(k)
        barrier.wait()
        try:
            with torch.no_grad():
                for _ in range(rounds):
                    factor = torch.rand((), generator=generator)
                    name = ("stem", "stage.0", "stage.1.bn1")[int(3 * torch.rand((), generator=generator))]
                    edit = {"stem": lambda a, factor=factor: a * factor}
                    with trace(network, [name, "stage.0.relu#1"], edit=edit) as retained:
                        (retained.run if k % 2 else network)(x)
                    with trace(alone[k], [name, "stage.0.relu#1"], edit=edit) as expected:
                        alone[k](x)
                    torch.testing.assert_close(dict(retained), dict(expected), rtol=0, atol=0)
                    torch.testing.assert_close(network(x), alone[k](x), rtol=0, atol=0)
        except BaseException as error:
            failures.append(error)

    alone = [copy.deepcopy(network) for _ in range(threads)]
    workers = [threading.Thread(target=work, args=(k,)) for k in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert hooks_of(network) == 0


def test_run_in_another_thread_is_not_seen(network, x):
    with torch.no_grad(), trace(network, "stem") as retained:
        network(x)
        worker = threading.Thread(target=network, args=(x[:1],))
        worker.start()
        worker.join()
    assert len(retained["stem"]) == 2


def test_tasks_of_one_thread_do_not_see_each_other(network, x):
    async def task(k):
        # No `no_grad` here: torch keeps that for the thread, so tasks that interleave would leave it on.
        with trace(network, "stem", edit={"stem": lambda a: a * 0 + k}) as retained:
            for _ in range(3):
                network(x)
                await asyncio.sleep(0)
            await asyncio.to_thread(retained.run, x)
        return retained["stem"].mean().item()

    async def both():
        return await asyncio.gather(task(1), task(2), task(3))

    assert asyncio.run(both()) == [1, 2, 3]
    assert hooks_of(network) == 0
