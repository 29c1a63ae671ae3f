"""Files of a program, and what runs them."""

from __future__ import annotations

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export import ExportedProgram

from simulacra.core import UserError
from simulacra.deploy.export.contract import Contract
from simulacra.deploy.export.program import quiet

Array = NDArray[np.float32]
Run = Callable[[Sequence[Array]], list[Array]]
"""From inputs ``(B, *shape)`` to outputs."""


def required(package: str) -> Any:
    """A package of the extra ``export``.

    Raises:
        UserError: If it is missing.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"this needs the package {package}: pip install simulacra[export]"
        ) from error


class Format(ABC):
    """A kind of file."""

    name: ClassVar[str]
    file: ClassVar[str]
    """Name of the file."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages that it needs."""

    def ready(self) -> None:
        """Look whether all is there that writing it needs.

        Raises:
            UserError: If something is missing.
        """
        for package in self.packages:
            required(package)

    @abstractmethod
    def write(self, program: ExportedProgram, contract: Contract, path: Path) -> None:
        """Write the program as a file."""

    @abstractmethod
    def load(self, path: Path, threads: int = 1) -> Run:
        """What runs a file.

        Args:
            path: The file.
            threads: Threads that share the work of one call.
        """


class Onnx(Format):
    """ONNX, for onnxruntime."""

    name = "onnx"
    file = "model.onnx"
    packages = ("onnx", "onnxscript", "onnxruntime")

    def write(self, program: ExportedProgram, contract: Contract, path: Path) -> None:
        """See :meth:`Format.write`; weights are in the file."""
        inputs, outputs = (
            [port.name for port in side] for side in (contract.inputs, contract.outputs)
        )
        with quiet():
            made = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                optimize=False,  # takes many minutes for an unrolled solver; runtimes do it when they load
                custom_translation_table={
                    torch.ops.aten.sort.stable: _sorted,
                    torch.ops.aten.erfc.default: _erfc,
                    torch.ops.aten.atan2.default: _atan2,
                    torch.ops.aten.conv3d.default: _conv3d,
                },
                input_names=inputs,
                output_names=outputs,
            )
            assert made is not None
            made.save(str(path), external_data=False)

    def load(self, path: Path, threads: int = 1) -> Run:
        """See :meth:`Format.load`."""
        runtime = required("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [item.name for item in session.get_inputs()]

        def run(inputs: Sequence[Array]) -> list[Array]:
            found: list[Array] = session.run(None, dict(zip(names, inputs, strict=True)))
            return found

        return run


def _sorted(values: Any, stable: bool, dim: int = -1, descending: bool = False) -> Any:
    """Values and places, in words of ONNX, where equal values keep their order."""
    words = required("onnxscript").opset18
    number = words.Gather(words.Shape(values), words.Constant(value_ints=[dim]))
    return words.TopK(values, number, axis=dim, largest=int(descending), sorted=1)


def _erfc(x: Any) -> Any:
    """In float32, the one type in which onnxruntime has the error function: to an absolute 1e-7."""
    words = required("onnxscript").opset18
    return words.CastLike(words.Sub(1.0, words.Erf(words.Cast(x, to=1))), x)


def _atan2(y: Any, x: Any) -> Any:
    """In float32, as :func:`_erfc`; in (-pi, pi]."""
    words = required("onnxscript").opset18
    y32, x32 = words.Cast(y, to=1), words.Cast(x, to=1)
    slope = words.Atan(words.Div(y32, x32))
    up, down = words.Add(slope, math.pi), words.Sub(slope, math.pi)
    turned = words.Where(words.Less(y32, 0.0), down, up)
    return words.CastLike(words.Where(words.Less(x32, 0.0), turned, slope), y)


def _conv3d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sequence[int] = (1, 1, 1),
    padding: Sequence[int] = (0, 0, 0),
    dilation: Sequence[int] = (1, 1, 1),
    groups: int = 1,
) -> Any:
    """With or without a bias; the translation of onnxscript makes a missing one of the wrong shape."""
    words = required("onnxscript").opset18
    given = [x, weight] if bias is None else [x, weight, bias]
    return words.Conv(
        *given,
        strides=list(stride),
        pads=[*padding, *padding],
        dilations=list(dilation),
        group=groups,
    )


