// The head explorer of a report. The page stands without it; it takes the place of the section's note
// when its data is read. Nothing is loaded, nothing is evaluated, texts become text.

import { card } from "./card.js";
import { copyText } from "./copying.js";
import { el, replace } from "./dom.js";
import { headCsv, pandas, viewCsv } from "./exports.js";
import { HeadMap } from "./map.js";
import { exact, plain, shown } from "./numbers.js";
import { Scatter } from "./scatter.js";
import { MOST_PINNED, fromHash, startState, toHash } from "./state.js";
import { DIFFERENCE, MEAN, SPREAD, SUM, Study } from "./study.js";
import { tableTools } from "./tables.js";
import { unpack } from "./unpack.js";

const KEYS = [
  ["arrows", "go to the next head"],
  ["Enter", "pin the head, or let it go (at most three)"],
  ["[ and ]", "pair before and after; mean and spread come first"],
  ["d", "next direction"],
  ["/", "search for a head"],
  ["Escape", "let all pinned heads go"],
  ["?", "this list"],
];

class Explorer {
  constructor(host, study) {
    this.host = host;
    this.study = study;
    this.state = fromHash(location.hash, study) ?? startState(study);
    this.pointed = null;
    this.more = false;
    const calls = { point: (place) => this.point(place), pin: (place) => this.pin(place) };
    this.map = new HeadMap(study, calls);
    this.scatter = new Scatter(study, calls);
    this.cards = el("div", { class: "explorer-cards" });
    this.readout = el("p", { class: "explorer-readout", "aria-hidden": "true" });
    this.status = el("p", { class: "explorer-status", role: "status" });
    this.map.node.append(this.readout);
    this.help = this.#help();
    this.body = el(
      "div",
      { class: "explorer-body" },
      el("div", { class: "explorer-left" }, this.map.node, this.#scatterBox()),
      this.cards,
    );
    host.addEventListener("keydown", (event) => this.key(event));
    replace(
      host,
      this.#toolbar(),
      this.status,
      this.body,
      this.help,
    );
    host.hidden = false;
    this.render();
    addEventListener("hashchange", () => {
      const state = fromHash(location.hash, study);
      if (!state) return;
      this.state = state;
      this.render();
      this.host.scrollIntoView({ block: "start" });
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.render());
    if (fromHash(location.hash, study)) this.host.scrollIntoView({ block: "start" });
  }

  // --- parts

  #select(label, key, options, read = (value) => value) {
    const id = `explorer-${key}`;
    const select = el(
      "select",
      { id, on: { change: () => this.set({ [key]: read(select.value) }) } },
      options.map((option) =>
        option.options
          ? el("optgroup", { label: option.label }, option.options.map(optionOf))
          : optionOf(option),
      ),
    );
    this.controls ??= {};
    this.controls[key] = select;
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

  #toolbar() {
    const { study } = this;
    const pairs = study.pairs.map(({ number, clean }) => ({ value: number, text: `pair ${number}: ${short(clean.join(""))}` }));
    const stored = (value) => (value === MEAN || value === SPREAD ? value : Number(value));
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
            this.find();
          } else if (event.key === "Escape") this.map.grid.focus();
          event.stopPropagation();
        },
      },
    });
    return el(
      "div",
      { class: "explorer-tools", role: "group", "aria-label": "What the map shows" },
      this.#select("measure", "measure", this.#measureOptions()),
      this.#select("direction", "direction", study.views.map((name) => ({ value: name, text: directionName(name, study) }))),
      this.#select(
        "pair",
        "pair",
        [{ value: MEAN, text: study.meanName }, { value: SPREAD, text: "spread over pairs (standard deviation)" }, ...pairs],
        stored,
      ),
      this.#select("scale", "scale", [{ value: "own", text: "own" }, { value: "shared", text: "shared by all pairs" }]),
      el("div", { class: "explorer-field" }, el("label", { for: "explorer-find" }, "find a head"), this.search),
      el(
        "div",
        { class: "explorer-buttons" },
        toolButton("copy map as CSV", () => this.copied(viewCsv(study, this.state), "the map as CSV")),
        toolButton("copy as pandas", () => this.copied(pandas(study, this.state, null), "lines of pandas for the map")),
        toolButton("copy link", () => this.copied(this.link(), "the address of this view")),
        toolButton("keys", () => this.help.showModal(), "List of keys"),
      ),
    );
  }

  #scatterBox() {
    return el(
      "div",
      { class: "explorer-scatter-box" },
      el(
        "div",
        { class: "explorer-tools small", role: "group", "aria-label": "What the scatter plot shows" },
        this.#select("across", "x", this.#measureOptions()),
        this.#select("up", "y", this.#measureOptions()),
      ),
      this.scatter.node,
    );
  }

  #help() {
    const dialog = el(
      "dialog",
      { class: "explorer-help", "aria-labelledby": "explorer-help-title" },
      el("h3", { id: "explorer-help-title" }, "Keys, while the map has the focus"),
      el("dl", { id: "explorer-keys" }, KEYS.map(([key, text]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, text)])),
      toolButton("close", () => dialog.close()),
    );
    return dialog;
  }

  // --- changes

  set(change) {
    this.state = { ...this.state, ...change };
    this.render();
    this.keep();
  }

  // The state goes into the address without a new entry in the history.
  keep() {
    try {
      history.replaceState(history.state, "", toHash(this.state, this.study));
    } catch {
      // In a frame without an address of its own there is none to share.
    }
  }

  link() {
    return location.href.replace(/#.*$/, "") + toHash(this.state, this.study);
  }

  point(place) {
    if (place === this.pointed) return;
    this.pointed = place;
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      if (this.pointed !== null) this.state.head = this.pointed;
      this.renderHeads();
    });
  }

  pin(place) {
    const { pinned } = this.state;
    if (pinned.includes(place)) {
      this.set({ head: place, pinned: pinned.filter((one) => one !== place) });
      this.say(`Head ${this.study.name(place)} is no longer pinned.`);
      return;
    }
    const kept = [...pinned, place];
    const gone = kept.length > MOST_PINNED ? kept.shift() : null;
    this.set({ head: place, pinned: kept });
    this.say(
      `Head ${this.study.name(place)} is pinned${gone === null ? "" : `; ${this.study.name(gone)} was let go, three is the most`}.`,
    );
  }

  find() {
    const place = this.study.find(this.search.value);
    if (place === undefined) {
      const { layerList, width } = this.study;
      this.say(
        `No head “${this.search.value}”: layers are ${layerList[0]} to ${layerList[layerList.length - 1]}, heads 0 to ${width - 1}; write 23.3 or L23H3.`,
      );
      return;
    }
    if (!this.state.pinned.includes(place)) this.pin(place);
    else this.set({ head: place });
    this.search.value = "";
    this.map.grid.focus({ preventScroll: true });
    if (this.narrow()) this.cardOf(place)?.scrollIntoView({ block: "start" });
  }

  narrow() {
    return this.host.clientWidth < 640;
  }

  cardOf(place) {
    return this.cards.querySelector(`[data-head="${this.study.name(place)}"]`);
  }

  key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const target = event.target;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName) || this.help.open) return;
    const onMap = target === this.map.grid;
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (onMap && moves[event.key]) {
      this.set({ head: this.map.beside(this.state.head, ...moves[event.key]) });
      this.say(this.reading());
    } else if (onMap && (event.key === "Enter" || event.key === " ")) this.pin(this.state.head);
    else if (event.key === "Escape" && this.state.pinned.length) {
      this.set({ pinned: [] });
      this.say("No head is pinned.");
    } else if (event.key === "[" || event.key === "]") this.nextPair(event.key === "]" ? 1 : -1);
    else if (event.key === "d") this.nextDirection();
    else if (event.key === "/") this.search.focus();
    else if (event.key === "?") this.help.showModal();
    else return;
    event.preventDefault();
  }

  nextPair(step) {
    const all = [MEAN, SPREAD, ...this.study.pairs.map(({ number }) => number)];
    const place = (all.indexOf(this.state.pair) + step + all.length) % all.length;
    this.set({ pair: all[place] });
    this.say(this.viewName());
  }

  nextDirection() {
    const { views } = this.study;
    this.set({ direction: views[(views.indexOf(this.state.direction) + 1) % views.length] });
    this.say(this.viewName());
  }

  async copied(text, what) {
    this.say((await copyText(text)) ? `Copied ${what}.` : `The browser does not let this page copy. ${text.length < 80 ? text : ""}`);
  }

  say(text) {
    this.status.textContent = text;
  }

  // --- pictures

  viewName() {
    const { state, study } = this;
    const pair = state.pair === MEAN ? study.meanName : state.pair === SPREAD ? "spread over pairs" : `pair ${state.pair}`;
    return `${study.byKey.get(state.measure).label}, ${directionName(state.direction, study)}, ${pair}`;
  }

  reading() {
    const { state, study } = this;
    const value = study.view(state.measure, state.direction, state.pair)[state.head];
    return `${study.name(state.head)}: ${shown(value)}`;
  }

  render() {
    const { state, study } = this;
    for (const [key, select] of Object.entries(this.controls)) select.value = String(state[key]);
    const measure = study.byKey.get(state.measure);
    const values = study.view(state.measure, state.direction, state.pair);
    const signed = study.signed(state.measure, state.direction, state.pair);
    const together = state.direction === SUM || state.direction === DIFFERENCE;
    const largest =
      state.scale === "shared"
        ? study.largest(state.measure, together)
        : values.reduce((most, value) => (Math.abs(value) > most ? Math.abs(value) : most), 0);
    this.map.colour(values, largest, signed, measure.unit);
    const labels = [state.x, state.y].map((key) => study.byKey.get(key).label);
    this.scatter.draw(
      study.view(state.x, state.direction, state.pair),
      study.view(state.y, state.direction, state.pair),
      labels,
      `${labels[1]} against ${labels[0]}, ${directionName(state.direction, study)}`,
    );
    this.renderHeads();
  }

  renderHeads() {
    const { state, study } = this;
    this.map.mark(state.head, state.pinned);
    this.scatter.mark(state.head, state.pinned);
    this.readout.textContent = `${this.reading()} · ${this.viewName()}`;
    const calls = {
      pin: (place) => this.pin(place),
      copyCsv: (place) => this.copied(headCsv(study, place), `all numbers of head ${study.name(place)} as CSV`),
      copyPandas: (place) => this.copied(pandas(study, state, place), `lines of pandas for head ${study.name(place)}`),
      copyNumber: (value, what) => this.copied(exact(value), `${exact(value)} (${what})`),
      choosePair: (pair) => this.set({ pair }),
      opened: (open) => {
        this.more = open;
      },
      isOpen: () => this.more,
    };
    const { pinned } = state;
    const name = [study.header.study, pinned.join(), state.measure, state.pair].join("|");
    if (name !== this.pinnedName) {
      this.pinnedName = name;
      this.pinnedCards = pinned.map((place) => card(study, state, place, true, calls));
    }
    const shownCards = [...this.pinnedCards];
    if (pinned.length < MOST_PINNED) {
      shownCards.push(
        pinned.includes(state.head)
          ? el("div", { class: "explorer-card explorer-free" }, el("p", { class: "note" }, "Point at another head to see it beside; click or Enter pins it."))
          : card(study, state, state.head, false, calls),
      );
    }
    this.body.dataset.cards = String(shownCards.length);
    replace(this.cards, shownCards);
  }
}

function optionOf({ value, text }) {
  return el("option", { value }, text);
}

function toolButton(text, call, label = null) {
  return el("button", { type: "button", "aria-label": label, on: { click: call } }, text);
}

function directionName(name, study) {
  if (name === SUM) return `${study.directions.join(" + ")}`;
  if (name === DIFFERENCE) return `${study.directions.join(" − ")}`;
  return name;
}

function short(text) {
  return text.length > 48 ? `${text.slice(0, 47)}…` : text;
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
  const data = document.getElementById("explorer-data");
  if (!host || !data) return;
  const note = document.getElementById("explorer-note");
  try {
    const study = new Study(await unpack(data.textContent));
    data.remove();
    new Explorer(host, study);
    note?.remove();
    document.documentElement.dataset.explorer = "ready";
  } catch (error) {
    host.hidden = true;
    if (note) note.textContent = `The explorer could not begin: ${error.message}. The figures below show the same.`;
  }
}

tableTools();
begin();
