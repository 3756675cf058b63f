(() => {
  document.documentElement.classList.add("js");
  const table = document.querySelector("table.ranking");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const first = new Map(rows.map((row, at) => [row, at]));
  const value = (row, name) => {
    const cell = row.querySelector(`[data-column="${CSS.escape(name)}"]`);
    return cell ? parseFloat(cell.textContent.replaceAll(",", "").replaceAll("−", "-")) : NaN;
  };
  for (const head of table.querySelectorAll("th[data-sort]")) {
    const name = head.dataset.sort;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const was = head.getAttribute("aria-sort");
      const up = was ? was === "descending" : name === "Rank";
      for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      rows.sort((a, b) => {
        const [x, y] = [value(a, name), value(b, name)];
        if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y) || first.get(a) - first.get(b);
        return (up ? x - y : y - x) || first.get(a) - first.get(b);
      });
      body.append(...rows);
    });
  }
  const label = document.createElement("label");
  const field = document.createElement("input");
  const found = document.createElement("output");
  label.className = "filter";
  field.type = "search";
  field.placeholder = "concept or neuron";
  label.append("Find ", field);
  table.before(label, found);
  const all = [...document.querySelectorAll("#ranking tbody tr")];
  const text = new Map(all.map((row) => [row, [...row.querySelectorAll("bdi")].map((one) => one.textContent).join(" ").toLowerCase()]));
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of all) {
      row.hidden = !words.every((word) => text.get(row).includes(word));
      count += !row.hidden;
    }
    found.textContent = words.length ? `${count} of ${all.length}` : "";
  });
})();
