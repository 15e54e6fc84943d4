"use strict";

// A cell's number: the exact one where there is one, else the one it begins with, else none.
function number(cell) {
  const marked = cell.querySelector("[data-value]");
  return marked ? Number(marked.dataset.value) : parseFloat(cell.textContent);
}

// Missing figures stay last, whichever way a column is sorted.
function sortBy(table, column, direction) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const words = rows.every((row) => Number.isNaN(number(row.cells[column])));
  const key = (row) => {
    const cell = row.cells[column];
    return words ? cell.textContent.trim().toLowerCase() : number(cell);
  };
  const compare = (one, other) => {
    const [a, b] = [key(one), key(other)];
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
    return (a < b ? -1 : a > b ? 1 : 0) * direction;
  };
  body.append(...rows.sort(compare));
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.title = "sort by this column";
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") !== "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortBy(table, column, descending ? -1 : 1);
    });
  });
}

const dataset = document.getElementById("dataset");
const protocol = document.getElementById("protocol");
const network = document.getElementById("network");
const nothing = document.getElementById("nothing");

function filter() {
  const wanted = network.value.trim().toLowerCase();
  const fits = (chosen, own) => !chosen || !own || chosen === own;
  let shown = 0;
  for (const group of document.querySelectorAll(".group")) {
    let visible =
      fits(dataset.value, group.dataset.dataset) && fits(protocol.value, group.dataset.protocol);
    const rows = group.querySelectorAll("table.by-network tbody tr, table.sortable tbody tr");
    let left = 0;
    for (const row of rows) {
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
      left += !row.hidden;
    }
    if (rows.length && !left) visible = false;
    group.hidden = !visible;
    shown += visible;
  }
  nothing.hidden = shown > 0;
}

for (const control of [dataset, protocol, network]) control.addEventListener("input", filter);

// A mean over seeds comes from several runs: the link leads to one and marks the others too.
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  if (!link) return;
  for (const row of document.querySelectorAll("tr.also")) row.classList.remove("also");
  for (const id of (link.dataset.also || "").split(" ")) {
    document.getElementById(id)?.classList.add("also");
  }
});
