"""Compares every operation of a frozen graph with TensorFlow.

    <python with tensorflow> benchmarks/tensorflow_operations.py record
    python benchmarks/tensorflow_operations.py check

`record` builds small graphs with TensorFlow over a range of attributes, serialises them, runs them, and writes
graphs, inputs and outputs to the fixture that the tests replay. `check` runs them with ours and prints the table of
docs/FROZEN_GRAPH.md. TensorFlow has no NCHW convolution on CPUs, so those graphs are recorded with the output of their
twin in NHWC.
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
FIXTURE = ROOT / "tests" / "Activation_Extraction" / "data" / "tensorflow_operations.npz"


# --- recording: needs tensorflow ---


def record() -> None:
    import tensorflow as tf
    from tensorflow_cases import cases, network

    v1 = tf.compat.v1
    v1.disable_control_flow_v2()
    index: list[dict[str, Any]] = []
    graphs, inputs, outputs = bytearray(), [], []

    def keep(operation: str, graph_def: Any, x: Any, output: Any, node: str) -> None:
        graph = graph_def.SerializeToString()
        index.append(
            {
                "operation": operation,
                "graph": len(graph),
                "output_name": node,
                "input": x.shape,
                "output": output.shape,
                "dtype": str(output.dtype),
            }
        )
        graphs.extend(graph)
        inputs.append(x.astype(np.float32).ravel())
        outputs.append(output.astype(np.float32).ravel())

    for case in cases(tf):
        with tf.Graph().as_default() as graph:
            x = v1.placeholder(tf.float32, [None, *case.x.shape[1:]], name="input_image")
            output = tf.identity(case.build(x), name="output")
            graph_def = graph.as_graph_def()
        assert case.operation in {node.op for node in graph_def.node}, case
        with tf.Graph().as_default(), v1.Session() as session:
            x = v1.placeholder(tf.float32, [None, *case.x.shape[1:]])
            value = session.run((case.twin or case.build)(x), {x: case.x})
        keep(case.operation, graph_def, case.x, np.asarray(value), output.name.removesuffix(":0"))

    graph_defs, values = {}, {}
    for layout in ("NHWC", "NCHW"):
        with tf.Graph().as_default() as graph, v1.Session() as session:
            x, output = network(tf, layout)
            relu = graph.get_tensor_by_name("block_1/0/Relu_2:0")
            session.run(v1.global_variables_initializer())
            names = [output.op.name, relu.op.name]
            graph_defs[layout] = v1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), names)
            if layout == "NHWC":
                image = np.random.default_rng(1).integers(0, 256, (2, 8, 9, 3)).astype(np.float32)
                values = dict(zip(names, session.run([output, relu], {x: image})))
    for layout, graph_def in graph_defs.items():
        for name, value in values.items():
            moved = value.transpose(0, 3, 1, 2) if layout == "NCHW" and value.ndim == 4 else value
            keep(f"a residual network, {layout}", graph_def, image, moved, name)

    about = {"tensorflow": tf.__version__, "numpy": np.__version__, "cases": index}
    file = io.BytesIO()
    np.savez_compressed(
        file,
        about=np.frombuffer(json.dumps(about).encode(), np.uint8),
        graphs=np.frombuffer(bytes(graphs), np.uint8),
        inputs=np.concatenate(inputs),
        outputs=np.concatenate(outputs),
    )
    FIXTURE.write_bytes(file.getvalue())
    print(f"{len(index)} cases, {len(file.getvalue()):,} bytes, TensorFlow {tf.__version__}")


# --- checking: needs torch ---


class Recorded(NamedTuple):
    """The output of TensorFlow for one graph."""

    operation: str
    graph: bytes
    output_name: str
    x: Any
    output: Any


def recorded() -> tuple[dict[str, Any], list[Recorded]]:
    """The versions, and every case of the fixture."""
    with np.load(FIXTURE, allow_pickle=False) as file:
        about = json.loads(bytes(file["about"]))
        graphs, inputs, outputs = bytes(file["graphs"]), file["inputs"], file["outputs"]
    found, g, i, o = [], 0, 0, 0
    for case in about.pop("cases"):
        n_in, n_out = int(np.prod(case["input"])), int(np.prod(case["output"]))
        output = outputs[o : o + n_out].reshape(case["output"]).astype(case["dtype"])
        graph, x = graphs[g : g + case["graph"]], inputs[i : i + n_in].reshape(case["input"])
        found.append(Recorded(case["operation"], graph, case["output_name"], x, output))
        g, i, o = g + case["graph"], i + n_in, o + n_out
    return about, found


def relative_difference(case: Recorded) -> float:
    """The largest difference of ours from TensorFlow's, over TensorFlow's largest value; infinite for other shapes."""
    import torch

    from Activation_Extraction.models.frozen_graph.graph_def import parse_graph_def
    from Activation_Extraction.models.frozen_graph.module import FrozenGraph

    graph = FrozenGraph(parse_graph_def(case.graph, case.operation), case.operation, output_name=case.output_name)
    ours = graph(torch.tensor(case.x)).numpy()
    if ours.shape != case.output.shape or ours.dtype != case.output.dtype:
        return float("inf")
    a, b = ours.astype(np.float64), case.output.astype(np.float64)
    return float(np.abs(a - b).max(initial=0) / max(np.abs(b).max(initial=0), 1e-30)) if a.size else 0.0


def check() -> None:
    import torch

    about, found = recorded()
    print(f"TensorFlow {about['tensorflow']} (CPU) against torch {torch.__version__}: {len(found)} graphs.\n")
    print("| operation | cases | largest relative difference |\n|---|---|---|")
    for operation in sorted({case.operation for case in found}, key=lambda name: (" " in name, name)):
        differences = [relative_difference(case) for case in found if case.operation == operation]
        print(f"| {operation} | {len(differences)} | {max(differences):.1e} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("record", "check"))
    {"record": record, "check": check}[parser.parse_args().step]()
