// To the clipboard. Pages that are opened as files may ask the browser's clipboard; inside a frame it
// may be refused, and then the old way is taken.

import { el } from "./dom.js";

// Lines with a button that copies them, and says that it has.
export function copyable(pre) {
  const status = el("span", { role: "status", class: "explorer-status" });
  const copy = async () => {
    status.textContent = (await copyText(pre.textContent)) ? "Copied." : "The browser does not let this page copy.";
  };
  return el("div", { class: "explorer-copyable" }, el("button", { type: "button", on: { click: copy } }, "copy"), status, pre);
}

// The blocks of the page that are there to be copied.
export function copyables() {
  for (const pre of document.querySelectorAll("main pre.copyable")) {
    const mark = document.createComment("");
    pre.replaceWith(mark);
    mark.replaceWith(copyable(pre));
  }
}

export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.setAttribute("aria-hidden", "true");
    area.className = "explorer-copied";
    const focused = document.activeElement;
    document.body.append(area);
    area.select();
    let done = false;
    try {
      done = document.execCommand("copy");
    } catch {
      done = false;
    }
    area.remove();
    focused?.focus?.();
    return done;
  }
}
