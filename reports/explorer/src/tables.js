// Every table of the page: sorted, filtered, copied as CSV. One fold a table, made when it is opened.

import { copyText } from "./copying.js";
import { el, replace } from "./dom.js";
import { csv } from "./exports.js";
import { MINUS, NOTHING, plain } from "./numbers.js";

const FEWEST_ROWS = 3;

export function tableTools() {
  for (const table of document.querySelectorAll("main .scroll > table:not(.atlas)")) {
    const body = table.tBodies[0];
    if (!body || body.rows.length < FEWEST_ROWS || table.closest("#explorer")) continue;
    table.parentElement.before(tools(table, body));
  }
}

function tools(table, body) {
  const details = el("details", { class: "table-tools" }, el("summary", {}, "sort, filter, copy"));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(panel(table, body));
  });
  return details;
}

function panel(table, body) {
  const rows = [...body.rows];
  const names = [...table.tHead.rows[table.tHead.rows.length - 1].cells].map((cell) => text(cell));
  const status = el("span", { role: "status", class: "explorer-status" });
  const sort = el(
    "select",
    { "aria-label": "Sort by" },
    el("option", { value: "" }, "as it stands"),
    names.map((name, column) => el("option", { value: column }, name)),
  );
  const order = el(
    "select",
    { "aria-label": "Order" },
    el("option", { value: "-1" }, "greatest first"),
    el("option", { value: "1" }, "least first"),
    el("option", { value: "0" }, "largest size first"),
  );
  const filter = el("input", { type: "search", size: 12, "aria-label": "Show rows with this text" });
  const arrange = () => {
    const kept = sorted(rows, sort.value === "" ? null : Number(sort.value), Number(order.value));
    const wanted = filter.value.trim().toLowerCase();
    for (const row of kept) row.hidden = Boolean(wanted) && !plain(text(row)).toLowerCase().includes(plain(wanted));
    replace(body, kept);
    const shown = kept.filter((row) => !row.hidden).length;
    status.textContent = wanted ? `${shown} of ${rows.length} rows` : "";
  };
  for (const one of [sort, order]) one.addEventListener("change", arrange);
  filter.addEventListener("input", arrange);
  const copy = el(
    "button",
    {
      type: "button",
      on: {
        click: async () => {
          const done = await copyText(csv(cells(names, [...body.rows].filter((row) => !row.hidden))));
          status.textContent = done ? "Copied as CSV." : "The browser does not let this page copy.";
        },
      },
    },
    "copy as CSV",
  );
  return el("div", { class: "table-panel" }, el("label", {}, "sort by ", sort), order, el("label", {}, "rows with ", filter), copy, status);
}

// Sorting is by the first number of a cell, where a cell begins with none by its text; empty last.
function sorted(rows, column, order) {
  if (column === null) return rows;
  const keyed = rows.map((row, place) => ({ row, place, key: key(row.cells[column]) }));
  const sign = order || -1;
  keyed.sort((one, other) => {
    const first = one.key;
    const second = other.key;
    if (first === null || second === null) return (first === null) - (second === null) || one.place - other.place;
    if (typeof first === "number" && typeof second === "number") {
      const [a, b] = order === 0 ? [Math.abs(first), Math.abs(second)] : [first, second];
      return sign * (a - b) || one.place - other.place;
    }
    return sign * String(first).localeCompare(String(second)) || one.place - other.place;
  });
  return keyed.map(({ row }) => row);
}

function key(cell) {
  const value = cell ? plain(text(cell)) : "";
  if (!value || value === NOTHING) return null;
  const match = /^[<>≤≥]?\s*(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|-?∞)/.exec(value);
  if (!match) return value;
  // A head's name is a number with a point, but 10.2 comes after 9.8 and 2.10 after 2.9.
  const head = /^(\d+)\.(\d+)$/.exec(value);
  if (head && cell.tagName === "TH") return Number(head[1]) * 1e6 + Number(head[2]);
  return match[1].endsWith("∞") ? (match[1][0] === "-" ? -Infinity : Infinity) : Number(match[1]);
}

// A column with intervals becomes three: the number and its interval's ends.
function cells(names, rows) {
  const wide = names.map((_, column) => rows.some((row) => row.cells[column]?.querySelector(".interval")));
  const header = names.flatMap((name, column) => (wide[column] ? [name, `${name} low`, `${name} high`] : [name]));
  const body = rows.map((row) =>
    names.flatMap((_, column) => {
      const cell = row.cells[column];
      if (!cell) return wide[column] ? ["", "", ""] : [""];
      if (!wide[column]) return [number(text(cell))];
      const ends = cell.querySelector(".interval");
      const whole = text(cell);
      const inside = ends ? text(ends) : "";
      const [low, high] = inside.replace(/[[\]]/g, "").split(",").map((end) => number(end.trim()));
      return [number(inside ? whole.slice(0, whole.length - inside.length).trim() : whole), low ?? "", high ?? ""];
    }),
  );
  return [header, ...body];
}

function number(value) {
  const read = plain(value);
  return read === NOTHING || read === MINUS ? "" : read;
}

function text(node) {
  return node.textContent.replace(/\s+/g, " ").trim();
}
