"""The engine: run only what a change of one component can reach.

After a change at the output of a head (or MLP) of layer l, what must be computed anew is: the rest
of block l and the blocks above it, at the positions from the first differing token on; in the last
block only the last position's MLP; of the unembedding only the answers' rows. A *row* is one such
evaluation. Rows of different pairs, layers and points of the path share batches: a batch sweeps
upwards through the blocks, and each row joins at its own layer with the background's residual
stream and its shifted attention (or MLP) output.

Exactness: keys and values of the prefix are those of the unchanged run, since causal attention lets
no earlier position see a later one; everything else is the model's own modules. `check` compares
the engine with the model's own forward pass and is made once for each shape.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from transformers.cache_utils import DynamicCache

from counterpoint.activations import (
    Activations,
    Component,
    Direction,
    Prompt,
    background_prompt,
)
from counterpoint.errors import UserError
from counterpoint.linear import through_onednn
from counterpoint.metrics import Metric, make_metric
from counterpoint.models.load import LanguageModel
from counterpoint.replay import (
    Forward,
    PrefixKeysValues,
    block_arguments,
    hidden_states_of,
    last_position,
    replaced_forward,
)

CHECK_TOLERANCE = 1e-3
"""How far the engine's unchanged run may be from the model's own, in logits over their spread.

Float32 gives about 1e-6 on the models tried; what this refuses (positions that depend on the batch,
attention that sees later tokens) misses by order one."""

POSITIONS_PER_BATCH = 1024
"""Rows × positions of a batch on a CPU. With SmolLM2 on two cores, batches of 450 to 1,800
positions made 310 to 330 · 10⁹ operations per second, of 3,200 positions 240 and of 6,300 only
210: larger ones leave the cache."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Evaluations to make. Rows are in order of layer, lowest first."""

    pair: Int[Tensor, " row"]
    """The place of each row's pair in the bucket."""
    layer: tuple[int, ...]
    """The layer at which each row joins."""
    shift: Float[Tensor, "row suffix d_model"]
    """What is added to the component's output, at every position of the suffix."""

    def __post_init__(self) -> None:
        if list(self.layer) != sorted(self.layer):
            raise ValueError("rows must be in order of layer")


