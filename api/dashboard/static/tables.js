// Tables are sorted by a click, or Enter, on a column's head; one that is loaded anew stays sorted as it was.

const sorted = new Map();

export function sortable(place) {
  for (const table of place.querySelectorAll("table[data-sortable]")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, heads, column, head.getAttribute("aria-sort") !== "ascending"));
    });
    const before = sorted.get(table.dataset.sortable);
    if (before) sort(table, heads, before.column, before.upwards);
  }
}

function sort(table, heads, column, upwards) {
  sorted.set(table.dataset.sortable, { column, upwards });
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", upwards ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows];
  const numeric = heads[column].classList.contains("n");
  const value = (row) => {
    const shown = row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
    const number = parseFloat(shown.replace(/[,$]/g, ""));
    return numeric ? (Number.isNaN(number) ? -Infinity : number) : shown.toLowerCase();
  };
  rows.sort((a, b) => (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (upwards ? 1 : -1));
  table.tBodies[0].append(...rows);
}

sortable(document);
