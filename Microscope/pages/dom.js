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
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else if (name === "value") element.value = value;
    else if (/^on|^srcdoc$/i.test(name)) throw new Error(`no attribute ${name}: listeners go in "on"`);
    else if (/^(href|src|action)$/.test(name)) element.setAttribute(name, safeAddress(value));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

/** Append children: elements, text, or lists of them; null and false are left out. */
export function append(element, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child.nodeType ? child : document.createTextNode(String(child)));
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
