// Nothing here is needed to read the page: without it all recipes stand one below the other.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Sentences of points and bars, on pointer and on keyboard focus.
  const tip = document.getElementById("tip");
  const place = (x, y) => {
    const box = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, x + 14), innerWidth - box.width - 8);
    const above = y - box.height - 12;
    tip.style.left = left + "px";
    tip.style.top = (above > 8 ? above : y + 18) + "px";
  };
  const show = (target, x, y) => {
    tip.textContent = target.dataset.tip;
    tip.hidden = false;
    place(x, y);
  };
  // The point with the keyboard's focus keeps its sentence while the page scrolls to it.
  let focused = null;
  const beside = (target) => {
    const box = target.getBoundingClientRect();
    show(target, box.right, box.top);
  };
  const hide = () => { tip.hidden = true; focused = null; };
  document.addEventListener("pointerover", (event) => {
    const target = event.target.closest("[data-tip]");
    if (target) show(target, event.clientX, event.clientY); else hide();
  });
  document.addEventListener("pointermove", (event) => {
    if (!tip.hidden) place(event.clientX, event.clientY);
  });
  document.addEventListener("focusin", (event) => {
    const target = event.target.closest("[data-tip]");
    if (!target) return hide();
    focused = target;
    beside(target);
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  const follow = () => { if (focused) beside(focused); else hide(); };
  addEventListener("scroll", follow, { passive: true });

  // One recipe at a time.
  const choose = (recipe) => {
    for (const part of all("[data-recipe]")) part.hidden = part.dataset.recipe !== recipe;
  };
  for (const choice of all(".choice")) {
    choice.hidden = false;
    choice.addEventListener("change", (event) => choose(event.target.value));
  }
  const chosen = document.querySelector(".choice input:checked");
  if (chosen) choose(chosen.value);

  // A legend entry under the pointer fades the other series.
  for (const entry of all(".legend [data-series]")) {
    const points = () => all("svg [data-series]", entry.closest("figure"));
    const fade = (on) => points().forEach((p) =>
      p.classList.toggle("faded", on && p.dataset.series !== entry.dataset.series));
    entry.addEventListener("pointerenter", () => fade(true));
    entry.addEventListener("pointerleave", () => fade(false));
  }

  // Tables sort by the column whose head is pressed.
  const key = (row, column) => {
    const cell = row.cells[column];
    const raw = cell.dataset.value;
    return raw === undefined ? cell.textContent.trim() : raw === "" ? -Infinity : Number(raw);
  };
  for (const head of all("th button")) {
    head.addEventListener("click", () => {
      const th = head.closest("th");
      const body = th.closest("table").tBodies[0];
      const down = th.getAttribute("aria-sort") !== "descending";
      for (const other of th.parentElement.cells) other.removeAttribute("aria-sort");
      th.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].sort((a, b) => {
        const [p, q] = [key(a, th.cellIndex), key(b, th.cellIndex)];
        const order = typeof p === "number" ? p - q : String(p).localeCompare(String(q));
        return down ? -order : order;
      });
      body.append(...rows);
    });
  }

  // Long tables keep the rows that hold the words.
  for (const box of all("input[type=search]")) {
    box.hidden = false;
    const rows = all("tbody tr", document.getElementById(box.dataset.table));
    box.addEventListener("input", () => {
      const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
  }
})();
