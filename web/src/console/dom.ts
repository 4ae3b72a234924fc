/** Elements: found by id, made with text. Texts of others are set as text, never as HTML. */

export function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`console.html has no ${type.name} called ${id}`);
  return found;
}

type Child = Node | string;

export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string>> = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function button(text: string, name: string, pressed: () => void, kind = ""): HTMLButtonElement {
  const made = make("button", { type: "button", "aria-label": name, title: name, class: kind }, text);
  made.addEventListener("click", pressed);
  return made;
}

/** A table; headings that begin with ">" are of figures. */
export function table(caption: string, headings: readonly string[], rows: readonly (readonly Child[])[]): HTMLElement {
  const isFigure = headings.map((heading) => heading.startsWith(">"));
  const cells = (row: readonly Child[]) =>
    row.map((cell, k) => make("td", isFigure[k] === true ? { class: "figure" } : {}, cell));
  const head = headings.map((heading, k) =>
    make("th", { scope: "col", ...(isFigure[k] === true ? { class: "figure" } : {}) }, heading.replace(">", "")),
  );
  return make(
    "table",
    {},
    make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...head)),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...cells(row)))),
  );
}

let isPressing = false;
addEventListener("pointerdown", () => (isPressing = true), true);
for (const over of ["pointerup", "pointercancel"]) {
  // The click comes after it.
  addEventListener(over, () => setTimeout(() => (isPressing = false)), true);
}

/** Whether somebody presses a button just now, or has marked a text in `parent`: both would be lost with what is there. */
function isInUse(parent: HTMLElement): boolean {
  const marked = getSelection();
  return isPressing || (marked !== null && !marked.isCollapsed && parent.contains(marked.anchorNode));
}

/** Replaces what is in `parent`, unless that is in use: then the next time will do. The focus stays on what has the same name. */
export function replace(parent: HTMLElement, ...children: readonly Child[]): void {
  if (isInUse(parent)) return;
  const focused = document.activeElement;
  const label = focused !== null && parent.contains(focused) ? focused.getAttribute("aria-label") : null;
  parent.replaceChildren(...children);
  if (label === null) return;
  for (const again of parent.querySelectorAll<HTMLElement>("[aria-label]")) {
    if (again.getAttribute("aria-label") === label) again.focus({ preventScroll: true });
  }
}