class TorchScript(Format):
    """TorchScript, for LibTorch."""

    name = "torchscript"
    file = "model.pt"

    def write(self, program: ExportedProgram, contract: Contract, path: Path) -> None:
        """See :meth:`Format.write`."""
        with quiet():
            module = torch.jit.freeze(torch.jit.script(plain(program)).eval())
            module = torch.jit.script(contract.wrapped(module))
            torch.jit.save(module, str(path))

    def load(self, path: Path, threads: int = 1) -> Run:
        """See :meth:`Format.load`."""
        with quiet():
            module = torch.jit.load(str(path)).eval()
        return _of_torch(module)


class Pt2(Format):
    """A program of ``torch.export``."""

    name = "pt2"
    file = "model.pt2"

    def write(self, program: ExportedProgram, contract: Contract, path: Path) -> None:
        """See :meth:`Format.write`."""
        with quiet():
            torch.export.save(program, str(path))

    def load(self, path: Path, threads: int = 1) -> Run:
        """See :meth:`Format.load`."""
        with quiet():
            module = torch.export.load(str(path)).module()
        return _of_torch(module)


class Aoti(Format):
    """A program that is compiled for the processor of this machine, for LibTorch (AOTInductor).

    It is machine code: it runs on processors with the same instructions alone, and does whatever it was
    compiled from.
    """

    name = "aoti"
    file = "compiled.pt2"

    def ready(self) -> None:
        """See :meth:`Format.ready`."""
        from torch._inductor import cpp_builder, exc  # hundreds of modules

        try:
            cpp_builder.get_cpp_compiler()
        except exc.InvalidCxxCompiler as error:
            raise UserError(
                "format=aoti needs a C++ compiler, and there is none (CXX names one): install one, or take "
                "format=torchscript"
            ) from error

    def write(self, program: ExportedProgram, contract: Contract, path: Path) -> None:
        """See :meth:`Format.write`."""
        threads = {"cpp.dynamic_threads": True}  # of the host, not of this process
        with quiet():
            torch._inductor.aoti_compile_and_package(
                program, package_path=str(path), inductor_configs=threads
            )

    def load(self, path: Path, threads: int = 1) -> Run:
        """See :meth:`Format.load`."""
        return _of_torch(torch._inductor.aoti_load_package(str(path)))


FORMATS: dict[str, Format] = {form.name: form for form in (Onnx(), TorchScript(), Pt2(), Aoti())}


def _of_torch(module: Callable[..., Tensor | tuple[Tensor, ...]]) -> Run:
    def run(inputs: Sequence[Array]) -> list[Array]:
        with torch.inference_mode():
            found = module(*map(torch.from_numpy, inputs))
        return [value.numpy() for value in ((found,) if isinstance(found, Tensor) else found)]

    return run


def plain(program: ExportedProgram) -> torch.fx.GraphModule:
    """A program in words that TorchScript knows: packets of overloads, no checks, no trees; one output alone
    is a tensor.
    """
    held = program.module(check_guards=False)
    graph = held.graph
    graph.set_codegen(torch.fx.graph.CodeGen())
    for node in list(graph.nodes):
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            graph.erase_node(node)
        elif isinstance(node.target, torch._ops.OpOverload):
            node.target = node.target.overloadpacket
    end = graph.output_node()
    (made,) = end.args
    assert isinstance(made, tuple)
    end.args = (made[0] if len(made) == 1 else made,)
    for node in list(graph.nodes):
        with graph.inserting_before(node):
            node.args, node.kwargs = (_spelt(part, graph) for part in (node.args, node.kwargs))
    graph.eliminate_dead_code()
    kept = {
        node.target: getattr(held, node.target) for node in graph.nodes if node.op == "get_attr"
    }
    return torch.fx.GraphModule(kept, graph)


def _spelt(value: Any, graph: torch.fx.Graph) -> Any:
    """Arguments in which infinite numbers and NaN are made of their names, as TorchScript wants them."""

    def spelt(item: Any) -> Any:
        if isinstance(item, float) and not math.isfinite(item):
            return graph.call_function(float, (str(item),))
        return item

    return torch.fx.node.map_aggregate(value, spelt)
