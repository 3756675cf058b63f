// Signals of how an answer was given: paste, leaving the page, keys. Logged and shown as flags; they stop nobody.
"use strict";

window.interpscoreSignals = (() => {
  const MOST_GAPS = 60;

  function watch(element) {
    const found = {
      pasted: 0, left: 0, left_ms: 0, inputs: 0, characters: 0, keys: 0, key_gaps_ms: [], synthetic: 0, pointer: "",
      width: Math.min(window.innerWidth, 100000),
    };
    let lastKey = null, leftAt = null;
    const listeners = [];

    function listen(target, name, react) {
      target.addEventListener(name, react, true);
      listeners.push([target, name, react]);
    }
    function leave() {
      if (leftAt === null) {
        leftAt = performance.now();
        found.left += 1;
      }
    }
    function come_back() {
      if (leftAt !== null) {
        found.left_ms += Math.round(performance.now() - leftAt);
        leftAt = null;
      }
    }

    listen(element, "paste", () => { found.pasted += 1; });
    listen(element, "drop", () => { found.pasted += 1; });
    listen(element, "input", (event) => {
      if (!event.isTrusted) found.synthetic += 1;
      else if (!/^insertFrom(Paste|Drop)/.test(event.inputType || "")) found.inputs += 1;
    });
    listen(element, "keydown", (event) => {
      if (!event.isTrusted) found.synthetic += 1;
      if (event.repeat) return;
      const now = performance.now();
      found.keys += 1;
      if (lastKey !== null && found.key_gaps_ms.length < MOST_GAPS) found.key_gaps_ms.push(Math.round(now - lastKey));
      lastKey = now;
    });
    listen(element, "click", (event) => { if (!event.isTrusted) found.synthetic += 1; });
    listen(window, "pointerdown", (event) => { found.pointer = event.pointerType || ""; });
    // Fields' own events pass here as well.
    listen(window, "blur", (event) => { if (event.target === window) leave(); });
    listen(window, "focus", (event) => { if (event.target === window) come_back(); });
    listen(document, "visibilitychange", () => (document.hidden ? leave() : come_back()));

    // The signals so far; nothing is watched any more.
    return function stop() {
      come_back();
      for (const [target, name, react] of listeners) target.removeEventListener(name, react, true);
      for (const field of element.querySelectorAll("input, textarea")) found.characters += (field.value || "").length;
      return found;
    };
  }

  return { watch };
})();
