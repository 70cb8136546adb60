"use strict";
(() => {
  const collator = new Intl.Collator("en", { numeric: true });

  // Ascending, descending, and the order in which the rows came. Entries without a number stay last; ties keep
  // the order in which they came.
  const STEPS = ["ascending", "descending", null];

  function sort(table, rows, place, direction) {
    const numeric = rows.some((row) => row.cells[place].dataset.sort !== undefined);
    const value = (row) => {
      const cell = row.cells[place];
      if (numeric) return cell.dataset.sort === undefined ? null : Number(cell.dataset.sort);
      return cell.textContent.trim().replace(/^–$/, "") || null;
    };
    const compare = (one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a === null || b === null) return (a === null) - (b === null);
      const order = numeric ? (a > b) - (a < b) : collator.compare(a, b);
      return direction === "descending" ? -order : order;
    };
    table.tBodies[0].append(...(direction ? [...rows].sort(compare) : rows));
    table.toggleAttribute("data-sorted", direction !== null);
  }

  for (const table of document.querySelectorAll("table")) {
    const rows = [...table.tBodies[0].rows];
    const heads = [...table.tHead.rows[0].cells];
    if (rows.length < 2) continue;
    heads.forEach((head, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => {
        const direction = STEPS[(STEPS.indexOf(head.getAttribute("aria-sort")) + 1) % 3];
        for (const other of heads) other.removeAttribute("aria-sort");
        if (direction) head.setAttribute("aria-sort", direction);
        sort(table, rows, place, direction);
      });
      head.append(button);
    });
  }

  // A box that has nothing to scroll is no stop for the keyboard.
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const scrolls = target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight;
      target.tabIndex = scrolls ? 0 : -1;
    }
  });
  for (const box of document.querySelectorAll(".scroll")) sizes.observe(box);

  // A link to a folded table opens it, and paper shows everything.
  const opened = [];
  const show = () => document.getElementById(location.hash.slice(1))?.querySelector(":scope > details")?.setAttribute("open", "");
  addEventListener("hashchange", show);
  show();
  addEventListener("beforeprint", () => {
    opened.push(...document.querySelectorAll("details:not([open])"));
    for (const details of opened) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of opened.splice(0)) details.open = false;
  });
})();
