// The study as the explorer asks for it: heads, pairs, and values of measures in a view. A view is a
// direction (one, their sum or their difference) and a pair (one, or the mean, the spread or a quantile of
// all). On the page that compares studies, a study stands where else a pair does.

import { deviation, mean, quantile } from "d3-array";
import { shown } from "./numbers.js";
import { restoreCurve } from "./unpack.js";

export const SUM = "sum";
export const DIFFERENCE = "difference";
export const MEAN = "mean";
export const SPREAD = "spread";
export const QUANTILES = {
  median: { at: 0.5, text: "median" },
  q5: { at: 0.05, text: "5 % quantile" },
  q95: { at: 0.95, text: "95 % quantile" },
};

const RANKS = new Set(["rank", "atlas.rank"]);
const COUNTS = new Set([...RANKS, "atlas.changed_tokens"]);

export class Study {
  constructor({ header, arrays }) {
    this.header = header;
    this.ofStudies = header.kind === "studies";
    this.noun = this.ofStudies ? "study" : "pair";
    this.file = null; // curves.safetensors, where a reader has opened it
    this.arrays = arrays;
    this.layers = arrays.layer.data;
    this.numbers = arrays.head.data;
    this.size = this.layers.length;
    this.directions = header.directions;
    this.measures = header.measures;
    this.byKey = new Map(header.measures.map((measure) => [measure.key, measure]));
    this.pairs = header.pairs;
    this.pairByNumber = new Map(header.pairs.map((pair) => [pair.number, pair]));
    this.places = new Map();
    for (let place = 0; place < this.size; place += 1) this.places.set(this.name(place), place);
    this.layerList = [...new Set(this.layers)];
    this.width = Math.max(...this.numbers) + 1;
    this.kept = new Map();
  }

  name(place) {
    return `${this.layers[place]}.${this.numbers[place]}`;
  }

  place(layer, head) {
    return this.places.get(`${layer}.${head}`);
  }

  // The choices of direction: each, and where there are two their sum and difference.
  get views() {
    return this.directions.length === 2 ? [...this.directions, SUM, DIFFERENCE] : [...this.directions];
  }

  // "8 pairs"
  counted(count) {
    const plural = this.ofStudies ? "studies" : "pairs";
    return `${count} ${count === 1 ? this.noun : plural}`;
  }

  // "mean over 8 pairs", or what a mean over one is.
  get meanName() {
    const count = this.header.pairs_in_all;
    return count === 1 ? `the only ${this.noun}` : `mean over ${this.counted(count)}`;
  }

  // What there is over pairs: [value, text].
  get over() {
    const found = [[MEAN, this.meanName]];
    if (this.header.pairs_in_all > 1) {
      const all = this.counted(this.header.pairs_in_all);
      found.push([SPREAD, `spread over ${all} (standard deviation)`]);
      for (const [key, { text }] of Object.entries(QUANTILES)) found.push([key, `${text} of ${all}`]);
    }
    return found;
  }

  // How a pair is called: "pair 3", or a study's title.
  pairName(number) {
    return this.ofStudies ? this.pairByNumber.get(number).title : `pair ${number}`;
  }

  // How a view over pairs, or one of them, is written in copies and in the address.
  written(pair) {
    return this.ofStudies && typeof pair === "number" ? this.pairByNumber.get(pair).name : pair;
  }

  // A value on one pair; NaN where it is not measured.
  value(key, direction, pair, place) {
    const row = this.byKey.get(key).pairs.indexOf(pair);
    if (row < 0) return NaN;
    const { shape, data } = this.arrays[`values.${key}`];
    return data[(direction * shape[1] + row) * shape[2] + place];
  }

  // The values of a head on all shown pairs that have the measure, as [pair, value].
  values(key, direction, place) {
    const { shape, data } = this.arrays[`values.${key}`];
    return this.byKey
      .get(key)
      .pairs.map((pair, row) => [pair, data[(direction * shape[1] + row) * shape[2] + place]])
      .filter(([, value]) => !Number.isNaN(value));
  }

