// The head explorer: map, scatter plot, cards and keys of one study (or of the studies of one model), and
// what changes them.

import { card } from "./card.js";
import { Controls, directionName } from "./controls.js";
import { copyText } from "./copying.js";
import { CurveFile, Refusal } from "./curvefile.js";
import { el, replace } from "./dom.js";
import { headCsv, pandas, viewCsv } from "./exports.js";
import { HeadMap } from "./map.js";
import { exact } from "./numbers.js";
import { Scatter } from "./scatter.js";
import { MOST_PINNED, fromHash, startState, toHash } from "./state.js";
import { DIFFERENCE, SUM } from "./study.js";
import { TaskMap } from "./tasks.js";

const MOST_BESIDE = 16;

export class Explorer {
  // `models` are the names of all there are explorers of, `choose` goes to another one.
  constructor(host, study, models = [], choose = null) {
    this.host = host;
    this.study = study;
    this.ended = new AbortController();
    const { signal } = this.ended;
    this.state = fromHash(location.hash, study) ?? startState(study);
    this.pointed = null;
    this.more = false;
    const calls = { point: (place) => this.point(place), pin: (place) => this.pin(place) };
    this.map = new HeadMap(study, calls);
    this.scatter = new Scatter(study, calls);
    this.tasks = study.ofStudies ? new TaskMap(study, calls) : null;
    this.cards = el("div", { class: "explorer-cards" });
    this.readout = el("p", { class: "explorer-readout", "aria-hidden": "true" });
    this.status = el("p", { class: "explorer-status", role: "status" });
    this.map.node.append(this.readout);
    this.controls = new Controls(study, models, {
      set: (change) => this.set(change),
      choose,
      openCurves: (file) => this.openCurves(file),
      find: () => this.find(),
      toMap: () => this.map.grid.focus(),
      copyMap: () => this.copied(viewCsv(study, this.state), "the map as CSV"),
      copyPandas: () => this.copied(pandas(study, this.state, null), "lines of pandas for the map"),
      copyLink: () => this.copied(this.link(), "the address of this view"),
    });
    this.help = this.controls.help;
    this.body = el(
      "div",
      { class: "explorer-body" },
      el("div", { class: "explorer-left" }, this.map.node, this.controls.scatterBox(this.scatter.node)),
      this.cards,
    );
    // A map of many columns is not squeezed beside the cards.
    if (study.width > MOST_BESIDE) this.body.dataset.wide = "";
    // Keys are the explorer's inside it; the search and the list of keys also where nothing has the focus.
    const key = (event) => {
      if (host.contains(event.target) || (event.target === document.body && "/?".includes(event.key))) this.key(event);
    };
    document.addEventListener("keydown", key, { signal });
    replace(host, this.controls.toolbar(), this.#sample(), this.status, this.body, this.tasks?.node, this.help);
    host.hidden = false;
    this.render();
    addEventListener("hashchange", () => this.#follow(), { signal });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.render(), { signal });
    if (fromHash(location.hash, study)) this.host.scrollIntoView({ block: "start" });
  }

  // What of many pairs stands on the page.
  #sample() {
    const { pairs, pairs_in_all: all } = this.study.header;
    if (pairs.length === all) return null;
    return el(
      "p",
      { class: "note explorer-sample" },
      `Of ${all} pairs ${pairs.length}, at equal distances in the study's order, can be chosen and have ticks; means, spreads, quantiles and intervals are of all.`,
    );
  }

  // Another explorer takes its place.
  end() {
    this.ended.abort();
  }

  #follow() {
    const state = fromHash(location.hash, this.study);
    if (!state) return;
    this.state = state;
    this.render();
    this.host.scrollIntoView({ block: "start" });
  }

  // --- changes

