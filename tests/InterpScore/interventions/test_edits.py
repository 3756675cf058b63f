"""Guards interventions on a unit: what its activations become."""

import pytest
import torch

from InterpScore import InputError
from InterpScore.interventions.edits import ablate, add, amplify, at, clamp, replace, scale

A_UP = torch.tensor([[0.0, 1.0, 2.0], [3.0, -4.0, 5.0]])


@pytest.mark.parametrize(
    ("intervention", "becomes"),
    [
        (ablate(), [[0, 0, 0], [0, 0, 0]]),
        (amplify(), [[0, 2, 4], [6, -8, 10]]),
        (amplify(3), [[0, 3, 6], [9, -12, 15]]),
        (scale(0.5), [[0, 0.5, 1], [1.5, -2, 2.5]]),
        (scale(1), A_UP.tolist()),
        (clamp(0, 2), [[0, 1, 2], [2, 0, 2]]),
        (clamp(low=1), [[1, 1, 2], [3, 1, 5]]),
        (clamp(high=1), [[0, 1, 1], [1, -4, 1]]),
        (clamp(7, 7), [[7, 7, 7], [7, 7, 7]]),
        (add(-1.5), [[-1.5, -0.5, 0.5], [1.5, -5.5, 3.5]]),
        (replace(torch.tensor([[9.0], [8.0]])), [[9, 9, 9], [8, 8, 8]]),
        (replace(A_UP.flip(1)), [[2, 1, 0], [5, -4, 3]]),
        (at(ablate(), torch.tensor([True, False, True])), [[0, 1, 0], [0, -4, 0]]),
        (at(add(1), torch.tensor([[False, True, True]])), [[0, 2, 3], [3, -3, 6]]),
    ],
)
def test_activations_become(intervention, becomes):
    given = A_UP.clone()
    assert intervention(given).tolist() == becomes
    assert torch.equal(given, A_UP)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: scale(float("nan")), "scale: found 'nan'; expected a finite number"),
        (lambda: amplify("2"), "scale: found '2'; expected a finite number"),
        (lambda: add(True), "add: found 'True'; expected a finite number"),
        (lambda: clamp(), "clamp: neither low nor high; expected at least one of them"),
        (lambda: clamp(2, 1), "clamp: found low 2 above high 1; expected low ≤ high"),
        (lambda: clamp(float("inf")), "clamp: found 'inf'; expected a finite number"),
        (lambda: at(ablate(), torch.ones(3)), "at: positions of type torch.float32; expected booleans, one a position"),
        (lambda: at(ablate(), torch.ones(4).bool())(A_UP), "at: 4 positions; the layer's map has 3"),
        (
            lambda: replace(torch.ones(3, 3))(A_UP),
            "replace: values of shape (3, 3); expected a shape that fits (2, 3)",
        ),
    ],
)
def test_what_is_no_intervention_is_refused(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert str(caught.value) == message
