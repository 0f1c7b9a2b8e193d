// What a reader chooses the view with: the lists above the map and those of the scatter plot, the search,
// the buttons, the list of keys.

import { el } from "./dom.js";
import { DIFFERENCE, SUM } from "./study.js";

const KEYS = [
  ["arrows", "go to the next head"],
  ["Enter", "pin the head, or let it go (at most three)"],
  ["[ and ]", "pair before and after; what is over all pairs comes first"],
  ["d", "next direction"],
  ["/", "search for a head (also while nothing has the focus)"],
  ["Escape", "let all pinned heads go"],
  ["?", "this list (likewise)"],
];

export class Controls {
  constructor(study, models, calls) {
    this.study = study;
    this.models = models;
    this.calls = calls;
    this.selects = {};
    this.help = this.helpDialog();
  }

  // Show the state.
  tell(state) {
    for (const [key, select] of Object.entries(this.selects)) select.value = String(state[key]);
  }

  #select(label, key, options, read = (value) => value) {
    const id = `explorer-${key}`;
    const select = el(
      "select",
      { id, on: { change: () => this.calls.set({ [key]: read(select.value) }) } },
      options.map((option) =>
        option.options
          ? el("optgroup", { label: option.label }, option.options.map(optionOf))
          : optionOf(option),
      ),
    );
    this.selects[key] = select;
    return el("div", { class: "explorer-field" }, el("label", { for: id }, label), select);
  }

  #measureOptions() {
    const groups = new Map();
    for (const measure of this.study.measures) {
      if (!groups.has(measure.group)) groups.set(measure.group, []);
      groups.get(measure.group).push({ value: measure.key, text: measure.label });
    }
    return [...groups].map(([label, options]) => ({ label, options }));
  }

  toolbar() {
    const { study } = this;
    const pairs = study.pairs.map((pair) => ({
      value: pair.number,
      text: study.ofStudies ? pair.title : `pair ${pair.number}: ${short(pair.clean.join(""))}`,
    }));
    const over = study.over.map(([value, text]) => ({ value, text }));
    const stored = (value) => (over.some((one) => one.value === value) ? value : Number(value));
    this.search = el("input", {
      type: "search",
      id: "explorer-find",
      size: 8,
      placeholder: "23.3",
      title: "By layer and number, as 23.3 or L23H3",
      on: {
        keydown: (event) => {
          if (event.key === "Enter") {
            event.preventDefault();
            this.calls.find();
          } else if (event.key === "Escape") this.calls.toMap();
          event.stopPropagation();
        },
      },
    });
    return el(
      "div",
      { class: "explorer-tools", role: "group", "aria-label": "What the map shows" },
      this.#modelSelect(),
      this.#select("measure", "measure", this.#measureOptions()),
      this.#select("direction", "direction", study.views.map((name) => ({ value: name, text: directionName(name, study) }))),
      this.#select(
        study.noun,
        "pair",
        [{ label: `over all ${study.ofStudies ? "studies" : "pairs"}`, options: over }, { label: `each ${study.noun}`, options: pairs }],
        stored,
      ),
      this.#select("scale", "scale", [{ value: "own", text: "own" }, { value: "shared", text: `shared by all ${study.ofStudies ? "studies" : "pairs"}` }]),
      el("div", { class: "explorer-field" }, el("label", { for: "explorer-find" }, "find a head"), this.search),
      this.#curveFile(),
      el(
        "div",
        { class: "explorer-buttons" },
        toolButton("copy map as CSV", () => this.calls.copyMap()),
        toolButton("copy as pandas", () => this.calls.copyPandas()),
        toolButton("copy link", () => this.calls.copyLink()),
        toolButton("keys", () => this.help.showModal(), "List of keys"),
      ),
    );
  }

  // Heads have names only inside their model.
  #modelSelect() {
    if (this.models.length < 2) return null;
    const select = el(
      "select",
      { id: "explorer-model", on: { change: () => this.calls.choose(select.value) } },
      this.models.map((name) => el("option", { value: name, selected: name === this.study.header.model }, name)),
    );
    return el("div", { class: "explorer-field" }, el("label", { for: "explorer-model" }, "model"), select);
  }

  // Curves that the page has no room for come from the file beside it, which the reader hands over: a page
  // that is opened as a file may not fetch it by itself.
  #curveFile() {
    const { study } = this;
    if (!(study.elsewhere > 0)) return null;
    const input = el("input", {
      type: "file",
      id: "explorer-file",
      accept: ".safetensors",
      on: { change: () => input.files.length && this.calls.openCurves(input.files[0]) },
    });
    const text = `curves of all ${study.counted(study.header.curves.kept)}: open curves.safetensors`;
    return el("div", { class: "explorer-field" }, el("label", { for: "explorer-file" }, text), input);
  }

  scatterBox(scatter) {
    return el(
      "div",
      { class: "explorer-scatter-box" },
      el(
        "div",
        { class: "explorer-tools small", role: "group", "aria-label": "What the scatter plot shows" },
        this.#select("across", "x", this.#measureOptions()),
        this.#select("up", "y", this.#measureOptions()),
      ),
      scatter,
    );
  }

  helpDialog() {
    const dialog = el(
      "dialog",
      { class: "explorer-help", "aria-labelledby": "explorer-help-title" },
      el("h3", { id: "explorer-help-title" }, "Keys, while the explorer has the focus"),
      el("dl", { id: "explorer-keys" }, KEYS.map(([key, text]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, text)])),
      toolButton("close", () => dialog.close()),
    );
    return dialog;
  }
}

function optionOf({ value, text }) {
  return el("option", { value }, text);
}

function toolButton(text, call, label = null) {
  return el("button", { type: "button", "aria-label": label, on: { click: call } }, text);
}

export function directionName(name, study) {
  if (name === SUM) return `${study.directions.join(" + ")}`;
  if (name === DIFFERENCE) return `${study.directions.join(" − ")}`;
  return name;
}

function short(text) {
  return text.length > 48 ? `${text.slice(0, 47)}…` : text;
}
