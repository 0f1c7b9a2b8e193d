// The study as the explorer asks for it: heads, pairs, and values of measures in a view. A view is a
// direction (one, their sum or their difference) and a pair (one, the mean or the spread of all).

import { deviation, mean } from "d3-array";
import { restoreCurve } from "./unpack.js";

export const SUM = "sum";
export const DIFFERENCE = "difference";
export const MEAN = "mean";
export const SPREAD = "spread";

export class Study {
  constructor({ header, arrays }) {
    this.header = header;
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

  // "mean over 8 pairs", or what a mean over one is.
  get meanName() {
    const count = this.header.pairs_in_all;
    return count === 1 ? "the only pair" : `mean over ${count} pairs`;
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

  #pairValue(key, direction, pair, place) {
    if (pair === MEAN) return this.mean(key, direction, place);
    if (pair === SPREAD) return this.spread(key, direction, place);
    return this.value(key, direction, pair, place);
  }

  // The value of every head in a view.
  view(key, direction, pair) {
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
    if (pair !== SPREAD) {
      return this.#pairValue(key, 0, pair, place) + sign * this.#pairValue(key, 1, pair, place);
    }
    // The spread of the sums, not the sum of the spreads: of the pairs that are shown.
    const other = new Map(this.values(key, 1, place));
    const sums = this.values(key, 0, place)
      .filter(([number]) => other.has(number))
      .map(([number, value]) => value + sign * other.get(number));
    return deviation(sums) ?? NaN;
  }

  // The largest size of a measure on any pair in any direction (and of sums and differences).
  largest(key, together) {
    const name = `largest ${key} ${together}`;
    let found = this.kept.get(name);
    if (found === undefined) {
      const { shape, data } = this.arrays[`values.${key}`];
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
    if (pair === SPREAD) return false;
    return this.byKey.get(key).signed || direction === DIFFERENCE;
  }

  // [pair, values at the nodes] of a head, `kind` being "f" or "g".
  curves(kind, direction, place) {
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

  // How far a drawn f of this head may be from the true one: half a step of its own scale.
  curveError(place) {
    const ends = this.arrays["f.ends"];
    let error = 0;
    for (let curve = place; curve < ends.shape[0]; curve += this.size) {
      const half = (ends.data[2 * curve + 1] - ends.data[2 * curve]) / (2 * this.header.curves.levels);
      if (half > error) error = half;
    }
    return error;
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
