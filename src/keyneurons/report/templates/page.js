"use strict";
// A click on a column head sorts the table; a cell's data-value overrides its text as sort key.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const sortKey = (cell) => cell.dataset.value ?? cell.textContent.trim();
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "descending";
      const up = head.getAttribute("aria-sort") === "ascending";
      const numeric = [...table.tBodies[0].rows].some((row) => isNumber(sortKey(row.cells[column])));
      const sign = up ? -1 : down ? 1 : numeric ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => compare(sortKey(a.cells[column]), sortKey(b.cells[column]), sign));
      table.tBodies[0].append(...rows);
    });
  });
}
function isNumber(text) {
  return text !== "" && Number.isFinite(Number(text.replace("\u2212", "-").replace(/[,%]/g, "")));
}
function compare(a, b, sign) {
  const numbers = [a, b].map((text) => (isNumber(text) ? Number(text.replace("\u2212", "-").replace(/[,%]/g, "")) : null));
  if (numbers[0] !== null && numbers[1] !== null) return sign * (numbers[0] - numbers[1]);
  if (numbers[0] !== null || numbers[1] !== null) return numbers[0] === null ? 1 : -1; // text comes after numbers
  return sign * a.localeCompare(b);
}
// Words with tooltips: each sentence is one tab stop, arrow keys move between its words.
for (const sentence of document.querySelectorAll("[data-roving]")) {
  const words = [...sentence.querySelectorAll("[data-tooltip]")];
  words.forEach((word, place) => { word.tabIndex = place === 0 ? 0 : -1; });
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
  sentence.addEventListener("keydown", (event) => {
    const place = words.indexOf(document.activeElement);
    if (!(event.key in steps) || place < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    words[Math.max(0, Math.min(words.length - 1, place + steps[event.key]))].focus();
  });
  const point = (event) => {
    const word = event.target.closest("[data-tooltip]");
    if (!word) return;
    word.classList.toggle("end", word.getBoundingClientRect().left > innerWidth / 2);
    if (event.type !== "focusin") return;
    words.forEach((other) => { other.tabIndex = other === word ? 0 : -1; });
  };
  sentence.addEventListener("pointerover", point);
  sentence.addEventListener("focusin", point);
}
