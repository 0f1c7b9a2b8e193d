// What a page of its own does, without which it can be read all the same.
(() => {
  "use strict";
  // Boxes that scroll sideways can be reached with the tabulator key; those that do not, need not.
  const reach = ({ target }) => {
    const box = target.closest(".scroll");
    if (box.scrollWidth > box.clientWidth + 1) box.setAttribute("tabindex", "0");
    else box.removeAttribute("tabindex");
  };
  const sizes = new ResizeObserver((changed) => changed.forEach(reach));
  for (const box of document.querySelectorAll("main .scroll")) {
    sizes.observe(box);
    if (box.firstElementChild) sizes.observe(box.firstElementChild);
  }
  for (const one of document.querySelectorAll("main bdi")) one.className = "interval";
  // On paper every fold is open: browsers that know ::details-content need no help.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("main details:not([open], .table-tools)")];
    for (const fold of opened) fold.open = true;
  });
  addEventListener("afterprint", () => {
    for (const fold of opened) fold.open = false;
    opened = [];
  });
})();
