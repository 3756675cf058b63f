// Keys of every page: what they do is listed here, and shown by "?".

export const KEYS = [
  ["← →", "previous and next unit"],
  ["G", "go to a unit by its number"],
  ["/", "search"],
  ["B", "bookmark the unit"],
  ["R", "a random unit"],
  ["?", "this list"],
  ["Esc", "close what is open"],
];

/** Call an action for each key, unless someone types, a dialog of its own handles keys, or a modifier is held. */
export function listen(document, actions) {
  const heard = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = event.composedPath()[0];
    if (target.matches?.("input, textarea, select, [contenteditable], canvas")) return;
    if (event.composedPath().some((node) => node.matches?.("dialog[open]"))) return;
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  };
  document.addEventListener("keydown", heard);
  return () => document.removeEventListener("keydown", heard);
}
