// The data of the page: counterpoint/report/explorer/packed_arrays.py, predicted_arrays.py and
// quantised_curves.py say what is written; this reads it.

const ARRAYS = {
  "<f4": Float32Array,
  "<f8": Float64Array,
  "|u1": Uint8Array,
  "|i1": Int8Array,
  "<u2": Uint16Array,
  "<i2": Int16Array,
  "<i4": Int32Array,
};

export async function unpack(text) {
  const packed = Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const length = new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const arrays = {};
  let begin = 4 + length;
  for (const { name, type, shape } of header.arrays) {
    const Kind = ARRAYS[type];
    const count = shape.reduce((product, size) => product * size, 1);
    const width = Kind.BYTES_PER_ELEMENT;
    const sorted = bytes.subarray(begin, begin + count * width);
    const plain = new Uint8Array(count * width);
    for (let byte = 0; byte < width; byte += 1) {
      const plane = sorted.subarray(byte * count, (byte + 1) * count);
      for (let place = 0; place < count; place += 1) plain[place * width + byte] = plane[place];
    }
    const data = new Kind(plain.buffer);
    // Whole numbers with a sign are written as 0, −1, 1, −2 … = 0, 1, 2, 3 …
    if (type[1] === "i") for (let place = 0; place < count; place += 1) data[place] = signed(data[place], width);
    arrays[name] = { shape, data };
    begin += count * width;
  }
  predict(header, arrays);
  return { header, arrays };
}

// One curve's values from its ends and steps; null for a curve that is missing.
export function restoreCurve(ends, steps, curve, levels) {
  const nodes = steps.shape[1];
  const low = ends.data[2 * curve];
  const high = ends.data[2 * curve + 1];
  if (Number.isNaN(low)) return null;
  const values = new Float64Array(nodes);
  let whole = 0;
  let first = 0;
  for (let node = 0; node < nodes; node += 1) {
    const step = steps.data[curve * nodes + node];
    if (node === 0) {
      whole = step;
    } else {
      first += step;
      whole += first;
    }
    values[node] = low + (whole / levels) * (high - low);
  }
  return values;
}

function signed(value, width) {
  const whole = width === 4 ? value >>> 0 : value & (2 ** (8 * width) - 1);
  return (whole >>> 1) ^ -(whole & 1);
}

const OPERATIONS = {
  size: (one) => Math.abs(one),
  same: (one) => one,
  sum: (one, other) => one + other,
  difference: (one, other) => one - other,
  ratio: (one, other) => one / other,
};

// Of what others predict only the distance in float32 numbers is written.
function predict(header, arrays) {
  const waiting = new Map((header.predicted ?? []).map(([name, operation, ...of]) => [name, { operation, of }]));
  const changes = header.pairs.map((pair) => Math.fround(pair.metric_clean - pair.metric_corrupted));
  while (waiting.size) {
    const [name, { operation, of }] = [...waiting].find(([, one]) => !one.of.some((key) => waiting.has(key)));
    waiting.delete(name);
    const { shape, data: distances } = arrays[`values.${name}`];
    const [, pairs, heads] = shape;
    const parts = of.map((key) => arrays[`values.${key}`].data);
    const values = new Float32Array(distances.length);
    const bits = new Uint32Array(values.buffer);
    for (let place = 0; place < values.length; place += 1) {
      const expected =
        operation === "share"
          ? parts[0][place] / changes[Math.floor(place / heads) % pairs]
          : OPERATIONS[operation](...parts.map((part) => part[place]));
      // As a float32 number; what is none counts as 0.
      values[place] = Number.isFinite(Math.fround(expected)) ? expected : 0;
      bits[place] += distances[place];
    }
    arrays[`values.${name}`] = { shape, data: values };
  }
}
