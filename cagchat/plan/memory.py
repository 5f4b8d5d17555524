"""All the memory that reading a book takes, part by part, on the GPU and in RAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from cagchat.engine.protocol import KvType
from cagchat.models.gguf import TensorInfo
from cagchat.models.shape import ModelShape
from cagchat.plan.attention import work_bytes
from cagchat.plan.buffers import Backend, compute_bytes, input_bytes, output_bytes
from cagchat.plan.caches import kv_bytes, kv_layer_bytes, n_cells, recurrent_bytes, recurrent_layer_bytes
from cagchat.plan.state_size import boundary_bytes
from cagchat.plan.weights import ALL_LAYERS, Bytes, first_gpu_layer, streamed_bytes, weights_bytes

__all__ = ["Backend", "Bytes", "Memory", "Request", "memory"]

MIB = 1 << 20
CUBLAS_WORKSPACE_BYTES = 32 * MIB  # ggml-cuda's common.cuh: on Hopper; 4 MiB on cards before it
CUDA_CONTEXT_BYTES = 512 * MIB  # estimate, not measured: the driver's context and the kernels that were loaded
CUDA_POOL_BYTES = 64 * MIB  # estimate, not measured: activations in q8_1, flash attention's partial results
CUDA_HOST_BYTES = 384 * MIB  # estimate, not measured: the driver's libraries in the engine's process
PROCESS_BYTES = 96 * MIB  # the app took 60 MB and an engine with a tiny model 33 MB on Linux
TOKEN_BYTES = 256  # of the vocabulary, with its merges, in llama.cpp's tables: 40 MB for 151,936 tokens
SNAPSHOTS = 2  # places that a chat can be rewound to: before a question and after its answer
DEVICE_MARGIN = 0.02  # of what was counted: the allocators' own rounding
HOST_MARGIN = 0.05  # and work buffers of the processor's kernels, which llama.cpp does not report
PIPELINE_COPIES = 4  # of a batch's inputs when several GPUs share the layers: GGML_SCHED_MAX_COPIES


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be computed: a model, `engine.protocol.EngineSettings`' numbers, and where.

    `backend` "cpu" means that no GPU is used, whatever `gpu_layers` says. `n_devices` counts the GPUs that share the
    layers; sizes are then those of all of them together.
    """

    shape: ModelShape
    tensors: Sequence[TensorInfo]
    n_context: int
    n_ubatch: int = 512
    kv_type: KvType = "f16"
    flash_attention: bool = True
    n_sequences: int = 2
    gpu_layers: int = ALL_LAYERS
    experts_in_ram: int = 0
    backend: Backend = "cpu"
    n_devices: int = 1

    @property
    def first_gpu_layer(self) -> int:
        """The first layer on the GPU; one past the output when there is none."""
        return first_gpu_layer(self.tensors, self.gpu_layers if self.backend != "cpu" else 0)

    @property
    def on_device(self) -> bool:
        """Whether the GPU gets anything."""
        return self.backend != "cpu" and self.gpu_layers != 0


@dataclass(frozen=True, slots=True)
class Memory:
    """The parts; `overhead` is what libraries and processes take by themselves, `margin` what is added for doubt."""

    weights: Bytes
    kv: Bytes
    recurrent: Bytes
    compute: Bytes
    snapshots: Bytes
    overhead: Bytes
    margin: Bytes

    @property
    def parts(self) -> tuple[tuple[str, Bytes], ...]:
        """Every part with its name for a reader."""
        return (
            ("weights", self.weights),
            ("KV cache", self.kv),
            ("recurrent states", self.recurrent),
            ("compute buffers", self.compute),
            ("snapshots for rewinds", self.snapshots),
            ("driver and processes", self.overhead),
            ("margin", self.margin),
        )

    @property
    def total(self) -> Bytes:
        """The sum of all parts."""
        return reduce(add, (size for _, size in self.parts))

    @property
    def device_bytes(self) -> int:
        """What the GPU must have free."""
        return self.total.device

    @property
    def host_bytes(self) -> int:
        """What RAM must have free."""
        return self.total.host

    def device_lines(self) -> list[tuple[str, int]]:
        """Return the parts on the GPU that are not empty; they add up to `device_bytes`."""
        return [(label, size.device) for label, size in self.parts if size.device]

    def host_lines(self) -> list[tuple[str, int]]:
        """Return the parts in RAM that are not empty; they add up to `host_bytes`."""
        return [(label, size.host) for label, size in self.parts if size.host]


def memory(request: Request) -> Memory:
    """Return what a request takes. Weights, caches and a processor's compute buffer are exact, the rest estimates."""
    gpu_layers = request.gpu_layers if request.on_device else 0
    weights = weights_bytes(request.tensors, gpu_layers, request.experts_in_ram)
    kv, recurrent = _caches(request)
    compute = _compute(request)
    snapshots = Bytes(host=SNAPSHOTS * boundary_bytes(request.shape, request.n_context, request.kv_type))
    overhead = _overhead(request)
    counted = reduce(add, (weights, kv, recurrent, compute, snapshots, overhead))
    margin = Bytes(int(counted.device * DEVICE_MARGIN), int((counted.host - weights.host) * HOST_MARGIN))
    return Memory(weights, kv, recurrent, compute, snapshots, overhead, margin)


def _caches(request: Request) -> tuple[Bytes, Bytes]:
    """Return K and V and the recurrent states: each layer's lie where its weights do."""
    shape, first = request.shape, request.first_gpu_layer
    sizes = (shape, request.n_context, request.kv_type, request.n_ubatch, request.n_sequences)
    kv = sum(kv_layer_bytes(layer, *sizes) for layer in range(first, shape.n_layers))
    states = sum(recurrent_layer_bytes(layer, shape, request.n_sequences) for layer in range(first, shape.n_layers))
    all_states = recurrent_bytes(shape, request.n_sequences)
    return Bytes(kv, kv_bytes(*sizes) - kv), Bytes(states, all_states - states)


def _compute(request: Request) -> Bytes:
    """Return the buffers of a batch, on a GPU with what it copies to itself of layers that stayed in RAM."""
    sizes = (request.shape, request.n_context, request.n_ubatch, request.n_sequences, request.kv_type)
    flash = request.flash_attention
    outputs = output_bytes(request.shape, request.n_sequences)
    on_host = compute_bytes(*sizes, "cpu", flash_attention=flash)
    work = 0 if flash else work_bytes(request.shape, n_cells(request.n_context), request.n_ubatch)
    on_host += work
    if not request.on_device:
        return Bytes(host=on_host + outputs)
    inputs, whole = input_bytes(*sizes, flash_attention=flash), request.first_gpu_layer == 0
    each = compute_bytes(*sizes, request.backend, flash_attention=flash) + work
    if whole and request.n_devices > 1 and not request.experts_in_ram:
        each += (PIPELINE_COPIES - 1) * inputs
    streamed = streamed_bytes(request.tensors, request.gpu_layers, request.experts_in_ram)
    in_ram = inputs if whole else on_host
    return Bytes(request.n_devices * each + streamed, in_ram + outputs)


def _overhead(request: Request) -> Bytes:
    """Return what libraries and processes take whatever they compute."""
    host = PROCESS_BYTES + TOKEN_BYTES * request.shape.n_vocab
    if not request.on_device:
        return Bytes(host=host)
    each = CUDA_CONTEXT_BYTES + CUBLAS_WORKSPACE_BYTES + CUDA_POOL_BYTES
    return Bytes(request.n_devices * each, host + CUDA_HOST_BYTES)
