"""Finds the embedding in a graph that ends by dividing it by its l2 norm."""

from __future__ import annotations

from Activation_Extraction.models.frozen_graph.plan import Plan, Reference

SMALL = 1e-3
"""Largest constant that keeps a norm from being zero; `tf.clip_by_norm` compares with larger ones."""

SAME_VALUE = ("ExpandDims", "Squeeze", "Reshape", "StopGradient", "Tile", "BroadcastTo")
POWERS = {"Rsqrt": -0.5, "Sqrt": 0.5}


def before_l2_normalisation(plan: Plan) -> Reference | None:
    """What the output divides by its l2 norm, such as `x` in `x · rsqrt(max(Σ x², ε))` or `x / (√Σ x² + ε)`.

    Returns:
        The embedding; None if the output is no l2 normalisation over the last axis of a matrix.
    """
    output = plan.without_identities(plan.output).name
    inputs = plan.references[output]
    if plan.nodes[output].operation == "RealDiv":
        pairs = [(inputs[0], inputs[1], -1.0)]
    elif plan.nodes[output].operation == "Mul":
        pairs = [(inputs[0], inputs[1], 1.0), (inputs[1], inputs[0], 1.0)]
    else:
        return None
    return next((x for x, factor, power in pairs if _is_norm(plan, factor, x, power)), None)


def _is_norm(plan: Plan, factor: Reference, x: Reference, power: float) -> bool:
    """Whether `factor ** power` is one over the l2 norm of `x`, up to a small constant against division by zero."""
    while True:
        name = plan.without_identities(factor).name
        operation, inputs = plan.nodes[name].operation, plan.references[name]
        if operation == "Sum":
            axes = plan.constant(inputs[1])
            over_units = axes is not None and axes.values.reshape(-1).tolist() in ([-1], [1])
            return over_units and power == -0.5 and _is_square(plan, inputs[0], x)
        if operation in POWERS:
            factor, power = inputs[0], power * POWERS[operation]
        elif operation in SAME_VALUE:
            factor = inputs[0]
        elif operation == "Pow" and (exponent := _number(plan, inputs[1])) is not None:
            factor, power = inputs[0], power * exponent
        elif operation == "RealDiv" and _number(plan, inputs[0]) == 1:
            factor, power = inputs[1], -power
        elif operation in ("Maximum", "Add", "AddV2"):
            numbers = [_number(plan, reference) for reference in inputs]
            small = [number is not None and 0 <= number <= SMALL for number in numbers]
            if sum(small) != 1:
                return False
            factor = inputs[small.index(False)]
        else:
            return False


def _is_square(plan: Plan, reference: Reference, x: Reference) -> bool:
    name = plan.without_identities(reference).name
    operation, inputs = plan.nodes[name].operation, plan.references[name]
    if operation == "Pow":
        squared, factors = _number(plan, inputs[1]) == 2, inputs[:1]
    else:
        squared, factors = operation in ("Square", "Mul"), inputs
    return squared and {plan.without_identities(factor) for factor in factors} == {plan.without_identities(x)}


def _number(plan: Plan, reference: Reference) -> float | None:
    """The value of a constant of one element."""
    constant = plan.constant(reference)
    return float(constant.values.item()) if constant is not None and constant.values.size == 1 else None
