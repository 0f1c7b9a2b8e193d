// What the page's script does. The page stands without it; the explorer takes the place of the section's
// note when its data is read. Nothing is loaded, nothing is evaluated, texts become text.

import { copyables } from "./copying.js";
import { Explorer } from "./explorer.js";
import { headTables } from "./headtables.js";
import { plain } from "./numbers.js";
import { modelOf } from "./state.js";
import { Study } from "./study.js";
import { tableTools } from "./tables.js";
import { unpack } from "./unpack.js";

// The explorers of a page: one for each model that the page has data of, one at a time.
class Explorers {
  constructor(host, blocks) {
    this.host = host;
    this.texts = new Map(blocks.map((block) => [block.dataset.model ?? "", block.textContent]));
    this.studies = new Map();
    this.current = null;
    for (const block of blocks) block.remove();
  }

  get models() {
    return [...this.texts.keys()];
  }

  async study(model) {
    if (!this.studies.has(model)) this.studies.set(model, new Study(await unpack(this.texts.get(model))));
    return this.studies.get(model);
  }

  async show(model) {
    const study = await this.study(model);
    this.current?.end();
    this.current = new Explorer(this.host, study, this.models, (other) => this.#choose(other));
    this.model = model;
  }

  async #choose(model) {
    await this.show(model);
    this.current.keep();
  }

  // The address' model, or the first.
  wanted() {
    return modelOf(location.hash, this.models) ?? this.model ?? this.models[0];
  }

  async go(model, name) {
    if (model !== this.model) await this.show(model);
    const place = this.current.study.places.get(name);
    if (place !== undefined) this.current.go(place);
  }
}

// Numbers that are copied from the page can be read by a program.
document.addEventListener("copy", (event) => {
  const chosen = String(getSelection());
  const text = plain(chosen);
  if (!chosen || text === chosen || /^(INPUT|TEXTAREA)$/.test(document.activeElement?.tagName)) return;
  event.clipboardData.setData("text/plain", text);
  event.preventDefault();
});

async function begin() {
  const host = document.getElementById("explorer");
  const blocks = [...document.querySelectorAll('script[id^="explorer-data"]')];
  if (!host || !blocks.length) return;
  const note = document.getElementById("explorer-note");
  try {
    const explorers = new Explorers(host, blocks);
    await explorers.show(explorers.wanted());
    addEventListener("hashchange", () => {
      if (explorers.wanted() !== explorers.model) explorers.show(explorers.wanted());
    });
    await headTables(explorers);
    note?.remove();
    document.documentElement.dataset.explorer = "ready";
  } catch (error) {
    host.hidden = true;
    if (note) note.textContent = `The explorer could not begin: ${error.message}. The figures below show the same.`;
  }
}

tableTools();
copyables();
begin();
