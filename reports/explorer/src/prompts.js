// A pair's prompts with the pieces that differ marked, and what the head does at single positions.

import { el } from "./dom.js";
import { NOTHING, exact, shown } from "./numbers.js";

// The pieces of one prompt, those that differ from the other's marked.
function marked(own, other, partner) {
  const same = own.length === other.length;
  const nodes = own.map((piece, place) => {
    if (partner) {
      const beside = partner(place);
      if (beside === undefined) return unaligned(piece);
      return beside === piece ? piece : markedPiece(piece, beside);
    }
    const differs = same ? piece !== other[place] : !commonEnds(own, other)(place);
    return differs ? markedPiece(piece, same ? other[place] : "") : piece;
  });
  return el("code", { class: "prompt" }, nodes.flat());
}

// A piece that belongs to none of the other prompt.
function unaligned(piece) {
  const bare = piece.trimStart();
  return [piece.slice(0, piece.length - bare.length), el("span", { class: "unaligned" }, bare)];
}

// Of prompts of unequal length that are aligned: the piece of the other prompt beside each of one.
function partners(pair) {
  if (!pair.aligned || pair.first === null) return {};
  const others = pair.aligned.slice(pair.first).map((position) => position - pair.first);
  const back = new Map(others.map((other, own) => [other, own]).filter(([other]) => other >= 0));
  return {
    clean: (place) => (others[place] >= 0 ? pair.corrupted[others[place]] : undefined),
    corrupted: (place) => pair.clean[back.get(place)],
  };
}

// A leading space is left outside, unless it is the difference.
function markedPiece(piece, other) {
  const bare = piece.trimStart();
  if (!bare || bare === other.trimStart()) return el("mark", {}, piece);
  return [piece.slice(0, piece.length - bare.length), el("mark", {}, bare)];
}

// Of prompts of unequal length: the pieces of the common beginning and end are the same.
function commonEnds(own, other) {
  let begin = 0;
  while (begin < Math.min(own.length, other.length) && own[begin] === other[begin]) begin += 1;
  let end = 0;
  while (
    end < Math.min(own.length, other.length) - begin &&
    own[own.length - 1 - end] === other[other.length - 1 - end]
  ) {
    end += 1;
  }
  return (place) => place < begin || place >= own.length - end;
}

export function prompts(pair, extra = []) {
  const beside = partners(pair);
  return el(
    "dl",
    { class: "explorer-prompts" },
    el("dt", {}, "clean"),
    el("dd", {}, marked(pair.clean, pair.corrupted, beside.clean)),
    el("dt", {}, "corrupted"),
    el("dd", {}, marked(pair.corrupted, pair.clean, beside.corrupted)),
    el("dt", {}, "answers"),
    el("dd", {}, el("code", { class: "prompt short" }, pair.correct), " against ", el("code", { class: "prompt short" }, pair.incorrect), ...extra),
  );
}

// The effects at the positions of a pair, a row each: "which positions matter".
export function positionTable(study, pair, place) {
  const records = study.positions(pair.number);
  if (!records) return null;
  const rows = new Map();
  for (const record of records) {
    const effects = study.positionEffects(record, place);
    // Positions are counted in the background's prompt: those of the corrupted one are put beside
    // their partners of the clean one.
    const ofClean = pair.aligned && study.directions[record.direction] === "denoising";
    for (const [order, [own, token, span]] of record.places.entries()) {
      const position = ofClean ? pair.aligned.indexOf(own) : own;
      const row = rows.get(position) ?? { position, span, tokens: [], effects: {} };
      if (!row.tokens.includes(token)) row.tokens.push(token);
      row.effects[record.direction] = effects[order];
      rows.set(position, row);
    }
  }
  const list = [...rows.values()].sort((one, other) => one.position - other.position);
  const largest = Math.max(1e-12, ...list.flatMap((row) => Object.values(row.effects).map(Math.abs)));
  if (list.every((row) => Object.values(row.effects).every(Number.isNaN))) return null;
  return el(
    "table",
    { class: "explorer-positions" },
    el("caption", {}, `AP at single positions of pair ${pair.number}, ${study.header.unit}`),
    el(
      "thead",
      {},
      el(
        "tr",
        {},
        el("th", { scope: "col" }, "position"),
        study.directions.map((name) => el("th", { scope: "col", class: "number" }, name)),
      ),
    ),
    el(
      "tbody",
      {},
      list.map((row) =>
        el(
          "tr",
          {},
          el(
            "th",
            { scope: "row" },
            `${row.position} `,
            row.tokens.map((token, order) => [order ? " / " : null, el("code", { class: "prompt short" }, visible(token))]).flat(),
            row.span ? el("span", { class: "explorer-span" }, ` ${row.span}`) : null,
          ),
          study.directions.map((_, direction) => effectCell(row.effects[direction], largest)),
        ),
      ),
    ),
  );
}

function effectCell(value, largest) {
  if (value === undefined || Number.isNaN(value)) return el("td", { class: "number" }, NOTHING);
  const share = Math.min(1, Math.abs(value) / largest);
  return el(
    "td",
    { class: "number", "data-exact": exact(value) },
    el("span", { class: "explorer-effect" }, shown(value)),
    el("span", { class: `explorer-effect-bar ${value < 0 ? "below" : "above"}`, style: { width: `${(share * 3).toFixed(2)}rem` }, "aria-hidden": "true" }),
  );
}

// A space at the beginning is part of a token: shown as a dot.
function visible(token) {
  return token.replace(/^ /, "·").replace(/\n/g, "⏎");
}