  #kept(name, direction, place) {
    const array = this.arrays[name];
    return array ? array.data[direction * this.size + place] : NaN;
  }

  mean(key, direction, place) {
    if (!this.byKey.get(key).whole) return this.#kept(`mean.${key}`, direction, place);
    return mean(this.values(key, direction, place), ([, value]) => value) ?? NaN;
  }

  spread(key, direction, place) {
    if (!this.byKey.get(key).whole) return this.#kept(`spread.${key}`, direction, place);
    return deviation(this.values(key, direction, place), ([, value]) => value) ?? NaN;
  }

  interval(key, direction, place) {
    return [this.#kept(`low.${key}`, direction, place), this.#kept(`high.${key}`, direction, place)];
  }

  quantiles(key, direction, place) {
    const array = this.arrays[`quantiles.${key}`];
    if (!array) return null;
    const [, , count] = array.shape;
    const begin = (direction * this.size + place) * count;
    return Array.from(array.data.subarray(begin, begin + count));
  }

  #quantile(key, direction, pair, place) {
    const { at } = QUANTILES[pair];
    if (!this.byKey.get(key).whole) {
      return this.quantiles(key, direction, place)[this.header.quantiles.indexOf(at)];
    }
    return quantile(this.values(key, direction, place), at, ([, value]) => value) ?? NaN;
  }

  #pairValue(key, direction, pair, place) {
    if (pair === MEAN) return this.mean(key, direction, place);
    if (pair === SPREAD) return this.spread(key, direction, place);
    if (pair in QUANTILES) return this.#quantile(key, direction, pair, place);
    return this.value(key, direction, pair, place);
  }

  // The value of every head in a view.
  view(key, direction, pair) {
    // What the atlas says of a head is of no pair and no direction.
    if (this.byKey.get(key).fixed) return this.arrays[`fixed.${key}`].data;
    const name = `${key} ${direction} ${pair}`;
    let found = this.kept.get(name);
    if (!found) {
      found = new Float64Array(this.size);
      for (let place = 0; place < this.size; place += 1) {
        found[place] = this.#viewed(key, direction, pair, place);
      }
      this.kept.set(name, found);
    }
    return found;
  }

  #viewed(key, direction, pair, place) {
    if (direction !== SUM && direction !== DIFFERENCE) {
      return this.#pairValue(key, this.directions.indexOf(direction), pair, place);
    }
    const sign = direction === SUM ? 1 : -1;
    if (pair !== SPREAD && !(pair in QUANTILES)) {
      return this.#pairValue(key, 0, pair, place) + sign * this.#pairValue(key, 1, pair, place);
    }
    // The spread (or a quantile) of the sums, not the sum of the spreads: of the pairs that are shown.
    const other = new Map(this.values(key, 1, place));
    const sums = this.values(key, 0, place)
      .filter(([number]) => other.has(number))
      .map(([number, value]) => value + sign * other.get(number));
    return (pair === SPREAD ? deviation(sums) : quantile(sums, QUANTILES[pair].at)) ?? NaN;
  }

  // A value as it is read: counts and ranks without decimals.
  shown(key, value) {
    return COUNTS.has(key) && Number.isInteger(value) ? String(value) : shown(value);
  }

  // Whether a view's values are ranks, of which the first ones are of interest.
  ranked(key, direction, pair) {
    return RANKS.has(key) && (this.byKey.get(key).fixed || (pair !== SPREAD && this.directions.includes(direction)));
  }

  // How a view is coloured: shades, the largest of them, whether they have a sign, and what its scale
  // says at its ends. Of ranks 1 is the darkest, 4 half as dark.
  shades(key, direction, pair, values, largest) {
    const { unit } = this.byKey.get(key);
    if (this.ranked(key, direction, pair)) {
      return { shades: values.map((value) => 1 / value), largest: 1, signed: false, ends: ["last", "rank 1"] };
    }
    const signed = this.signed(key, direction, pair);
    const most = `${this.shown(key, largest)}${unit ? ` ${unit}` : ""}`;
    return { shades: values, largest, signed, ends: signed ? [this.shown(key, -largest), "0", most] : ["0", most] };
  }

  // The largest size of a measure on any pair in any direction (and of sums and differences).
  largest(key, both) {
    const together = both && !this.byKey.get(key).fixed;
    const name = `largest ${key} ${together}`;
    let found = this.kept.get(name);
    if (found === undefined) {
      const { shape, data } = this.arrays[this.byKey.get(key).fixed ? `fixed.${key}` : `values.${key}`];
      const half = shape[1] * shape[2];
      found = 0;
      for (let place = 0; place < (together ? half : data.length); place += 1) {
        const size = together
          ? Math.max(Math.abs(data[place] + data[place + half]), Math.abs(data[place] - data[place + half]))
          : Math.abs(data[place]);
        if (size > found) found = size;
      }
      this.kept.set(name, found);
    }
    return found;
  }

  // Whether a view's values may be below 0.
  signed(key, direction, pair) {
    if (pair === SPREAD && !this.byKey.get(key).fixed) return false;
    const { fixed, signed } = this.byKey.get(key);
    return signed || (direction === DIFFERENCE && !fixed);
  }

  // The curves of a head that are on the page, [pair, values at the nodes]; `kind` is "f" or "g".
  drawnCurves(kind, direction, place) {
    const ends = this.arrays[`${kind}.ends`];
    const steps = this.arrays[`${kind}.steps`];
    if (!ends) return [];
    return this.header.curves.pairs
      .map((pair, row) => {
        const curve = (row * this.directions.length + direction) * this.size + place;
        return [pair, restoreCurve(ends, steps, curve, this.header.curves.levels)];
      })
      .filter(([, values]) => values !== null);
  }

  // How far a drawn f (or g) of this head may be from the true one: half a step of its own scale.
  curveError(place, kind = "f") {
    const ends = this.arrays[`${kind}.ends`];
    if (!ends) return 0;
    let error = 0;
    for (let curve = place; curve < ends.shape[0]; curve += this.size) {
      const half = (ends.data[2 * curve + 1] - ends.data[2 * curve]) / (2 * this.header.curves.levels);
      if (half > error) error = half;
    }
    return error;
  }

  // Pairs whose curves stand in the study's file and not on the page.
  get elsewhere() {
    return (this.header.curves.kept ?? 0) - this.header.curves.pairs.length;
  }

  get alphas() {
    return this.arrays.alphas ? this.arrays.alphas.data : [];
  }

  // The position effects of a head on a pair: by direction, or null where none are measured.
  positions(pair) {
    const found = this.header.positions.filter((one) => one.pair === pair);
    return found.length ? found : null;
  }

  positionEffects(record, place) {
    const { shape, data } = this.arrays[record.array];
    return data.subarray(place * shape[1], (place + 1) * shape[1]);
  }

  partners(place) {
    return this.header.partners.filter((row) => row[1] === place);
  }

  edges(place) {
    return this.header.edges.filter((row) => row[1] === place);
  }

  composed(place) {
    return this.header.composed.filter((one) => one.place === place);
  }

  // What a reader types for a head: 23.3, L23H3, 23 3.
  find(text) {
    const match = /^\s*[lL]?\s*(\d+)\s*(?:[.,:hH]|\s)\s*[hH]?\s*(\d+)\s*$/.exec(text);
    return match ? this.place(Number(match[1]), Number(match[2])) : undefined;
  }
}
