// The curves that a page has no room for, from the study's curves.safetensors: a page that is opened as a
// file may load nothing from beside it, so the reader hands the file over, and of it only the parts are read
// that are drawn. The file is the length of its header (8 bytes), the header as JSON, the tensors.

const KINDS = { F32: Float32Array, F64: Float64Array };
const NAMES = { f: "output", g: "gradient" };

export class CurveFile {
  // Open a file for a study; raises an Error in words where it is not that study's.
  static async open(file, study) {
    const opened = new CurveFile(file, study);
    try {
      await opened.#begin();
    } catch (error) {
      throw error instanceof Refusal ? error : new Refusal("this is no file of curves");
    }
    await opened.#check();
    return opened;
  }

  constructor(file, study) {
    this.file = file;
    this.study = study;
    this.read = new Map();
    const { data } = study.arrays["all.pairs"];
    this.begins = new Map();
    for (const [place, pair] of Array.from(data).entries()) {
      this.begins.set(pair, { noising: study.arrays["all.clean"].data[place], denoising: study.arrays["all.corrupted"].data[place] });
    }
  }

  async #bytes(begin, length) {
    return this.file.slice(begin, begin + length).arrayBuffer();
  }

  async #begin() {
    const length = Number(new DataView(await this.#bytes(0, 8)).getBigUint64(0, true));
    if (length > 1e8) throw new Refusal("this is no file of curves");
    this.header = JSON.parse(new TextDecoder().decode(await this.#bytes(8, length)));
    this.data = 8 + length;
    const { output, pairs } = this.header;
    if (!output || !pairs || !(output.dtype in KINDS)) throw new Refusal("this is no file of curves");
    const numbers = await this.#bytes(this.data + pairs.data_offsets[0], pairs.data_offsets[1] - pairs.data_offsets[0]);
    const Kind = pairs.dtype === "I64" ? BigInt64Array : Int32Array;
    this.pairs = Array.from(new Kind(numbers), Number);
    const { study } = this;
    const [, directions, layers, heads, nodes] = output.shape;
    const fits =
      directions === study.directions.length &&
      layers > Math.max(...study.layers) &&
      heads >= study.width &&
      this.pairs.every((pair) => this.begins.has(pair)) &&
      (!study.alphas.length || nodes === study.alphas.length);
    if (!fits) throw new Refusal("these curves are of another study");
    if (!study.alphas.length) await this.#alphas();
  }

  // Of a study whose page has no curve at all.
  async #alphas() {
    const { alphas } = this.header;
    const bytes = await this.#bytes(this.data + alphas.data_offsets[0], alphas.data_offsets[1] - alphas.data_offsets[0]);
    this.study.arrays.alphas = { shape: alphas.shape, data: Float32Array.from(new KINDS[alphas.dtype](bytes)) };
  }

  // A curve that is on the page must be in the file, to within the page's error.
  async #check() {
    const { study } = this;
    const [pair] = study.header.curves.pairs;
    if (pair === undefined) return;
    for (const place of [0, study.size - 1]) {
      const drawn = study.drawnCurves("f", 0, place).find(([number]) => number === pair);
      const stored = this.pairs.includes(pair) ? (await this.curves(place, pair)).f[0] : [];
      if (!drawn) continue;
      const other = stored.find(([number]) => number === pair);
      const allowed = 1e-4 + 2 * study.curveError(place);
      if (!other || drawn[1].some((value, node) => !(Math.abs(value - other[1][node]) <= allowed))) {
        throw new Refusal("these curves are of another study");
      }
    }
  }

  async #curve(name, row, side, place) {
    const tensor = this.header[name];
    const [, directions, layers, heads, nodes] = tensor.shape;
    const Kind = KINDS[tensor.dtype];
    const { study } = this;
    const curve = ((row * directions + side) * layers + study.layers[place]) * heads + study.numbers[place];
    const size = nodes * Kind.BYTES_PER_ELEMENT;
    return Array.from(new Kind(await this.#bytes(this.data + tensor.data_offsets[0] + curve * size, size)));
  }

  // The curves of a head on one pair or (null) on all: {f, g}, of each direction [pair, values].
  curves(place, pair) {
    const key = `${place} ${pair}`;
    if (!this.read.has(key)) this.read.set(key, this.#curves(place, pair));
    return this.read.get(key);
  }

  async #curves(place, wanted) {
    const { study } = this;
    const rows = [...this.pairs.entries()].filter(([, pair]) => wanted === null || pair === wanted);
    const found = {};
    for (const [kind, name] of Object.entries(NAMES)) {
      if (!this.header[name]) continue;
      found[kind] = [];
      for (const direction of study.directions) {
        const side = study.header.curves.order.indexOf(direction);
        const set = await Promise.all(
          rows.map(async ([row, pair]) => {
            const values = await this.#curve(name, row, side, place);
            const begin = kind === "f" ? this.begins.get(pair)[direction] : 0;
            return [pair, values.map((value) => value - begin)];
          }),
        );
        found[kind].push(set.filter(([, values]) => values.every(Number.isFinite)));
      }
    }
    return found;
  }
}

export class Refusal extends Error {}
