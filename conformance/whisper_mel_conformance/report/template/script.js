"use strict";
// Sorting and filtering of the table of verdicts. The page says all there is without this.
(() => {
  const table = document.querySelector("#verdicts-table");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);

  // ---- sorting: a button in each heading; numbers by data-value, all else by text
  const value = (row, column) => {
    const cell = row.cells[column];
    const given = cell.dataset.value;
    return given === undefined ? cell.textContent.trim().toLowerCase() : Number(given);
  };
  for (const heading of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const column = heading.cellIndex;
      rows.sort((a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        return sign * (x < y ? -1 : x > y ? 1 : 0);
      });
      body.append(...rows);
    });
  }

  // ---- filtering: by words, and to what fails
  const tools = document.querySelector("#verdicts-tools");
  const words = tools.querySelector("input[type=search]");
  const failing = tools.querySelector("input[type=checkbox]");
  const shown = tools.querySelector("output");
  const articles = Array.from(document.querySelectorAll("article"));
  const apply = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.cells[0].textContent.toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word)) ||
        (failing.checked && row.dataset.fails === undefined);
    }
    for (const article of articles) {
      article.hidden = failing.checked && article.dataset.fails === undefined;
    }
    shown.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length}`;
  };
  words.addEventListener("input", apply);
  failing.addEventListener("change", apply);
  apply();
  tools.hidden = rows.length < 2;
})();