  // Show a head, from elsewhere on the page.
  go(place) {
    this.host.scrollIntoView({ block: "start" });
    this.#to(place);
  }

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
    const place = this.study.find(this.controls.search.value);
    if (place === undefined) {
      const { layerList, width } = this.study;
      this.say(
        `No head “${this.controls.search.value}”: layers are ${layerList[0]} to ${layerList[layerList.length - 1]}, heads 0 to ${width - 1}; write 23.3 or L23H3.`,
      );
      return;
    }
    this.controls.search.value = "";
    this.#to(place);
  }

  #to(place) {
    if (!this.state.pinned.includes(place)) this.pin(place);
    else this.set({ head: place });
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
    else if (event.key === "/") this.controls.search.focus();
    else if (event.key === "?") this.help.showModal();
    else return;
    event.preventDefault();
  }

  nextPair(step) {
    const [mean, spread, ...others] = this.study.over.map(([key]) => key);
    const all = [mean, spread, ...this.study.pairs.map(({ number }) => number), ...others].filter((one) => one !== undefined);
    const place = (all.indexOf(this.state.pair) + step + all.length) % all.length;
    this.set({ pair: all[place] });
    this.say(this.viewName());
  }

  nextDirection() {
    const { views } = this.study;
    this.set({ direction: views[(views.indexOf(this.state.direction) + 1) % views.length] });
    this.say(this.viewName());
  }

  async openCurves(file) {
    try {
      this.study.file = await CurveFile.open(file, this.study);
      this.say(`Curves of ${this.study.counted(this.study.file.pairs.length)} are read from ${file.name} as they are asked for: choose a pair or pin a head.`);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.say(`${file.name}: ${error.message}.`);
    }
    this.render();
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
    const { fixed, label } = study.byKey.get(state.measure);
    if (fixed) return label;
    const pair = typeof state.pair === "number" ? study.pairName(state.pair) : new Map(study.over).get(state.pair);
    return `${study.byKey.get(state.measure).label}, ${directionName(state.direction, study)}, ${pair}`;
  }

  reading() {
    const { state, study } = this;
    const value = study.view(state.measure, state.direction, state.pair)[state.head];
    return `${study.name(state.head)}: ${study.shown(state.measure, value)}`;
  }

  render() {
    const { state, study } = this;
    this.controls.tell(state);
    const measure = study.byKey.get(state.measure);
    const values = study.view(state.measure, state.direction, state.pair);
    const together = state.direction === SUM || state.direction === DIFFERENCE;
    const largest =
      state.scale === "shared"
        ? study.largest(state.measure, together)
        : values.reduce((most, value) => (Math.abs(value) > most ? Math.abs(value) : most), 0);
    this.map.colour({
      values,
      ...study.shades(state.measure, state.direction, state.pair, values, largest),
      text: (value) => study.shown(state.measure, value),
    });
    const labels = [state.x, state.y].map((key) => study.byKey.get(key).label);
    this.scatter.draw(
      study.view(state.x, state.direction, state.pair),
      study.view(state.y, state.direction, state.pair),
      labels,
      `${labels[1]} against ${labels[0]}, ${directionName(state.direction, study)}`,
    );
    this.tasks?.draw(state, `${measure.label}, ${directionName(state.direction, study)}`);
    this.renderHeads();
  }

  // Cards are made anew: what had the focus gives it to what says the same, or to the map.
  #focusLike(gone) {
    const label = gone.getAttribute("aria-label") ?? gone.textContent;
    const same = [...this.cards.querySelectorAll(gone.tagName)].find((one) => (one.getAttribute("aria-label") ?? one.textContent) === label);
    (same ?? this.map.grid).focus({ preventScroll: true });
  }

  renderHeads() {
    const { state, study } = this;
    this.map.mark(state.head, state.pinned);
    this.scatter.mark(state.head, state.pinned);
    this.readout.textContent = `${this.reading()} · ${this.viewName()}`;
    const calls = {
      pin: (place) => this.pin(place),
      show: (place) => this.#to(place),
      copyCsv: (place) => this.copied(headCsv(study, place), `all numbers of head ${study.name(place)} on ${study.counted(study.pairs.length)} as CSV`),
      copyPandas: (place) => this.copied(pandas(study, state, place), `lines of pandas for head ${study.name(place)}`),
      copyNumber: (value, what) => this.copied(exact(value), `${exact(value)} (${what})`),
      choosePair: (pair) => this.set({ pair }),
      opened: (open) => {
        this.more = open;
      },
      isOpen: () => this.more,
    };
    const { pinned } = state;
    const name = [study.header.study, pinned.join(), state.measure, state.pair, Boolean(study.file)].join("|");
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
    this.body.toggleAttribute("data-free", pinned.length < MOST_PINNED && pinned.includes(state.head));
    const focused = this.cards.contains(document.activeElement) ? document.activeElement : null;
    replace(this.cards, shownCards);
    if (focused && !focused.isConnected) this.#focusLike(focused);
  }
}
