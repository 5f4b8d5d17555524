"""The tensors that one batch passes through, layer by layer, as llama.cpp builds its graph.

Follows src/models/{llama,qwen3,gemma3,qwen35,qwen35moe,delta-net-base}.cpp and llama-graph.cpp of the pinned build with
fused delta nets on, with and without flash attention. Steps stand in the order in which llama.cpp computes them; views,
which take no memory, are left out, as are weights and caches, which have buffers of their own. A step writes over what
it reads only where it reads the tensor itself: one that was reshaped on the way keeps its place, as the addresses in
real runs show.
"""

from __future__ import annotations

from dataclasses import dataclass

from cagchat.models.shape import Experts, ModelShape, Recurrent
from cagchat.plan.allocator import Graph, Tensor

F32, I32, I64, F16 = 4, 4, 8, 2
POSITIONS_MROPE = 4  # a token's position in time, height, width and one more
ROTATION = 64  # smallest side of the Hadamard matrix that rotates quantised K and V


@dataclass(frozen=True, slots=True)
class Batch:
    """How much one pass computes: `n_cells` of the cache that every token may see, `n_window_cells` where windowed.

    `rotated` is whether K and V are turned by a Hadamard matrix, as quantised ones are; `widened` whether attention
    first expands a layer's K and V to f16, as it does with quantised ones on CUDA. Without `flash_attention` the scores
    of all tokens for all cells are written out.
    """

    n_tokens: int
    n_outputs: int
    n_sequences: int
    n_cells: int
    n_window_cells: int
    rotated: bool
    widened: bool = False
    flash_attention: bool = True


def batch_graph(shape: ModelShape, batch: Batch) -> Graph:
    """Return the steps that one batch takes through the model."""
    return _Builder(shape, batch).build()


