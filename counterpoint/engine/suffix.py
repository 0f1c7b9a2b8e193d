"""The engine: run only what a change of one component can reach.

After a change at the output of a head (or MLP) of layer l, what must be computed anew is: the rest
of block l and the blocks above it, at the positions from the first differing token on; in the last
block only the last position's MLP; of the unembedding only the answers' rows. A *row* is one such
evaluation. Rows of different pairs, layers and points of the path share batches: a batch sweeps
upwards through the blocks, and each row joins at its own layer with the background's residual
stream and its shifted attention (or MLP) output, or with the residual stream itself shifted.

A change at one later position leaves those before it as they are, so that rows of that position
need only what comes from there on: `behind` gives an engine for them (`position_views`).

Exactness: keys and values of the prefix are those of the unchanged run, since causal attention lets
no earlier position see a later one; everything else is the model's own modules.
`evaluation_rows.WAYS` says how else rows are evaluated where a model's blocks cannot be called one
by one; which way is right for a model is found by comparing with its own forward passes, once for
each shape (`selfcheck`).
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from counterpoint.engine import unembedding
from counterpoint.engine.activations import (
    Activations,
    Component,
    Direction,
    Prompt,
    background_prompt,
)
from counterpoint.engine.evaluation_rows import Rows, Way
from counterpoint.engine.expert_routing import Choices, recorded
from counterpoint.engine.library_errors import is_out_of_memory, library_errors
from counterpoint.engine.linear import through_onednn
from counterpoint.engine.metrics import Metric, make_metric
from counterpoint.engine.prefix_cache import PrefixKeysValues, cache_for
from counterpoint.engine.replay import (
    block_arguments,
    by_row,
    first_of,
    hidden_states_of,
    joining,
    last_of,
    last_position,
    replaced_forward,
    with_first,
)
from counterpoint.engine.selfcheck import known_way
from counterpoint.errors import UserError
from counterpoint.models.load import LanguageModel

POSITIONS_PER_BATCH = 1024
"""Rows × positions of a batch on a CPU. With SmolLM2 on two cores, batches of 450 to 1,800
positions made 310 to 330 · 10⁹ operations per second, of 3,200 positions 240 and of 6,300 only
210: larger ones leave the cache."""


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
        if pairs.aligned_with is not None and activations.laid_out_for is None:
            raise ValueError(
                "pairs of unequal length need activations of one direction (laid_out_runs.laid_out)"
            )
        with library_errors(model, "recording what its blocks are given"):
            self.arguments = block_arguments(model, activations.length, activations.start)
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
        self._verify = verify
        self._ways: dict[Component, Way] = {}
        if verify:
            self.way("head")

    @property
    def parts(self) -> tuple[tuple[SuffixEngine, float], ...]:
        """The engines whose values, times a sign, add up to this one's: here itself alone.

        What is linear in the metric is the same sum (`whole_answers`).
        """
        return ((self, 1.0),)

    @property
    def suffix_length(self) -> int:
        return self.activations.length - self.activations.start

    def way(self, component: Component) -> Way:
        """How rows that enter at ``component`` are evaluated; see `selfcheck.find_way`.

        Raises UserError where no way gives what the model's own passes give.
        """
        if component not in self._ways:
            self._ways[component] = known_way(self, component, verify=self._verify)
        return self._ways[component]

    def behind(self, start: int, prefix: PrefixKeysValues) -> SuffixEngine:
        """An engine of the same pairs for the positions from ``start`` on.

        ``prefix`` are the keys and values that one prompt's run has at all positions before: only
        that prompt may be the background. Rows are evaluated in the ways that this engine's are.
        """
        view = copy.copy(self)
        view.activations = self.activations.behind(start, prefix)
        view.arguments = block_arguments(self.model, self.activations.length, start)
        view._rows_that_fit = {}
        return view

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

    def evaluate_with_choices(
        self, rows: Rows, direction: Direction, component: Component
    ) -> tuple[Float[Tensor, " row"], Choices]:
        """The same, and which experts each row chose."""
        # What the engine compares itself on first is no row of this batch.
        self.way(component)
        return recorded(
            self.model,
            len(rows.layer),
            self.suffix_length,
            lambda: self.evaluate(rows, direction, component),
        )

    def final(
        self, rows: Rows, direction: Direction, component: Component = "head"
    ) -> Float[Tensor, "row d_model"]:
        """The last block's output at the last position of each row, in one batch.

        `logits` makes any answer's logit of it.
        """
        self.evaluations += len(rows.layer)
        return self.sweep(rows, background_prompt(direction), component, self.way(component))

    def run_suffix(self, tokens: Int[Tensor, "row suffix"], pair: Int[Tensor, " row"]) -> None:
        """Run the whole model on the suffixes ``tokens``; what is wanted of it is hooked."""
        self.evaluations += len(tokens)
        with through_onednn(self.model.submodules_of_blocks):
            self.model.hf(
                input_ids=tokens, logits_to_keep=1, **cache_for(self.activations.prefix, pair)
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
                if not is_out_of_memory(error):
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
        if not isinstance(width, int):
            width = max(width)
        keys = self.activations.length
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

    def sweep(
        self, rows: Rows, background: Prompt, component: Component, way: Way
    ) -> Float[Tensor, "row d_model"]:
        """The output of the last block at the last position, for every row."""
        laid_out_for = self.activations.laid_out_for
        if laid_out_for is not None and background != background_prompt(laid_out_for):
            raise ValueError(f"this engine's runs are laid out for {laid_out_for} alone")
        if not way.replays:
            return self._whole(rows, background, component)
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
                    entered = run.residual[layer][rows.pair[entering]]
                    if component == "residual":
                        # From here on such a row is one that passes.
                        entered = entered + rows.shift[entering]
                        passing = entering.stop
                        entering = slice(passing, passing)
                    hidden = torch.cat([hidden, entered])
                cut = way.cuts_last and layer == model.n_layers - 1
                hidden = self._block(layer, hidden, rows, passing, entering, run, component, cut)
                passing = entering.stop
        return last_of(model, hidden)

    def _whole(
        self, rows: Rows, background: Prompt, component: Component
    ) -> Float[Tensor, "row d_model"]:
        """The same by passes through all blocks, each row's component shifted where it returns, or
        the residual stream where its block is given it."""
        model, activations, n_rows = self.model, self.activations, len(rows.layer)
        final: list[Tensor] = []

        def shifted(value: Tensor, entering: slice) -> Tensor:
            shift = torch.zeros_like(by_row(value, n_rows))
            shift[entering] = rows.shift[entering]
            return (by_row(value, n_rows) + shift).view_as(value)

        def returned(entering: slice) -> Any:
            return lambda module, args, output: with_first(
                output, shifted(first_of(output), entering)
            )

        def given(entering: slice) -> Any:
            def hook(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> Any:
                hidden, keyword = hidden_states_of(args, kwargs)
                hidden = shifted(hidden, entering)
                if keyword is None:
                    return (hidden, *args[1:]), kwargs
                return args, {**kwargs, keyword: hidden}

            return hook

        with contextlib.ExitStack() as hooks, through_onednn(model.submodules_of_blocks):
            for layer in sorted(set(rows.layer)):
                first = rows.layer.index(layer)
                entering = slice(first, first + rows.layer.count(layer))
                handle = (
                    model.blocks[layer].register_forward_pre_hook(given(entering), with_kwargs=True)
                    if component == "residual"
                    else _returns(model, layer, component).register_forward_hook(returned(entering))
                )
                hooks.callback(handle.remove)
            hooks.callback(
                model.blocks[-1]
                .register_forward_hook(
                    lambda module, args, output: final.append(last_of(model, first_of(output)))
                )
                .remove
            )
            model.hf(
                input_ids=activations.tokens(background)[rows.pair],
                logits_to_keep=1,
                **cache_for(activations.prefix, rows.pair),
            )
        return final[0]

    def _block(
        self,
        layer: int,
        hidden: Tensor,
        rows: Rows,
        passing: int,
        entering: slice,
        run: Any,
        component: Component,
        cut: bool,
    ) -> Tensor:
        """Run one block on the rows that pass through it and those that enter at its component.

        With ``cut`` at the last position alone.
        """
        model, arguments = self.model, self.arguments[layer]
        enters = entering.stop > entering.start
        pair, shift = rows.pair[entering], rows.shift[entering]
        only = slice(-1, None) if cut else slice(None)
        attends = model.attentions[layer] is not None
        mlp = model.mlps[layer]
        with contextlib.ExitStack() as replaced:
            if enters and attends:
                attention = run.attention[layer][pair]
                if component in ("head", "attention"):
                    attention = attention + shift
                replaced.enter_context(
                    replaced_forward(
                        model.attention(layer),
                        joining(passing, attention[:, only], arguments.attention_arity),
                    )
                )
            if enters and component == "mlp":
                value = (run.mlp[layer][pair] + shift)[:, only]
                replaced.enter_context(
                    replaced_forward(
                        model.mlp(layer), joining(passing, value, arguments.mlp_arity, only)
                    )
                )
            if cut:
                # Nothing reads the other positions any more; the last one's values broadcast over
                # them in the residual sum, and are cut off above.
                if passing and attends:
                    replaced.enter_context(
                        replaced_forward(model.output_projection(layer), last_position)
                    )
                if mlp is not None and not (enters and component == "mlp"):
                    replaced.enter_context(replaced_forward(mlp, last_position))
            prefix = self.activations.prefix
            cache = None if prefix is None else prefix.cache(rows.pair[:passing])
            return arguments.call(model.blocks[layer], hidden, cache)

    def logits(
        self,
        final: Float[Tensor, "row d_model"],
        vocabulary: Int[Tensor, " token"] | None = None,
    ) -> Float[Tensor, "row token"]:
        """Logits from the last block's output, of every token or of those in ``vocabulary``."""
        return unembedding.logits(self.model, self.arguments, final, vocabulary)


def _returns(model: LanguageModel, layer: int, component: Component) -> nn.Module:
    """The module whose output a component of ``layer`` is, or is a summand of."""
    return model.mlp(layer) if component == "mlp" else model.output_projection(layer)
