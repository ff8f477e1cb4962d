"use strict";
// Sort tables by buttons in their heads. Without JavaScript they stay as they are.
const said = document.getElementById("sorted");
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, place) => {
    const cell = row.cells[place];
    if (cell.dataset.value === undefined) return cell.textContent;
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      const sign = up ? 1 : -1;
      const rows = [...body.rows].sort((first, second) => {
        const [a, b] = [key(first, place), key(second, place)];
        if (a === null || b === null) return (a === null) - (b === null);
        return sign * (typeof a === "number" ? a - b : a.localeCompare(b));
      });
      body.append(...rows);
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const order = up ? "ascending" : "descending";
      said.textContent = `${table.caption.textContent}: sorted by ${button.textContent}, ${order}.`;
    });
  });
}
