// Elements from names, attributes and children. Text only ever becomes text: there is no way here to
// write markup, so that prompts, which are a user's own, stay prompts.

const SVG = "http://www.w3.org/2000/svg";

export function el(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "on") {
      for (const [event, call] of Object.entries(value)) node.addEventListener(event, call);
    } else if (key === "style") {
      // Through the object model, which a content security policy allows.
      for (const [property, worth] of Object.entries(value)) node.style.setProperty(property, worth);
    } else {
      node.setAttribute(key, value === true ? "" : String(value));
    }
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

export function replace(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
}
