// Elements in one call, for HTML and SVG. No strings of markup anywhere: text stays text.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** An HTML element: `on` has listeners, what is a property is set as one, the rest as attributes. */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** An SVG element; numbers become attributes. */
export function s(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

/** Sets attributes that have changed only, so that a redraw costs what it changes. */
export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
  }
  return element;
}

/** Hides the element; the focus, where it was in there, goes on at `next`, and not back to the top. */
export function hide(element, hidden, next) {
  const held = hidden && element.contains(document.activeElement);
  element.hidden = hidden;
  if (held) next.focus({ preventScroll: true });
}

/** As many children with the tag as there are items, each brought up to date; a redraw makes only what is new. */
export function each(parent, tag, items, update) {
  while (parent.childElementCount > items.length) parent.lastElementChild.remove();
  while (parent.childElementCount < items.length) parent.append(document.createElementNS(parent.namespaceURI, tag));
  items.forEach((item, index) => update(parent.children[index], item, index));
}

function fill(element, { on = {}, text, ...attributes }, children) {
  for (const [type, listener] of Object.entries(on)) element.addEventListener(type, listener);
  set(element, attributes);
  if (text !== undefined) element.textContent = text;
  element.append(...children.filter((child) => child !== null));
  return element;
}
