"""One graph that scores: all that a bound needs of a bundle's networks, from images and noise to log-probabilities.

Of N images, with D draws of their latents in rows:

    mean_l, log_std_l = encoder(image)                                  N
    z_l = mean_l[rows] + exp(log_std_l[rows]) noise_l                   D, of each level l
    prior of z1 = prior(z1, prior_context(z2))                          D, with two levels
    log_prob = decoder(image[rows], decoder_context(z1))                D

``rows`` says whose draw each is, so that images, posteriors and contexts are repeated where the graph runs. Of the
operators that are added, Gather, Exp, Mul and Add, CUDA has kernels for every type they meet here (onnxruntime's
docs/OperatorKernels.md).

References:
    [1] PixelVAE (Gulrajani et al., 2017), arXiv 1611.05013, eq. (1) and (2)
    [2] Auto-Encoding Variational Bayes (Kingma and Welling, 2014), arXiv 1312.6114, section 2.4: z of mean and noise
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from onnx import TensorProto, helper

IMAGE, ROWS = "image", "rows"


def scoring_roles(levels: int) -> tuple[str, ...]:
    """The graphs that are joined."""
    return ("encoder", *(("prior_context", "prior") if levels > 1 else ()), "decoder_context", "decoder")


def scoring_graph(parts: Mapping[str, onnx.ModelProto], levels: int) -> onnx.ModelProto:
    """The graphs of `scoring_roles` as one.

    Inputs: ``image`` (N, C, H, W) as the parts take it, ``rows`` int64 (D,), and ``z1_noise`` (with two levels
    ``z2_noise``) float32 (D, *latent_shape). Outputs: ``z1_mean`` and ``z1_log_std`` (N, *latent_shape) of each level,
    ``z1`` (D, *latent_shape) of each level, with two levels ``prior_mean`` and ``prior_log_std`` (D, *latent_shape),
    and ``log_prob`` (D, C, H, W).
    """
    new = _Joining()
    new.input(_tensor(parts["encoder"].graph.input, IMAGE), IMAGE, "N")
    new.inputs.append(helper.make_tensor_value_info(ROWS, TensorProto.INT64, ["D"]))
    q = new.place(parts["encoder"], "encoder", {IMAGE: IMAGE})
    z = []
    for level in (f"z{number}" for number in range(1, levels + 1)):
        posterior = _tensor(parts["encoder"].graph.output, f"{level}_mean")
        noise = new.input(posterior, f"{level}_noise", "D")
        std = new.op("Exp", [new.repeated(q[f"{level}_log_std"])], f"{level}_std")
        scaled = new.op("Mul", [std, noise], f"{level}_scaled_noise")
        z.append(new.op("Add", [new.repeated(q[f"{level}_mean"]), scaled], level))
        for name in (f"{level}_mean", f"{level}_log_std"):
            new.output(q[name], name, posterior, "N")
        new.output(level, level, posterior, "D")
    if levels > 1:
        context = new.place(parts["prior_context"], "prior_context", {"z2": z[1]})["context"]
        prior = new.place(parts["prior"], "prior", {"z1": z[0], "context": context})
        for name in ("prior_mean", "prior_log_std"):
            new.output(prior[name], name, _tensor(parts["prior"].graph.output, name), "D")
    context = new.place(parts["decoder_context"], "decoder_context", {"z1": z[0]})["context"]
    decoded = new.place(parts["decoder"], "decoder", {IMAGE: new.repeated(IMAGE), "context": context})
    new.output(decoded["log_prob"], "log_prob", _tensor(parts["decoder"].graph.output, "log_prob"), "D")
    return new.finished(parts["encoder"])


class _Joining:
    """A graph that is put together: nodes of others under the names of their roles, and some between them."""

    def __init__(self) -> None:
        self.inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def place(self, part: onnx.ModelProto, role: str, fed: Mapping[str, str]) -> dict[str, str]:
        """Put a graph in, fed by tensors that are there; the tensors that its outputs have become, by their names."""

        def renamed(name: str) -> str:
            return fed.get(name, f"{role}/{name}") if name else ""  # nothing stands for an input that is left out

        for tensor in part.graph.initializer:
            constant = onnx.TensorProto()
            constant.CopyFrom(tensor)
            constant.name = renamed(tensor.name)
            self._constants.append(constant)
        for number, old in enumerate(part.graph.node):
            node = onnx.NodeProto()
            node.CopyFrom(old)
            node.name = f"{role}/{old.name or number}"
            node.input[:] = [renamed(name) for name in old.input]
            node.output[:] = [renamed(name) for name in old.output]
            self._nodes.append(node)
        return {output.name: renamed(output.name) for output in part.graph.output}

    def op(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def repeated(self, tensor: str) -> str:
        """A tensor of N images for their D draws."""
        return self.op("Gather", [tensor, ROWS], f"{tensor}/repeated", axis=0)

    def input(self, like: onnx.ValueInfoProto, name: str, rows: str) -> str:
        self.inputs.append(_named(like, name, rows))
        return name

    def output(self, tensor: str, name: str, like: onnx.ValueInfoProto, rows: str) -> None:
        if tensor != name:
            self.op("Identity", [tensor], name)
        self._outputs.append(_named(like, name, rows))

    def finished(self, like: onnx.ModelProto) -> onnx.ModelProto:
        graph = helper.make_graph(self._nodes, "score", self.inputs, self._outputs, self._constants)
        return helper.make_model(graph, ir_version=like.ir_version, opset_imports=list(like.opset_import))


def _tensor(tensors: onnx.ValueInfoProto, name: str) -> onnx.ValueInfoProto:
    found: onnx.ValueInfoProto = next(tensor for tensor in tensors if tensor.name == name)
    return found


def _named(like: onnx.ValueInfoProto, name: str, rows: str) -> onnx.ValueInfoProto:
    tensor = onnx.ValueInfoProto()
    tensor.CopyFrom(like)
    tensor.name = name
    tensor.type.tensor_type.shape.dim[0].Clear()
    tensor.type.tensor_type.shape.dim[0].dim_param = rows
    return tensor
