// Shows the pages inside Streamlit, which calls this again whenever the app reruns.

const mounted = new WeakMap();

export default function ({ parentElement, data }) {
  if (!mounted.has(parentElement)) {
    const pages = new URL(data.pages, window.location.href);
    const taken = import(new URL("microscope.js", pages).href).then(({ mount }) => mount(parentElement, { base: new URL(data.base, window.location.href).href, window }));
    mounted.set(parentElement, taken);
  }
  return () => {
    mounted.get(parentElement)?.then((close) => close());
    mounted.delete(parentElement);
  };
}
