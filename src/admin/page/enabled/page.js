// Updates the page in place every two seconds while it is visible: replaces each section with the server's current one,
// except a section in which somebody is selecting text or typing. Tables can be sorted and lines can be filtered, and
// both are kept when the page is updated.
const PERIOD = 2000;
const sorted = new Map();
let wanted = "";

function sort(table) {
  const { column, down } = sorted.get(table.id) ?? {};
  for (const [index, head] of [...table.tHead.rows[0].cells].entries()) {
    if (!head.querySelector("button")) {
      const button = document.createElement("button");
      button.append(...head.childNodes);
      head.append(button);
    }
    head.removeAttribute("aria-sort");
    if (index === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
  }
  if (column === undefined) return;
  const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const compare = (one, other) => {
    const difference = key(one) - key(other);
    return Number.isNaN(difference) ? key(one).localeCompare(key(other)) : difference;
  };
  const rows = [...table.tBodies[0].rows].sort((one, other) => (down ? compare(other, one) : compare(one, other)));
  table.tBodies[0].append(...rows);
}

function filter() {
  for (const row of document.querySelectorAll("#lines tbody tr")) {
    row.hidden = !row.textContent.toLowerCase().includes(wanted);
  }
}

function arrange() {
  document.querySelectorAll("table.sortable").forEach(sort);
  filter();
}

function busy(section) {
  const selection = document.getSelection();
  const selecting = selection && !selection.isCollapsed && section.contains(selection.anchorNode);
  const typing = section.contains(document.activeElement) && document.activeElement.matches("input, select");
  return selecting || typing;
}

// Returns a function that restores the keyboard focus after the section is replaced: to the same column of the same table.
function focused(section) {
  const head = document.activeElement?.closest("th");
  if (!head || !section.contains(head)) return () => {};
  const { id } = head.closest("table");
  const { cellIndex } = head;
  return () => document.getElementById(id)?.tHead.rows[0].cells[cellIndex]?.querySelector("button")?.focus();
}

async function refresh() {
  const lost = document.getElementById("lost");
  try {
    const answer = await fetch(".", { signal: AbortSignal.timeout(PERIOD * 2) });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const section of document.querySelectorAll("main > section")) {
      const next = page.getElementById(section.id);
      if (!next || busy(section) || next.innerHTML === section.dataset.drawn) continue;
      section.dataset.drawn = next.innerHTML;
      const focus = focused(section);
      section.replaceChildren(...next.childNodes);
      section.querySelectorAll("table.sortable").forEach(sort);
      focus();
    }
    document.title = page.title;
    filter();
    lost.textContent = "";
  } catch {
    if (!lost.textContent) lost.textContent = `No answer since ${new Date().toLocaleTimeString()}: it has stopped, or cannot be reached.`;
  }
}

async function run() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, PERIOD));
    if (!document.hidden) await refresh();
  }
}

document.addEventListener("click", (event) => {
  const head = event.target.closest("th");
  if (!event.target.closest("th button")) return;
  const table = head.closest("table");
  const { column, down } = sorted.get(table.id) ?? {};
  sorted.set(table.id, { column: head.cellIndex, down: column === head.cellIndex ? !down : head.classList.contains("number") });
  sort(table);
});

const search = document.getElementById("search");
search.hidden = false;
search.querySelector("input").addEventListener("input", (event) => {
  wanted = event.target.value.toLowerCase();
  filter();
});

arrange();
run();
