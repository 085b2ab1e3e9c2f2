// Elements in one call, for HTML and SVG. No strings of markup anywhere: text stays text.

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {string | number | boolean | null | undefined} Value null, undefined and false: no such attribute */
/** @typedef {Record<string, Value>} Attributes */
/** @typedef {{ [E in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[E]) => void }} Listeners */
/** @typedef {{ on?: Listeners, text?: string, [attribute: string]: Value | Listeners }} Properties */

/**
 * The page's own element, of the kind that is named where one is needed.
 * @template {HTMLElement} [E=HTMLElement]
 * @param {string} id
 * @param {(new () => E) | typeof HTMLElement} kind
 */
export function byId(id, kind = HTMLElement) {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new TypeError(`the page has no ${kind.name} #${id}`);
  return /** @type {E} */ (element);
}

/** @param {string} id */
export const input = (id) => byId(id, HTMLInputElement);

/** @param {string} id */
export const dialog = (id) => byId(id, HTMLDialogElement);

/**
 * An HTML element: `on` has listeners, `text` its text, the rest are attributes.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Properties} properties
 * @param {(Node | string | null)[]} children
 */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/**
 * An SVG element.
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Properties} properties
 * @param {(Node | string | null)[]} children
 */
export function s(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

/**
 * Sets attributes that have changed only, so that a redraw costs what it changes.
 * @template {Element} E
 * @param {E} element
 * @param {Attributes} attributes
 */
export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
  }
  return element;
}

/**
 * Hides the element; the focus, where it was in there, goes on at `next`, and not back to the top.
 * @param {HTMLElement} element
 * @param {boolean} hidden
 * @param {HTMLElement} next
 */
export function hide(element, hidden, next) {
  const held = hidden && element.contains(document.activeElement);
  element.hidden = hidden;
  if (held) next.focus({ preventScroll: true });
}

/**
 * Says that what somebody did to the element is complete, as browsers do of inputs.
 * @param {HTMLElement} element
 */
export const changed = (element) => void element.dispatchEvent(new Event("change", { bubbles: true }));

/**
 * A link to a part of the page: the address goes on naming the job.
 * @param {HTMLAnchorElement} link
 */
export function jump(link) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const part = byId(link.hash.slice(1));
    part.scrollIntoView();
    part.focus({ preventScroll: true });
  });
  return link;
}

/**
 * As many children with the tag as there are items, each brought up to date; a redraw makes only what is new.
 * @template Item
 * @template {keyof HTMLElementTagNameMap | keyof SVGElementTagNameMap} Tag
 * @param {Element} parent
 * @param {Tag} tag
 * @param {Item[]} items
 * @param {(child: Made<Tag>, item: Item, index: number) => void} update
 */
export function each(parent, tag, items, update) {
  while (parent.childElementCount > items.length) parent.lastElementChild?.remove();
  while (parent.childElementCount < items.length) parent.append(document.createElementNS(parent.namespaceURI, tag));
  items.forEach((item, index) => update(/** @type {Made<Tag>} */ (parent.children[index]), item, index));
}

/**
 * @template {string} Tag
 * @typedef {Tag extends keyof SVGElementTagNameMap ? SVGElementTagNameMap[Tag]
 *   : Tag extends keyof HTMLElementTagNameMap ? HTMLElementTagNameMap[Tag] : never} Made
 */

/**
 * @template {Element} E
 * @param {E} element
 * @param {Properties} properties
 * @param {(Node | string | null)[]} children
 */
function fill(element, { on = {}, text, ...attributes }, children) {
  for (const [type, listener] of Object.entries(on))
    element.addEventListener(type, /** @type {EventListener} */ (listener));
  set(element, /** @type {Attributes} */ (attributes));
  if (text !== undefined) element.textContent = text;
  element.append(...children.filter((child) => child !== null));
  return element;
}
