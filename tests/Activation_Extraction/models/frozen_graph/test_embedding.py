"""The embedding of a graph that ends in an l2 normalisation is what is normalised, however the normalisation is written."""

import numpy as np
import pytest
import torch

from Activation_Extraction.models.frozen_graph.graph_def import parse_graph_def
from Activation_Extraction.models.frozen_graph.module import FrozenGraph
from tests.Activation_Extraction.graph_writer import GraphWriter

W = np.float32([[1, 2], [3, 4], [0, -1]])


def graph(finish, **options):
    """An embedding, a product of matrices, and what `finish` makes of it."""
    g = GraphWriter()
    x = g.node("input_image", "Placeholder", dtype=("type", 1), shape=("shape", (-1, 3)))
    finish(Ops(g), g.node("embedding", "MatMul", x, g.constant("w", W)))
    return FrozenGraph(parse_graph_def(bytes(g), "x.pb"), "x.pb", **options)


class Ops:
    """Operations by name; numbers become constants."""

    def __init__(self, g):
        self.g = g

    def __getattr__(self, operation):
        def apply(*inputs, **attributes):
            names = [x if isinstance(x, str) else self.g.constant(self.g.unique("number"), x) for x in inputs]
            return self.g.node(self.g.unique(operation), operation, *names, **attributes)

        return apply


def squares(o, x, axis=1):
    return o.Sum(o.Square(x), np.int32([axis]), keep_dims=True)


EPSILON = np.float32(1e-12)
SPELLINGS = {
    "tf.nn.l2_normalize": lambda o, x: o.Mul(x, o.Rsqrt(o.Maximum(squares(o, x), EPSILON))),
    "the other way round": lambda o, x: o.Mul(o.Rsqrt(o.Maximum(EPSILON, squares(o, x, -1))), x),
    "tf.norm": lambda o, x: o.RealDiv(x, o.Sqrt(o.Sum(o.Mul(x, x), np.int32(-1), keep_dims=True))),
    "an axis put back": lambda o, x: o.RealDiv(x, o.ExpandDims(o.Sqrt(o.Sum(o.Square(x), np.int32(1))), np.int32(1))),
    "plus epsilon": lambda o, x: o.RealDiv(x, o.AddV2(o.Sqrt(squares(o, x)), np.float32(1e-6))),
    "powers": lambda o, x: o.Mul(
        x, o.Pow(o.Sum(o.Pow(x, np.float32(2)), np.int32([1]), keep_dims=True), np.float32(-0.5))
    ),
    "one over": lambda o, x: o.Mul(x, o.RealDiv(np.float32(1), o.Sqrt(squares(o, x)))),
    "identities": lambda o, x: o.Identity(o.Mul(x, o.Rsqrt(o.Identity(squares(o, o.Identity(x)))))),
}
OTHERS = {
    "mean": lambda o, x: o.Mul(x, o.Rsqrt(o.Mean(o.Square(x), np.int32([1]), keep_dims=True))),
    "clipped": lambda o, x: o.RealDiv(x, o.Maximum(o.Sqrt(squares(o, x)), np.float32(1))),
    "no root": lambda o, x: o.RealDiv(x, squares(o, x)),
    "times": lambda o, x: o.Mul(x, o.Sqrt(squares(o, x))),
    "over images": lambda o, x: o.RealDiv(x, o.Sqrt(squares(o, x, 0))),
    "of something else": lambda o, x: o.RealDiv(x, o.Sqrt(squares(o, o.Relu(x)))),
    "softmax": lambda o, x: o.RealDiv(o.Exp(x), o.Sum(o.Exp(x), np.int32([1]), keep_dims=True)),
    "scaled": lambda o, x: o.Mul(o.Mul(x, o.Rsqrt(squares(o, x))), np.float32(100)),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_what_feeds_a_final_l2_normalisation_is_the_output(spelling):
    x = torch.tensor([[1.0, 0, 2]])
    found = graph(SPELLINGS[spelling])
    assert found.output_name == "embedding"
    assert torch.equal(found(x), x @ torch.from_numpy(W))
    assert [name for name, _ in found.named_modules() if name] == ["input_image", "w", "embedding"]


@pytest.mark.parametrize("other", OTHERS)
def test_other_ends_of_a_graph_stay_its_output(other):
    found = graph(OTHERS[other])
    assert found.output_name != "embedding"
    assert found(torch.ones(2, 3)).shape == (2, 2)


def test_an_output_that_is_asked_for_is_given_normalised():
    found = graph(SPELLINGS["tf.nn.l2_normalize"], output_name="Mul")
    assert found(torch.tensor([[1.0, 0, 2]])).norm().item() == pytest.approx(1)
