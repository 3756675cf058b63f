// Elements made safely: text from data becomes text nodes, addresses are checked, and no markup is ever parsed.

const SVG = "http://www.w3.org/2000/svg";
const SAFE_ADDRESS = /^(https?:|blob:|data:image\/|[?#]|$)/i;

/** An HTML element. `props`: attributes; `on`: listeners by event; `style`: custom or plain CSS properties. */
export function h(tag, props = {}, ...children) {
  return filled(document.createElement(tag), props, children);
}

/** An SVG element. */
export function s(tag, props = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), props, children);
}

function filled(element, props, children) {
  for (const name in props) {
    const value = props[name];
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.setAttribute("class", value);
    else if (name === "on") hear(element, value);
    else if (name === "style") for (const key in value) element.style.setProperty(key, value[key]);
    else if (name === "value") element.value = value;
    else if (/^on|^srcdoc$/i.test(name)) throw new Error(`no attribute ${name}: listeners go in "on"`);
    else if (name === "href" || name === "src" || name === "action") element.setAttribute(name, safeAddress(value));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  return append(element, children);
}

const HEARD = Symbol("listeners");

function heard(event) {
  this[HEARD]?.[event.type]?.call(this, event);
}

/** Listeners by event, in place of those that the element has. */
function hear(element, listeners) {
  for (const event of Object.keys(listeners ?? {})) if (!element[HEARD]?.[event]) element.addEventListener(event, heard);
  element[HEARD] = listeners;
}

/**
 * Make an element equal to a fresh one, touching what differs alone: the browser lays out and paints no more than that.
 * Pictures of other files, and elements marked `data-own` (their listeners know them), are replaced.
 */
export function patch(old, fresh) {
  if (old.nodeName !== fresh.nodeName || ownOrOther(old, fresh)) return old.replaceWith(fresh);
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const name of old.getAttributeNames()) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) === value) continue;
    if (name === "style") old.style.cssText = value;  // a policy against inline styles has nothing against it
    else old.setAttribute(name, value);
  }
  if (old[HEARD] !== fresh[HEARD]) hear(old, fresh[HEARD]);
  let was = old.firstChild, is = fresh.firstChild;
  while (was && is) {
    const next = [was.nextSibling, is.nextSibling];
    patch(was, is);
    [was, is] = next;
  }
  rest(was).forEach((each) => each.remove());
  old.append(...rest(is));
}

const ownOrOther = (old, fresh) => fresh.nodeType === Node.ELEMENT_NODE
  && (fresh.hasAttribute("data-own") || (fresh.nodeName === "IMG" && old.getAttribute("src") !== fresh.getAttribute("src")));

function rest(node) {
  const found = [];
  for (; node; node = node.nextSibling) found.push(node);
  return found;
}

/** Give a list these children, touching those alone that come or go. */
export function arrange(list, children) {
  const stay = new Set(children);
  for (const child of [...list.children]) if (!stay.has(child)) child.remove();
  let at = list.firstChild;
  for (const child of children) {
    if (child === at) at = at.nextSibling;
    else list.insertBefore(child, at);
  }
}

/** Append children: elements, text, or lists of them; null and false are left out. */
export function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child.nodeType ? child : String(child));
  }
  return element;
}

/** An address that runs no script; others lead nowhere. */
export function safeAddress(address) {
  return SAFE_ADDRESS.test(String(address).trim()) ? String(address).trim() : "";
}

/** Text with control and direction characters shown as escapes, as the command line prints it. */
export function visible(text) {
  return String(text).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}
