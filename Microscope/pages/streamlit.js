// Shows the pages inside Streamlit, which calls this again whenever the app reruns.

const mounted = new WeakMap();

/** The explorer has the window to itself. */
const WINDOW = `.stMainBlockContainer { padding: 0; max-width: none; } .stMainBlockContainer > div { gap: 0; } header.stAppHeader { display: none; }`;

/** Ask for files at once that would be asked for one after the other. */
function ask(files, kind) {
  for (const href of files) document.head.append(Object.assign(document.createElement("link"), { ...kind, href }));
}

export default function ({ parentElement, data }) {
  if (!mounted.has(parentElement)) {
    const pages = new URL(data.pages, window.location.href);
    ask(data.first.map((file) => new URL(file, new URL(data.base, pages)).href), { rel: "preload", as: "fetch", crossOrigin: "anonymous" });
    ask(data.scripts.map((script) => new URL(script, pages).href), { rel: "modulepreload" });
    document.head.append(Object.assign(document.createElement("style"), { textContent: WINDOW }));
    const taken = import(new URL("microscope.js", pages).href).then(({ mount }) => mount(parentElement, { base: new URL(data.base, window.location.href).href, window }));
    mounted.set(parentElement, taken);
  }
  return () => {
    mounted.get(parentElement)?.then((close) => close());
    mounted.delete(parentElement);
  };
}