class _Builder:
    """Adds the parts of the graph in the order of llama.cpp."""

    def __init__(self, shape: ModelShape, batch: Batch) -> None:
        self.shape, self.batch = shape, batch
        self.graph = Graph()
        self.hybrid = shape.recurrent is not None
        self.width = shape.n_embed * batch.n_tokens * F32

    def build(self) -> Graph:
        graph, batch, shape = self.graph, self.batch, self.shape
        tokens = graph.input(batch.n_tokens * I32)
        graph.input(self.width)  # embeddings given instead of tokens: never used, but always there
        if self.hybrid:
            self.copies = graph.input(batch.n_sequences * I32)
        first, *others = self.cache_kinds()
        turning = self.key_rotation()  # the first attention layer meets it before it meets the positions
        self.positions = graph.input(batch.n_tokens * I32 * (POSITIONS_MROPE if self.hybrid else 1))
        self.caches = {first: self.cache_inputs(first, turning)}
        self.caches |= {windowed: self.cache_inputs(windowed, self.key_rotation()) for windowed in others}
        self.out_ids = graph.input(batch.n_outputs * I32)
        stream = graph.step(self.width, tokens)
        if shape.architecture == "gemma3":
            stream = graph.step(self.width, stream, over=(stream,))
        for layer in range(shape.n_layers):
            stream = self.layer(stream, layer)
        self.head(stream)
        return graph

    def cache_kinds(self) -> list[bool]:
        """Return in order which caches attention layers use: False the whole one, True the windowed one."""
        windowed = self.shape.windowed or (False,) * self.shape.n_layers
        return list(dict.fromkeys(windowed))

    def key_rotation(self) -> Tensor | None:
        """Add the matrix that rotates keys and queries: the largest power of two that divides a head, at least 64."""
        if not self.batch.rotated:
            return None
        side = ROTATION
        while self.shape.key_length % (2 * side) == 0:
            side *= 2
        return self.graph.input(side * side * F32)

    def cache_inputs(self, windowed: bool, key_rotation: Tensor | None) -> _Cache:
        """Add what else the layers of one cache share."""
        graph, batch = self.graph, self.batch
        value_rotation = graph.input(ROTATION * ROTATION * F32) if key_rotation else None
        key_rows = graph.input(batch.n_tokens * I64)
        # V that is kept transposed is written element by element.
        width = 1 if batch.flash_attention else max(self.shape.kv_heads) * self.shape.value_length
        rows = (key_rows, graph.input(batch.n_tokens * width * I64))
        cells = batch.n_window_cells if windowed else batch.n_cells
        mask = graph.input(cells * batch.n_tokens * (F16 if batch.flash_attention else F32))
        return _Cache(cells, mask, rows, key_rotation, value_rotation)

    def layer(self, stream: Tensor, layer: int) -> Tensor:
        """Add a layer; `stream` is what flows past attention and feed-forward."""
        normed = self.norm(stream)
        heads = self.shape.kv_heads[layer]
        recurrent = self.shape.recurrent
        if recurrent is not None and not heads:
            mixed = self.delta_net(normed, recurrent)
        else:
            mixed = self.attention(normed, layer, heads)
        width = self.width
        if layer == self.shape.n_layers - 1 and not self.hybrid:
            # Only tokens whose logits are wanted go on from here.
            width = self.shape.n_embed * self.batch.n_outputs * F32
            mixed = self.graph.step(width, mixed, self.out_ids)
            if self.shape.architecture == "gemma3":
                mixed = self.norm(mixed, over=True)
            stream = self.graph.step(width, stream, self.out_ids)
        elif self.shape.architecture == "gemma3":
            mixed = self.norm(mixed, over=True)
        # A delta net's result was reshaped.
        over = (stream,) if self.hybrid and not heads else (mixed, stream)
        stream = self.graph.step(width, mixed, stream, over=over)
        normed = self.norm(stream)
        experts = self.shape.experts
        fed = self.mixture(normed, experts) if experts else self.feed_forward(normed, self.shape.n_feed_forward)
        if self.shape.architecture == "gemma3":
            fed = self.norm(fed, over=True)
        return self.graph.step(width, fed, stream, over=(fed, stream))

    def norm(self, value: Tensor, size_bytes: int = 0, *, over: bool = False) -> Tensor:
        """Add an RMS norm and its factors, of the part of `value` that has `size_bytes` (0 for all of it)."""
        size_bytes = size_bytes or value.size_bytes
        normed = self.graph.step(size_bytes, value, over=(value,) if over else ())
        return self.graph.step(size_bytes, normed, over=(normed,))

    def attention(self, normed: Tensor, layer: int, kv_heads: int) -> Tensor:
        """Add attention: queries, values and keys into the cache, attention over all cells, the way back."""
        graph, shape, n_tokens = self.graph, self.shape, self.batch.n_tokens
        cache = self.caches[bool(shape.windowed) and shape.windowed[layer]]
        query_bytes = shape.n_heads * shape.key_length * n_tokens * F32
        key_bytes = kv_heads * shape.key_length * n_tokens * F32
        value_bytes = kv_heads * shape.value_length * n_tokens * F32
        out_bytes = shape.n_heads * shape.value_length * n_tokens * F32
        qk_normed = shape.architecture in ("qwen3", "gemma3") or self.hybrid
        both = None
        if self.hybrid:  # each head's query is followed by its gate
            both = graph.step(2 * query_bytes, normed)
            query = self.norm(both, query_bytes)
        else:
            query = graph.step(query_bytes, normed)
            if qk_normed:
                query = self.norm(query)
        query = graph.step(query_bytes, query, self.positions, over=(query,) if qk_normed else ())
        if shape.architecture == "gemma3":
            query = graph.step(query_bytes, query, over=(query,))
        query = self.rotated(query, cache.key_rotation)

        def keys() -> Tensor:
            key = graph.step(key_bytes, normed)
            if qk_normed:
                key = self.norm(key)
            key = graph.step(key_bytes, key, self.positions, over=(key,) if qk_normed else ())
            return self.rotated(key, cache.key_rotation)

        def values() -> Tensor:
            return self.rotated(graph.step(value_bytes, normed), cache.value_rotation)

        if shape.architecture == "gemma3":
            key, value = keys(), values()
        else:
            value, key = values(), keys()
        graph.store(key, cache.rows[0])
        graph.store(value, cache.rows[1])
        if self.batch.flash_attention:
            out = graph.step(out_bytes + self.widened_bytes(layer, cache), query, cache.mask)
        else:
            scores = graph.step(shape.n_heads * cache.n_cells * n_tokens * F32, query)
            scores = graph.step(scores.size_bytes, scores, cache.mask, over=(scores,))
            out = graph.step(out_bytes, graph.step(out_bytes, scores))
        if cache.value_rotation:
            out = graph.step(out_bytes, cache.value_rotation, out)
        if both is not None:
            gate = graph.step(out_bytes, both)
            gate = graph.step(out_bytes, gate, over=(gate,))
            # Flash attention's result was reshaped.
            out = graph.step(out_bytes, out, gate, over=(gate,) if self.batch.flash_attention else (out, gate))
        return graph.step(self.width, out)

    def rotated(self, value: Tensor, rotation: Tensor | None) -> Tensor:
        """Add a rotation, if there is one."""
        return self.graph.step(value.size_bytes, rotation, value) if rotation else value

    def widened_bytes(self, layer: int, cache: _Cache) -> int:
        """Return the room for a layer's K and V in f16, which is part of attention's result."""
        if not self.batch.widened:
            return 0
        width = self.shape.kv_heads[layer] * (self.shape.key_length + self.shape.value_length)
        return cache.n_cells * width * F16

    def delta_net(self, normed: Tensor, sizes: Recurrent) -> Tensor:
        """Add a gated delta net: convolution over the last tokens, then the state that every token updates."""
        graph, n_tokens, n_sequences = self.graph, self.batch.n_tokens, self.batch.n_sequences
        mixed_bytes = sizes.mixed_size * n_tokens * F32
        history_bytes = sizes.history_size * n_sequences * F32
        state_bytes = sizes.memory_size * n_sequences * F32
        inner_bytes = sizes.inner_size * n_tokens * F32
        key_bytes = sizes.key_heads * sizes.state_size * n_tokens * F32
        gate_bytes = sizes.value_heads * n_tokens * F32

        history = graph.step(history_bytes, self.copies)
        mixed = graph.step(mixed_bytes, normed)
        convolved = graph.step(history_bytes + mixed_bytes, history, mixed)
        graph.store(convolved)
        state = graph.step(state_bytes, self.copies)
        rows = graph.step(mixed_bytes, convolved)
        rows = graph.step(mixed_bytes, rows, over=(rows,))
        query = graph.step(key_bytes, rows)
        query = graph.step(key_bytes, query, over=(query,))
        key = graph.step(key_bytes, rows)
        key = graph.step(key_bytes, key, over=(key,))
        decay = graph.step(gate_bytes, graph.step(gate_bytes, normed))
        for _ in range(2):  # softplus, factor
            decay = graph.step(gate_bytes, decay, over=(decay,))
        beta = graph.step(gate_bytes, graph.step(gate_bytes, normed))
        out = graph.step(inner_bytes + state_bytes, query, key, rows, decay, beta, state)
        graph.store(out)
        out = self.norm(out, inner_bytes)
        gate = graph.step(inner_bytes, graph.step(inner_bytes, normed))
        out = graph.step(inner_bytes, out, gate, over=(out, gate))
        return graph.step(self.width, out)

    def feed_forward(self, normed: Tensor, width: int) -> Tensor:
        """Add a gated feed-forward."""
        graph, rows = self.graph, normed.size_bytes // self.shape.n_embed
        gate = graph.step(width * rows, normed)
        up = graph.step(width * rows, normed)
        both = graph.step(width * rows, gate, up)
        return graph.step(normed.size_bytes, both)

    def mixture(self, normed: Tensor, experts: Experts) -> Tensor:
        """Add the routed experts of each token, the sum of what they say, and the expert that all tokens share."""
        graph, rows = self.graph, normed.size_bytes // self.shape.n_embed
        scores = graph.step(experts.count * rows, normed)
        scores = graph.step(experts.count * rows, scores, over=(scores,))
        order = graph.step(experts.count * rows, scores)
        weights = graph.step(experts.used * rows, scores, order)
        total = graph.step(rows, weights)
        total = graph.step(rows, total, over=(total,))
        weights = graph.step(experts.used * rows, weights, total)
        hidden_bytes = experts.used * experts.width * rows
        gate = graph.step(hidden_bytes, normed, order)
        up = graph.step(hidden_bytes, normed, order)
        both = graph.step(hidden_bytes, gate, up)
        said = graph.step(experts.used * normed.size_bytes, both, order)
        said = graph.step(said.size_bytes, said, weights, over=(said,))
        reads = [said] * experts.used
        mixed = graph.step(normed.size_bytes, *reads[:2])
        for read in reads[2:]:
            mixed = graph.step(normed.size_bytes, mixed, read, over=(mixed,))
        if not experts.shared_width:
            return mixed
        shared = self.feed_forward(normed, experts.shared_width)
        share = graph.step(rows, normed)
        share = graph.step(rows, share, over=(share,))
        shared = graph.step(normed.size_bytes, shared, share, over=(shared,))
        return graph.step(normed.size_bytes, mixed, shared, over=(mixed, shared))

    def head(self, stream: Tensor) -> None:
        """Add the last norm and the logits; llama.cpp keeps both, and a hybrid's norm of all tokens as well."""
        graph, shape, n_outputs = self.graph, self.shape, self.batch.n_outputs
        normed = graph.step(stream.size_bytes, stream, over=(stream,))
        normed = graph.step(stream.size_bytes, normed, over=(normed,), kept=True)
        if self.hybrid:
            normed = graph.step(shape.n_embed * n_outputs * F32, normed, self.out_ids, kept=True)
        graph.step(shape.n_vocab * n_outputs * F32, normed, kept=True)


@dataclass(frozen=True, slots=True)
class _Cache:
    """The inputs that the layers of one cache share: the mask, the rows to write, the rotations of quantised K, V."""

    n_cells: int
    mask: Tensor
    rows: tuple[Tensor, Tensor]
    key_rotation: Tensor | None
    value_rotation: Tensor | None
