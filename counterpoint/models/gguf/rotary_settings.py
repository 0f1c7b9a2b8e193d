"""The rotary settings of a GGUF file as transformers' `rope_parameters`.

llama.cpp (src/llama-context.cpp, `ggml_rope_cache_init` and `rope_yarn` of ggml) turns dimension
pair i at position p by the angle

    p · base^(−2i/d) / r_i · ((1 − m_i) / s + m_i)

with s the scaling factor, r_i the factors of the tensor `rope_freqs.weight` (else 1) and m_i the
share of YaRN's ramp (0 without YaRN), and multiplies cosine and sine by an attention factor. Each
case has an exact counterpart in transformers: `default`, `linear`, `yarn`, `llama3`, and for any
other per-frequency factors `longrope` with two equal lists.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from counterpoint.models.gguf.reading import GgufFile

FREQUENCIES: Final = "rope_freqs.weight"
LONG: Final = "rope_factors_long.weight"
SHORT: Final = "rope_factors_short.weight"
TENSORS: Final = (FREQUENCIES, LONG, SHORT)
_KINDS: Final = ("none", "linear", "yarn", "longrope")
LLAMA3_TOLERANCE: Final = 1e-6
"""Relative; the factors were rounded to float32 (6e-8) after a few float32 operations."""


def rope_parameters(
    file: GgufFile,
    *,
    head: int,
    with_factors: bool = False,
    share: bool = False,
    lists: bool = False,
) -> dict[str, Any]:
    """Return `rope_parameters` for heads of `head` dimensions.

    `with_factors` says whether the architecture uses the tensors of per-frequency factors at all;
    elsewhere they are refused as tensors without a place. `share` says whether a part of a head may
    be rotated; then the share is named also when it is all of it, since such models of transformers
    take a part where nothing is said. The others rotate whole heads whatever is named. With `lists`
    every scaling becomes `longrope`, for configurations that turn others into it by themselves
    (Phi-3's takes YaRN for an old name of it).

    Raises UserError for an unknown kind of scaling, a part of a head where whole ones are rotated,
    settings that contradict each other, and settings whose meaning differs between the tools that
    write them.
    """
    rotated = file.integer("rope.dimension_count", head)
    if not 0 < rotated <= head or rotated % 2:
        raise file.refuse(
            f"`{file.key('rope.dimension_count')}` is {rotated}; expected an even number of at "
            f"most {head}, the size of a head."
        )
    if rotated != head and not share:
        raise file.refuse(
            f"`{file.key('rope.dimension_count')}` is {rotated}, a part of heads of {head}"
            " dimensions; the model of transformers rotates whole heads."
        )
    base = file.real("rope.freq_base", 10000.0)
    if base <= 1:
        raise file.refuse(f"`{file.key('rope.freq_base')}` is {base:g}; expected a number above 1.")
    parameters: dict[str, Any] = {"rope_type": "default", "rope_theta": base}
    if share:
        part = rotated / head
        # transformers takes int(head · part) of a head.
        exact = int(head * part) == rotated
        parameters["partial_rotary_factor"] = part if exact else math.nextafter(part, 1.0)
    file.demand("rope.dimension_sections", (0,), "several rotary sections, as for images")
    file.demand("rope.scaling.alpha", (0, 1), "scaling of HunYuan models")
    file.demand("rope.scaling.yarn_log_multiplier", (0,), "YaRN of DeepSeek models")
    file.ignore("rope.scaling.finetuned")
    return {**parameters, **_scaling(file, parameters, rotated, with_factors, lists)}


def _scaling(
    file: GgufFile, parameters: dict[str, Any], rotated: int, with_factors: bool, lists: bool
) -> dict[str, Any]:
    kind = file.text("rope.scaling.type", "linear")
    if kind not in _KINDS:
        raise file.refuse(
            f"`{file.key('rope.scaling.type')}` is {kind!r}; expected one of {', '.join(_KINDS)}."
        )
    # The second is an old name of the first; 0 stands for none.
    factor = file.real("rope.scaling.factor", 0.0) or file.real("rope.scale_linear", 0.0) or 1.0
    file.ignore("rope.scale_linear")
    if factor < 0:
        raise file.refuse(f"the factor of the rotary scaling is {factor}; expected at least 0.")
    attention = file.real("rope.scaling.attn_factor", 1.0)
    original = file.integer("rope.scaling.original_context_length", 0) or file.integer(
        "context_length"
    )
    if with_factors and (LONG in file.tensors or SHORT in file.tensors):
        return _two_lists(file, kind, factor, attention, original, rotated)
    if kind == "longrope":
        raise file.refuse(
            f"the rotary scaling is longrope, but there is no {LONG} that says by how much."
        )
    if kind == "none":
        factor = 1.0
    ramp = np.zeros(rotated // 2)
    yarn: dict[str, Any] = {}
    if kind == "yarn":
        yarn = _yarn(file, factor, original)
        attention *= yarn["attention_factor"]
        ramp = yarn_ramp(rotated, float(parameters["rope_theta"]), yarn)
    else:
        file.demand("rope.scaling.yarn_ext_factor", (0, -1), "YaRN, while the scaling is another")
        file.demand("rope.scaling.yarn_attn_factor", (1, -1), "YaRN, while the scaling is another")
        file.ignore("rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow")
    if with_factors and FREQUENCIES in file.tensors:
        factors = _factors(file, FREQUENCIES, rotated)
        if factor == 1 and attention == 1:
            fitted = llama3_parameters(factors, float(parameters["rope_theta"]))
            if fitted is not None:
                return fitted
        return _any_factors(factors / ((1 - ramp) / factor + ramp), attention, original)
    if (attention != 1 and kind != "yarn") or (lists and factor != 1):
        return _any_factors(1 / ((1 - ramp) / factor + ramp), attention, original)
    if kind == "yarn":
        return {**yarn, "attention_factor": attention}
    return {} if factor == 1 else {"rope_type": "linear", "factor": factor}


def _yarn(file: GgufFile, factor: float, original: int) -> dict[str, Any]:
    """Return transformers' parameters of YaRN.

    llama.cpp multiplies cosine and sine by 1 + 0.1 ln s, as transformers does, and by the setting
    `rope.scaling.attn_factor`. It reads the two ends of the ramp for few architectures only; they
    are what the converter wrote from the original configuration.
    """
    if factor < 1:
        raise file.refuse(
            f"`{file.key('rope.scaling.factor')}` is {factor:g}; expected at least 1 for YaRN."
        )
    attention = 0.1 * math.log(factor) + 1.0
    file.demand("rope.scaling.yarn_ext_factor", (1, -1), "a YaRN that is mixed with no scaling")
    named = file.real("rope.scaling.yarn_attn_factor", -1.0)
    if named not in (-1.0, 0.0) and abs(named - attention) > 1e-6:
        raise file.refuse(
            f"`{file.key('rope.scaling.yarn_attn_factor')}` is {named:g}: the converter means the "
            f"attention's factor by it, and llama.cpp takes {attention:.6g} whatever stands there."
        )
    return {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": original,
        "attention_factor": attention,
        "beta_fast": file.real("rope.scaling.yarn_beta_fast", 0.0) or 32.0,
        "beta_slow": file.real("rope.scaling.yarn_beta_slow", 0.0) or 1.0,
    }


def yarn_ramp(rotated: int, base: float, yarn: dict[str, Any]) -> npt.NDArray[np.float64]:
    """Return the share of each pair, [rotated / 2], that YaRN leaves unscaled (Peng et al. 2023,
    arXiv:2309.00071, with the ends of the ramp rounded outwards)."""
    original = yarn["original_max_position_embeddings"]

    def pair(rotations: float) -> float:
        return rotated * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(base))

    low = max(0, math.floor(pair(yarn["beta_fast"])))
    high = min(rotated - 1, math.ceil(pair(yarn["beta_slow"])))
    position = (np.arange(rotated // 2) - low) / max(0.001, high - low)
    return np.asarray(1 - np.clip(position, 0, 1))


def llama3_parameters(factors: npt.NDArray[np.float64], base: float) -> dict[str, Any] | None:
    """Return the parameters of `llama3` that give `factors`, [d / 2], or None when none do.

    Every released model has low 1 and high 4; the original length is a power of two.
    """
    factor = float(factors.max())
    wavelengths = 2 * math.pi * base ** (np.arange(len(factors)) / len(factors))
    if factor == 1 or (factors < 1).any():
        return None
    low, high = 1.0, 4.0
    for exponent in range(9, 21):
        original = 2**exponent
        smooth = np.clip((original / wavelengths - low) / (high - low), 0, 1)
        expected = 1 / ((1 - smooth) / factor + smooth)
        if np.allclose(factors, expected, rtol=LLAMA3_TOLERANCE, atol=0) and (smooth == 0).any():
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low,
                "high_freq_factor": high,
                "original_max_position_embeddings": original,
            }
    return None


def _any_factors(
    factors: npt.NDArray[np.float64], attention: float, original: int
) -> dict[str, Any]:
    """Any per-frequency factors: `longrope`, whose lists for short and long prompts are equal."""
    values = [float(np.float32(value)) for value in factors]
    return {
        "rope_type": "longrope",
        "factor": 1.0,
        "short_factor": values,
        "long_factor": values,
        "attention_factor": attention,
        "original_max_position_embeddings": original,
    }


def _two_lists(
    file: GgufFile, kind: str, factor: float, attention: float, original: int, rotated: int
) -> dict[str, Any]:
    """The two lists of LongRoPE. transformers takes the long one for prompts longer than the
    original length; llama.cpp for a context that is larger than it, however long the prompt."""
    missing = [name for name in (LONG, SHORT) if name not in file.tensors]
    if missing or FREQUENCIES in file.tensors:
        found = listed_tensors(file)
        raise file.refuse(f"of {LONG} and {SHORT} it holds only {found}; the other is missing.")
    if kind not in ("linear", "longrope") or factor != 1:
        raise file.refuse(
            f"it has both the lists of LongRoPE and a rotary scaling {kind!r} by {factor:g}."
        )
    return {
        "rope_type": "longrope",
        "factor": max(1.0, file.integer("context_length") / original),
        "short_factor": _factors(file, SHORT, rotated).tolist(),
        "long_factor": _factors(file, LONG, rotated).tolist(),
        "attention_factor": attention,
        "original_max_position_embeddings": original,
    }


def listed_tensors(file: GgufFile) -> str:
    """Return the names of the rotary tensors that are in the file."""
    return ", ".join(name for name in TENSORS if name in file.tensors)


def _factors(file: GgufFile, name: str, rotated: int) -> npt.NDArray[np.float64]:
    factors = file.dequantised(name).astype(np.float64).reshape(-1)
    if factors.shape != (rotated // 2,) or (factors <= 0).any():
        raise file.refuse(
            f"the tensor {name} has the shape {file.shape(name)}; expected {rotated // 2} positive "
            "factors, one for each pair of rotated dimensions."
        )
    file.used.add(name)
    return factors