class SuffixEngine:
    """Evaluates rows on the background runs of one bucket of pairs.

    ``memory_mb`` bounds the tensors of one batch; a batch that does not fit after all is halved and
    the smaller size remembered.
    """

    def __init__(
        self,
        model: LanguageModel,
        activations: Activations,
        *,
        metric: str = "logit_difference",
        memory_mb: int = 1000,
        verify: bool = True,
    ) -> None:
        self.model = model
        self.activations = activations
        self.memory_mb = memory_mb
        pairs = activations.pairs
        self.arguments = block_arguments(model, pairs.clean.shape[1], pairs.first_difference)
        self.evaluations = 0
        """Rows evaluated so far."""
        self._rows_that_fit: dict[bool, int] = {}
        clean_logits = None
        if metric == "kl_divergence":
            clean_logits = self.logits(activations.clean.final)
        self.metric: Metric = make_metric(
            metric,
            pairs.correct,
            pairs.incorrect,
            d_vocab=model.d_vocab,
            clean_logits=clean_logits,
            device=model.device,
            dtype=model.dtype,
        )
        if verify:
            self.check()

    @property
    def suffix_length(self) -> int:
        return self.activations.pairs.length - self.activations.pairs.first_difference

    # -- what is evaluated -------------------------------------------------------------------

    def unpatched(self, prompt: Prompt) -> Float[Tensor, " pair"]:
        """The metric of each pair's own run, clean or corrupted."""
        final = self.activations.run(prompt).final
        every_pair = torch.arange(len(final), device=final.device)
        return self.metric(self.logits(final, self.metric.vocabulary), every_pair)

    def evaluate(
        self, rows: Rows, direction: Direction, component: Component = "head"
    ) -> Float[Tensor, " row"]:
        """The metric of each row, in one batch. Differentiable with respect to ``rows.shift``."""
        final = self.final(rows, direction, component)
        return self.metric(self.logits(final, self.metric.vocabulary), rows.pair)

    def final(
        self, rows: Rows, direction: Direction, component: Component = "head"
    ) -> Float[Tensor, "row d_model"]:
        """The last block's output at the last position of each row, in one batch.

        `logits` makes any answer's logit of it.
        """
        self.evaluations += len(rows.layer)
        return self._sweep(rows, background_prompt(direction), component)

    def run_suffix(self, tokens: Int[Tensor, "row suffix"], pair: Int[Tensor, " row"]) -> None:
        """Run the whole model on the suffixes ``tokens``; what is wanted of it is hooked."""
        prefix = self.activations.prefix
        self.evaluations += len(tokens)
        with through_onednn(self.model.submodules_of_blocks):
            self.model.hf(
                input_ids=tokens,
                past_key_values=DynamicCache() if prefix is None else prefix.cache(pair),
                use_cache=True,
                logits_to_keep=1,
            )

    def in_batches(
        self,
        count: int,
        compute: Callable[[slice], Tensor],
        *,
        differentiate: bool = False,
        advance: Callable[[int], object] | None = None,
    ) -> Tensor:
        """Join ``compute(rows)`` over slices of ``count`` rows that fit in memory.

        ``differentiate`` says that every layer's values are kept for a backward pass; ``advance``
        is told how many rows each batch had. A batch that runs out of memory is halved. Raises
        UserError when one row does not fit.
        """
        results: list[Tensor] = []
        start = 0
        while start < count:
            size = self.rows_per_batch(differentiate=differentiate)
            # Equal parts: a small last batch would run at a worse rate.
            parts = -(-(count - start) // size)
            stop = start + -(-(count - start) // parts)
            try:
                results.append(compute(slice(start, stop)))
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
                self._remember_too_many(stop - start, differentiate)
                continue
            if advance is not None:
                advance(stop - start)
            start = stop
        return torch.cat(results)

    def rows_per_batch(self, *, differentiate: bool = False) -> int:
        """How many rows fit in ``memory_mb``, by what one row needs, and run at a good rate."""
        model, config = self.model, self.model.hf.config.get_text_config(decoder=True)
        width = getattr(config, "intermediate_size", None) or 4 * model.d_model
        keys = self.activations.pairs.length
        per_position = 12 * model.d_model + 4 * width + 4 * model.n_heads * keys
        prefix = 4 * model.d_model * keys
        elements = self.suffix_length * per_position + prefix
        if differentiate:
            elements *= model.n_layers
        bytes_per_row = elements * torch.finfo(model.dtype).bits // 8
        fits = self.memory_mb * 2**20 // bytes_per_row
        if model.device.type == "cpu":
            fits = min(fits, POSITIONS_PER_BATCH // self.suffix_length)
        return max(1, min(fits, self._rows_that_fit.get(differentiate, fits)))

    def _remember_too_many(self, count: int, differentiate: bool) -> None:
        if count == 1:
            raise UserError(
                f"device {self.model.device}: not even one row of {self.suffix_length} positions"
                " fits in memory; free memory, choose a smaller model or shorter prompts."
            )
        self._rows_that_fit[differentiate] = count // 2
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()

    # -- how ------------------------------------------------------------------------------------

    def _sweep(
        self, rows: Rows, background: Prompt, component: Component
    ) -> Float[Tensor, "row d_model"]:
        """The output of the last block at the last position, for every row."""
        model, run = self.model, self.activations.run(background)
        counts = [0] * model.n_layers
        for layer in rows.layer:
            counts[layer] += 1
        hidden = run.residual.new_empty(0, *run.residual.shape[2:])
        passing = 0
        with through_onednn(model.submodules_of_blocks):
            for layer in range(min(rows.layer), model.n_layers):
                entering = slice(passing, passing + counts[layer])
                if counts[layer]:
                    hidden = torch.cat([hidden, run.residual[layer][rows.pair[entering]]])
                hidden = self._block(layer, hidden, rows, passing, entering, run, component)
                passing = entering.stop
        return hidden[:, -1]

    def _block(
        self,
        layer: int,
        hidden: Tensor,
        rows: Rows,
        passing: int,
        entering: slice,
        run: Any,
        component: Component,
    ) -> Tensor:
        """Run one block on the rows that pass through it and those that enter at its component."""
        model, arguments = self.model, self.arguments[layer]
        last = layer == model.n_layers - 1
        enters = entering.stop > entering.start
        pair, shift = rows.pair[entering], rows.shift[entering]
        only = slice(-1, None) if last else slice(None)
        with contextlib.ExitStack() as replaced:
            if enters:
                attention = run.attention[layer][pair]
                if component == "head":
                    attention = attention + shift
                else:
                    mlp = (run.mlp[layer][pair] + shift)[:, only]
                    replaced.enter_context(
                        replaced_forward(model.mlps[layer], _joining(passing, mlp, 0, only))
                    )
                replaced.enter_context(
                    replaced_forward(
                        model.attentions[layer],
                        _joining(passing, attention[:, only], arguments.attention_arity),
                    )
                )
            if last:
                # Nothing reads the other positions any more; the last one's values broadcast over
                # them in the residual sum, and are cut off above.
                if passing:
                    replaced.enter_context(
                        replaced_forward(model.output_projections[layer], last_position)
                    )
                if not (enters and component == "mlp"):
                    replaced.enter_context(replaced_forward(model.mlps[layer], last_position))
            prefix = self.activations.prefix or _NO_PREFIX[model.n_layers]
            return arguments.call(model.blocks[layer], hidden, prefix.cache(rows.pair[:passing]))

    def logits(
        self,
        final: Float[Tensor, "row d_model"],
        vocabulary: Int[Tensor, " token"] | None = None,
    ) -> Float[Tensor, "row token"]:
        """Logits from the last block's output: the model's own final norm, unembedding and caps.

        The model's forward pass runs with its blocks handing ``final`` through, so whatever it does
        after them (a projection, a scale, soft-capping) is done here too.
        """
        model = self.model
        unembedding = model.hf.get_output_embeddings()
        with contextlib.ExitStack() as replaced:
            for block, arguments in zip(model.blocks, self.arguments, strict=True):
                replaced.enter_context(
                    replaced_forward(block, _handing_through(final, arguments.arity))
                )
            if vocabulary is not None:
                replaced.enter_context(
                    replaced_forward(
                        cast(nn.Module, unembedding), _only_tokens(unembedding, vocabulary)
                    )
                )
            tokens = torch.zeros(len(final), 1, dtype=torch.long, device=final.device)
            return model.hf(input_ids=tokens, use_cache=False, logits_to_keep=1).logits[:, -1]

    @torch.no_grad()
    def check(self) -> None:
        """Compare the engine, entered at every layer without a shift, with the model's own run.

        Raises UserError when they differ: the architecture then needs something that re-entering at
        a layer does not give it.
        """
        key = (self.activations.pairs.length, self.activations.pairs.first_difference)
        checked = cast("set[tuple[int, int]]", self.model.__dict__.setdefault("_checked", set()))
        if key in checked:
            return
        n_layers = self.model.n_layers
        rows = Rows(
            pair=torch.zeros(n_layers, dtype=torch.long, device=self.model.device),
            layer=tuple(range(n_layers)),
            shift=torch.zeros_like(self.activations.clean.residual[:, 0]),
        )
        prompt = self.activations.pairs.clean[:1]
        whole = self.model.hf(input_ids=prompt, use_cache=False, logits_to_keep=1).logits[:, -1]
        again = self.logits(self._sweep(rows, "clean", "head"))
        tolerance = max(CHECK_TOLERANCE, 8 * torch.finfo(self.model.dtype).eps)
        error = float((again - whole).abs().amax() / (whole.amax() - whole.amin()))
        if not error <= tolerance:
            raise UserError(
                f"model architecture {type(self.model.hf).__name__}: re-entering at a layer changes"
                f" the logits by {error:.1e} of their spread (at most {tolerance:.0e} is allowed)."
                " Its blocks depend on something besides the hidden states and the key-value cache;"
                " choose another model, such as a GPT-2, Llama, GPT-NeoX, Gemma or Qwen."
            )
        checked.add(key)


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch could not get memory: a class of its own on accelerators, a text on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


class _NoPrefix(dict[int, PrefixKeysValues]):
    """Empty prefixes by number of layers."""

    def __missing__(self, n_layers: int) -> PrefixKeysValues:
        empty = torch.empty(1, 1, 0, 1)
        self[n_layers] = PrefixKeysValues([empty] * n_layers, [empty] * n_layers)
        return self[n_layers]


_NO_PREFIX = _NoPrefix()


def _joining(passing: int, entering: Tensor, arity: int, only: slice = slice(None)) -> Any:
    """A forward that computes the first ``passing`` rows and appends given values for the rest.

    ``arity`` is the number of values that the module returns, 0 for a bare tensor. ``only`` cuts
    the positions that are computed.
    """

    def make(original: Forward) -> Forward:
        def forward(*args: Any, **kwargs: Any) -> Any:
            if passing == 0:
                joined, rest = entering, (None,) * max(0, arity - 1)
            else:
                hidden, keyword = hidden_states_of(args, kwargs)
                hidden = hidden[:passing, only]
                output = (
                    original(hidden, *args[1:], **kwargs)
                    if keyword is None
                    else original(*args, **{**kwargs, keyword: hidden})
                )
                computed, rest = (output[0], output[1:]) if arity else (output, ())
                joined = torch.cat([computed, entering])
            return (joined, *rest) if arity else joined

        return forward

    return make


def _handing_through(final: Tensor, arity: int) -> Any:
    def make(original: Forward) -> Forward:
        def forward(*args: Any, **kwargs: Any) -> Any:
            given = final.unsqueeze(1)
            return (given, *(None,) * (arity - 1)) if arity else given

        return forward

    return make


def _only_tokens(unembedding: Any, vocabulary: Tensor) -> Any:
    def make(original: Forward) -> Forward:
        def forward(hidden: Tensor) -> Tensor:
            bias = getattr(unembedding, "bias", None)
            return functional.linear(
                hidden, unembedding.weight[vocabulary], None if bias is None else bias[vocabulary]
            )

        return forward

    return make
