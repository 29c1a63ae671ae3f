"use strict";
// Sortable tables. A click on a column's head writes the order into the address, "#sort=TABLE/COLUMN" or
// "#sort=TABLE/COLUMN,desc", so that a sorted view can be linked; "#sort=COLUMN" sorts every table that has it.
(() => {
  const key = (row, index) => row.cells[index].dataset.v ?? "";
  const compare = (a, b) => {
    const numbers = [Number(a), Number(b)];
    return numbers.some(Number.isNaN) ? a.localeCompare(b) : numbers[0] - numbers[1];
  };
  const sort = (table, column, descending) => {
    const heads = [...table.tHead.rows[0].cells];
    const index = heads.findIndex((head) => head.dataset.column === column);
    if (index < 0) return;
    const body = table.tBodies[0];
    const rows = [...body.rows];
    rows.sort((a, b) => {
      const [first, second] = [key(a, index), key(b, index)];
      if (first === "" || second === "") return (first === "") - (second === "");  // empty cells last
      return descending ? compare(second, first) : compare(first, second);
    });
    body.append(...rows);
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[index].setAttribute("aria-sort", descending ? "descending" : "ascending");
  };
  const follow = () => {
    const found = decodeURIComponent(location.hash).match(/^#sort=(?:([^/,]*)\/)?([^,]+?)(,desc)?$/);
    if (!found) return;
    const [, name, column, descending] = found;
    document.querySelectorAll("table[data-name]").forEach((table) => {
      if (name === undefined || table.dataset.name === name) sort(table, column, Boolean(descending));
    });
  };
  document.querySelectorAll("table[data-name] th[data-column]").forEach((head) => {
    head.addEventListener("click", () => {
      const name = head.closest("table").dataset.name;
      const again = head.getAttribute("aria-sort") === "ascending" ? ",desc" : "";
      location.hash = "sort=" + encodeURIComponent(name + "/" + head.dataset.column) + again;
    });
  });
  addEventListener("hashchange", follow);
  follow();
})();
